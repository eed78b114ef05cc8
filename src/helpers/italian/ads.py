"""Generated Italian job ads with the label, the category and the evidence known by construction.

An ad is an outline of sections, a frame for each (see ad_wording), their fill-ins, and the noise of real ads.
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
    gendered_slots,
    library,
    realised,
    unmarked,
)

# share of texts: all inclusive, with a lawful exception, in one gender, inclusive but for one slip, excluding
MODES = {"inclusive": 0.47, "lawful": 0.03, "masculine": 0.18, "feminine": 0.04, "slip": 0.19, "exclusion": 0.09}
MODES_OF = {  # those that give a text its category, all others exclude
    "inclusive": ["inclusive"],
    "lawful_exception": ["lawful"],
    "masculine_form": ["masculine", "slip"],
    "feminine_title": ["feminine"],
}
LISTED = ("duty", "req", "soft", "benefit")  # fill-ins drawn anew at each place, the others once for a text
NAMES_SOMEONE = re.compile(
    r"\b(person[ae]|risors[ae]|figur[ae]|professionalità|personale|profil[oi]|candidatur[ae]|chi|team|squadra"
    r"|sei|sai|hai|ti|tuo|tua|te|specialist|talent[is])\b", re.IGNORECASE,
)  # fmt: skip
FEMALE = re.compile(r"\b(donn[ae]|ragazz[ae]|femminil[ei]|mamm[ae]|madri|nubile|premurosa)\b", re.IGNORECASE)
MALE = re.compile(r"\b(uom\w+|ragazz[oi]|maschi\w*|sesso M|stranieri)\b", re.IGNORECASE)


def register_of(sector: str, rng: random.Random) -> str:
    """A register that the sector is written in: competitions for public bodies, messages for small shops."""
    if sector == "pubblica amministrazione":
        return rng.choices(["public", "third"], [0.75, 0.25])[0]
    shop = 0.02 if sector in library()["office_sectors"] else 0.16
    public = 0.10 if sector in library()["public_sectors"] else 0.0
    return rng.choices(["third", "second", "shop", "public", "social"], [0.42, 0.32, shop, public, 0.08])[0]


def outline(register: str, size: str, rng: random.Random) -> list[str]:
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


def pick(register: str, section: str, plan: Plan, taken: set[str]) -> str:
    """A frame of the section for the plan's sector, new to the text; no fact is told twice if possible."""
    frames = library()["frames"]
    found = frames[register].get(section) or frames["third"].get(section) or frames["second"][section]
    sector = plan.job["sector"]
    ours = (f"@{sector}@", "@ufficio@" if sector in library()["office_sectors"] else f"@{sector}@")
    found = [frame for frame in found if not frame.startswith("@") or frame.startswith(ours)]
    for attempt in range(60):
        frame = re.sub(r"^@[^@]+@", "", plan.rng.choice(found))
        facts = set(SLOT.findall(frame)).intersection(library()["told_once"])
        if frame not in taken and (attempt > 30 or not facts & taken):
            break
    taken |= {frame, *facts}
    return frame


def excluded(plan: Plan, size: str, frames: list[tuple[str, str]], taken: set[str], wanted: str = "") -> str:
    """Puts a frame of exclusion (of the category `wanted`), or a lawful exception, among the frames; returns its category or ""."""
    if plan.mode not in ("lawful", "exclusion") and not (plan.mode == "slip" and plan.rng.random() < 0.05):
        return ""
    category = "lawful_alone" if size == "short" and plan.rng.random() < 0.5 else "lawful"
    if plan.mode == "exclusion":
        named = [name for name in library()["frames"]["exclusion"] if not name.startswith("lawful")]
        category = wanted if wanted in named else plan.rng.choice(named)
    frame = ("exclusion", pick("exclusion", category, plan, taken))
    if size == "short" and plan.mode != "slip":
        frames[:] = [frame]
    else:
        frames.insert(plan.rng.randint(1, len(frames)), frame)
    return category


def filled(frame: str, plan: Plan, decks: dict[str, list[str]]) -> str:
    """The frame with its fill-ins; duties, benefits and so on do not repeat while they last."""
    entry = library()["fills"] | library()["sectors"][plan.job["sector"]]

    def draw(name: str) -> str:
        if not decks.get(name):
            decks[name] = plan.rng.sample(entry[name], len(entry[name]))
        return decks[name].pop()

    def one(match: re.Match) -> str:
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

    return re.sub(r"\ba (?=A[a-z])", "ad ", SLOT.sub(one, frame))  # "ad Asti"


def joined(parts: list[tuple[str, str]], size: str, rng: random.Random) -> str:
    """(section, realised frame) pairs as one text: run on, or on lines, with headers in a longer ad."""
    lines = size == "long" or rng.random() < 0.25
    headers = size == "long" and rng.random() < 0.7
    text = ""
    for section, part in parts:
        part = re.sub(rf"^([{OPEN}{KEEP}]*)(\w)", lambda m: m[1] + m[2].upper(), part)
        if not text:
            text = part
            continue
        gap = "\n" if lines or "\n" in part or "\n" in text.rpartition(". ")[2] else " "
        if headers and section in library()["headers"]:
            gap = "\n\n" if rng.random() < 0.4 else "\n"
            text += gap + rng.choice(library()["headers"][section])
            gap = "\n"
        elif gap == " " and text.rstrip(CLOSE + KEPT)[-1:] not in ".!?:;…👇💪📩🙏📸🚀":
            gap = rng.choice([". ", ". ", " - ", "\n", " | "])
        text += gap + part
    return text


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
    wears = [apostrophes, misspelt, spaced, abbreviated, shouted, *[lowered, texted] * (register == "shop")]
    for wear in rng.sample(wears, rng.choice([0, 1, 1, 2])):
        free = range(0, len(pieces), 2)
        for i in [max(free, key=lambda k: len(pieces[k]))] if wear in (misspelt, shouted) else free:
            pieces[i] = wear(pieces[i], rng)
    return "".join(pieces)


def apostrophes(text: str, rng: random.Random) -> str:
    """Accents typed as apostrophes, as on a keyboard without them."""
    accents = {"à": "a'", "è": "e'", "é": "e'", "ì": "i'", "ò": "o'", "ù": "u'", "È": "E'"}
    return text.translate(str.maketrans(accents))


def long_words(text: str, least: int) -> list[re.Match]:
    """The words in small letters of at least so many, those of addresses aside."""
    return list(re.finditer(rf"(?<![@.\w])[a-zà-ù]{{{least},}}\b(?![@.]\w)", text))


def misspelt(text: str, rng: random.Random) -> str:
    """One long word with two inner letters swapped or one lost; the last three letters stay."""
    words = long_words(text, 8)
    if not words:
        return text
    match = rng.choice(words)
    at = rng.randrange(match.start() + 1, match.end() - 5)
    middle = text[at + 1] + text[at] if rng.random() < 0.5 else text[at]
    return text[:at] + middle + text[at + 2 :]


def spaced(text: str, rng: random.Random) -> str:
    """Spaces doubled, or lost after a comma."""
    if rng.random() < 0.5:
        return re.sub(r" (?=\w)", lambda m: "  " if rng.random() < 0.08 else " ", text)
    return re.sub(r", (?=[a-z])", lambda m: "," if rng.random() < 0.4 else " , ", text)


def abbreviated(text: str, rng: random.Random) -> str:
    """The abbreviations of small ads."""
    for word, short in library()["abbreviations"].items():
        if rng.random() < 0.5:
            text = re.sub(rf"\b{word}\b", short, text)
    return text


def texted(text: str, rng: random.Random) -> str:
    """The spelling of phone messages."""
    text = text.replace(" per ", " x ").replace(" non ", " nn ")
    return text.replace(" e ", rng.choice([" e ", " & ", " + "]))


def shouted(text: str, rng: random.Random) -> str:
    """One word in capitals."""
    words = long_words(text, 6)
    if not words:
        return text
    match = rng.choice(words)
    return text[: match.start()] + match[0].upper() + text[match.end() :]


def lowered(text: str, rng: random.Random) -> str:
    """No capitals, as in a message."""
    return text.lower()


def form_of(plan: Plan, text: str, spans: list[list[int]]) -> str:
    """The dominant gender form: masculine, feminine, double, neutral, symbol; none if nobody is named."""
    used = plan.used
    if plan.mode == "feminine" and used["feminine"]:
        return "feminine"
    if used["masculine"]:
        return "masculine"
    evidence = " ".join(text[a:b] for a, b in spans)
    if FEMALE.search(evidence) and not MALE.search(evidence):
        return "feminine"
    if MALE.search(evidence):
        return "masculine"
    counts = {
        "symbol": used["symbol"] * 3,
        "double": used["double"],
        "neutral": used["neutral_m"] + used["neutral_f"] + used["epicene"],
    }
    best = max(counts, key=counts.get)
    if counts[best]:
        return best
    return "neutral" if NAMES_SOMEONE.search(text) else "none"


def jobs_of(wanted: dict[str, str]) -> list[dict[str, str]]:
    """The occupations not held out that have the sector and the name wanted."""
    return [
        job
        for job in library()["jobs"]
        if wanted.get("sector", job["sector"]) == job["sector"]
        and wanted.get("occupation", job["lemma"]) == job["lemma"]
    ]


def drafted(mode: str, rng: random.Random, wanted: dict[str, str]) -> tuple[Plan, str, str, list[tuple[str, str]], str]:
    """A plan with its filled frames: plan, register, length, [(section, frame)], category or ""."""
    job = rng.choice(jobs_of(wanted) if wanted else library()["jobs"])
    entry = library()["fills"] | library()["sectors"][job["sector"]]
    fixed = {name: rng.choice(values) for name, values in entry.items() if name not in LISTED}
    plan = Plan(mode, rng.choices(list(STYLES), list(STYLES.values()))[0], job, fixed, rng)
    register = wanted.get("register") or register_of(job["sector"], rng)
    size = wanted.get("length") or rng.choices(["short", "middle", "long"], [0.25, 0.55, 0.20])[0]
    taken: set[str] = set()
    frames = [(name, pick(register, name, plan, taken)) for name in outline(register, size, rng)]
    category = excluded(plan, size, frames, taken, wanted.get("category", ""))
    decks: dict[str, list[str]] = {}
    return plan, register, size, [(name, filled(frame, plan, decks)) for name, frame in frames], category


def written(mode: str, rng: random.Random, wanted: dict[str, str]) -> dict | None:
    """One generated row, or None where the frames drawn do not fit the mode."""
    plan, register, size, frames, category = drafted(mode, rng, wanted)
    slots = sum(gendered_slots(frame, plan.job) for _, frame in frames)
    if mode in ("masculine", "feminine", "slip") and not slots:
        return None
    if mode == "slip":
        plan.slip = rng.randrange(slots)
    if mode in ("exclusion", "lawful"):
        plan.mode = "masculine" if mode == "exclusion" and rng.random() < 0.3 else "inclusive"
    text = joined([(name, realised(frame, plan)) for name, frame in frames], size, rng)
    text, spans = unmarked(noisy(text, register, rng))
    if not 30 <= len(text) <= 1200 or bool(spans) == (mode in ("inclusive", "lawful")):
        return None
    form = form_of(plan, text, spans)
    if not spans:
        category = "lawful_exception" if category else "inclusive"
    elif mode != "exclusion":
        category = "feminine_title" if form == "feminine" else "masculine_form"
    return {
        "text": text,
        "label": "not_inclusive" if spans else "inclusive",
        "category": category,
        "gender_form": form,
        "occupation": plan.job["lemma"] if plan.told else "",
        "sector": plan.job["sector"],
        "register": register,
        "length": size,
        "spans": spans,
    }


def generate(n: int, seed: int = 0) -> Iterator[dict]:
    """`n` rows with distinct texts: text, label, category, gender_form, occupation, sector, register, length, spans.

    `spans` are [start, end] of the wording that makes the text not inclusive. The rows
    depend on the seed alone, so a shorter generation is the beginning of a longer one.
    """
    rng, seen = random.Random(seed), set()
    while len(seen) < n:
        mode, row = rng.choices(list(MODES), list(MODES.values()))[0], None
        while row is None or row["text"] in seen:
            row = written(mode, rng, {})
        seen.add(row["text"])
        yield row


def commissioned(wanted: dict[str, str], seed: int | str = 0, drafts: int = 100) -> dict | None:
    """A row whose columns have the values `wanted`; None where no such text comes up in so many drafts."""
    known = {"register": library()["sections"], "length": ("short", "middle", "long")}
    if not jobs_of(wanted) or any(k in wanted and wanted[k] not in values for k, values in known.items()):
        return None
    rng = random.Random(seed)
    modes = MODES_OF.get(wanted["category"], ["exclusion"]) if "category" in wanted else list(MODES)
    for _ in range(drafts):
        row = written(rng.choices(modes, [MODES[mode] for mode in modes])[0], rng, wanted)
        if row and all(row.get(k) == v for k, v in wanted.items()):
            return row
    return None
