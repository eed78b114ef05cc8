"""Two runs on the same test rows: which answers changed, for whom, and whether one run is better by more than chance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from helpers import files, pipeline, run
from helpers.env import UserError
from helpers.evaluation import detection
from helpers.evaluation.groups import large_groups
from helpers.evaluation.intervals import mean_interval
from helpers.text import unguarded

KNOWN = ("id", "text", "label", "answer", "right", "source")  # the columns of answers that are no groups


def why_not_comparable(first: Path, second: Path) -> str:
    """Why the answers of two run folders cannot be compared row by row; empty if they can.

    The hash is of the texts whatever their order, which depends on the seed. People may have labelled some otherwise: those
    are left out (`read_pair`).
    """
    texts = ({r["id"]: r["text"] for r in files.read_jsonl(_test_file(folder))} for folder in (first, second))
    one, other = map(files.digest, texts)
    if one == other:
        try:
            rows, _, _ = read_pair(first, second)
        except UserError as error:  # 01 has changed since 04
            return str(error)
        nothing = f"{first.name} and {second.name} have no test row with the same label: nothing is compared."
        return "" if len(rows) else nothing
    hashes = f"sha256 {one[:8]}… and {other[:8]}…"
    return f"{first.name} and {second.name} have other test rows ({hashes}): their answers are not compared row by row."


def read_answers(folder: Path) -> pd.DataFrame:
    """The test rows of a run that has reached 04: id, text, answer, right, source, the group columns, and label if any.

    A written text is right where it is strict, or without a check complies. `source` is the text that a
    row was made from. Raises UserError where 04 answered other rows than 01 has now.
    """
    stage = next(folder.glob("04_*/manifest.json")).parent
    groups = run.read_manifest(stage)["parameters"].get("group_columns", [])
    test = files.read_jsonl(_test_file(folder))
    table = pd.DataFrame(test).reindex(columns=["id", "text", "label", *groups]).assign(source=detection.sources(test))
    if (stage / "outputs.jsonl").exists():
        outputs = files.read_jsonl(stage / "outputs.jsonl")
        answered = pd.DataFrame({"id": [r["id"] for r in outputs], "answer": [r["output"] for r in outputs]})
        answered["right"] = [bool(r["checks"].get("strict", r["checks"]["compliance"])) for r in outputs]
        table = table.drop(columns="label")
    else:
        answered = pd.read_csv(stage / "predictions.csv", dtype=str, keep_default_na=False)[["id", "answer"]]
        # exact duplicates with ids of their own are several rows of one record
        answered = answered.drop_duplicates("id", ignore_index=True)
        answered["answer"] = answered.answer.map(unguarded)
        answered["right"] = (
            answered.answer.to_numpy() == table.label.to_numpy() if len(answered) == len(table) else False
        )
    if list(answered["id"]) != list(table["id"]):
        raise UserError(f"{stage} was made from another test.jsonl than that of its 01: run 04 of {folder.name} again.")
    return table.merge(answered, on="id")


def read_pair(first: Path, second: Path) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """`read_answers` of two runs in the order of the first, without the rows of another label, and how many those are."""
    one, other = map(read_answers, (first, second))
    other = other.set_index("id").loc[one["id"]].reset_index()
    same = (
        (one["label"] == other["label"]).to_numpy() if "label" in one and "label" in other else np.full(len(one), True)
    )
    one, other = (table[same].reset_index(drop=True) for table in (one, other))
    return one, other, int((~same).sum())


def compare_answers(first: pd.DataFrame, second: pd.DataFrame, draws: int = 1000) -> dict[str, float]:
    """How the second run's answers differ from the first's, from `read_pair`.

    `p` is that of McNemar's exact test on the rows that one run alone has right. Detectors also get the
    difference in macro-F1, second minus first, with its 95 % paired bootstrap interval.
    """
    won, lost = int((second.right & ~first.right).sum()), int((first.right & ~second.right).sum())
    facts = {
        "rows": len(first),
        "changed_answers": int((first.answer != second.answer).sum()),
        "right_in_first_only": lost,
        "right_in_second_only": won,
        "p": float(binomtest(won, won + lost).pvalue) if won + lost else 1.0,
    }
    if "label" not in first:
        return facts
    codes, _ = pd.factorize(pd.concat([first.label, first.answer, second.answer]))
    truth, one, other = np.split(codes, 3)
    score = detection.paired_difference(truth, other, one, draws, clusters=first.source)
    return facts | {"macro_f1_difference": score["difference"], "low": score["low"], "high": score["high"]}


def compare_by_group(first: pd.DataFrame, second: pd.DataFrame, smallest: int = 10, draws: int = 1000) -> pd.DataFrame:
    """By group: the share of right answers in both runs and its difference, second minus first, largest loss first.

    Only groups of at least `smallest` rows; the 95 % intervals are paired bootstraps and each stands alone.
    """
    columns = [c for c in first.columns if c in second.columns and c not in KNOWN]
    change, rows = second.right.astype(int).to_numpy() - first.right.astype(int).to_numpy(), []
    for column in columns:
        for name, of in large_groups(first[column].fillna("").astype(str), smallest).items():
            low, high = mean_interval(change[of], -1, draws=draws, clusters=first.source[of].tolist())
            shares = first.right[of].mean(), second.right[of].mean()
            rows.append([column, name, int(of.sum()), *shares, change[of].mean(), low, high])
    names = ["group_column", "group", "count", "right_in_first", "right_in_second", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=names).sort_values("difference", kind="stable", ignore_index=True)


def changed_rows(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """The rows whose answers differ, with both: those that got worse first, then those that got better."""
    table = first[[c for c in ("id", "text", "label") if c in first]].copy()
    table["first_answer"], table["second_answer"] = first.answer, second.answer
    table["change"] = "still wrong"
    table.loc[first.right & second.right, "change"] = "still right"  # of two good wordings
    table.loc[second.right & ~first.right, "change"] = "better"
    table.loc[first.right & ~second.right, "change"] = "worse"
    order = table.change.map({"worse": 0, "better": 1}).fillna(2)
    return table.iloc[order.argsort(kind="stable")][lambda t: t.first_answer != t.second_answer].reset_index(drop=True)


def describe_change(facts: dict[str, float], first: str, second: str) -> str:
    """The facts of `compare_answers` in a sentence."""
    won, lost = facts["right_in_second_only"], facts["right_in_first_only"]
    count = (
        f"{facts['changed_answers']:,} of {facts['rows']:,} answers differ; {won:,} rows are right in {second} alone, "
    )
    verdict = "it may be chance"
    if facts["p"] < 0.05:
        verdict = f"{second if won > lost else first} is better by more than chance"
    return f"{count}{lost:,} in {first} alone (McNemar, p = {facts['p']:.3f}): {verdict}."


def _test_file(folder: Path) -> Path:
    return folder / pipeline.STAGES["01"] / "test.jsonl"
