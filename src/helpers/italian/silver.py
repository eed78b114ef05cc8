"""Silver pairs for inclusive rewriting, made from unlabelled text by rule.

No pair uses a human label or a validation or test row. The `method` of a pair says how it was made:

- `frames`: a frame of the ad generator worded in one gender and again for everyone;
- `rules`: a sentence of the pool and what the rules make of it, or one that people wrote inclusively put into one gender;
- `kept`: an inclusive sentence that stays as it is;
- `gaps`: a pair by rule with a draft that misses some of its edits;
- `inserted`: a sentence with a requirement that excludes, put into one that has none.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from helpers import edits
from helpers.italian import gender
from helpers.italian.ad_frames import library, realise, without_marks
from helpers.italian.addressees import WORKPLACE
from helpers.italian.ads import draft
from helpers.italian.cues import GRAMMAR, find_cues, requirement_cues

SENTENCE_BREAK = re.compile(r"(?<=[.!?])\s+(?=[A-ZÈ])|\n+")
AGE = re.compile(r"\b[2-6]\d\b")
# clauses that may follow a noun without a comma
BESIDE_A_NOUN = re.compile(
    r"(di|con|sol[oiea]|max|massimo|under|uom|donn|maschi|femmin|tra i|esclusivamente|preferibilmente|senza|no|non) ?"
)
SHORTEST, LONGEST = 25, 170  # characters of a source, both excluded: about a sentence


def silver(texts: Iterable[str], records: Sequence[dict], count: int, seed: int, scope: str = WORKPLACE) -> list[dict]:
    """Silver pairs from unlabelled texts, in shares chosen on the validation rows.

    What the targets of `records` (the seed's pairs, with a `category`) leave out is inserted into other sentences. Some fewer
    pairs than `count` come back, as dicts with `text`, `target`, `method`, `source` ("synthetic"), and `draft` for `gaps`.
    """
    parts = (part.strip() for text in texts for part in SENTENCE_BREAK.split(text))
    pool = list(dict.fromkeys(part for part in parts if SHORTEST < len(part) < LONGEST))
    random.Random(seed).shuffle(pool)
    clauses = excluding_clauses(pool[: 4 * count], records)
    pairs = from_rules(pool[: 2 * count], scope)
    changed = [pair for pair in pairs if pair["text"] != pair["target"]]
    unchanged = [pair for pair in pairs if pair["text"] == pair["target"]]
    twentieth = count // 20
    return [
        *from_frames(6 * twentieth, seed),
        *with_gaps(changed, seed)[: 4 * twentieth],
        *unchanged[: 3 * twentieth],
        *with_requirement(changed[::-1] + unchanged[::-1], clauses, seed)[: 7 * twentieth],
    ]


def from_frames(count: int, seed: int) -> list[dict]:
    """Frames worded in one gender and again for everyone, and some inclusive ones unchanged."""
    rng = random.Random(seed)
    targets: dict[str, str] = {}  # by source
    while len(targets) < count:
        mode = rng.choices(["masculine", "feminine", "inclusive"], [0.65, 0.15, 0.2])[0]
        plan = draft(mode, rng, {"length": "short"})
        for _, frame in plan.frames:
            source_plan = replace(plan, style="double", rng=random.Random(0), used=Counter())
            source, evidence = without_marks(realise(frame, source_plan))
            target = source
            if mode != "inclusive":
                target_plan = replace(source_plan, mode="inclusive", rng=random.Random(0), used=Counter())
                target, _ = without_marks(realise(frame, target_plan))
            changes = edits.spans(source, target)
            if not SHORTEST < len(source) < LONGEST or "\n" in source or len(changes) < len(evidence):
                continue
            if all(any(a < end and b > start for start, end in evidence) for a, b, _ in changes):
                targets[source[0].upper() + source[1:]] = target[0].upper() + target[1:]
    return [_pair(source, target, "frames") for source, target in targets.items()][:count]


def from_rules(texts: Sequence[str], scope: str = WORKPLACE) -> list[dict]:
    """Sentences with no cue in the scope, or with cues of grammar alone, and what the rules make of them.

    A sentence with both genders is put into one first: one more source, whose target reads well.
    """
    pairs = []
    for i, text in enumerate(texts):
        categories = {cue.category for cue in find_cues(text, scope)}
        if not categories:
            one_gender = gender.single(text, ("masculine", "feminine")[i % 2])
            if one_gender != text:
                pairs.append(_pair(text, text, "kept"))
                text, categories = one_gender, {cue.category for cue in find_cues(one_gender, scope)}
        if categories <= set(GRAMMAR):
            pairs.append(_pair(text, gender.neutralise(text, scope), "rules" if categories else "kept"))
    return pairs


def with_gaps(pairs: Sequence[dict], seed: int) -> list[dict]:
    """Pairs with a `draft` that misses some edits, as rules miss words that no table has."""
    rng, gapped = random.Random(seed), []
    for pair in pairs:
        changes = edits.spans(pair["text"], pair["target"])
        drafted = [change for change in changes if rng.random() < 0.5]
        if len(drafted) < len(changes):
            gapped.append(pair | {"draft": edits.apply(pair["text"], drafted), "method": "gaps"})
    return gapped


def excluding_clauses(texts: Sequence[str], records: Sequence[dict]) -> list[str]:
    """Short clauses that exclude beyond grammar: of frames, of sentences, and what the targets of records leave out."""
    frames = [f for name, lines in library()["frames"]["exclusion"].items() if "lawful" not in name for f in lines]
    clauses = [c for frame in frames for c in re.findall(r"\[\[([^{}\]]+)\]\]", frame) if len(c.split()) <= 6]
    for text in texts:
        for clause in re.split(r", | e |; |[.()!]", text):
            requirements = requirement_cues(clause)
            if requirements and len(clause.split()) <= 5 and len(requirements[0].text) > 0.6 * len(clause):
                clauses.append(clause.strip())
    for record in records:
        for start, end, new in edits.spans(record["text"], record["target"]):
            if not new and record.get("category") not in GRAMMAR and end - start > 8:
                clauses.append(re.sub(r"^\W+|\W+$", "", re.sub(r" e$", "", record["text"][start:end])))
    return list(dict.fromkeys(clause[0].lower() + clause[1:] for clause in clauses))


def with_requirement(pairs: Sequence[dict], clauses: Sequence[str], seed: int) -> list[dict]:
    """The pairs with an excluding clause in the source alone, behind a person or in a list."""
    rng, inserted = random.Random(seed), []
    beside_a_noun = [clause for clause in clauses if BESIDE_A_NOUN.match(clause)]
    for pair in pairs:
        text, target = pair["text"], pair["target"]
        clause = AGE.sub(lambda _: str(rng.randint(20, 60)), rng.choice(clauses))
        commas = [match.start() for match in re.finditer(r"(?<=\w), (?!ma\b|e\b|o\b)", text)]
        people = [end for _, end, new in edits.spans(text, target) if "/" in new][:2]
        if people and rng.random() < 0.5:
            place, age = people[-1], str(rng.randint(20, 60))
            insertion = " " + AGE.sub(age, rng.choice(beside_a_noun))
        elif commas:
            insertion = rng.choice([", ", ", ", ", ", " e "]) + clause
            place = rng.choice(commas)
        else:
            continue
        if not text[place:].startswith("/"):
            inserted.append(_pair(text[:place] + insertion + text[place:], target, "inserted"))
    return inserted


def _pair(text: str, target: str, method: str) -> dict:
    """A pair whose target is in the style of the written pairs: un/a operaio/a, un/un'insegnante."""
    target = re.sub(r"\b(un)/una (?=[aeiou]\w+\b(?!/))", r"\1/un'", target, flags=re.IGNORECASE)
    target = re.sub(r"\b(uno?)/una\b", r"\1/a", target, flags=re.IGNORECASE)
    return {"text": text, "target": target, "method": method, "source": "synthetic"}
