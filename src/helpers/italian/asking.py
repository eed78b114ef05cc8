"""Agreement of what asks for a list in Italian ("si richiedono", "è richiesta") with the items that are left in it."""

from __future__ import annotations

import re

ASKING = re.compile(
    r"\b(?P<verb>si (?:richied|chied)|serv|occorr|servir|occorrer)(?P<person>ono|e|anno|à)\b:?"
    r"|(?:\b(?P<be>sono|vengono|saranno|verranno|è|viene|sarà|verrà) "
    r"|(?:^|(?<=[.;:!?,(\n] )|(?<=[(\n])))"  # alone, a participle opens its clause
    r"(?P<said>richiest|gradit|previst|necessari|obbligatori|indispensabil)(?P<ending>[oaie]?)\b:?",
    re.IGNORECASE,
)
PLURAL = {"sono": "è", "vengono": "viene", "saranno": "sarà", "verranno": "verrà"}
OTHER_NUMBER = PLURAL | {one: many for many, one in PLURAL.items()}
# not before a preposition or a single letter, which belong to the item before: "Word e di Excel", "patenti B e C"
BETWEEN = re.compile(r"(?:,? ed? |, )(?!(?:di|d['’]|del\w*|al?|al\w+|in|nel\w*|con|per|da|dal\w*|sul?\w*)\b|[A-Z]\b)")
FEMININE = re.compile(r"(?!diploma|programma|sistema)\w*(?:a|[àù]|ion[ei]|patent[ei]|auto|moto|doti)")
FEMININE_PLURAL = re.compile(
    r"(?!patente)\w*(?:[nz]ze|[aiu]te|che|ghe|ure|esse|buone|ottime|massime|minime|le)|doti|\w+ioni"
)


def agreed(text: str, start: int, end: int) -> tuple[str, int, int]:
    """`text` whose asking word agrees with its list but for text[start:end], and that stretch's new place.

    A plural word agrees with all items that stay, a singular one with the first. Without any it stays as it is, or joins the
    stretch where it is a clause between commas.
    """
    asking = max(ASKING.finditer(text[:start]), key=lambda m: m.start(), default=None)
    items = _items(text, asking.end()) if asking else []
    if not items or not items[0][0] <= start < items[-1][1]:
        return text, start, end
    if text[: asking.start()].endswith(", ") and not re.search(r" ed? ", text[items[0][0] : items[-1][1]]):
        items = items[:1]  # "barista, richiesto diploma, sede a Lodi"
    kept = [text[a : min(b, start)] + text[max(a, end) : b] for a, b in items]
    forms = [_form(item) for item in kept if re.search(r"\w", item)]
    if not forms and text[: asking.start()].endswith(", "):
        return text, asking.start(), end
    if not forms or len(forms) == len(items) or any(re.match(r"(?:no|niente|nessun\w*) ", item) for item in kept):
        return text, start, end
    first_feminine, first_plural = forms[0]
    many = _is_plural(asking)
    feminine = all(f for f, _ in forms) if many else first_feminine
    word = _inflected(asking, feminine, plural=first_plural or (many and len(forms) > 1))
    moved = len(word) - len(asking.group())
    return text[: asking.start()] + word + text[asking.end() :], start + moved, end + moved


def _items(text: str, start: int) -> list[tuple[int, int]]:
    """The items of a list from `start` to the comma behind the one after its conjunction, or to the end of the clause."""
    stop = re.compile(r"[.;:!?()\n]|$").search(text, start).start()
    spans = []
    for match in BETWEEN.finditer(text, start, stop):
        spans.append((start, match.start()))
        start = match.end()
        if match.group().strip(", "):
            comma = text.find(",", start, stop)
            stop = stop if comma < 0 else comma
            break
    return [*spans, (start, stop)]


def _form(item: str) -> tuple[bool, bool]:
    """Whether an item is feminine and whether it is plural, by its first word: an article, an adjective or the noun."""
    words = re.findall(r"\d+|[^\W\d_]+", re.sub(r"\bl['’]|\b(?:almeno|anche|inoltre) ", " ", item.lower()))
    if not words:  # "È richiesta ____ e l'età massima di 30 anni"
        return False, False
    number = words[0].isdigit() and words[0] != "1"
    word = words[1] if words[0].isdigit() and len(words) > 1 else words[0]
    several = bool(FEMININE_PLURAL.fullmatch(word))
    return several or bool(FEMININE.fullmatch(word)), number or several or word.endswith("i")


def _is_plural(asking: re.Match[str]) -> bool:
    if asking["verb"]:
        return asking["person"].lower() in ("ono", "anno")
    return (asking["be"] or "").lower() in PLURAL or asking["ending"].lower() in ("i", "")


def _inflected(asking: re.Match[str], feminine: bool, plural: bool) -> str:
    """The asking word in another number and gender, in its capitals."""
    colon = ":" if asking.group().endswith(":") else ""
    if asking["verb"]:
        singular, many = ("à", "anno") if asking["person"].lower() in ("à", "anno") else ("e", "ono")
        return asking["verb"] + (many if plural else singular) + colon
    stem, be = asking["said"], asking["be"]
    endings = {"indispensabil": "eeii", "necessari": ["o", "a", "", "e"], "obbligatori": ["o", "a", "", "e"]}
    ending = endings.get(stem.lower(), "oaie")[2 * plural + feminine]
    if be:
        be = (be.lower() if (be.lower() in PLURAL) == plural else OTHER_NUMBER[be.lower()]) + " "
    word = (be or "") + stem + ending
    return (word[0].upper() + word[1:] if asking.group()[0].isupper() else word) + colon
