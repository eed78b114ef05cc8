"""Generated Italian job ads with the label, the category and the evidence known by construction.

An ad is an outline of sections, a frame for each (see `ad_frames`), their fill-ins, and the noise of real ads.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from helpers.italian.ad_frames import (
    CLOSE,
    KEEP,
    KEPT,
    OPEN,
    SLOT,
    STYLES,
    Plan,
    count_gendered_slots,
    library,
    realise,
    without_marks,
)
from helpers.italian.addressees import APPLICANT, EVERYONE
from helpers.italian.cues import find_cues

# share of texts; `slip` is inclusive but for one masculine wording
MODES = {"inclusive": 0.47, "lawful": 0.03, "masculine": 0.18, "feminine": 0.04, "slip": 0.19, "exclusion": 0.09}
MODES_OF = {  # the modes that give a text its category; every other category comes from `exclusion`
    "inclusive": ["inclusive"],
    "lawful_exception": ["lawful"],
    "masculine_form": ["masculine", "slip"],
    "feminine_title": ["feminine"],
}
SIZES = {"short": 0.25, "middle": 0.55, "long": 0.20}
SHORTEST, LONGEST = 30, 1200  # characters of a text
DRAFTS = 100  # of a commissioned text
LISTED = ("duty", "req", "soft", "benefit")  # fill-ins drawn anew at each place, the others once for a text
NAMES_SOMEONE = re.compile(
    r"(?i)\b(person[ae]|risors[ae]|figur[ae]|professionalità|personale|profil[oi]|candidatur[ae]|chi|team|squadra"
    r"|sei|sai|hai|ti|tuo|tua|te|specialist|talent[is])\b"
)
FEMALE = re.compile(r"\b(donn[ae]|ragazz[ae]|femminil[ei]|mamm[ae]|madri|nubile|premurosa)\b", re.IGNORECASE)
MALE = re.compile(r"\b(uom\w+|ragazz[oi]|maschi\w*|sesso M|stranieri)\b", re.IGNORECASE)

# --- ads --------------------------------------------------------------------------------


def generate(n: int, seed: int = 0) -> Iterator[dict]:
    """Generate rows with distinct texts, which depend on the seed alone.

    A shorter generation is the beginning of a longer one. A row has text, label, category, gender_form, occupation, sector,
    register, length, and as spans [start, end, addressee] of every wording that leaves somebody aside; its addressee is
    what the rules say, the applicant where they see none.
    """
    rng, texts = random.Random(seed), set()
    while len(texts) < n:
        mode, row = rng.choices(list(MODES), list(MODES.values()))[0], None
        while row is None or row["text"] in texts:
            row = _row(mode, rng, {})
        texts.add(row["text"])
        yield row


def commissioned(request: dict[str, str], seed: str) -> dict | None:
    """A row whose columns have the values of the request, or None after `DRAFTS` drafts.

    A text that is not inclusive leaves an applicant aside, so that it is not inclusive in every scope.
    """
    known = {"register": library()["sections"], "length": SIZES}
    if not jobs_of(request) or any(column in request and request[column] not in known[column] for column in known):
        return None
    rng = random.Random(seed)
    modes = MODES_OF.get(request["category"], ["exclusion"]) if "category" in request else list(MODES)
    for _ in range(DRAFTS):
        row = _row(rng.choices(modes, [MODES[mode] for mode in modes])[0], rng, request)
        fits = row and (not row["spans"] or any(who == APPLICANT for *_, who in row["spans"]))
        if fits and all(row.get(column) == value for column, value in request.items()):
            return row
    return None


def jobs_of(request: dict[str, str]) -> list[dict[str, str]]:
    """The occupations not held out that have the sector and the name of the request."""
    names = {"sector": "sector", "occupation": "lemma"}
    wanted = {names[column]: value for column, value in request.items() if column in names}
    return [job for job in library()["jobs"] if wanted.items() <= job.items()]


def _row(mode: str, rng: random.Random, request: dict[str, str]) -> dict | None:
    """One generated row, or None where the frames drawn do not fit the mode."""
    plan = draft(mode, rng, request)
    slots = sum(count_gendered_slots(frame, plan.job) for _, frame in plan.frames)
    if mode in ("masculine", "feminine", "slip") and not slots:
        return None
    if mode == "slip":
        plan.slip = rng.randrange(slots)
    if mode in ("exclusion", "lawful"):
        plan.mode = "masculine" if mode == "exclusion" and rng.random() < 0.3 else "inclusive"
    marked = _assembled([(section, realise(frame, plan)) for section, frame in plan.frames], plan.size, rng)
    text, spans = without_marks(noisy(marked, plan.register, rng))
    if not SHORTEST <= len(text) <= LONGEST or bool(spans) == (mode in ("inclusive", "lawful")):
        return None
    gender_form, category = _gender_form(plan, text, spans), plan.category
    if not spans:
        category = "lawful_exception" if category else "inclusive"
    elif mode != "exclusion":
        category = "feminine_title" if gender_form == "feminine" else "masculine_form"
    return {
        "text": text,
        "label": "not_inclusive" if spans else "inclusive",
        "category": category,
        "gender_form": gender_form,
        "occupation": plan.job["lemma"] if plan.names_occupation else "",
        "sector": plan.job["sector"],
        "register": plan.register,
        "length": plan.size,
        "spans": _addressed(text, spans),
    }


def _addressed(text: str, spans: list[list[int]]) -> list[list]:
    """The spans with the addressee of the cue that each overlaps."""
    cues = find_cues(text, EVERYONE) if spans else []
    met = [[cue.addressee for cue in cues if cue.start < end and start < cue.end] for start, end in spans]
    return [[*span, who[0] if who else APPLICANT] for span, who in zip(spans, met, strict=True)]


def _gender_form(plan: Plan, text: str, spans: list[list[int]]) -> str:
    """The dominant gender form: masculine, feminine, double, neutral, symbol; none if nobody is named."""
    used, evidence = plan.used, " ".join(text[start:end] for start, end in spans)
    if plan.mode == "feminine" and used["feminine"]:
        return "feminine"
    if used["masculine"] or MALE.search(evidence):
        return "masculine"
    if FEMALE.search(evidence):
        return "feminine"
    neutral = used["neutral_m"] + used["neutral_f"] + used["epicene"]
    counts = {"symbol": used["symbol"] * 3, "double": used["double"], "neutral": neutral}
    dominant = max(counts, key=counts.get)
    if counts[dominant]:
        return dominant
    return "neutral" if NAMES_SOMEONE.search(text) else "none"


# --- drafts -----------------------------------------------------------------------------


def draft(mode: str, rng: random.Random, request: dict[str, str]) -> Plan:
    """The plan of one ad with its filled frames, in the register, length and so on of the request."""
    job = rng.choice(jobs_of(request))
    fills = library()["fills"] | library()["sectors"][job["sector"]]
    fixed_fills = {name: rng.choice(values) for name, values in fills.items() if name not in LISTED}
    plan = Plan(mode, rng.choices(list(STYLES), list(STYLES.values()))[0], job, fixed_fills, rng)
    plan.register = request.get("register") or _register_of(job["sector"], rng)
    plan.size = request.get("length") or rng.choices(list(SIZES), list(SIZES.values()))[0]
    used: set[str] = set()  # frames of this text and the facts they state
    plan.frames = [(name, _frame(plan.register, name, plan, used)) for name in _outline(plan.register, plan.size, rng)]
    _add_exclusion(plan, used, request.get("category", ""))
    decks: dict[str, list[str]] = {}
    plan.frames = [(section, _filled(frame, plan, decks)) for section, frame in plan.frames]
    return plan


def _register_of(sector: str, rng: random.Random) -> str:
    """A register of the sector: competitions for public bodies, messages for small shops."""
    if sector == "pubblica amministrazione":
        return rng.choices(["public", "third"], [0.75, 0.25])[0]
    shop = 0.02 if sector in library()["office_sectors"] else 0.16
    public = 0.10 if sector in library()["public_sectors"] else 0.0
    return rng.choices(["third", "second", "shop", "public", "social"], [0.42, 0.32, shop, public, 0.08])[0]


def _outline(register: str, size: str, rng: random.Random) -> list[str]:
    """The sections of one text, in the order of an ad."""
    order = library()["sections"][register]
    if register in ("shop", "social"):
        count = {"short": 1, "middle": rng.choice([2, 2, 3]), "long": 4}[size]
        return order[:1] + sorted(rng.sample(order[1:], min(count - 1, len(order) - 1)), key=order.index)
    if size == "short":
        return [rng.choice(order)]
    if register == "public":
        return order[: 2 + rng.randrange(3)] if size == "middle" else order + ["tail"] * rng.choice([1, 2, 3])
    count = rng.choice([2, 2, 3, 3, 4, 5] if size == "middle" else [6, 7, 8, 9])
    return sorted(rng.sample(order, count), key=order.index)


def _frame(register: str, section: str, plan: Plan, used: set[str]) -> str:
    """A frame of the section, new to the text; no fact is stated twice if possible."""
    frames = library()["frames"]
    candidates = frames[register].get(section) or frames["third"][section]
    sector = plan.job["sector"]
    prefixes = (f"@{sector}@", "@ufficio@" if sector in library()["office_sectors"] else f"@{sector}@")
    candidates = [frame for frame in candidates if not frame.startswith("@") or frame.startswith(prefixes)]
    for attempt in range(60):
        frame = re.sub(r"^@[^@]+@", "", plan.rng.choice(candidates))
        facts = set(SLOT.findall(frame)).intersection(library()["told_once"])
        if frame not in used and (attempt > 30 or not facts & used):
            break
    used |= {frame, *facts}
    return frame


def _add_exclusion(plan: Plan, used: set[str], requested: str) -> None:
    """Put an exclusion or a lawful exception among the frames, where the mode asks for one."""
    if plan.mode not in ("lawful", "exclusion") and not (plan.mode == "slip" and plan.rng.random() < 0.05):
        return
    plan.category = "lawful_alone" if plan.size == "short" and plan.rng.random() < 0.5 else "lawful"
    if plan.mode == "exclusion":
        categories = [name for name in library()["frames"]["exclusion"] if not name.startswith("lawful")]
        plan.category = requested if requested in categories else plan.rng.choice(categories)
    frame = ("exclusion", _frame("exclusion", plan.category, plan, used))
    if plan.size == "short" and plan.mode != "slip":
        plan.frames = [frame]
    else:
        plan.frames.insert(plan.rng.randint(1, len(plan.frames)), frame)


def _filled(frame: str, plan: Plan, decks: dict[str, list[str]]) -> str:
    """The frame with its fill-ins; none of a deck repeats before the deck is empty."""
    fills = library()["fills"] | library()["sectors"][plan.job["sector"]]

    def draw(name: str) -> str:
        if not decks.get(name):
            decks[name] = plan.rng.sample(fills[name], len(fills[name]))
        return decks[name].pop()

    def fill(match: re.Match) -> str:
        name = match[1]
        if name in plan.fills:
            return plan.fills[name]
        if name == "duties":
            first, *rest = (draw("duty") for _ in range(plan.rng.choice([2, 3, 3, 4])))
            return ", ".join([first, *rest[:-1]]) + " e " + rest[-1]
        if name == "duty_list":
            bullet = plan.rng.choice(["- ", "• ", "* ", "– "])
            return ";\n".join(bullet + draw("duty") for _ in range(plan.rng.choice([3, 4, 5])))
        return draw(name) if name in LISTED else match[0]

    return re.sub(r"\ba (?=A[a-z])", "ad ", SLOT.sub(fill, frame))  # "ad Asti"


def _assembled(parts: list[tuple[str, str]], size: str, rng: random.Random) -> str:
    """The realised frames as one text: run on, or on lines, with headers in a longer ad."""
    on_lines = size == "long" or rng.random() < 0.25
    with_headers = size == "long" and rng.random() < 0.7
    text = ""
    for section, part in parts:
        part = re.sub(rf"^[{OPEN}{KEEP}]*\w", lambda match: match.group().upper(), part)
        if not text:
            text = part
            continue
        gap = "\n" if on_lines or "\n" in part or "\n" in text.rpartition(". ")[2] else " "
        if with_headers and section in library()["headers"]:
            gap = "\n\n" if rng.random() < 0.4 else "\n"
            text += gap + rng.choice(library()["headers"][section])
            gap = "\n"
        elif gap == " " and text.rstrip(CLOSE + KEPT)[-1:] not in ".!?:;…👇💪📩🙏📸🚀":
            gap = rng.choice([". ", ". ", " - ", "\n", " | "])
        text += gap + part
    return text


# --- noise ------------------------------------------------------------------------------


def noisy(text: str, register: str, rng: random.Random) -> str:
    """The marked text with the slips of real ads; marked wording may be capitalised, nothing else."""
    if rng.random() > (0.55 if register in ("shop", "social") else 0.35):
        return text
    title, _, rest = text.partition("\n")
    if rng.random() < 0.25 and len(title) < 90:
        text = title.upper() + ("\n" + rest if rest else "")
    if rng.random() < 0.2:
        text = rng.choice(["🔹 ", "👉 ", "• ", "- ", "⭐ ", "📌 ", "*** ", "✅ "]) + text
    if rng.random() < 0.35 and text[-1] == ".":
        text = text[:-1] + rng.choice(["", "", "!", "...", " !!", ""])
    pieces = re.split(f"({OPEN}[^{CLOSE}]*{CLOSE}|{KEEP}[^{KEPT}]*{KEPT})", text)
    slips = [_apostrophes, _misspelt, _spaced, _abbreviated, _shouted]
    if register == "shop":
        slips += [lambda text, rng: text.lower(), _as_a_message]
    for slip in rng.sample(slips, rng.choice([0, 1, 1, 2])):
        unmarked = range(0, len(pieces), 2)
        if slip in (_misspelt, _shouted):  # one word of the whole text
            unmarked = [max(unmarked, key=lambda i: len(pieces[i]))]
        for i in unmarked:
            pieces[i] = slip(pieces[i], rng)
    return "".join(pieces)


def _apostrophes(text: str, rng: random.Random) -> str:
    """Accents typed as apostrophes, as on a keyboard without them."""
    accents = {"à": "a'", "è": "e'", "é": "e'", "ì": "i'", "ò": "o'", "ù": "u'", "È": "E'"}
    return text.translate(str.maketrans(accents))


def _misspelt(text: str, rng: random.Random) -> str:
    """One long word with two inner letters swapped or one lost; the last three letters stay."""
    word = _long_word(text, 8, rng)
    if not word:
        return text
    at = rng.randrange(word.start() + 1, word.end() - 5)
    middle = text[at + 1] + text[at] if rng.random() < 0.5 else text[at]
    return text[:at] + middle + text[at + 2 :]


def _spaced(text: str, rng: random.Random) -> str:
    """Spaces doubled, or lost after a comma."""
    if rng.random() < 0.5:
        return re.sub(r" (?=\w)", lambda _: "  " if rng.random() < 0.08 else " ", text)
    return re.sub(r", (?=[a-z])", lambda _: "," if rng.random() < 0.4 else " , ", text)


def _abbreviated(text: str, rng: random.Random) -> str:
    for word, short in library()["abbreviations"].items():
        text = re.sub(rf"\b{word}\b", short, text) if rng.random() < 0.5 else text
    return text


def _as_a_message(text: str, rng: random.Random) -> str:
    text = text.replace(" per ", " x ").replace(" non ", " nn ")
    return text.replace(" e ", rng.choice([" e ", " & ", " + "]))


def _shouted(text: str, rng: random.Random) -> str:
    word = _long_word(text, 6, rng)
    return text[: word.start()] + word[0].upper() + text[word.end() :] if word else text


def _long_word(text: str, letters: int, rng: random.Random) -> re.Match | None:
    """One word in small letters, of at least so many and of no address."""
    words = list(re.finditer(rf"(?<![@.\w])[a-zà-ù]{{{letters},}}\b(?![@.]\w)", text))
    return rng.choice(words) if words else None
