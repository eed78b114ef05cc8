"""Filters of synthetic rows: functions from candidates to a boolean array, and people's verdicts on a sample.

What else a filter takes is filled in by `functools.partial`. A row may resemble its own parent and siblings, from which
it was made. `apply_filters` shows what each filter rejects.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.preprocessing import normalize

from helpers.data.records import leaked_records, near_duplicate_groups, record_id
from helpers.env import UserError
from helpers.labels import log
from helpers.synthesis import answers
from helpers.synthesis.annotator import name_labels
from helpers.task import Task
from helpers.text import bare_words, clean

Filter = Callable[[list[dict]], np.ndarray]  # candidates → bool (candidates,)
Texts = Callable[[Sequence[str]], np.ndarray]  # texts → figures, one row a text
Judge = Callable[[list[dict]], np.ndarray]  # rows → float (rows, labels); NaN where it has no answer
ACCEPTANCE = ["candidates", "accepted", "acceptance", "low", "high"]


def apply_filters(candidates: list[dict], filters: dict[str, Filter]) -> tuple[list[dict], pd.DataFrame]:
    """Apply filters in order, each to the rows that passed the earlier ones: the rows accepted, and a table.

    Its columns are filter, method, candidates, accepted, and acceptance with its 95 % Wilson interval (low, high).
    """
    rows, remaining = [], list(candidates)
    for name, keep in filters.items():
        mask = keep(remaining) if remaining else []
        passed = [r for r, ok in zip(remaining, mask, strict=True) if ok]
        rows += [(name, *row) for row in _acceptance(candidates, remaining, passed)]
        remaining = passed
    return remaining, pd.DataFrame(rows, columns=["filter", "method", *ACCEPTANCE])


def overall(candidates: list[dict], accepted: list[dict]) -> pd.DataFrame:
    """Acceptance through all filters, one row a method: the columns of `apply_filters` without filter."""
    return pd.DataFrame(_acceptance(candidates, candidates, accepted), columns=["method", *ACCEPTANCE])


def _acceptance(order: list[dict], before: list[dict], after: list[dict]) -> list[tuple]:
    """Method and ACCEPTANCE for each method of the rows `before`, in their order of appearance in `order`."""
    methods, trials, successes = (Counter(r["method"] for r in rows) for rows in (order, before, after))
    shares = {m: wilson(successes[m], trials[m]) for m in methods if trials[m]}
    return [(m, trials[m], successes[m], *(round(value, 3) for value in share)) for m, share in shares.items()]


def wilson(successes: int, trials: int) -> tuple[float, float, float]:
    """A share with the bounds of its 95 % interval (Wilson 1927)."""
    from scipy.stats import binomtest

    bounds = binomtest(successes, trials).proportion_ci(method="wilson")
    return successes / trials, bounds.low, bounds.high


# --- one text --------------------------------------------------------------------------------------------------------


def well_formed(candidates: list[dict]) -> np.ndarray:
    """Keep texts of 20 to 4,000 characters, at least half of them letters or blanks."""
    texts = [r["text"] for r in candidates]
    wordy = [sum(c.isalpha() or c.isspace() for c in text) >= 0.5 * len(text) for text in texts]
    return np.array([20 <= len(text) <= 4000 and ok for text, ok in zip(texts, wordy, strict=True)], bool)


def in_language(candidates: list[dict], language: str) -> np.ndarray:
    """Keep texts in `language` (ISO 639-1), by the rule of `answers.language_check`."""
    check = answers.language_check(language)
    return np.array([not check("", r["text"]) for r in candidates], bool)


def fluent(candidates: list[dict], nll: Texts, known: list[dict], tail: float) -> np.ndarray:
    """Keep texts about as likely under the base model as real rows.

    Their mean token loss lies between the quantiles `tail` and 1 − `tail` of the rows in `known`: a smaller loss is a
    sign of repetition, a larger one of text that nobody would write. `nll`: texts → float (texts,).
    """
    low, high = np.quantile(nll([r["text"] for r in known]), [tail, 1 - tail])
    loss = nll([r["text"] for r in candidates])
    return (loss >= low) & (loss <= high)


# --- against other texts ---------------------------------------------------------------------------------------------


def not_exact_duplicates(candidates: list[dict], known: list[dict]) -> np.ndarray:
    """Keep texts that are neither in `known` nor earlier among the candidates, after `text.bare_words`."""
    texts = pd.Series([bare_words(r["text"]) for r in [*known, *candidates]], dtype=object)
    return ~texts.duplicated().to_numpy()[len(known) :]


def not_near_duplicates(candidates: list[dict], known: list[dict], threshold: float) -> np.ndarray:
    """Keep rows without a near-duplicate in `known` or earlier among the candidates.

    The row's own parent and siblings do not count. `threshold` is a similarity of word trigrams (Jaccard).
    """
    rows = [*known, *candidates]
    groups = near_duplicate_groups([r["text"] for r in rows], threshold)
    families, mask = defaultdict(set), []  # group → families with a row in it so far
    for group, record in zip(groups, rows, strict=True):
        mask.append(not families[group] - {_family(record)})
        families[group].add(_family(record))
    return np.array(mask[len(known) :], bool)


def not_semantic_duplicates(candidates: list[dict], known: list[dict], embed: Texts, threshold: float) -> np.ndarray:
    """Keep rows whose cosine similarity to `known` and to kept earlier candidates is at most `threshold`.

    The row's own parent and siblings do not count. `embed`: texts → float (texts, dimensions).
    """
    rows = [*known, *candidates]
    vectors = normalize(embed([r["text"] for r in rows]))
    family = np.array([_family(r) for r in rows])
    mask = np.arange(len(rows)) < len(known)
    for i in range(len(known), len(rows)):
        mask[i] = not np.any((vectors[:i] @ vectors[i] > threshold) & mask[:i] & (family[:i] != family[i]))
    return mask[len(known) :]


def _family(record: dict) -> str:
    """The id that a row shares with its parent and siblings."""
    return record.get("parent_id") or record["id"]


def no_leaks(candidates: list[dict], evaluation: list[dict]) -> np.ndarray:
    """Keep rows that are no exact or near-duplicate of an evaluation row."""
    leaked = {id(r) for r in leaked_records(candidates, evaluation)}
    return np.array([id(r) not in leaked for r in candidates], bool)


def at_most_per_parent(candidates: list[dict], limit: int) -> np.ndarray:
    """Keep at most `limit` rows of one parent, the methods taking turns, so that no seed row counts many times."""
    rows = pd.DataFrame(candidates, columns=["parent_id", "method"])
    turns = rows.groupby(["parent_id", "method"], dropna=False).cumcount()
    in_turn = rows.iloc[np.argsort(turns, kind="stable")]
    siblings_before = in_turn.groupby("parent_id", dropna=False).cumcount().sort_index()
    return (rows.parent_id.isna() | (siblings_before < limit)).to_numpy()


# --- the label -------------------------------------------------------------------------------------------------------


def label_agrees(candidates: list[dict], judges: dict[str, Judge], task: Task, floor: float) -> np.ndarray:
    """Keep rows whose proposed label has at least probability `floor` by the judge for their `writer`.

    A row without an answer is rejected. Raises KeyError where a writer has no judge: no row is accepted unchecked.
    """
    proposed = np.array(task.index([r["label"] for r in candidates]))
    writers = np.array([r["writer"] for r in candidates])
    mask = np.zeros(len(candidates), bool)
    for writer in dict.fromkeys(writers.tolist()):
        positions = np.flatnonzero(writers == writer)
        probabilities = judges[writer]([candidates[i] for i in positions])
        mask[positions] = probabilities[np.arange(len(positions)), proposed[positions]] >= floor
    return mask


def learner_judge(rows: list[dict], predict_proba: Texts) -> np.ndarray:
    """A trained learner as a judge."""
    return predict_proba([r["text"] for r in rows])


def cross_fitted_judge(make: Callable[[], Any], known: list[dict], folds: int = 5, seed: int = 0) -> Judge:
    """Train one learner a fold on the rest of `known`, so that none judges a row whose parent it has seen.

    A learner that has seen the parent would find the parent's label in every variant.
    """
    classes = {r["label"] for r in known}
    if len(classes) < 2:
        raise UserError(
            "The seed has rows of one class only and judges nothing: set a larger seed_size in 01, or judge to endpoint."
        )
    order = sorted(np.random.default_rng(seed).permutation(len(known)), key=lambda i: known[i]["label"])
    fold_of = {known[i]["id"]: place % folds for place, i in enumerate(order)}  # every class in every fold

    @cache
    def learner(fold: int) -> Any:
        rest = [r for r in known if fold_of[r["id"]] != fold]
        missing = classes - {r["label"] for r in rest}
        model = make()
        model.fit([*rest, *(r for r in known if r["label"] in missing)])  # every learner sees a class of one row
        return model

    def judge(rows: list[dict]) -> np.ndarray:
        texts_of = defaultdict(list)  # fold → texts that its learner judges
        row_folds = [fold_of.get(r.get("parent_id"), i % folds) for i, r in enumerate(rows)]
        for fold, row in zip(row_folds, rows, strict=True):
            texts_of[fold].append(row["text"])
        judged = {fold: iter(learner(fold).predict_proba(texts)) for fold, texts in texts_of.items()}
        return np.array([next(judged[fold]) for fold in row_folds])

    return judge


def endpoint_judge(
    rows: list[dict], back_end: Any, task: Task, brief: dict, guideline: str, language: str
) -> np.ndarray:
    """An endpoint as a judge: probability 1 for the label that it names, NaN where its answer is not ok."""
    verdicts = name_labels(back_end, [r["text"] for r in rows], task, brief, guideline, language)
    named = [answer.value["label"] if answer.status == "ok" else None for answer in verdicts]
    return np.array([[np.nan if name is None else float(name == x) for x in task.labels] for name in named])


def check_independent(judge: Any, writer: Any) -> None:
    """Raise UserError when the judge is the model that writes."""
    if judge.model == getattr(writer, "model", None):
        fault = f"JUDGE_MODEL is the teacher, {judge.model!r}"
        raise UserError(f"{fault}: a model may not judge its own rows, set another.")


# --- people ----------------------------------------------------------------------------------------------------------


def sample_records(records: list[dict], n: int, seed: int) -> list[dict]:
    """`n` records at random, in their order; all of them where there are fewer."""
    positions = np.random.default_rng(seed).permutation(len(records))[:n]
    return [records[i] for i in np.sort(positions)]


def reviews_of(folder: Path, records: list[dict]) -> list[dict]:
    """What the logs say of the records with the labels that they have now; of one with another label people said nothing."""
    proposed = {record["id"]: {"proposed": record["label"]} for record in records}
    return [event for event in log.events(folder) if log.is_of(event, proposed.get(event["id"], {}))]


def apply_review(records: list[dict], verdicts: dict[str, str], task: str, checks: Sequence[Filter] = ()) -> list[dict]:
    """Apply people's verdicts: record id → the text as they left it, where an empty text rejects the record.

    An edited record gets a new id and must pass the `checks` once more: it may now equal a row that is there already.
    """
    unchanged, edited = [], []
    for record in records:
        text = clean(verdicts.get(record["id"], record["text"]))
        if text == record["text"]:
            unchanged.append(record)
        elif text:
            edited.append(record | {"text": text, "id": record_id(task, text)})
    for check in checks:
        if edited:
            edited = [r for r, ok in zip(edited, check(edited), strict=True) if ok]
    return list({r["text"]: r for r in [*unchanged, *edited]}.values())


def describe_review(records: list[dict], verdicts: dict[str, str]) -> str:
    """One line: the rows reviewed, and the share of them accepted with its 95 % Wilson interval."""
    reviewed = [(r["text"], verdicts[r["id"]].strip()) for r in records if r["id"] in verdicts]
    if not reviewed:
        return f"0 of {len(records)} rows reviewed so far"
    accepted = sum(bool(text) for _, text in reviewed)
    edited = sum(text not in ("", original) for original, text in reviewed)
    share, low, high = wilson(accepted, len(reviewed))
    counts = f"{len(reviewed)} of {len(records)} rows reviewed: {accepted} accepted"
    interval = f"({share:.0%}, 95 % interval {low:.0%}–{high:.0%})"
    return f"{counts} {interval}, {edited} of them edited, {len(reviewed) - accepted} rejected"
