"""The wording of the generated job ads: a frame of text with its slots realised in one gender or in both.

A frame (tables/frames_*.yaml) is a line of text with slots:

- `{pronto|pronta|pronto/a|con voglia}` masculine | feminine | inclusive wordings; `-`: no feminine is in use;
- `{il_candidato}` a slot of the same kind, named in frames.yaml;
- `{un occ}`, `{Del occ}`, `{i occs}`, `{occ}`, `{ruolo}` the occupation (`ruolo` never takes a neutral wording);
- `{=inserito}` agrees with the last named slot or occupation before it, or with the reader ("sei pronto/a");
- `{city}`, `{duties}` a fill-in; `[[...]]` evidence; `@sector@` opens a frame of that sector only (see `ads`).

The morphology is that of `forms` and the lexicon. What stands here is the choice between styles: an
ad may say "il/la cuoco/a", "una cuoca o un cuoco", "l* cuoc*" or "personale di cucina".
"""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache

import yaml

from helpers.italian.forms import articled, double, with_asterisk
from helpers.italian.lexicon import FOLDER, MASCULINE, adjective_of, occupations, tokenise

OPEN, CLOSE, KEEP, KEPT = "\ue000", "\ue001", "\ue002", "\ue003"  # evidence; wording that noise leaves alone
SLOT = re.compile(r"\{([^{}]+)\}")
OCCUPATION = re.compile(r"(?:(\w+) )?(occs?|ruolo)", re.IGNORECASE)
STYLES = {"double": 0.45, "neutral": 0.45, "symbol": 0.10}

Wordings = dict[str, list[str]]  # of one slot, by style: masculine, feminine, double, neutral, symbol


@dataclass(frozen=True)
class Wording:
    """What a slot is realised as: `gender` is what a following `{=...}` agrees with."""

    text: str
    gender: str  # masculine, feminine, double, symbol, epicene, neutral_m, neutral_f
    is_evidence: bool = False


@dataclass
class Plan:
    """The choices that hold for one whole text, and counts of what it has used so far."""

    mode: str
    style: str
    job: dict[str, str]
    fills: dict[str, str]
    rng: random.Random
    register: str = ""
    size: str = ""
    category: str = ""  # of an exclusion among the frames
    frames: list[tuple[str, str]] = field(default_factory=list)  # section and frame
    slip: int = -1  # which gendered slot of the text is the masculine slip
    gendered_slots: int = 0
    names_occupation: bool = False
    used: Counter = field(default_factory=Counter)  # slots by gender


@cache
def library() -> dict:
    """Words, fill-ins, sectors, frames (register → section → list), jobs that are not held out."""
    tables = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in FOLDER.glob("frames*.yaml")}
    frames = {}
    for name in ("third", "second", "shop", "public", "social", "exclusion"):
        sections = tables[f"frames_{name}"]
        frames[name] = {k: [line.replace("\\n", "\n") for line in v.splitlines()] for k, v in sections.items()}
    jobs = [row for row in occupations() if row["held_out"] == "no"]
    return {**tables["frames"], "sectors": tables["frames_sectors"], "frames": frames, "jobs": jobs}


# --- frames -----------------------------------------------------------------------------


def realise(frame: str, plan: Plan) -> str:
    """The frame with its slots worded, each between marks; counts the slots in `plan`."""
    rng, anchor = plan.rng, None  # the gender of the last slot that others agree with
    style = plan.style if rng.random() < 0.8 else rng.choice(list(STYLES))
    if plan.mode == "slip" and style == "neutral" and "{=" in frame:
        style = "double"  # "la persona sarà inserito" is a mistake, "il/la candidato/a sarà inserito" an ad

    def word(match: re.Match) -> str:
        nonlocal anchor
        name = match[1]
        if name.startswith("="):
            wording = _agreeing_wording(name[1:], anchor, plan, style)
        else:
            wordings, is_anchor = slot_wordings(name, plan)
            is_slip = is_gendered(wordings) and plan.slip == plan.gendered_slots
            wording = _chosen(wordings, plan, "masculine" if is_slip else style)
            plan.gendered_slots += is_gendered(wordings)
            plan.names_occupation |= bool(re.search(r"occs?$|ruolo$", name, re.IGNORECASE))
            anchor = wording.gender if is_anchor else anchor
        names_gender = wording.is_evidence or wording.gender not in ("masculine", "feminine")
        plan.used[wording.gender if names_gender else "epicene"] += 1
        text = wording.text
        if name[0].isupper() and "|" not in name:
            text = text.upper() if name == "OCC" else text[0].upper() + text[1:]
        if "[[" in text:  # the evidence is narrower than the slot
            return text
        return OPEN + text + CLOSE if wording.is_evidence else KEEP + text + KEPT

    return SLOT.sub(word, frame).replace("[[", OPEN).replace("]]", CLOSE)


def without_marks(text: str) -> tuple[str, list[list[int]]]:
    """The text without marks, and [start, end] of each span of evidence in it."""
    plain, spans = "", []
    for char in text:
        if char == OPEN:
            spans.append([len(plain)])
        elif char == CLOSE:
            spans[-1].append(len(plain))
        elif char not in (KEEP, KEPT):
            plain += char
    return plain, spans


def count_gendered_slots(frame: str, job: dict[str, str]) -> int:
    """How many slots of a filled frame could carry one gender for this occupation."""
    plan = Plan("inclusive", "double", job, {}, random.Random(0))
    realise(frame, plan)
    return plan.gendered_slots


# --- the wordings of a slot -------------------------------------------------------------


def slot_wordings(name: str, plan: Plan) -> tuple[Wordings, bool]:
    """The wordings of the slot `{name}` and whether what follows agrees with it."""
    if "|" in name:
        return written_wordings(name), False
    if match := OCCUPATION.fullmatch(name.lower()):
        article, noun = match[1] or "", match[2]
        return occupation_wordings(plan.job, article, noun == "occs", noun != "ruolo"), noun != "ruolo"
    wordings = written_wordings(library()["words"][name[0].lower() + name[1:]])
    return wordings, bool(wordings["feminine"])


def written_wordings(alternatives: str) -> Wordings:
    """The wordings of a written slot by style."""
    masculine, feminine, *inclusive = alternatives.split("|")
    wordings: Wordings = {"masculine": [masculine], "double": [], "neutral": [], "symbol": []}
    wordings["feminine"] = [] if feminine == "-" else [feminine]
    for text in inclusive:
        conjunction = re.search(r"\b(e|o|ed) ", text) and not re.search(r"\b(e|o|ed) ", masculine)
        style = "double" if "/" in text or conjunction else "neutral"
        wordings["symbol" if "*" in text or "ə" in text else style].append(text)
    return wordings


def occupation_wordings(job: dict[str, str], article: str, plural: bool, with_neutral: bool) -> Wordings:
    """The wordings of an occupation (a row of occupations.tsv) by style; a style may be empty.

    `article` is a masculine form (il un del al dal nel, i dei ai dai) or "".
    """
    slot, suffix = (2, "_plural") if plural else (0, "")
    masculine, feminine = job["masculine" + suffix], job["feminine" + suffix]
    full_masculine, full_feminine = articled(masculine, article, slot), articled(feminine, article, slot + 1)
    neutral = _neutral_wording(job, article, plural) if with_neutral else None
    wordings: Wordings = {"masculine": [full_masculine], "feminine": [full_feminine], "symbol": []}
    wordings["neutral"] = [neutral] if neutral else []
    if full_masculine == full_feminine:
        return {**wordings, "double": [full_masculine]}
    pair = joined(full_feminine, full_masculine, "e" if plural else "o")
    if plural and masculine != feminine:
        wordings["double"] = [pair, joined(full_masculine, full_feminine, "e")]  # "gli/le autisti/e" is hard to read
    else:
        one, other = full_masculine.removesuffix(masculine), full_feminine.removesuffix(feminine)
        feminine_article = other.strip().replace("un'", "una")
        articles = one if one == other else f"{one.strip()}/{feminine_article} "  # "il/la ", "l'"
        wordings["double"] = [articles + masculine] if masculine == feminine else [articles + job["double"], pair]
    if masculine != feminine and article in ("", "un", "il") and (stem := with_asterisk(masculine, feminine)):
        wordings["symbol"] = [{"": "", "un": "un* ", "il": "l* "}[article] + stem]
    return wordings


def joined(first: str, second: str, conjunction: str) -> str:
    """Two wordings joined, their common last words said once: "operatrici e operatori di macchina"."""
    a, b = first.split(), second.split()
    shared = 0
    while shared < min(len(a), len(b)) - 1 and a[-1 - shared] == b[-1 - shared]:
        shared += 1
    if conjunction == "e" and second[0] == "e":
        conjunction = "ed"
    return " ".join([*a[: len(a) - shared], conjunction, *b])


def _neutral_wording(job: dict[str, str], article: str, plural: bool) -> str | None:
    """The neutral wording of an occupation, or None where the slot cannot take it ("un personale")."""
    head, _, rest = job["neutral"].partition(" ")
    if head == "professionalità" and article:
        return None  # "alla professionalità odontoiatrica" is nobody's Italian
    if head == "personale":
        return None if plural or article == "un" else articled(job["neutral"], article, 0)
    if plural and not re.match(r"(in|da|di|per|con|a|al|alla|alle|all'\w+)\b", rest):
        return None
    if plural and not head.endswith("à"):
        head = head[:-1] + "e"
    return articled(f"{head} {rest}", article, 3 if plural else 1)


@cache
def agreeing(word: str) -> dict[str, str]:
    """The forms of a masculine adjective or participle, by the gender of its anchor."""
    forms = adjective_of(tokenise(word)[0], MASCULINE, True).forms
    slot = forms.index(word)
    masculine, feminine = forms[slot : slot + 2]
    both = {"double": double(masculine, feminine), "symbol": with_asterisk(masculine, feminine)}
    return {"masculine": masculine, "neutral_m": masculine, "feminine": feminine, "neutral_f": feminine, **both}


# --- the choice of a wording ------------------------------------------------------------


def is_gendered(wordings: Wordings) -> bool:
    """Whether the masculine of a slot says more than its inclusive wordings."""
    return wordings["masculine"][0] not in wordings["double"] + wordings["neutral"] + wordings["symbol"]


def _chosen(wordings: Wordings, plan: Plan, style: str) -> Wording:
    """One wording of a slot as the mode of the text wants it, in `style` or the nearest style it has."""
    rng = plan.rng
    if plan.mode == "masculine" and rng.random() > 0.12:
        style = "masculine"
    elif plan.mode == "feminine":
        style = "feminine" if wordings["feminine"] else rng.choice(["masculine", style])
    if style in ("masculine", "feminine"):
        return Wording(wordings[style][0], style, is_gendered(wordings))
    epicene = wordings["masculine"] == wordings["feminine"]
    if epicene and not (style == "neutral" and wordings["neutral"] and rng.random() < 0.5):
        return Wording(wordings["masculine"][0], "epicene")
    style = next(s for s in (style, "double", "neutral", "symbol") if wordings[s])
    text = rng.choice(wordings[style])
    if style == "neutral":
        masculine = re.match(r"(un|il|del|al|dal|i|personale|profil[oi])\b", text, re.IGNORECASE)
        return Wording(text, "neutral_m" if masculine else "neutral_f")
    return Wording(text, style)


def _agreeing_wording(word: str, anchor: str | None, plan: Plan, style: str) -> Wording:
    """A `{=...}` slot: it agrees with its anchor, or follows the mode of the text without one."""
    forms = agreeing(word)
    varies = forms["masculine"] != forms["feminine"]
    is_slip = varies and plan.slip == plan.gendered_slots
    plan.gendered_slots += varies
    gender = anchor or plan.mode
    if gender not in forms:  # nothing to agree with, or an epicene: both genders
        gender = "symbol" if style == "symbol" else "double"
    if is_slip and gender in ("double", "symbol"):
        gender = "masculine"
    return Wording(forms[gender], gender, varies and gender in ("masculine", "feminine"))
