"""Generated Italian job ads with the label, the category and the evidence known by construction.

A frame (italian_jobs/frames_*.yaml) is a line of text with slots:
- `{pronto|pronta|pronto/a|con voglia}` masculine | feminine | inclusive wordings; `-`: no feminine is in use;
- `{il_candidato}` a slot of the same kind, named in frames.yaml;
- `{un occ}`, `{Del occ}`, `{i occs}`, `{occ}`, `{ruolo}` the occupation (`ruolo` is never reworded);
- `{=inserito}` agrees with the last named slot or occupation before it, or with the reader ("sei pronto/a");
- `{city}`, `{duties}` a fill-in; `[[...]]` evidence; `@sector@` opens a frame of that sector only.
"""

from __future__ import annotations

import csv
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent / "italian_jobs"
OPEN, CLOSE, KEEP, KEPT = "\ue000", "\ue001", "\ue002", "\ue003"  # evidence; wording that noise leaves alone
SLOT = re.compile(r"\{([^{}]+)\}")
# share of texts: all inclusive, with a lawful exception, in one gender, inclusive but for one slip, excluding
MODES = {
    "inclusive": 0.47,
    "lawful": 0.03,
    "masculine": 0.18,
    "feminine": 0.04,
    "slip": 0.19,
    "exclusion": 0.09,
}
STYLES = {"double": 0.45, "neutral": 0.45, "symbol": 0.10}
NAMES_SOMEONE = re.compile(
    r"\b(person[ae]|risors[ae]|figur[ae]|professionalità|personale|profil[oi]|candidatur[ae]|chi|team|squadra"
    r"|sei|sai|hai|ti|tuo|tua|te|specialist|talent[is])\b", re.IGNORECASE,
)  # fmt: skip
FEMALE = re.compile(r"\b(donn[ae]|ragazz[ae]|femminil[ei]|mamm[ae]|madri|nubile|premurosa)\b", re.IGNORECASE)
MALE = re.compile(r"\b(uom\w+|ragazz[oi]|maschi\w*|sesso M|stranieri)\b", re.IGNORECASE)
STEMS = {
    "il": "",
    "del": "de",
    "al": "a",
    "dal": "da",
    "nel": "ne",
    "i": "",
    "dei": "de",
    "ai": "a",
    "dai": "da",
}


@dataclass(frozen=True)
class Wording:
    """What a slot is realised as: `gender` is what a following `{=...}` agrees with."""

    text: str
    gender: str  # masculine, feminine, double, symbol, epicene, neutral_m, neutral_f
    evidence: bool = False


@dataclass
class Plan:
    """The choices that hold for one whole text."""

    mode: str
    style: str
    job: dict[str, str]
    fills: dict[str, str]
    rng: random.Random
    slip: int = -1  # which gendered slot of the text is the masculine slip
    seen: int = 0  # gendered slots met so far
    told: bool = False  # whether the text names the occupation
    used: Counter = field(default_factory=Counter)


@lru_cache(maxsize=1)
def library() -> dict:
    """The words, fill-ins, sectors, frames (register → section → list) and the occupations not held out."""
    words = yaml.safe_load((FOLDER / "frames.yaml").read_text(encoding="utf-8"))
    sectors = yaml.safe_load((FOLDER / "frames_sectors.yaml").read_text(encoding="utf-8"))
    frames = {}
    for name in ("third", "second", "shop", "public", "social", "exclusion"):
        sections = yaml.safe_load((FOLDER / f"frames_{name}.yaml").read_text(encoding="utf-8"))
        frames[name] = {
            k: [line.replace("\\n", "\n") for line in v.splitlines()] for k, v in sections.items()
        }
    with (FOLDER / "occupations.tsv").open(encoding="utf-8", newline="") as lines:
        jobs = [row for row in csv.DictReader(lines, delimiter="\t") if row["held_out"] == "no"]
    return {**words, "sectors": sectors, "frames": frames, "jobs": jobs}


def articled(noun: str, article: str, gender: str) -> str:
    """The noun after an article or articulated preposition, by gender: masculine or feminine.

    `article` is named by its masculine: il un del al dal nel, i dei ai dai; another raises KeyError.
    """
    vowel = bool(re.match(r"[aeiouàèéìòùh]", noun, re.IGNORECASE))  # h is silent, HR is read "acca erre"
    impure = bool(re.match(r"s[bcdfghklmnpqrtv]|z|gn|ps|pn|x|y|chef", noun, re.IGNORECASE))
    if article == "un":
        if gender == "feminine":
            return f"un'{noun}" if vowel else f"una {noun}"
        return f"uno {noun}" if impure and not vowel else f"un {noun}"
    plural = article.endswith("i")
    stem = STEMS[article]
    if gender == "feminine":
        form = "le" if plural else "l'" if vowel else "la"
    elif plural:
        form = "gli" if vowel or impure else "i"
    else:
        form = "l'" if vowel else "lo" if impure else "il"
    if stem and form != "i" and form != "gli":
        form = "l" if form == "il" else f"l{form}"  # de + la = della, de + il = del
    return stem + form + ("" if form.endswith("'") else " ") + noun


def paired(first: str, second: str, joiner: str) -> str:
    """Two wordings joined, their common last words said once: "operatrici e operatori di macchina"."""
    a, b = first.split(), second.split()
    shared = 0
    while shared < min(len(a), len(b)) - 1 and a[-1 - shared] == b[-1 - shared]:
        shared += 1
    joiner = "ed" if joiner == "e" and second[0] == "e" else joiner
    return " ".join([*a[: len(a) - shared], joiner, *b])


def symbolic(masculine: str, feminine: str) -> str | None:
    """The two forms with an asterisk for the last letter, or None where they differ by more."""
    pairs = list(zip(masculine.split(), feminine.split(), strict=False))
    if any(m != f and m[:-1] != f[:-1] for m, f in pairs):
        return None
    return " ".join(m if m == f else m[:-1] + "*" for m, f in pairs)


def agreeing(word: str) -> dict[str, str]:
    """The forms of a masculine adjective or participle; all equal where it has one form for both genders."""
    names = ("masculine", "neutral_m", "feminine", "neutral_f", "double", "symbol")
    if word.endswith("e") or re.search(r"(nti|[aiou]li)$", word):
        return dict.fromkeys(names, word)
    ending = {"o": "a", "i": "e"}[word[-1]]
    stem = word[:-1]
    return dict(
        zip(names, [word, word, stem + ending, stem + ending, f"{word}/{ending}", stem + "*"], strict=True)
    )


def reworded(job: dict[str, str], article: str, plural: bool) -> str | None:
    """The neutral wording of an occupation, or None where the slot cannot take it ("un personale")."""
    head, _, rest = job["neutral"].partition(" ")
    if head == "professionalità" and article:
        return None  # "alla professionalità odontoiatrica" is nobody's Italian
    if head == "personale":
        if plural or article == "un":
            return None
        return articled(job["neutral"], article, "masculine") if article else job["neutral"]
    if plural:
        if not re.match(r"(in|da|di|per|con|a|al|alla|alle|all'\w+)\b", rest):
            return None
        head = head if head.endswith("à") else head[:-1] + "e"
    phrase = f"{head} {rest}"
    return articled(phrase, article, "feminine") if article else phrase


def occupation(job: dict[str, str], article: str, plural: bool, fixed: bool) -> dict[str, list[str]]:
    """The wordings of an occupation by style; `fixed` leaves out the neutral one. A style may be empty."""
    m, f = (job[gender + "_plural" * plural] for gender in ("masculine", "feminine"))
    full_m = articled(m, article, "masculine") if article else m
    full_f = articled(f, article, "feminine") if article else f
    neutral = None if fixed else reworded(job, article, plural)
    forms = {
        "masculine": [full_m],
        "feminine": [full_f],
        "neutral": [neutral] if neutral else [],
        "symbol": [],
    }
    if full_m == full_f:
        return {**forms, "double": [full_m]}
    pair = paired(full_f, full_m, "e" if plural else "o")
    a, b = full_m.removesuffix(m).strip(), full_f.removesuffix(f).strip()
    if plural and m != f:
        forms["double"] = [pair, paired(full_m, full_f, "e")]  # "gli/le autisti/e" is hard to read
    elif a.endswith("'") and a != b:
        forms["double"] = [pair]
    else:
        slashed = m if m == f else job["double"]
        articles = a if a == b else a + "/" + b.replace("un'", "una") + " "
        forms["double"] = [articles + slashed] + [pair] * (m != f)
    if m != f and article in ("", "un", "il") and (mark := symbolic(m, f)):
        forms["symbol"] = [{"": "", "un": "un* ", "il": "l* "}[article] + mark]
    return forms


def choice(alternatives: str) -> dict[str, list[str]]:
    """The wordings of a written slot by style; raises ValueError without an inclusive one."""
    masculine, feminine, *rest = alternatives.split("|")
    if not rest:
        raise ValueError(f"no inclusive wording in {{{alternatives}}}")
    forms: dict[str, list[str]] = {"masculine": [masculine], "double": [], "neutral": [], "symbol": []}
    forms["feminine"] = [] if feminine == "-" else [feminine]
    for text in rest:
        both = "/" in text or (re.search(r"\b(e|o|ed) ", text) and not re.search(r"\b(e|o|ed) ", masculine))
        forms["symbol" if "*" in text or "ə" in text else "double" if both else "neutral"].append(text)
    return forms


def wordings(name: str, plan: Plan) -> tuple[dict[str, list[str]], bool]:
    """The wordings of the slot `{name}` and whether what follows agrees with it."""
    if "|" in name:
        return choice(name), False
    match = re.fullmatch(r"(?:(\w+) )?(occs?|ruolo)", name, re.IGNORECASE)
    if match:
        article = (match[1] or "").lower()
        forms = occupation(plan.job, article, match[2].lower() == "occs", match[2].lower() == "ruolo")
        return forms, match[2].lower() != "ruolo"
    forms = choice(library()["words"][name[0].lower() + name[1:]])
    return forms, bool(forms["feminine"])


def gendered(forms: dict[str, list[str]]) -> bool:
    """Whether the masculine of a slot says more than its inclusive wordings."""
    return forms["masculine"][0] not in forms["double"] + forms["neutral"] + forms["symbol"]


def worded(forms: dict[str, list[str]], style: str, rng: random.Random) -> Wording:
    """One wording of a slot in the style asked for, or in the nearest one it has."""
    if style in ("masculine", "feminine"):
        return Wording(forms[style][0], style, gendered(forms))
    plain = forms["masculine"] == forms["feminine"]
    if plain and not (style == "neutral" and forms["neutral"] and rng.random() < 0.5):
        return Wording(forms["masculine"][0], "epicene")
    found = next(s for s in (style, "double", "neutral", "symbol") if forms[s])
    text = rng.choice(forms[found])
    if found == "neutral":
        masculine = re.match(r"(un|il|del|al|dal|i|personale|profil[oi])\b", text, re.IGNORECASE)
        return Wording(text, "neutral_m" if masculine else "neutral_f")
    return Wording(text, found)


def slot_style(plan: Plan, style: str, forms: dict[str, list[str]], target: bool) -> str:
    """Masculine, feminine or inclusive style of one slot, from the mode of the text."""
    if plan.mode == "masculine" or target:
        return "masculine" if target or plan.rng.random() > 0.12 else style
    if plan.mode == "feminine":
        return "feminine" if forms["feminine"] else plan.rng.choice(["masculine", style])
    return style


def realised(frame: str, plan: Plan) -> str:
    """The frame with its slots worded, between marks; counts its slots in `plan`."""
    rng, last = plan.rng, None
    style = plan.style if rng.random() < 0.8 else rng.choice(list(STYLES))
    if plan.mode == "slip" and style == "neutral" and "{=" in frame:
        style = "double"  # "la persona sarà inserito" is a mistake, "il/la candidato/a sarà inserito" an ad

    def one(match: re.Match) -> str:
        nonlocal last
        name = match[1]
        if name.startswith("="):
            wording = agreed(name[1:], last, plan, style)
        else:
            forms, anchors = wordings(name, plan)
            target = gendered(forms) and plan.slip == plan.seen
            wording = worded(forms, slot_style(plan, style, forms, target), rng)
            plan.seen += gendered(forms)
            plan.told |= bool(re.search(r"occs?$|ruolo$", name, re.IGNORECASE))
            last = wording.gender if anchors else last
            if name[0].isupper() and "|" not in name:
                text = wording.text.upper() if name == "OCC" else wording.text[0].upper() + wording.text[1:]
                wording = Wording(text, wording.gender, wording.evidence)
        shown = wording.evidence or wording.gender not in ("masculine", "feminine")
        plan.used[wording.gender if shown else "epicene"] += 1
        if "[[" in wording.text:  # the evidence is narrower than the slot
            return wording.text
        return (OPEN if wording.evidence else KEEP) + wording.text + (CLOSE if wording.evidence else KEPT)

    return SLOT.sub(one, frame).replace("[[", OPEN).replace("]]", CLOSE)


def agreed(word: str, last: str | None, plan: Plan, style: str) -> Wording:
    """A `{=...}` slot, which follows its anchor where it has one, otherwise the mode of the text."""
    forms = agreeing(word)
    varies = forms["masculine"] != forms["feminine"]
    target = varies and plan.slip == plan.seen
    plan.seen += varies
    gender = last or plan.mode
    if gender not in forms:  # nothing to agree with, or an epicene: both genders
        gender = "symbol" if style == "symbol" else "double"
    if target and gender in ("double", "symbol"):
        gender = "masculine"
    return Wording(forms[gender], gender, varies and gender in ("masculine", "feminine"))


def gendered_slots(frame: str, job: dict[str, str]) -> int:
    """How many slots of a filled frame could carry one gender for this occupation."""
    probe = Plan("inclusive", "double", job, {}, random.Random(0))
    realised(frame, probe)
    return probe.seen


def filled(frame: str, plan: Plan, decks: dict[str, list[str]]) -> str:
    """The frame with its fill-ins; duties, benefits and so on do not repeat while they last."""
    entry = library()["sectors"][plan.job["sector"]] | library()["fills"]

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
        return draw(name) if name in ("duty", "req", "soft", "benefit") else match[0]

    return re.sub(r"\ba (?=A[a-z])", "ad ", SLOT.sub(one, frame))  # "ad Asti"


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
        facts = set(library()["told_once"]) & set(SLOT.findall(frame))
        if frame not in taken and (attempt > 30 or not facts & taken):
            break
    taken |= {frame, *facts}
    return frame


def joined(parts: list[tuple[str, str]], size: str, rng: random.Random) -> str:
    """(section, realised frame) pairs as one text: run on, or on lines, with headers in a longer ad."""
    lines = size == "long" or rng.random() < 0.25
    headers = size == "long" and rng.random() < 0.7
    text = ""
    for section, part in parts:
        part = re.sub(r"^([\ue000\ue002]*)(\w)", lambda m: m[1] + m[2].upper(), part)
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
        text = text[:-1] + rng.choice(["", "", "!", "...", " !!", " "]).rstrip(" ")
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


def misspelt(text: str, rng: random.Random) -> str:
    """One long word with two inner letters swapped or one lost; the last three letters stay."""
    words = list(re.finditer(r"(?<![@.\w])[a-zà-ù]{8,}\b(?![@.]\w)", text))
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
    words = list(re.finditer(r"(?<![@.\w])[a-zà-ù]{6,}\b(?![@.]\w)", text))
    if not words:
        return text
    match = rng.choice(words)
    return text[: match.start()] + match[0].upper() + text[match.end() :]


def lowered(text: str, rng: random.Random) -> str:
    """No capitals, as in a message."""
    return text.lower()


def unmarked(text: str) -> tuple[str, list[list[int]]]:
    """The text without marks, and [start, end] of each stretch of evidence in it."""
    plain, spans = "", []
    for char in text:
        if char == OPEN:
            spans.append([len(plain), len(plain)])
        elif char == CLOSE:
            spans[-1][1] = len(plain)
        elif char not in (KEEP, KEPT):
            plain += char
    return plain, spans


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


def excluded(plan: Plan, size: str, frames: list[tuple[str, str]], taken: set[str]) -> str:
    """Puts a frame of exclusion, or a lawful exception, among the frames; returns its category or ""."""
    if plan.mode not in ("lawful", "exclusion") and not (plan.mode == "slip" and plan.rng.random() < 0.05):
        return ""
    category = "lawful_alone" if size == "short" and plan.rng.random() < 0.5 else "lawful"
    if plan.mode == "exclusion":
        named = [name for name in library()["frames"]["exclusion"] if not name.startswith("lawful")]
        category = plan.rng.choice(named)
    frame = ("exclusion", pick("exclusion", category, plan, taken))
    if size == "short" and plan.mode != "slip":
        frames[:] = [frame]
    else:
        frames.insert(plan.rng.randint(1, len(frames)), frame)
    return category


def drafted(mode: str, rng: random.Random) -> tuple[Plan, str, str, list[tuple[str, str]], str]:
    """A plan with its filled frames: plan, register, size, [(section, frame)], category or ""."""
    job = rng.choice(library()["jobs"])
    entry = library()["fills"] | library()["sectors"][job["sector"]]
    listed = ("soft", "benefit", "duty", "req")
    fixed = {name: rng.choice(values) for name, values in entry.items() if name not in listed}
    plan = Plan(mode, rng.choices(list(STYLES), list(STYLES.values()))[0], job, fixed, rng)
    register = register_of(job["sector"], rng)
    size = rng.choices(["short", "middle", "long"], [0.25, 0.55, 0.20])[0]
    taken: set[str] = set()
    frames = [(name, pick(register, name, plan, taken)) for name in outline(register, size, rng)]
    category = excluded(plan, size, frames, taken)
    decks: dict[str, list[str]] = {}
    return plan, register, size, [(name, filled(frame, plan, decks)) for name, frame in frames], category


def written(mode: str, rng: random.Random) -> dict | None:
    """One generated row, or None where the frames drawn do not fit the mode."""
    plan, register, size, frames, category = drafted(mode, rng)
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
    if mode != "exclusion" and spans:
        category = "feminine_title" if form == "feminine" else "masculine_form"
    elif mode != "exclusion":
        category = "lawful_exception" if category else "inclusive"
    return {
        "text": text,
        "label": "not_inclusive" if spans else "inclusive",
        "category": category,
        "gender_form": form,
        "occupation": plan.job["lemma"] if plan.told else "",
        "sector": plan.job["sector"],
        "spans": spans,
    }


def generate(n: int, seed: int = 0) -> Iterator[dict]:
    """`n` rows with distinct texts: text, label, category, gender_form, occupation, sector, spans.

    `spans` are [start, end] of the wording that makes the text not inclusive. The rows
    depend on the seed alone, so a shorter generation is the beginning of a longer one.
    """
    rng, seen = random.Random(seed), set()
    while len(seen) < n:
        mode, row = rng.choices(list(MODES), list(MODES.values()))[0], None
        while row is None or row["text"] in seen:
            row = written(mode, rng)
        seen.add(row["text"])
        yield row
