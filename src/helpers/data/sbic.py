"""The Social Bias Inference Corpus (Sap et al. 2020, arXiv 1911.03891) from its official files: a row a post, with an answer.

A file is aggregated (one row a post, means and lists over its annotators) or raw (one row an annotator and stereotype).
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pandas as pd

from helpers.data.batched import add_remark
from helpers.env import UserError
from helpers.text import plural

OFFENSIVE, IS_OFFENSIVE, IMPLIED_BIAS, TARGET_GROUP = "offensive", "is_offensive", "implied_bias", "target_group"
NO, MAYBE, YES = "not offensive", "maybe", "offensive"
FREE, BIASED = "no implied bias", "implied bias"
NOBODY = "none"  # the target of a post that names no group
ALL = "all"
INSTRUCTIONS = {  # of one model that answers all three, told by the instruction
    OFFENSIVE: "Is the following post offensive? Answer yes, maybe or no.",
    IMPLIED_BIAS: "Does the following post imply a stereotype or bias against a group of people? Answer yes or no.",
    TARGET_GROUP: "Which groups of people does the following post target? Name them, or answer none.",
}
WORDS = {YES: "yes", MAYBE: "maybe", NO: "no", BIASED: "yes", FREE: "no"}  # answer → what such a model writes
COLUMNS = ("post", "offensiveYN", "targetMinority", "targetCategory", "targetStereotype")
INVERTED = "hasBiasedImplication"  # of the aggregated files: 1 where the list of stereotypes is empty
WORKER = "WorkerId"  # of the raw files


def ask(table: pd.DataFrame, question: str, path: str) -> pd.DataFrame:
    """One row a post, with the answer to `question`; what was dropped or guessed is among its remarks.

    Parameters
    ----------
    table : DataFrame
        An official file, aggregated or raw, as `read_table` gives it.
    question : str
        `offensive`: the mean of the annotators' 0, 0.5 and 1 is nearest to *not offensive*, *maybe* or *offensive* (a mean
        of 0.25 or 0.75 to *maybe*). `is_offensive`: in two classes, *offensive* from a mean of 0.5 on. `implied_bias`:
        somebody named a stereotype; the file's own column says the opposite of its name, and is only compared.
        `target_group`: the groups named, to be written. `all`: three rows a post, see `_ask_all`.
    path : str
        The file, for messages.

    Returns
    -------
    DataFrame
        post, label (of `target_group`: target, the groups or "none"), groups (those named, joined by "; "), category (of
        them, "none" or "several"), offensive (yes from a mean of 0.5 on), annotators (how many; 0 where the file does not
        say), annotations (worker → her answer; empty where the file does not say, and for questions on which the release's
        workers were made to agree), dataSource; indexed by the post's first row.

    Raises
    ------
    UserError
        Where a column of the corpus is missing, a number or a list is none, or the column on bias contradicts the stereotypes.
    """
    if question == ALL:
        return _ask_all(table, path)
    if missing := [name for name in COLUMNS if name not in table.columns]:
        problem = f"{path} has no column {missing[0]!r}: it is no file of the Social Bias Inference Corpus"
        raise UserError(f"{problem}; give SBIC.v2.agg.*.csv or SBIC.v2.*.csv, or set question to ''.")
    is_raw = WORKER in table.columns
    if not is_raw and INVERTED not in table.columns:
        problem = f"{path} has neither {WORKER!r} (a raw file) nor {INVERTED!r} (an aggregated one)"
        raise UserError(f"{problem}: give an official file of the corpus as it is.")
    for row, cell in zip(table.index, table["post"], strict=True):
        if not isinstance(cell, str) and cell is not None and cell == cell:
            raise UserError(f"{path}, row {row}: the post is {type(cell).__name__}, not a text: correct the row.")
    posts, remarks = (_of_raw if is_raw else _of_aggregated)(table, path)
    rows, answer_column = [], "target" if question == TARGET_GROUP else "label"
    for post in posts:
        rows.append({name: post[name] for name in ("post", "dataSource", "annotators")})
        rows[-1]["groups"] = "; ".join(post["groups"])
        categories = sorted(set(post["categories"]))
        rows[-1]["category"] = categories[0] if len(categories) == 1 else "several" if categories else "none"
        rows[-1]["offensive"] = "yes" if post["mean"] >= 0.5 else "no"
        rows[-1]["annotations"] = {}
        if question in CLASSES:
            rows[-1]["label"] = CLASSES[question](post["mean"])
            given = {worker: CLASSES[question](number) for worker, number in post["numbers"].items()}
            rows[-1]["annotations"] = {worker: label for worker, label in given.items() if label}
        else:  # nobody was asked for a stereotype where nobody said whether the post offends
            is_answered = post["is_biased"] or not math.isnan(post["mean"])
            answer = (FREE, BIASED)[post["is_biased"]] if question == IMPLIED_BIAS else rows[-1]["groups"] or NOBODY
            rows[-1][answer_column] = answer if is_answered else ""
    asked = pd.DataFrame(rows, index=[post["row"] for post in posts])
    if unknown := int((asked[answer_column] == "").sum()):
        remarks.append(f"{plural(unknown, 'post')} without an answer of any annotator: left without one.")
    if question in CLASSES and not is_raw:
        remarks.append("What each annotator answered is in the raw file alone: give it to compare a model with them.")
    add_remark(asked, *table.attrs.get("remarks", []), *remarks)
    return asked


def _ask_all(table: pd.DataFrame, path: str) -> pd.DataFrame:
    """Three rows a post, one for each of INSTRUCTIONS, which stands before the post: post, question, target.

    The rows of a post belong together (`parent_column` of the table's attributes): no split divides them.
    """
    parts, remarks = [], []
    for question, instruction in INSTRUCTIONS.items():
        part = ask(table, question, path)
        remarks = part.attrs["remarks"] if question == OFFENSIVE else remarks
        texts = [f"{instruction}\nPost: {post}" for post in part["post"]]
        targets = part["target"] if question == TARGET_GROUP else part["label"].map(WORDS).fillna("")
        parts.append(part.assign(post=texts, question=question, target=targets).drop(columns="label", errors="ignore"))
    first = list(parts[0]["post"])
    whole = pd.concat([part.assign(first=first) for part in parts]).sort_index(kind="stable")
    whole.attrs = {"remarks": remarks, "parent_column": "first"}
    return whole


def _in_three(mean: float) -> str:
    """The class of a mean, '' of no answer."""
    return "" if math.isnan(mean) else NO if mean < 0.25 else YES if mean > 0.75 else MAYBE


def _in_two(mean: float) -> str:
    return "" if math.isnan(mean) else YES if mean >= 0.5 else NO


CLASSES = {OFFENSIVE: _in_three, IS_OFFENSIVE: _in_two}  # question → the class of a number from 0 to 1


def _of_aggregated(table: pd.DataFrame, path: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The posts of an aggregated file, and what is to be said of them."""
    posts, agrees = [], Counter()
    sources = _sources(table)
    for row, source, cells in zip(table.index, sources, table[[*COLUMNS, INVERTED]].to_numpy(), strict=True):
        post, mean, *lists, own = cells
        groups, categories, stereotypes = (_list(cell, f"{path}, row {row}") for cell in lists)
        is_biased = bool(stereotypes)
        if not math.isnan(own := _number(own, f"{path}, row {row}: {INVERTED}")):
            agrees[own == is_biased] += 1
        mean = _number(mean, f"{path}, row {row}: offensiveYN")
        posts.append({"row": row, "post": post, "mean": mean, "is_biased": is_biased, "annotators": 0, "numbers": {}})
        posts[-1] |= {"dataSource": source, "groups": groups, "categories": categories}
    if len(agrees) > 1:
        counts = f"{agrees[True]:,} rows as its name says and {agrees[False]:,} the other way round"
        raise UserError(f"{path}: {INVERTED} has {counts}: give an official file of the corpus as it is.")
    if agrees[False]:
        return posts, [f"{INVERTED} is 1 where no stereotype was named, against its name: the stereotypes count."]
    return posts, []


def _of_raw(table: pd.DataFrame, path: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The posts of a raw file: a worker counts once a post, whatever number of stereotypes she named."""
    posts: dict[str, dict[str, Any]] = {}
    answers = 0
    columns = table[["post", WORKER, "offensiveYN", "targetMinority", "targetCategory", "targetStereotype"]].to_numpy()
    for row, source, cells in zip(table.index, _sources(table), columns, strict=True):
        text, worker, offensive, minority, category, stereotype = cells
        new = {"row": row, "post": text, "is_biased": False, "dataSource": source, "groups": [], "categories": []}
        new["numbers"] = {}  # worker → what she answered first
        post = posts.setdefault(text, new)
        post["is_biased"] |= bool(_text(stereotype))
        for name, cell in (("groups", minority), ("categories", category)):
            names = [part.strip() for part in _text(cell).split(",")]
            post[name] += [part for part in names if part and part not in post[name]]
        if str(worker) not in post["numbers"]:
            post["numbers"][str(worker)] = _number(offensive, f"{path}, row {row}: offensiveYN")
    for post in posts.values():
        given = [number for number in post["numbers"].values() if not math.isnan(number)]
        post["annotators"], post["mean"] = len(post["numbers"]), sum(given) / len(given) if given else math.nan
        answers += post["annotators"]
    repeats = len(table) - answers
    said = f"{plural(len(table), 'row')}: {plural(answers, 'answer')} to {plural(len(posts), 'post')}"
    return list(posts.values()), [f"{said}; repeats of a worker on a post dropped: {repeats:,}."]


def _sources(table: pd.DataFrame) -> Sequence[Any]:
    return table["dataSource"] if "dataSource" in table.columns else [""] * len(table)


def _text(cell: Any) -> str:
    """A cell as text; '' where it is empty, as the formats write that: '', None or nan."""
    return "" if cell is None or cell != cell else str(cell).strip()


def _number(cell: Any, where: str) -> float:
    """A number from 0 to 1; nan for an empty cell."""
    if not _text(cell):
        return math.nan
    try:
        number = float(cell)
    except (TypeError, ValueError):
        number = math.inf
    if not (math.isnan(number) or 0 <= number <= 1):
        raise UserError(f"{where} is {str(cell)[:40]!r}, which is no number from 0 to 1: correct the row.")
    return number


def _list(cell: Any, where: str) -> list[str]:
    """The texts of a JSON list in a cell."""
    try:
        names = json.loads(_text(cell) or "[]") if not isinstance(cell, list) else cell
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UserError(
            f"{where}: {str(cell)[:40]!r} is no list of texts, as an aggregated file has: give one, or a raw one."
        )
    return names
