"""The one record, near-duplicates, leak-free splits; `tables` makes records of a user's file.

A record is a dict with `id`, `text`, `label` (for generation `references`, and the first of them as `target`), the group columns,
`source`, `split`, and where they apply `parent_id` and `spans` (character offsets of the evidence); a synthetic row says its
`method` and `writer` too. One JSON object a line in every phase.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from helpers.env import UserError
from helpers.text import normalise

LABELLERS = ("oracle", "teacher", "human")


# --- one text --------------------------------------------------------------------------------------------------------


def record_id(task: str, text: str) -> str:
    """16 hexadecimal digits from the task and the normalised text, stable over runs."""
    return hashlib.sha256(f"{task}\0{normalise(text)}".encode()).hexdigest()[:16]


def split_by_answer(records: list[dict], answer: str, labeller: str) -> tuple[list[dict], list[dict]]:
    """(records with an answer, those without): where no person answers, seed and evaluation rows come from the first alone.

    `answer` is label or target. Raises UserError when no record has one, or on an unknown labeller.
    """
    if labeller not in LABELLERS:
        raise UserError(f"Parameter labeller={labeller!r} must be one of {', '.join(LABELLERS)}.")
    if labeller == "human":
        return records, []
    known = [r for r in records if r.get(answer)]
    if not known:
        column = "label_column" if answer == "label" else "target_columns"
        raise UserError(
            f"None of the {len(records):,} texts has a {answer}: name the column in {column}, or set labeller to human "
            f"and give the answers in the panel of 01_seed_curation."
        )
    return known, [r | {"split": "pool"} for r in records if not r.get(answer)]


def with_given_answers(records: list[dict], given: dict[str, str], answer: str = "label") -> list[dict]:
    """Records with the label, or the target, that people gave where the data bring none."""
    rows = [r | {answer: r.get(answer) or given.get(r["id"])} for r in records]
    return rows if answer == "label" else [r | {"references": r.get("references") or [r[answer]]} for r in rows]


# --- duplicates and splits -------------------------------------------------------------------------------------------


def drop_exact_duplicates(records: list[dict]) -> list[dict]:
    """One record of every id, an evaluation row before a pool row; of different labels the commonest, of references all."""
    votes: dict[str, Counter] = {}
    references: dict[str, list[str]] = {}
    for record in records:
        votes.setdefault(record["id"], Counter()).update([record["label"]] if record.get("label") else [])
        references.setdefault(record["id"], []).extend(record.get("references", []))
    kept: dict[str, dict] = {}
    for record in sorted(records, key=lambda r: not is_evaluation(r["split"])):
        label = {"label": found[0][0]} if (found := votes[record["id"]].most_common(1)) else {}
        kept.setdefault(record["id"], record | label)
    for key, found in references.items():
        if found := list(dict.fromkeys(found)):
            kept[key] |= {"target": found[0], "references": found}
    return list(kept.values())


def near_duplicate_groups(texts: Sequence[str], threshold: float = 0.8) -> np.ndarray:
    """Group number of every text; texts whose word-trigram Jaccard similarity is about `threshold` share one (MinHash LSH)."""
    from datasketch import MinHash, MinHashLSH

    if not 0.3 <= threshold <= 0.95:
        raise UserError(f"Parameter near_duplicate={threshold!r} must lie between 0.3 and 0.95.")

    signatures = MinHash.bulk([_shingles(t) for t in texts], num_perm=64, seed=1)
    index = MinHashLSH(threshold=threshold, num_perm=64)
    parent = list(range(len(texts)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, signature in enumerate(signatures):
        for j in index.query(signature):
            # LSH proposes candidates; the signatures confirm them.
            if signature.jaccard(signatures[j]) >= threshold:
                parent[find(i)] = find(j)
        index.insert(i, signature)
    return np.array([find(i) for i in range(len(texts))])


def _shingles(text: str) -> list[bytes]:
    words = normalise(text).split()
    return [" ".join(words[i : i + 3]).encode() for i in range(max(1, len(words) - 2))]


def link_parents(records: list[dict], groups: np.ndarray) -> np.ndarray:
    """Groups merged so that a record is in the group of its `parent_id`."""
    groups, position = groups.copy(), {r["id"]: i for i, r in enumerate(records)}
    for i, record in enumerate(records):
        j = position.get(record.get("parent_id"))
        if j is not None and groups[i] != groups[j]:
            groups[groups == groups[i]] = groups[j]
    return groups


def is_evaluation(split: str) -> bool:
    """What is set aside: validation, test, further test sets (`test_…`), and the rows from which a scorer learns."""
    return split in ("validation", "test", "scorer") or split.startswith("test_")


def split_name(value: str, params: dict) -> str:
    """Split of a row by its value in the data's own split column; what is not named belongs to the pool."""
    if value and value == params["test_split"]:
        return "test"
    if value and value == params["validation_split"]:
        return "validation"
    return value if value.startswith("test_") else "pool"


def evaluation_sizes(rows: int, test: int = 0, validation: int = 0) -> dict[str, int]:
    """Rows to draw for test and validation; 0 stands for a fifth (at most 1,000) and a tenth (at most 500) of all rows."""
    return {"test": test or min(1000, rows // 5), "validation": validation or min(500, rows // 10)}


def split_by_group(records: list[dict], groups: np.ndarray, sizes: dict[str, int], seed: int = 0) -> list[dict]:
    """Records with `split` set: about sizes[name] rows for every name, whole groups only, the rest `pool`.

    Rows already in an evaluation split keep it; a group that reaches into an evaluation split loses its pool rows, so
    that nothing in the pool is a near-duplicate of an evaluation row.
    """
    records = [dict(r) for r in records]
    members: dict[int, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(int(group), []).append(i)
    free = [g for g, rows in members.items() if not any(is_evaluation(records[i]["split"]) for i in rows)]
    order = np.random.default_rng(seed).permutation(len(free))
    # A set the data name themselves is complete; one they do not name is drawn.
    wanted = {name: 0 if any(r["split"] == name for r in records) else size for name, size in sizes.items()}
    for k in order:
        rows = members[free[k]]
        name = next((n for n, left in wanted.items() if left > 0 and len(rows) <= max(left, 1)), "pool")
        if name != "pool":
            wanted[name] -= len(rows)
        for i in rows:
            records[i]["split"] = name
    if all(is_evaluation(r["split"]) for r in records):
        wanted = ", ".join(f"{name}_size={size}" for name, size in sizes.items())
        raise UserError(
            f"The evaluation sets ({wanted}) take every text ({len(records):,}): lower these, so that a pool is left."
        )
    evaluation = {int(groups[i]) for i, r in enumerate(records) if is_evaluation(r["split"])}
    return [r for i, r in enumerate(records) if is_evaluation(r["split"]) or int(groups[i]) not in evaluation]


def leaked_records(records: list[dict], evaluation: list[dict], threshold: float = 0.8) -> list[dict]:
    """Records that are an exact or near duplicate of an evaluation row, or share its parent."""
    groups = near_duplicate_groups([r["text"] for r in [*evaluation, *records]], threshold)
    known = set(groups[: len(evaluation)])
    ids = {r["id"] for r in evaluation} | {r["parent_id"] for r in evaluation if r.get("parent_id")}
    return [
        r
        for r, group in zip(records, groups[len(evaluation) :], strict=True)
        if group in known or r["id"] in ids or r.get("parent_id") in ids
    ]


# --- what a notebook shows --------------------------------------------------------------------------------------------


def test_names(records: list[dict]) -> list[str]:
    """Names of the test sets among the records' splits, `test` first."""
    return sorted({r["split"] for r in records if r["split"].startswith("test")})


def named_sets(seed: list[dict], pool: list[dict], evaluation: list[dict]) -> list[tuple[str, list[dict]]]:
    """(name, rows) of the seed, the pool, and every set that is set aside."""
    names = ["validation", *test_names(evaluation), *["scorer"] * any(r["split"] == "scorer" for r in evaluation)]
    return [("seed", seed), ("pool", pool), *((n, [r for r in evaluation if r["split"] == n]) for n in names)]


def without_answer(record: dict) -> dict:
    """The record as the pool holds it: nothing that gives the answer away."""
    return {k: v for k, v in record.items() if k not in ("label", "spans", "target", "references")}


def set_summary(name: str, rows: list[dict], task) -> dict:
    """Rows, share of the positive class in per cent (for generation, references a row), and mean characters of one set."""
    labels = [r["label"] for r in rows if "label" in r]
    share = 100 * np.mean([label == task.positive for label in labels]) if labels else float("nan")
    length = np.mean([len(r["text"]) for r in rows]) if rows else float("nan")
    said = {f"% {task.positive}": round(share, 1)}
    if not task.labels:
        found = [len(r["references"]) for r in rows if r.get("references")]
        said = {"references a row": round(np.mean(found), 1) if found else float("nan")}
    return {"set": name, "rows": len(rows)} | said | {"mean characters": round(length, 1)}


def group_balance(pool: list[dict], seed: list[dict], columns: Sequence[str]) -> pd.DataFrame:
    """Share of every group value in pool and seed, commonest first: columns column, value, pool, seed, seed_rows."""
    rows = []
    for column in columns:
        in_pool, in_seed = Counter(r[column] for r in pool), Counter(r[column] for r in seed)
        for value, count in in_pool.most_common():
            shares = (count / len(pool), in_seed[value] / max(1, len(seed)))
            rows.append((column, value or "(none)", *shares, in_seed[value]))
    return pd.DataFrame(rows, columns=["column", "value", "pool", "seed", "seed_rows"])


def group_shares(sets: dict[str, list[dict]], column: str) -> pd.DataFrame:
    """Share of every value of a group column in each set of rows, commonest in the first set first."""
    counts = {
        name: pd.Series([r[column] for r in rows], dtype=object).value_counts(normalize=True)
        for name, rows in sets.items()
    }
    table = pd.DataFrame(counts).fillna(0.0).rename_axis(column)
    return table.sort_values(next(iter(sets)), ascending=False)
