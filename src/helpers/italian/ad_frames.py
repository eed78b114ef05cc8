"""The wording of the generated job ads: a frame of text with its slots realised in one gender or in both.

A frame (italian_jobs/frames_*.yaml) is a line of text with slots:
- `{pronto|pronta|pronto/a|con voglia}` masculine | feminine | inclusive wordings; `-`: no feminine is in use;
- `{il_candidato}` a slot of the same kind, named in frames.yaml;
- `{un occ}`, `{Del occ}`, `{i occs}`, `{occ}`, `{ruolo}` the occupation (`ruolo` is never reworded);
- `{=inserito}` agrees with the last named slot or occupation before it, or with the reader ("sei pronto/a");
- `{city}`, `{duties}` a fill-in; `[[...]]` evidence; `@sector@` opens a frame of that sector only (see job_ads).
"""

from __future__ import annotations

import csv
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent / "tables"
OPEN, CLOSE, KEEP, KEPT = "\ue000", "\ue001", "\ue002", "\ue003"  # evidence; wording that noise leaves alone
SLOT = re.compile(r"\{([^{}]+)\}")
STYLES = {"double": 0.45, "neutral": 0.45, "symbol": 0.10}
STEMS = {"il": "", "del": "de", "al": "a", "dal": "da", "nel": "ne", "i": "", "dei": "de", "ai": "a", "dai": "da"}


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
        frames[name] = {k: [line.replace("\\n", "\n") for line in v.splitlines()] for k, v in sections.items()}
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
        return f"uno {noun}" if impure else f"un {noun}"
    plural = article.endswith("i")
    stem = STEMS[article]
    if gender == "feminine":
        form = "le" if plural else "l'" if vowel else "la"
    elif plural:
        form = "gli" if vowel or impure else "i"
    else:
        form = "l'" if vowel else "lo" if impure else "il"
    if stem and form not in ("i", "gli"):
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
    if word.endswith("e") or re.search(r"(nti|[aiou]li)$", word):
        feminine = double = symbol = word
    else:
        ending = {"o": "a", "i": "e"}[word[-1]]
        feminine, double, symbol = word[:-1] + ending, f"{word}/{ending}", word[:-1] + "*"
    forms = {"masculine": word, "feminine": feminine, "double": double, "symbol": symbol}
    return {**forms, "neutral_m": word, "neutral_f": feminine}


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
    forms = {"masculine": [full_m], "feminine": [full_f], "neutral": [neutral] if neutral else [], "symbol": []}
    if full_m == full_f:
        return {**forms, "double": [full_m]}
    pair = paired(full_f, full_m, "e" if plural else "o")
    a, b = full_m.removesuffix(m).strip(), full_f.removesuffix(f).strip()
    if plural and m != f:
        forms["double"] = [pair, paired(full_m, full_f, "e")]  # "gli/le autisti/e" is hard to read
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
    if match := re.fullmatch(r"(?:(\w+) )?(occs?|ruolo)", name.lower()):
        article, noun = match[1] or "", match[2]
        return occupation(plan.job, article, noun == "occs", fixed=noun == "ruolo"), noun != "ruolo"
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
    if target or (plan.mode == "masculine" and plan.rng.random() > 0.12):
        return "masculine"
    if plan.mode == "feminine":
        return "feminine" if forms["feminine"] else plan.rng.choice(["masculine", style])
    return style


def cased(text: str, slot: str) -> str:
    """The wording with the capitals of its slot, as in `{OCC}` and `{Il occ}`; a written slot has its own."""
    if "|" in slot or not slot[0].isupper():
        return text
    return text.upper() if slot == "OCC" else text[0].upper() + text[1:]


def realised(frame: str, plan: Plan) -> str:
    """The frame with its slots worded, between the marks of evidence or of kept wording; counts slots in `plan`."""
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
        shown = wording.evidence or wording.gender not in ("masculine", "feminine")
        plan.used[wording.gender if shown else "epicene"] += 1
        text = cased(wording.text, name)
        if "[[" in text:  # the evidence is narrower than the slot
            return text
        return OPEN + text + CLOSE if wording.evidence else KEEP + text + KEPT

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
