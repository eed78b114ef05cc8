"""Silver pairs for the inclusive rewriting of Italian job ads: made without a person from unlabelled text and the rules.

None of them has a label of a person, and none comes from a validation or test row. Each is the pair of a method: `frames` of the
generator worded twice, `rules` of `italian` on sentences of the pool, `single` (sentences that people wrote inclusively, put into
one gender), `inserted` (a requirement that excludes, put into a sentence that has none).
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from helpers import edits
from helpers.italian import doubles, gender
from helpers.italian.ad_frames import library, realised, unmarked
from helpers.italian.ads import drafted

SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-ZÈ])|\n+")
GRAMMAR = {"masculine_form", "feminine_title"}
# clauses that may follow a noun without a comma
BESIDE = re.compile(
    r"(di|con|sol[oiea]|max|massimo|under|uom|donn|maschi|femmin|tra i|esclusivamente|preferibilmente|senza|no|non) ?"
)
LONGEST = 170  # characters of a source: as long as a sentence


def sentences(texts: Iterable[str]) -> list[str]:
    """Distinct sentences of the texts, in order."""
    cut = (s.strip() for text in texts for s in SENTENCE.split(text))
    return list(dict.fromkeys(s for s in cut if 25 < len(s) < LONGEST))


def from_frames(count: int, seed: int) -> list[dict]:
    """Frames of the generator worded in one gender and again for all, and unchanged ones among them."""
    rng, found = random.Random(seed), {}
    while len(found) < count:
        mode = rng.choices(["masculine", "feminine", "inclusive"], [0.65, 0.15, 0.2])[0]
        plan, *_, frames, _ = drafted(mode, rng, {"length": "short"})
        for _, frame in frames:
            given = replace(plan, style="double", rng=random.Random(0), used=Counter())
            wanted = replace(given, mode="inclusive", rng=random.Random(0), used=Counter())
            source, evidence = unmarked(realised(frame, given))
            target = unmarked(realised(frame, wanted))[0] if mode != "inclusive" else source
            changed = edits.spans(source, target)
            if not 25 < len(source) < LONGEST or "\n" in source or len(changed) < len(evidence):
                continue
            if all(any(a < end and b > start for start, end in evidence) for a, b, _ in changed):
                found[source[0].upper() + source[1:]] = target[0].upper() + target[1:]
    return [_pair(s, t, "frames") for s, t in found.items()][:count]


def from_rules(found: Sequence[str]) -> list[dict]:
    """Sentences and what the rules make of them: those with cues of grammar alone, and those without a cue.

    A sentence in which people have written both genders is put into one first: a source more, whose target reads well.
    """
    pairs = []
    for i, text in enumerate(found):
        categories = {c.category for c in gender.cues(text)}
        if not categories and (one := doubles.single(text, ("masculine", "feminine")[i % 2])) != text:
            pairs.append(_pair(text, text, "kept"))
            text, categories = one, {c.category for c in gender.cues(one)}
        if categories <= GRAMMAR:
            pairs.append(_pair(text, gender.neutralise(text), "rules" if categories else "kept"))
    return pairs


def with_gaps(pairs: Sequence[dict], seed: int) -> list[dict]:
    """The pairs with a `draft` that has missed some of the edits, as rules miss what no table has."""
    rng, made = random.Random(seed), []
    for pair in pairs:
        found = edits.spans(pair["text"], pair["target"])
        kept = [span for span in found if rng.random() < 0.5]
        if len(kept) < len(found):
            made.append(pair | {"draft": edits.apply(pair["text"], kept), "method": "gaps"})
    return made


def requirements(found: Sequence[str], records: Sequence[dict]) -> list[str]:
    """Short clauses that exclude beyond grammar: of the generator, of sentences, and of what the targets of records leave out."""
    frames = [f for name, lines in library()["frames"]["exclusion"].items() if "lawful" not in name for f in lines]
    clauses = [c for frame in frames for c in re.findall(r"\[\[([^{}\]]+)\]\]", frame) if len(c.split()) <= 6]
    for text in found:
        for clause in re.split(r", | e |; |[.()!]", text):
            cues = [c for c in gender.cues(clause) if c.category not in GRAMMAR]
            if cues and len(clause.split()) <= 5 and len(cues[0].text) > 0.6 * len(clause):
                clauses.append(clause.strip())
    for record in records:
        for start, end, new in edits.spans(record["text"], record["target"]):
            if not new and record.get("category") not in GRAMMAR and end - start > 8:
                clauses.append(re.sub(r"^\W+|\W+$", "", re.sub(r" e$", "", record["text"][start:end])))
    return list(dict.fromkeys(c[0].lower() + c[1:] for c in clauses))


def with_requirement(pairs: Sequence[dict], clauses: Sequence[str], seed: int) -> list[dict]:
    """The pairs with a clause that excludes in the source, which the target goes without: behind a person, or in a list."""
    rng, made = random.Random(seed), []
    close = [c for c in clauses if BESIDE.match(c)]
    for pair in pairs:
        clause = re.sub(r"\b[2-6]\d\b", lambda m: str(rng.randint(20, 60)), rng.choice(clauses))  # ages
        commas = [m.start() for m in re.finditer(r"(?<=\w), (?!ma\b|e\b|o\b)", pair["text"])]
        people = [end for _, end, new in edits.spans(pair["text"], pair["target"]) if "/" in new][:2]
        if people and close and rng.random() < 0.5:
            joint, where, clause = " ", people[-1], re.sub(r"\b[2-6]\d\b", str(rng.randint(20, 60)), rng.choice(close))
        elif commas:
            joint, where = rng.choice([", ", ", ", ", ", " e "]), rng.choice(commas)
        else:
            continue
        if not pair["text"][where:].startswith("/"):
            made.append(_pair(pair["text"][:where] + joint + clause + pair["text"][where:], pair["target"], "inserted"))
    return made


def silver(texts: Iterable[str], records: Sequence[dict], count: int, seed: int = 0) -> list[dict]:
    """About `count` pairs from unlabelled texts and the seed's records, in shares chosen on the validation rows."""
    found = sentences(texts)
    random.Random(seed).shuffle(found)
    clauses = requirements(found[: 4 * count], records)
    ruled = from_rules(found[: 2 * count])
    changed = [p for p in ruled if p["text"] != p["target"]]
    kept = [p for p in ruled if p["text"] == p["target"]]
    n = count // 20
    made = [
        from_frames(6 * n, seed),
        with_gaps(changed, seed)[: 4 * n],
        kept[: 3 * n],
        with_requirement(changed[::-1] + kept[::-1], clauses, seed)[: 7 * n],
    ]
    return [pair for pairs in made for pair in pairs]


def _pair(text: str, target: str, method: str) -> dict:
    # house style: un/a operaio/a, un/un'insegnante
    target = re.sub(r"\b(un)/una (?=[aeiou]\w+\b(?!/))", r"\1/un'", target, flags=re.IGNORECASE)
    target = re.sub(r"\b(uno?)/una\b", r"\1/a", target, flags=re.IGNORECASE)
    return {"text": text, "target": target, "method": method, "source": "synthetic"}
