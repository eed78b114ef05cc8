"""What a synthetic row must pass: functions from candidates to a boolean array, and people's verdict on a sample.

A row may resemble its own parent and siblings: it was made to. `apply_filters` shows what each filter rejects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from helpers.data.records import leaked_records, near_duplicate_groups, record_id
from helpers.env import UserError
from helpers.synthesis import answers
from helpers.synthesis.annotator import name_labels
from helpers.task import Task
from helpers.text import clean, normalise

Filter = Callable[[list[dict]], np.ndarray]
Judge = Callable[[list[dict]], np.ndarray]  # rows → float (rows, labels); NaN where it has no answer


def apply_filters(candidates: list[dict], filters: dict[str, Filter]) -> tuple[list[dict], pd.DataFrame]:
    """(accepted, acceptance table): filters in order, each on what the earlier ones let through.

    Columns filter, method, candidates, accepted, acceptance with its 95 % Wilson interval (low, high).
    """
    rows, left = [], list(candidates)
    methods = list(dict.fromkeys(r["method"] for r in candidates))
    for name, keep in filters.items():
        mask = keep(left) if left else np.zeros(0, bool)
        for method in methods:
            of_method = np.array([r["method"] == method for r in left], bool)
            if of_method.any():
                rows.append((name, method, *_share(int(mask[of_method].sum()), int(of_method.sum()))))
        left = [r for r, ok in zip(left, mask, strict=True) if ok]
    return left, pd.DataFrame(rows, columns=["filter", "method", *SHARE])


SHARE = ["candidates", "accepted", "acceptance", "low", "high"]


def overall(candidates: list[dict], accepted: list[dict]) -> pd.DataFrame:
    """Acceptance through all filters, one row a method: the columns of `apply_filters` without filter."""
    before, after = (Counter(r["method"] for r in rows) for rows in (candidates, accepted))
    rows = [(method, *_share(after[method], count)) for method, count in before.items()]
    return pd.DataFrame(rows, columns=["method", *SHARE])


def _share(accepted: int, candidates: int) -> tuple[int, int, float, float, float]:
    from scipy.stats import binomtest

    bounds = binomtest(accepted, candidates).proportion_ci(method="wilson")
    return candidates, accepted, *(round(x, 3) for x in (accepted / candidates, bounds.low, bounds.high))


# --- one text --------------------------------------------------------------------------------------------------------


def well_formed(candidates: list[dict]) -> np.ndarray:
    """20 to 4,000 characters, half of them letters or blanks."""
    return np.array([20 <= len(r["text"]) <= 4000 and _wordy(r["text"]) for r in candidates], bool)


def _wordy(text: str) -> bool:
    return sum(c.isalpha() or c.isspace() for c in text) >= 0.5 * len(text)


def in_language(language: str) -> Filter:
    """Written in `language` (ISO 639-1), by the rule of `in_language`."""
    check = answers.in_language(language)
    return lambda candidates: np.array([not check("", answers.Answer("ok", r["text"])) for r in candidates], bool)


def fluent(nll: Callable[[Sequence[str]], np.ndarray], known: list[dict], tail: float) -> Filter:
    """As likely under the base model as real rows: mean token loss between the `tail` and `1 - tail` quantiles of `known`.

    Below lies repetition, above what no one would write. `nll`: texts → float (texts,).
    """
    low, high = np.quantile(nll([r["text"] for r in known]), [tail, 1 - tail])

    def keep(candidates: list[dict]) -> np.ndarray:
        loss = nll([r["text"] for r in candidates])
        return (loss >= low) & (loss <= high)

    return keep


# --- against other texts ---------------------------------------------------------------------------------------------


def not_exact_duplicates(known: list[dict]) -> Filter:
    """Neither in `known` nor earlier among the candidates, compared as `data.normalise` does."""

    def keep(candidates: list[dict]) -> np.ndarray:
        seen, out = {normalise(r["text"]) for r in known}, []
        for text in (normalise(r["text"]) for r in candidates):
            out.append(text not in seen)
            seen.add(text)
        return np.array(out, bool)

    return keep


def not_near_duplicates(known: list[dict], threshold: float) -> Filter:
    """No near-duplicate in `known` or earlier among the candidates, the row's own parent and siblings set aside."""

    def keep(candidates: list[dict]) -> np.ndarray:
        rows = [*known, *candidates]
        groups = near_duplicate_groups([r["text"] for r in rows], threshold)
        seen: dict[int, set[str]] = {}
        out = []
        for group, record in zip(groups, rows, strict=True):
            out.append(not seen.setdefault(int(group), set()) - {_family(record)})
            seen[int(group)].add(_family(record))
        return np.array(out[len(known) :], bool)

    return keep


def not_semantic_duplicates(
    known: list[dict], embed: Callable[[Sequence[str]], np.ndarray], threshold: float
) -> Filter:
    """No cosine similarity above `threshold` to `known` or an accepted earlier candidate, parent and siblings set aside."""

    def keep(candidates: list[dict]) -> np.ndarray:
        rows = [*known, *candidates]
        vectors = embed([r["text"] for r in rows])
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        family = np.array([_family(r) for r in rows])
        kept = np.arange(len(rows)) < len(known)
        for i in range(len(known), len(rows)):
            kept[i] = not np.any((vectors[:i] @ vectors[i] > threshold) & kept[:i] & (family[:i] != family[i]))
        return kept[len(known) :]

    return keep


def _family(record: dict) -> str:
    return record.get("parent_id") or record["id"]


def no_leaks(evaluation: list[dict]) -> Filter:
    """No exact or near-duplicate of an evaluation row."""

    def keep(candidates: list[dict]) -> np.ndarray:
        leaked = {id(r) for r in leaked_records(candidates, evaluation)}
        return np.array([id(r) not in leaked for r in candidates], bool)

    return keep


def at_most_per_parent(per_parent: int) -> Filter:
    """At most so many rows of one parent, the methods taking turns, so that no seed row speaks for many."""

    def keep(candidates: list[dict]) -> np.ndarray:
        made, turns = Counter(), []
        for r in candidates:  # the k-th row of a method with this parent waits for the first of every other method
            made[_family(r), r["method"]] += 1
            turns.append(made[_family(r), r["method"]])
        taken: Counter[str] = Counter()
        out = np.ones(len(candidates), bool)
        for i in np.argsort(turns, kind="stable"):
            if candidates[i].get("parent_id"):
                taken[candidates[i]["parent_id"]] += 1
                out[i] = taken[candidates[i]["parent_id"]] <= per_parent
        return out

    return keep


# --- the label -------------------------------------------------------------------------------------------------------


def label_agrees(judges: dict[str, Judge], task: Task, floor: float = 0.2) -> Filter:
    """The judge for the row's `writer` gives the proposed label at least probability `floor`; no answer rejects.

    Raises KeyError where a writer has no judge: nothing is accepted that was not checked.
    """

    def keep(candidates: list[dict]) -> np.ndarray:
        proposed = np.array(task.index([r["label"] for r in candidates]))
        out = np.zeros(len(candidates), bool)
        for writer in dict.fromkeys(r["writer"] for r in candidates):
            at = np.array([i for i, r in enumerate(candidates) if r["writer"] == writer])
            out[at] = judges[writer]([candidates[i] for i in at])[np.arange(len(at)), proposed[at]] >= floor
        return out

    return keep


def learner_judge(predict_proba: Callable[[Sequence[str]], np.ndarray]) -> Judge:
    """A learner as a judge."""
    return lambda rows: predict_proba([r["text"] for r in rows])


def cross_fitted_judge(make: Callable[[], Any], known: list[dict], folds: int = 5, seed: int = 0) -> Judge:
    """A learner trained on `known`, as often as there are folds: none judges a row whose parent it has seen.

    Trained on the parent it would find the parent's label in every variant.
    """
    if len({r["label"] for r in known}) < 2:
        raise UserError(
            "The seed has rows of one class only, and so judges nothing: label more, or set judge to endpoint."
        )
    order = sorted(np.random.default_rng(seed).permutation(len(known)), key=lambda i: known[i]["label"])
    fold = {known[i]["id"]: k % folds for k, i in enumerate(order)}  # every class in every fold
    learners: dict[int, Any] = {}

    def fitted(k: int) -> Any:
        if k not in learners:
            rest = [r for r in known if fold[r["id"]] != k]
            lost = {r["label"] for r in known} - {r["label"] for r in rest}
            learners[k] = make()
            learners[k].fit([*rest, *(r for r in known if r["label"] in lost)])  # a class of one row is seen by all
        return learners[k]

    def judge(rows: list[dict]) -> np.ndarray:
        of = np.array([fold.get(r.get("parent_id"), i % folds) for i, r in enumerate(rows)])
        parts = {
            k: fitted(k).predict_proba([r["text"] for r, j in zip(rows, of, strict=True) if j == k]) for k in set(of)
        }
        out = np.zeros((len(rows), next(iter(parts.values())).shape[1]))
        for k, part in parts.items():
            out[of == k] = part
        return out

    return judge


def endpoint_judge(back_end: Any, task: Task, brief: dict, guideline: str, language: str) -> Judge:
    """An endpoint as a judge: probability 1 for the label it names, NaN where its answer will not do."""

    def judge(rows: list[dict]) -> np.ndarray:
        out = np.full((len(rows), len(task.labels)), np.nan)
        named = name_labels(back_end, [r["text"] for r in rows], task, brief, guideline, language)
        for row, answer in zip(out, named, strict=True):
            if answer.status == "ok":
                row[:] = 0.0
                row[task.labels.index(answer.value["label"])] = 1.0
        return out

    return judge


def check_independent(judge: Any, writer: Any) -> None:
    """Raises UserError when the judge is the model that writes."""
    if judge.model == getattr(writer, "model", None):
        raise UserError(
            f"JUDGE_MODEL is the teacher, {judge.model!r}: a model may not judge its own rows, set another."
        )


# --- people ----------------------------------------------------------------------------------------------------------


def sample_records(records: list[dict], n: int, seed: int) -> list[dict]:
    """`n` records at random, in their order; all of them where there are fewer."""
    chosen = np.random.default_rng(seed).permutation(len(records))[:n]
    return [records[i] for i in np.sort(chosen)]


def apply_review(records: list[dict], verdicts: dict[str, str], task: str, checks: Sequence[Filter] = ()) -> list[dict]:
    """The records after a review: an empty verdict rejects, any other is the text as people left it.

    What they mended must pass the `checks` once more: it may have become a row that is there already.
    """
    kept, mended = [], []
    for record in records:
        text = clean(verdicts.get(record["id"], record["text"]))
        if text == record["text"]:
            kept.append(record)
        elif text:
            mended.append(record | {"text": text, "id": record_id(task, text)})
    for check in checks:
        mended = [r for r, ok in zip(mended, check(mended), strict=True) if ok] if mended else []
    return list({r["text"]: r for r in [*kept, *mended]}.values())


def describe_review(records: list[dict], verdicts: dict[str, str]) -> str:
    """One line: how many rows were looked at, and the share that was not rejected with its 95 % Wilson interval."""
    from scipy.stats import binomtest

    seen = [r for r in records if r["id"] in verdicts]
    if not seen:
        return f"0 of {len(records)} rows looked at so far"
    good = sum(bool(verdicts[r["id"]].strip()) for r in seen)
    mended = sum(bool(v := verdicts[r["id"]].strip()) and v != r["text"] for r in seen)
    share = binomtest(good, len(seen)).proportion_ci(method="wilson")
    return (
        f"{len(seen)} of {len(records)} rows looked at: {good} kept ({good / len(seen):.0%}, 95 % interval "
        f"{share.low:.0%}–{share.high:.0%}), {mended} of them mended, {len(seen) - good} rejected"
    )
