"""An exported run's pages in the format of the Hugging Face Hub, a model card and a data card; all data in them are escaped."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

import jinja2
import pandas as pd
import yaml
from markupsafe import Markup

from helpers.data.embedded import PREFIX
from helpers.env import UserError
from helpers.files import write_text
from helpers.task import Task
from helpers.text import name as one_line
from helpers.text import unguarded, visible

LICENSE_LINE = "# license:   (fill in before you publish, such as apache-2.0 or cc-by-4.0, and delete the # in front)"
WORST, MOST = 3, 20  # groups of a column that a card names as the worst; names in a list
MARKDOWN = re.compile(r"([\\`*_\[\]{}#|~$!])")  # `autoescape` takes care of < > & and quotation marks
FIELDS = {
    "id": "hash of the task's name and the normalised text",
    "text": "what was read",
    "label": "the class",
    "target": "what is to be written for the text; the text itself where nothing is to be changed",
    "references": "all versions of the target that the source has",
    "source": "where the text is from; synthetic and counterfactual rows were made for the training",
    "split": "seed: labelled first; pool: chosen for labelling afterwards",
    "spans": "evidence for the label, as [start, end] in characters",
    "kinds": "kinds of exclusion in the text",
    "own_id": "what the source calls the row",
    "own_ids": "what the source calls the rows of a text that stands in it several times",
    "parent_id": "the row that a counterfactual or synthetic row was made from",
    "weight": "its part in the loss",
    "method": "how a synthetic row was made",
    "writer": "who wrote a synthetic row",
    "target_source": "who wrote the target",
    "labelled_by": "who gave the answer",
}
WHO = {
    "data": "came with the data, in the first texts",
    "oracle": "came with the data, uncovered when the text was chosen (oracle)",
    "teacher": "a language model (teacher)",
    "person": "people",
    "synthetic": "synthetic rows, labelled as they were made",
}


def inline(value: Any) -> str:
    """A value as one line of Markdown that is text and nothing else; `autoescape` does the rest."""
    if hasattr(value, "__html__"):
        return value
    if isinstance(value, float):
        return "–" if value != value else f"{value:.3f}"
    if isinstance(value, int):
        return f"{value:,}"
    return MARKDOWN.sub(r"\\\1", visible(one_line(str(value))))


TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, finalize=inline)


def front_matter(facts: dict[str, Any], comments: Sequence[str]) -> str:
    """The YAML block on top of a card: facts as plain values, each on one line, and comments of our own."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return list(map(plain, value))
        return visible(one_line(value)) if isinstance(value, str) else value

    lines = yaml.safe_dump(plain(facts), allow_unicode=True, sort_keys=False, width=10**6)
    return "\n".join(["---", lines.rstrip("\n"), *comments, "---", "", ""])


def source_name(data_path: str) -> str:
    """How others may know the source of the data: an embedded set, a set of the hub, or the last part of a path."""
    if data_path.startswith((PREFIX, "hf:")):
        return data_path
    return PurePath(PureWindowsPath(data_path).name).name


def hub_data(data_path: str) -> list[str]:
    """The hub's id of the source, if it has one."""
    return [data_path.split(":")[1]] if data_path.startswith("hf:") else []


def who_labelled(rows: Sequence[dict], labellers: dict[str, str]) -> list[str]:
    """For each row a key of WHO; `labellers` maps ids of records to who labelled them."""
    made = ("synthetic", "counterfactual")
    return ["synthetic" if r.get("source") in made else labellers.get(r["id"], "data") for r in rows]


def _counted(who: Sequence[str]) -> pd.DataFrame:
    counts = Counter(who)
    return pd.DataFrame([(text, counts[key]) for key, text in WHO.items() if counts[key]], columns=["answers", "rows"])


# --- what 04 found ---


def _read(path: Path) -> pd.DataFrame:
    """A table of 04, its texts as they are and its numbers as numbers; without rows where it is not there."""
    try:
        table = pd.read_csv(path, keep_default_na=False, dtype=str)
    except (OSError, ValueError):  # no file, or an empty one
        return pd.DataFrame()
    for name in table.columns.difference(["model", "group", "column", "set", "system", "kind"]):
        numbers = pd.to_numeric(table[name], errors="coerce")
        table[name] = numbers.astype(int) if name in ("count", "pairs") and numbers.notna().all() else numbers
    return table.map(unguarded)


def _with_interval(table: pd.DataFrame, name: str, low: str, high: str) -> list[str]:
    rows = zip(table[name], table[low], table[high], strict=True)
    return [f"{value:.3f} ({below:.3f}–{above:.3f})" for value, below, above in rows]


def refusing_damage(read: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Raise UserError where the tables of a stage lack rows or columns, or have no numbers in them."""

    @functools.wraps(read)
    def reading(folder: Path, *arguments: Any) -> dict[str, Any]:
        try:
            return read(folder, *arguments)
        except (LookupError, ValueError, TypeError, AttributeError) as error:
            remedy = f"run {folder.name[:2]} again, or restore them"
            raise UserError(f"The tables in {folder} are damaged ({error!r:.100}): {remedy}.") from error

    return reading


@refusing_damage
def detection_scores(folder: Path) -> dict[str, Any]:
    """What the card of a detector says of the tables that 04_bias_evaluation wrote."""
    headline, flips, other = (_read(folder / f"{name}.csv") for name in ("headline", "flips", "carried_over"))

    def shown(table: pd.DataFrame) -> pd.DataFrame:
        scores = {"macro-F1": _with_interval(table, "macro_f1", "low", "high"), "accuracy": table["accuracy"]}
        return pd.DataFrame({"model": table["model"], **scores})

    further = (
        [(Markup("On a further test set:"), shown(part).assign(set=name)) for name, part in other.groupby("set")]
        if len(other)
        else []
    )
    first = headline.iloc[0]
    metrics = [("f1", "macro-F1", first["macro_f1"]), ("accuracy", "accuracy", first["accuracy"])]
    values = {"scores": shown(headline), "further": further, "test_rows": int(first["count"]), "metrics": metrics}
    values["kinds"] = _kinds(_read(folder / "kinds.csv"))
    values |= {"flip": "", "pairs": 0, "flip_rival": ""}
    if len(flips) and flips["pairs"].iloc[0]:
        rates = [f"{r.flip_rate:.1%} (95 % interval {r.low:.1%} to {r.high:.1%})" for r in flips.itertuples()]
        values |= {"flip": rates[0], "pairs": int(flips["pairs"].iloc[0])}
        if len(flips) > 1:
            values["flip_rival"] = f"{flips['model'].iloc[1]}: {rates[1]}"
    return values


def _kinds(table: pd.DataFrame) -> pd.DataFrame:
    """The F1 of the kinds that the detector names; without rows where it names none."""
    finders = [name for name in table.columns if f"{name} low" in table]
    if not finders or table[finders[0]].isna().all():
        return pd.DataFrame()
    shown = {name: _with_interval(table, name, f"{name} low", f"{name} high") for name in finders}
    return pd.DataFrame({"kind": table["kind"], "rows": table["count"], **shown})


@refusing_damage
def generation_scores(folder: Path) -> dict[str, Any]:
    """What the card of a model that writes says of the tables that 04_generation_evaluation wrote."""
    systems = _read(folder / "systems.csv")
    scores = pd.DataFrame({"system": systems["system"]})
    for name in ("compliance", "strict", "chrF", "exact match", "similarity"):
        if f"{name} low" in systems:
            scores[name] = _with_interval(systems, name, f"{name} low", f"{name} high")
    first = systems.iloc[0]
    metrics = [
        (kind, name, first[name]) for kind, name in (("accuracy", "compliance"), ("chrf", "chrF")) if name in first
    ]
    return {"scores": scores, "further": [], "test_rows": int(first["count"]), "metrics": metrics}


@refusing_damage
def group_scores(folder: Path, smallest: int) -> dict[str, Any]:
    """The worst groups of every column, and those too small to say anything about."""
    groups = _read(folder / "by_group.csv")
    if not len(groups):
        return {"smallest": smallest, "worst": None, "small": [], "alike": []}
    score = "accuracy" if "accuracy" in groups else "compliance"
    names = [
        name
        for name in ("column", "group", "count", score, "false_positive_rate", "false_negative_rate")
        if name in groups
    ]
    large = groups[groups["count"] >= smallest].sort_values(score, kind="stable")
    shares = large.groupby("column", sort=False)[score].agg(["nunique", "size", "first"])
    alike = shares[(shares["nunique"] == 1) & (shares["size"] > 1)]  # of equal groups none is the worst
    large = large[~large["column"].isin(alike.index)]
    alike = [f"{row.Index} ({score} {row.first:.3f} in all {row.size:,})" for row in alike.itertuples()]
    worst = large.groupby("column", sort=False).head(WORST).sort_values("column", kind="stable")[names]
    worst = worst.rename(columns={"count": "n"} | {name: name.replace("_", " ") for name in names[3:]})
    small = groups[groups["count"] < smallest]
    named = [
        f"{r.group} ({r.column}, n = {r.count})"
        for r in small.head(MOST)[["group", "column", "count"]].itertuples(name="R")
    ]
    facts = {"smallest": smallest, "worst": worst, "alike": alike}
    return facts | {"small": named, "more_small": max(0, len(small) - MOST)}


# --- the cards ---


def write_model_card(
    path: Path, task: Task, recipe: Any, base: dict[str, Any], data: dict[str, Any], scores: dict[str, Any]
) -> Path:
    """Write the model card.

    Parameters
    ----------
    path : Path
    task : Task
    recipe : Recipe
    base : dict
        `source` (embedded, folder or hub), `model` (its name) and `revision`.
    data : dict
        `path` (the data's parameter), `language`, `rows`, `who` (see `who_labelled`), `people`, `silver`,
        `pushed` (the labelled rows' own name on the hub, or '').
    scores : dict
        Of `detection_scores` or `generation_scores` with `group_scores`; or `missing`, why there are none.
    """
    kind = "text-classification" if task.labels else "text-generation"
    facts: dict[str, Any] = {"library_name": "peft", "pipeline_tag": kind}
    comments = [LICENSE_LINE]
    if base["source"] == "hub":
        facts |= {"base_model": base["model"], "base_model_relation": "adapter"}
    else:
        places = {"embedded": "lies in base/, inside this package", "folder": "was a folder, without an id of the hub"}
        comments.append(f"# base_model: the base {places[base['source']]}")
    facts |= {"language": [data["language"]]} if data["language"] else {}
    facts |= {"tags": ["lora", "qlora", "bias", "ambo", kind]}
    ids = hub_data(data["path"])
    facts |= {"datasets": own} if (own := [*ids, *filter(None, [data["pushed"]])]) else {}
    name = f"{task.name}-{data['run']}"
    if metrics := scores.get("metrics"):
        facts["metrics"] = [kind for kind, _, _ in metrics]
        results = [{"type": kind, "name": label, "value": round(float(value), 4)} for kind, label, value in metrics]
        source = {"name": source_name(data["path"]), "type": (ids or [source_name(data["path"])])[0], "split": "test"}
        result = {"task": {"type": facts["pipeline_tag"]}, "dataset": source, "metrics": results}
        facts["model-index"] = [{"name": name, "results": [result]}]
    alone, why_not = _loaded_alone(task, recipe)
    values = data | scores | {"title": name, "task": task, "recipe": recipe, "base": base, "alone": alone}
    values |= {"why_not_alone": why_not, "data_source": source_name(data["path"]), "labelled_by": _counted(data["who"])}
    page = TEMPLATES.get_template("model_card.md").render(values)
    return write_text(path, front_matter(facts, comments) + page.rstrip() + "\n")


def _loaded_alone(task: Task, recipe: Any) -> tuple[str, str]:
    """(which code of `load_alone.md` loads the adapter without Ambo, or why none does)."""
    if task.labels and recipe.head == "classifier":
        if task.hints and recipe.pooling == "evidence":
            return "", f"its head also reads which words Ambo's {task.hints.capitalize()} rules mark"
        return "classifier", ""
    if recipe.bidirectional:
        reason = "the base reads the prompt in both directions and writes in one, which transformers alone does not do"
        return "", reason
    if task.labels:
        return "label words", ""
    if task.output == "edits" or task.draft:
        return "", "it writes edits of a text, which have to be applied to it"
    return "writer", ""


def write_data_card(path: Path, task: Task, rows: pd.DataFrame, data: dict[str, Any]) -> Path:
    """Write the data card.

    Parameters
    ----------
    path : Path
    task : Task
    rows : DataFrame
        The labelled rows, with `labelled_by`.
    data : dict
        As for `write_model_card`, with `guideline` ('' for none) and `guideline_file` (whether it is beside the card).
    """
    kind = "text-classification" if task.labels else "text-generation"
    facts: dict[str, Any] = {"language": [data["language"]]} if data["language"] else {}
    facts |= {"task_categories": [kind], "tags": ["bias", "ambo"]}
    facts |= {"source_datasets": ids} if (ids := hub_data(data["path"])) else {}
    facts["configs"] = [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train.parquet"}]}]
    fields = [(name, FIELDS.get(name, "a group, or another column of the source")) for name in rows.columns]
    counts = pd.DataFrame()
    if "label" in rows:
        counts = rows["label"].value_counts().head(MOST).rename_axis("class").reset_index(name="rows")
    values = data | {"title": f"Labelled rows of {task.name}-{data['run']}", "task": task, "count": f"{len(rows):,}"}
    values |= {"data_source": source_name(data["path"]), "hub": bool(ids), "embedded": data["path"].startswith(PREFIX)}
    values |= {"fields": pd.DataFrame(fields, columns=["column", "what it is"]), "counts": counts}
    values |= {"labelled_by": _counted(rows["labelled_by"]), "own_ids": "own_id" in rows}
    page = TEMPLATES.get_template("data_card.md").render(values)
    return write_text(path, front_matter(facts, [LICENSE_LINE]) + page.rstrip() + "\n")
