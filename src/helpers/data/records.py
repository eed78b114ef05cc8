"""The record, duplicates, and splits that leak nothing; `tables` makes records of a user's file.

A record is a dict with `id`, `text`, `label` (for generation `references`, and the first of them as `target`),
the group columns, `source`, `split`, and where they apply `parent_id`, `own_id` (what the user's table calls the
row; `own_ids` where exact duplicates have several), `spans` (character offsets of the evidence) and `annotations`
(annotator → label, where the data say what each answered); a synthetic row also has its `method` and `writer`.
Every phase stores one JSON object a line.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from helpers.data.spans import carried
from helpers.env import UserError
from helpers.task import Task
from helpers.text import bare_words, clean, normalise

LABELLERS = ("oracle", "teacher", "human", "model")
ANSWERS = ("label", "spans", "kinds", "annotations", "target", "references")  # fields that give the answer away


def record_id(task: str, text: str) -> str:
    """16 hexadecimal digits of the task's name and the normalised text, the same in every run."""
    return hashlib.sha256(f"{task}\0{normalise(text)}".encode()).hexdigest()[:16]


# --- answers ---


def asks_people(labeller: str) -> bool:
    """Whether people answer in the panel: alone (`human`), or until a model may label the rest (`model`)."""
    return labeller in ("human", "model")


def split_by_answer(records: list[dict], answer: str, labeller: str) -> tuple[list[dict], list[dict]]:
    """Separate the records for seed, pool and evaluation from those that bring no answer and can only wait in the pool.

    `answer` is the field of the answer, label or target. Where people label they can answer for every record, so none is
    separated. Raises UserError when no record has an answer and nobody is there to give one.
    """
    if labeller not in LABELLERS:
        raise UserError(f"Parameter labeller={labeller!r} must be one of {', '.join(sorted(LABELLERS))}.")
    if asks_people(labeller):
        return records, []
    answered = [r for r in records if r.get(answer)]
    if not answered:
        column = "label_column" if answer == "label" else "target_columns"
        remedy = "set labeller to human and give the answers in the panel of 01_seed_curation"
        raise UserError(f"None of the {len(records):,} texts has a {answer}: name the column in {column}, or {remedy}.")
    return answered, [r | {"split": "pool"} for r in records if not r.get(answer)]


def with_given_answers(records: list[dict], answers: dict[str, str], answer: str = "label") -> list[dict]:
    """Fill in people's answers (record id → answer) where the data bring none; `answer` is label or target.

    A target is cleaned as the data's are; one without a visible sign is none.
    """
    if answer == "label":
        return [r | {answer: r.get(answer) or answers.get(r["id"])} for r in records]
    rows = [r | {answer: r.get(answer) or clean(answers.get(r["id"]) or "") or None} for r in records]
    return [r | {"references": r.get("references") or [r[answer]]} for r in rows]


def without_answer(record: dict) -> dict:
    """The record as the pool stores it, without the fields that give the answer away."""
    return {name: value for name, value in record.items() if name not in ANSWERS}


# --- duplicates ---


def drop_exact_duplicates(records: list[dict]) -> list[dict]:
    """One record for every id, an evaluation row if there is one, with the commonest label, all references and own ids.

    It has the annotators of all copies, and the evidence of every copy but those with another label. Where two labels of one
    text are equally common, the text is left out.
    """
    copies = _copies(records)
    first: dict[str, dict] = {}
    for record in sorted(records, key=lambda r: not is_evaluation(r["split"])):
        first.setdefault(record["id"], record)
    kept = []
    for key, record in first.items():
        record = dict(record)
        if labels := _label_counts(copies[key]):
            record["label"] = _commonest(labels)
        if len(ids := [i for copy in copies[key] for i in own_ids(copy)]) > 1:
            record["own_ids"] = ids
        if references := list(dict.fromkeys(text for r in copies[key] for text in r.get("references", []))):
            record |= {"target": references[0], "references": references}
        if len(copies[key]) > 1 and any(copy.get("spans") for copy in copies[key]):
            record["spans"] = _joint_spans(copies[key], record)
        if annotations := _joint_annotations(copies[key]):
            record["annotations"] = annotations
        if record.get("label") != "":
            kept.append(record)
    return kept


def _joint_annotations(copies: list[dict]) -> dict[str, str]:
    """The annotators of all copies: a named one by her first answer, those who are mere numbers counted on."""
    joint: dict[str, str] = {}
    for copy in copies:
        own = copy.get("annotations", {})
        numbered = len(joint) if all(map(str.isdigit, own)) else 0
        for who, label in own.items():
            joint.setdefault(str(int(who) + numbered) if numbered else who, label)
    return joint


def _joint_spans(copies: list[dict], record: dict) -> list[list[int]]:
    """The evidence of the copies for the label of the record, in its text."""
    spans = []
    for copy in copies:
        if copy.get("label") in (None, record.get("label")):
            spans += carried(copy.get("spans") or [], copy["text"], record["text"])
    return [list(span) for span in sorted(set(map(tuple, spans)))]


def own_ids(record: dict) -> list[str]:
    """What the user's table calls the rows of a record: exact duplicates are one record with several ids."""
    return record.get("own_ids") or ([record["own_id"]] if record.get("own_id") else [])


def with_every_own_id(table: pd.DataFrame, records: Sequence[dict]) -> pd.DataFrame:
    """The table, which has a column `id`, with a row for every id that the user's table has for a record in it."""
    ids = {r["id"]: own_ids(r) for r in records}
    if not any(ids.values()):
        return table
    return table.assign(own_id=[ids.get(i) or [""] for i in table["id"]]).explode("own_id", ignore_index=True)


def contradictions(records: list[dict]) -> pd.DataFrame:
    """Texts whose exact duplicates have several labels: columns text, labels (with counts), taken ('' for none)."""
    rows = []
    for copies in _copies(records).values():
        if len(labels := _label_counts(copies)) > 1:
            counts = ", ".join(f"{label} {count}" for label, count in labels.most_common())
            rows.append((copies[0]["text"], counts, _commonest(labels)))
    return pd.DataFrame(rows, columns=["text", "labels", "taken"])


def _copies(records: list[dict]) -> dict[str, list[dict]]:
    copies: dict[str, list[dict]] = {}
    for record in records:
        copies.setdefault(record["id"], []).append(record)
    return copies


def _label_counts(copies: list[dict]) -> Counter:
    return Counter(r["label"] for r in copies if r.get("label"))


def _commonest(labels: Counter) -> str:
    """The commonest label; '' where two are."""
    (label, count), *others = labels.most_common(2)
    return "" if others and others[0][1] == count else label


def near_duplicate_groups(texts: Sequence[str], threshold: float = 0.8) -> np.ndarray:
    """Number of every text's group of near-duplicates, linked directly or over others (Broder 1997).

    Two texts are linked from `threshold` on: the Jaccard similarity of their word trigrams, estimated by MinHash.
    """
    from datasketch import MinHash, MinHashLSH

    if not 0.3 <= threshold <= 0.95:
        raise UserError(f"Parameter near_duplicate={threshold!r} must lie between 0.3 and 0.95.")
    if not texts:
        return np.zeros(0, int)
    minhashes = MinHash.bulk([_trigrams(text) for text in texts], num_perm=64, seed=1)
    signatures, place = np.unique([m.hashvalues for m in minhashes], axis=0, return_inverse=True)
    index = MinHashLSH(threshold=threshold, num_perm=64)  # chooses bands that suit the threshold
    bands = [slice(i * index.r, (i + 1) * index.r) for i in range(index.b)]
    components = _linked(signatures, bands, threshold)[place.ravel()]
    _, first, numbers = np.unique(components, return_index=True, return_inverse=True)
    return first.argsort().argsort()[numbers]  # numbered by their first texts


def _linked(signatures: np.ndarray, bands: list[slice], threshold: float) -> np.ndarray:
    """Component of every distinct signature; two are linked that agree in a band and in a share `threshold` of all.

    The components are walked one by one, so a signature is compared with none that its component already has. The cost
    then grows with the number of texts where they are linked, and stays a vectorised comparison where they are not.
    """
    rows, length = signatures.shape
    codes = np.empty((rows, length), np.uint32)  # as numbers from 0; an equal value has an equal number
    rare = np.zeros(rows, int)
    for column, values in enumerate(signatures.T):
        _, codes[:, column], counts = np.unique(values, return_inverse=True, return_counts=True)
        rare += counts[codes[:, column]] == 1
    # What no other signature has at a place agrees with none there: such rows are linked to nothing.
    is_open = (length - rare) / length >= threshold
    buckets: list[np.ndarray] = []
    buckets_of: list[list[int]] = [[] for _ in range(rows)]
    for band in bands:
        order = np.flatnonzero(is_open)
        _, keys = np.unique(codes[order, band], axis=0, return_inverse=True)
        by_key = np.argsort(keys.ravel(), kind="stable")
        for members in np.split(order[by_key], np.cumsum(np.bincount(keys.ravel()))[:-1]):
            if len(members) > 1:
                for row in members.tolist():
                    buckets_of[row].append(len(buckets))
                buckets.append(members)
    components = np.arange(rows)
    for start in np.flatnonzero(is_open).tolist():
        reached = [start] if is_open[start] else []
        is_open[start] = False
        while reached:
            row = reached.pop()
            for number in buckets_of[row]:
                members = buckets[number] = buckets[number][is_open[buckets[number]]]
                if len(members):
                    agreement = np.count_nonzero(codes[members] == codes[row], axis=1) / length
                    near = members[agreement >= threshold]
                    components[near], is_open[near] = start, False
                    reached += near.tolist()
    return components


def _trigrams(text: str) -> list[bytes]:
    """Word trigrams of the text, the whole text where it is shorter."""
    words = bare_words(text).split()
    return [" ".join(words[i : i + 3]).encode() for i in range(max(1, len(words) - 2))]


def link_parents(records: list[dict], groups: np.ndarray) -> np.ndarray:
    """Groups merged so that every record is in the group of its `parent_id`, numbered anew."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not records:
        return groups.copy()
    position = {r["id"]: i for i, r in enumerate(records)}
    parents = [position.get(r.get("parent_id"), i) for i, r in enumerate(records)]
    links, size = (groups, groups[parents]), int(groups.max()) + 1
    graph = coo_array((np.ones(len(records), bool), links), shape=(size, size))
    return connected_components(graph, directed=False)[1][groups]


def leaked_records(records: list[dict], evaluation: list[dict], threshold: float = 0.8) -> list[dict]:
    """Records that are an exact or near duplicate of an evaluation row, its child, its parent or its sibling."""
    groups = near_duplicate_groups([r["text"] for r in [*evaluation, *records]], threshold)
    evaluation_groups = set(groups[: len(evaluation)])
    ids = {r["id"] for r in evaluation} | {r["parent_id"] for r in evaluation if r.get("parent_id")}
    is_near = [group in evaluation_groups for group in groups[len(evaluation) :]]
    return [r for r, near in zip(records, is_near, strict=True) if near or {r["id"], r.get("parent_id")} & ids]


def refuse_trained_rows(training: list[dict], evaluation_sets: dict[str, list[dict]]) -> None:
    """Raise UserError where a row of an evaluation set, by its id or its text, was trained on."""
    trained = {r["id"] for r in training} | {bare_words(r["text"]) for r in training}
    for name, rows in evaluation_sets.items():
        if seen := [r for r in rows if r["id"] in trained or bare_words(r["text"]) in trained]:
            raise UserError(
                f"{len(seen)} of the {len(rows)} rows of {name} were trained on (first: {seen[0]['id']}), because the data "
                "changed after the training: run the stage of active learning (03) again."
            )


# --- splits ---


def is_evaluation(split: str) -> bool:
    """Whether a split is set aside: validation, test, further test sets (`test_…`), a scorer's training rows."""
    return split in ("validation", "test", "scorer") or split.startswith("test_")


def evaluation_sizes(rows: int, test: int = 0, validation: int = 0) -> dict[str, int]:
    """Rows to draw for test and validation; 0 means a fifth (at most 1,000) and a tenth (at most 500) of all rows."""
    return {"test": test or min(1000, rows // 5), "validation": validation or min(500, rows // 10)}


def refuse_small_run(candidates: int, pool_only: int, seed_size: int, rounds: int = 4) -> None:
    """Raise UserError where the seed takes over three quarters of the texts, so that next to nothing can be chosen later.

    `candidates` is the number of texts that may be in the seed, `pool_only` of those that can only be in the pool; the
    advice leaves the last of the `rounds` something to choose from.
    """
    takes_most = 4 * seed_size > 3 * (candidates + pool_only)
    if takes_most or candidates < 3:  # of fewer no seed can be chosen that represents the others
        problem = f"The evaluation sets leave {candidates:,} texts to choose from"
        remedy = "give more texts"
        if candidates > 2:
            taken = min(seed_size, candidates)
            problem += f" and the seed (seed_size={seed_size}) takes {taken:,} of them, so that hardly a pool is left"
            best = candidates // 3
            batch = largest_batch(candidates + pool_only - best, rounds)
            remedy = f"set seed_size to {best} or less and batch_labels to {batch} or less, or {remedy}"
        raise UserError(f"{problem}: {remedy}.")


def largest_batch(pool: int, rounds: int) -> int:
    """Labels a batch at which as many texts as a batch takes are left when the rounds are over, at least 1."""
    return max(1, pool // (rounds + 1))


def whole_pool_remark(pool: int, rounds: int, batch_labels: int) -> str:
    """The sentence on batches that leave nothing of the pool, so that every strategy ends with the same labels; '' for others."""
    if rounds * batch_labels < pool:
        return ""
    remedy = f"set batch_labels to {largest_batch(pool, rounds)} or less" if pool > rounds else "set fewer rounds"
    taken = f"{rounds} rounds of {batch_labels} labels take all {pool:,} texts of the pool"
    return f"{taken}, whatever the strategy: {remedy}, or give more texts."


def split_by_group(records: list[dict], groups: np.ndarray, sizes: dict[str, int], seed: int = 0) -> list[dict]:
    """Draw evaluation sets from whole groups of near-duplicates; what is left is the pool.

    `sizes` says how many rows to draw for every split; none are drawn for a split that the data bring themselves. Each
    label has its share in every drawn split, as far as rounding and groups allow. A row that already is in an evaluation
    split stays there. A group that reaches into one loses its pool rows, so that no pool row is a near-duplicate of an
    evaluation row. Raises UserError when the evaluation sets would leave no pool.
    """
    records = [dict(r) for r in records]
    members: dict[int, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(int(group), []).append(i)
    open_groups = [rows for rows in members.values() if not any(is_evaluation(records[i]["split"]) for i in rows)]
    missing = {name: 0 if any(r["split"] == name for r in records) else size for name, size in sizes.items()}
    labels = [r.get("label") for r in records]
    quotas = _quotas(Counter(labels[i] for rows in open_groups for i in rows), missing)
    passed_over = []
    order = [open_groups[k] for k in np.random.default_rng(seed).permutation(len(open_groups))]
    for rows in order:
        own = Counter(labels[i] for i in rows)
        split = next((name for name, quota in quotas.items() if own <= quota), "")
        if split:
            quotas[split] -= own
            missing[split] -= len(rows)
        else:
            passed_over.append(rows)
        for i in rows:
            records[i]["split"] = split or "pool"
    for rows in passed_over:  # groups of several labels that fit no quota may still fit a set
        split = next((name for name, size in missing.items() if size >= len(rows)), "")
        if split:
            missing[split] -= len(rows)
            for i in rows:
                records[i]["split"] = split
    evaluation = {int(group) for group, r in zip(groups, records, strict=True) if is_evaluation(r["split"])}
    if all(is_evaluation(r["split"]) for r in records):
        refuse_no_pool(len(records), sizes)
    return [r for r, group in zip(records, groups, strict=True) if is_evaluation(r["split"]) or group not in evaluation]


def refuse_no_pool(rows: int, sizes: dict[str, int]) -> None:
    """Raise the UserError on evaluation sets of these sizes that take all of the rows."""
    sets = f"The evaluation sets ({', '.join(f'{name}_size={size}' for name, size in sizes.items())})"
    raise UserError(f"{sets} take every text ({rows:,}): lower these, so that a pool is left.")


def _quotas(labels: Counter, sizes: dict[str, int]) -> dict[str, Counter]:
    """Rows of each label to draw for every split: its share of the split's size, by largest remainders (Hamilton)."""
    total, quotas, left = sum(labels.values()), {}, labels.copy()
    for split, size in sizes.items():
        shares = {label: size * count / total for label, count in labels.items()}
        quota = Counter({label: int(share) for label, share in shares.items()})
        by_remainder = sorted(shares, key=lambda label: quota[label] - shares[label])
        # Rounding up leaves a row of every label, so that something can be learned about it.
        by_remainder = [label for label in by_remainder if left[label] - quota[label] > 1]
        quota.update(by_remainder[: size - quota.total()])
        left.subtract(quota)
        quotas[split] = quota
    return quotas


# --- what a notebook shows ---


def named_sets(seed: list[dict], pool: list[dict], evaluation: list[dict]) -> list[tuple[str, list[dict]]]:
    """(name, rows) of the seed, the pool, validation, every test set, and the scorer's rows where there are any."""
    splits = {r["split"] for r in evaluation}
    names = ["validation", *sorted(name for name in splits if name.startswith("test"))]
    if "scorer" in splits:
        names.append("scorer")
    return [("seed", seed), ("pool", pool), *((name, [r for r in evaluation if r["split"] == name]) for name in names)]


def set_summary(name: str, rows: list[dict], task: Task) -> dict:
    """Rows, per cent of the positive class (for generation: references a row), and mean characters of a set."""
    if task.labels:
        column, values = f"% {task.positive}", [100.0 * (r["label"] == task.positive) for r in rows if r.get("label")]
    else:
        column, values = "references a row", [len(r["references"]) for r in rows if r.get("references")]
    columns = {column: values, "mean characters": [len(r["text"]) for r in rows]}
    means = {name: round(np.mean(values), 1) if values else float("nan") for name, values in columns.items()}
    return {"set": name, "rows": len(rows)} | means


def group_balance(pool: list[dict], seed: list[dict], columns: Sequence[str]) -> pd.DataFrame:
    """Share of every group value in pool and seed: columns column, value, pool, seed, seed_rows; commonest first."""
    rows = []
    for column in columns:
        in_pool, in_seed = Counter(r[column] for r in pool), Counter(r[column] for r in seed)
        for value, count in in_pool.most_common():
            shares = (count / len(pool), in_seed[value] / max(1, len(seed)))
            rows.append((column, value or "(none)", *shares, in_seed[value]))
    return pd.DataFrame(rows, columns=["column", "value", "pool", "seed", "seed_rows"])


def group_shares(sets: dict[str, list[dict]], column: str) -> pd.DataFrame:
    """Share of every value of a group column in each set; a row a value, the commonest in the first set first."""
    values = {name: pd.Series([r[column] for r in rows], dtype=object) for name, rows in sets.items()}
    shares = {name: series.value_counts(normalize=True) for name, series in values.items()}
    table = pd.DataFrame(shares).fillna(0.0).rename_axis(column)
    return table.sort_values(next(iter(sets)), ascending=False)
