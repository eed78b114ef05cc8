"""The stages of a run: their notebooks, what they read, where they stand, and whether one has to be done again.

A stage is due again when its parameters, an input, an output, its notebook's code or anything in this package changes.
Nothing goes on from one whose files have changed since it ended, or that was made from such a one.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helpers import env, hub, servers
from helpers.env import UserError
from helpers.files import own_rows
from helpers.manifest import (
    changed_file,
    code_sha,
    is_manifest,
    is_whole,
    read_facts,
    read_manifest,
    short_name,
    stored_name,
    write_manifest,
)
from helpers.outputs import executed, held, is_held, put_page_back, results
from helpers.parameters import default_parameters

STAGES = {
    "01": "01_seed_curation",
    "02": "02_synthetic_expansion",
    "03": "03_active_learning",
    "04": "04_bias_evaluation",
}
GENERATION = {"01": "01_seed_curation", "03": "03_active_generation", "04": "04_generation_evaluation"}
KINDS = {"classification": STAGES, "generation": GENERATION}  # kind of task → its notebooks by stage number
LIMITS = ("teacher_tokens",)  # parameters that may change when a run is resumed
LOOKS = ("page", "show_suggestions", "label_names", "label_help")  # of the panel: they make no round void
WORDS = ("guideline", "brief")  # for people; what a teacher is told of them, its labels know (`Run.resume_rounds`)
FREE = (*LIMITS, *LOOKS, *WORDS)  # parameters with another value of which a run goes on
# What two stages of one run may have each of their own: who labels, and by which words; where answers are kept; memory.
OWN = (*FREE, "annotators", "labeller", "replies", "token_budget")
MOST_NAMED = 8  # rounds in a sentence
# Parameters that name a file or folder, each with the words that are none even where a folder of that name stands here.
SOURCES = {
    "data_path": (),
    "model": (),
    "teacher_model": (),
    "guideline": (),
    "brief": (),
    "scorer": ("lexicon", "pairs", "judge"),
    "secondary": ("tagger", "half"),
}


def sources(stage: str, params: dict[str, Any]) -> list[Path]:
    """The files and folders that a stage's parameters name: data, base model, guideline, brief, scorer, …"""
    names = []
    for parameter, words in SOURCES.items():
        if parameter != "data_path" or stage == STAGES["01"]:  # elsewhere it only says which set 01 has read
            value = params.get(parameter, "")
            names += [name for name in (value if isinstance(value, list) else [value]) if name and name not in words]
    places = [re.sub(r"^(table|detector):", "", name) for name in names if not name.startswith("embedded:")]
    packages = [name.removeprefix(env.PACKAGE) for name in places if name.startswith(env.PACKAGE)]
    models = [path for name in packages for path in env.package_files(name) if ".gguf" in path.name]
    return [env.resolve(place) for place in places if env.resolve(place).exists()] + models


def notebooks(kind: str) -> dict[str, str]:
    """Stage number → notebook for a kind of task; raises UserError on an unknown kind."""
    if kind not in KINDS:
        raise UserError(f"Parameter kind={kind!r} is unknown: choose one of {', '.join(KINDS)}.")
    return KINDS[kind]


def stage_status(folder: Path) -> str:
    """The status in a stage's manifest; `cut off` for a stage that no process runs any more, `damaged` if unreadable."""
    try:
        manifest = read_manifest(folder)
    except UserError:
        return "damaged"
    if manifest is None:
        return "damaged"
    unfinished = manifest["status"] == "running" or not is_finished(folder, manifest)
    if not unfinished or manifest["status"] == "failed" or is_held(folder):
        return manifest["status"]
    return "success" if restore_success(folder, "was cut off") else "cut off"


def is_finished(folder: Path, manifest: dict[str, Any]) -> bool:
    """Whether papermill has ended the executed notebook of a stage well, which is the last thing that it writes.

    True where none was executed, or a person ran it to its end after papermill.
    """
    notebook = executed(folder)
    if not notebook.exists() or manifest.get("frontend") == "notebook":
        return True
    facts: Any = read_facts(notebook)
    for name in ("metadata", "papermill"):
        facts = facts.get(name) if isinstance(facts, dict) else None
    return isinstance(facts, dict) and bool(facts.get("end_time")) and not facts.get("exception")


def mark_failed(folder: Path, error: str) -> bool:
    """Say in the manifest of `folder` that its run failed, unless another process runs that stage.

    Returns whether its success of before stands all the same (`restore_success`).
    """
    with contextlib.suppress(UserError):  # a damaged manifest stays as it is
        if (manifest := read_manifest(folder)) and not is_held(folder):
            write_manifest(folder, manifest | {"status": "failed", "error": error})
            return restore_success(folder, f"failed: {error}")
    return False


def restore_success(folder: Path, what_happened: str) -> bool:
    """Whether a stage's success of before stands, because the attempt that has stopped changed no result; then say so.

    What a stage found missing, or a page of which a few cells were run, takes no finished work away.
    """
    with contextlib.suppress(UserError), held(folder):
        manifest = read_manifest(folder) or {}
        before = manifest.get("before")
        if not (is_manifest(before) and before["status"] == "success" and is_whole(before)):
            return False
        if {stored_name(path) for path in results(folder)} - before["outputs"].keys():
            return False
        if changed_file(folder, before, ("outputs",)):
            return False
        put_page_back(folder)
        if is_finished(folder, before):
            write_manifest(folder, before | {"error": f"The last attempt {what_happened}"})
            return True
    return False


def changed_parameters(folder: Path, params: dict[str, Any], free: Sequence[str] = FREE) -> list[str]:
    """The parameters, but for the `free` ones, that differ from those `folder` was run with.

    [] where that run left nothing. A parameter that the notebook did not have then had its default.
    """
    try:
        manifest = read_manifest(folder)
    except UserError:  # the stage is done again, and nothing says with which parameters it was done before
        manifest = None
    earlier = manifest["parameters"] if manifest else params
    defaults = default_parameters(folder.name) if params.keys() - earlier.keys() else {}
    names = [k for k, value in params.items() if earlier.get(k, defaults.get(k)) != value and k not in free]
    return [] if names and _left_nothing(folder, manifest["status"]) else names


def _left_nothing(folder: Path, status: str) -> bool:
    """Whether the stage stopped before it wrote more than its manifest and its page; labels stay in any case."""
    return not results(folder) and (status == "failed" or (status == "running" and not is_held(folder)))


def refuse_other_parameters(folder: Path, params: dict[str, Any], free: Sequence[str] = FREE) -> None:
    """Raise UserError naming the first parameter, but for the `free` ones, that differs from those `folder` was run with."""
    if names := changed_parameters(folder, params, free):
        name, earlier = names[0], read_manifest(folder)["parameters"]
        was = f"with {name}={earlier[name]!r}" if name in earlier else f"of before there was a parameter {name}"
        problem = f"belongs to a run {was}, not {params.get(name)!r}"
        raise UserError(f"{folder} {problem}: {_how_to_change(folder, name)}.")


def _how_to_change(folder: Path, name: str) -> str:
    """How to go on with another value of a parameter; no folder that holds labels is named as one to delete."""
    logs = (folder / "labels").rglob("*.jsonl")
    if all(path.stem == "oracle" for path in logs):  # its labels are in the data
        return "choose another run_id, or delete that folder"
    page, cell = executed(folder), ' in the cell "# Parameters"'
    if not page.exists():
        page, cell = env.root() / "notebooks" / page.name, ""
    here = f"to keep its labels, open {env.short_path(page)} in JupyterLab, change {name} there{cell} and run all cells"
    return f"{here}; or choose another run_id and bring them there by `ambo labels export` and `ambo labels import`"


def why_due(folder: Path, params: dict[str, Any]) -> str:
    """Why the stage in `folder` has to run with these parameters; '' where it succeeded and nothing has changed since."""
    try:
        manifest = read_manifest(folder)
    except UserError:
        return "its manifest is damaged"
    if manifest is None:
        return "not run yet"
    if manifest["status"] != "success":
        return f"its last run is marked {manifest['status'].replace('_', ' ')}"
    if manifest["parameters"] != params:
        return "its parameters changed"
    if manifest["code"] != code_sha(folder.name):
        return "the code, or a table of the package, changed"
    if number := manifest.get("foreign_cells"):
        return foreign(number)
    return what_changed(folder, manifest)


def foreign(number: int) -> str:
    """What is said of cells, run in a stage, that are none of its notebook's."""
    return f"cells were run in it that are not those of its notebook ({number})"


def what_changed(folder: Path, manifest: dict[str, Any]) -> str:
    """What of a finished stage, or of what it was made from, is not as it was then; '' where all is. Code does not count."""
    if not is_finished(folder, manifest):
        return "its notebook was cut off at the end"
    if manifest.get("notebook") and not executed(folder).exists():
        return f"{folder.name}.ipynb is missing"
    if not is_whole(manifest):
        return "its manifest is not as the stage wrote it"
    params = manifest["parameters"]
    for path in sources(folder.name, params):
        if stored_name(path) not in manifest["inputs"]:
            return f"{short_name(stored_name(path))} was not read yet"
    if name := hub.moved(manifest.get("hub"), folder.name, params):
        return f"the hub has had another {name} since"
    return (
        servers.changed(manifest.get("servers"), folder.name, params)
        or changed_file(folder, manifest)
        or _sentence(*_first_unsound(lineage(folder)[:-1]), folder)
    )


# --- what a stage was made from -------------------------------------------------------------------


def lineage(folder: Path) -> list[Path]:
    """The stages of a run that one was made from, each before those that were made from it; itself is the last."""
    known: list[Path] = []

    def add(place: Path, later: tuple[Path, ...]) -> None:
        if place not in (*known, *later):
            for name in sorted(_stages_read(place)):
                add(place.parent / name, (*later, place))
            known.append(place)

    add(folder, ())
    return known


def _stages_read(folder: Path) -> set[str]:
    """The names of the stages of a run of which one has read results; logs of labels are none."""
    inputs = read_facts(folder / "manifest.json").get("inputs")
    names = set()
    for name in inputs if isinstance(inputs, dict) else ():
        place = inside_run(env.resolve(name), folder.parent)
        if place and not is_log(place):
            names.add(place.parts[0])
    return names - {folder.name}


def inside_run(path: Path, home: Path) -> Path | None:
    """A path as seen from the folder of a run; None where it does not lie in it."""
    return path.relative_to(home) if path.is_relative_to(home) and path != home else None


def is_log(place: Path) -> bool:
    """Whether a path, as seen from the folder of its run, is or is in the folder of labels of a stage."""
    return place.parts[1:2] == ("labels",)


def first_unsound(folder: Path) -> tuple[str, str]:
    """The first stage, of those that one was made from and itself, from which nothing may go on, and why; '' and ''.

    Other code, other words for people (guideline, brief), labels given in a later stage and a source that is gone are no
    reason.
    """
    return _first_unsound(lineage(folder))


def no_longer_counts(folder: Path) -> str:
    """Why nothing may go on from what a stage left; '' where it may."""
    return _sentence(*first_unsound(folder), folder)


def _sentence(stage: str, reason: str, folder: Path) -> str:
    return reason if stage in ("", folder.name) else f"{stage} no longer counts: {reason}"


def _first_unsound(places: Sequence[Path]) -> tuple[str, str]:
    for place in places:
        if reason := _unsound(place):
            return place.name, reason
    return "", ""


def _unsound(folder: Path) -> str:
    """What is wrong with what a stage left, whatever it was made from; '' where nothing is, or it left nothing."""
    if not (folder / "manifest.json").exists():
        return "its manifest.json is missing" if folder.is_dir() and results(folder) else ""
    status = stage_status(folder)
    if status != "success":
        return f"it is {status.replace('_', ' ')}"
    manifest = read_manifest(folder)
    if not is_whole(manifest):
        return "its manifest is not as the stage wrote it"
    words = {stored_name(env.resolve(value)) for name in WORDS if (value := manifest["parameters"].get(name))}
    inputs = {
        name: sha
        for name, sha in manifest["inputs"].items()
        if name not in words and env.resolve(name).exists() and not _is_later_log(env.resolve(name), folder)
    }
    return changed_file(folder, manifest | {"inputs": inputs})


def _is_later_log(path: Path, folder: Path) -> bool:
    """Whether a path is a log of labels of another stage of the run, which grows while people label there."""
    place = inside_run(path, folder.parent)
    return place is not None and is_log(place) and place.parts[0] != folder.name


def lineage_remarks(folder: Path) -> list[str]:
    """Sentences on a stage and those it was made from: cells run that are none of its notebook's, rounds of other code."""
    remarks = []
    for place in lineage(folder):
        if number := read_facts(place / "manifest.json").get("foreign_cells"):
            remarks.append(f"{place.name}: {foreign(number)}.")
        rounds = own_rows(place / "rounds.jsonl", "strategy")
        if foreign_rounds := [row for row in rounds if row.get("foreign_cells")]:
            problem = "cells that are not those of its notebook were run before it scored and chose in"
            remarks.append(f"{place.name}: {problem} {_named(foreign_rounds)}.")
        last = rounds[-1].get("method") if rounds else None
        if last and (others := [row for row in rounds if row.get("method") != last]):
            remarks.append(f"{place.name}: other code than in the last round scored and chose in {_named(others)}.")
    return remarks


def _named(rounds: list[dict]) -> str:
    """The rounds of a run by strategy and number, many of them cut short."""
    names = [f"{row['strategy']} {row.get('round')}" for row in rounds]
    listed = ", ".join(names[:MOST_NAMED]) + (f" and {len(names) - MOST_NAMED} more" if names[MOST_NAMED:] else "")
    return f"{'round' if len(names) == 1 else 'rounds'} {listed}"


def expected_seconds(stage: str, params: dict[str, Any]) -> float | None:
    """How long the stage took where it ended well with parameters most like these; None where it never did.

    A run of another task, of another table or with another model says nothing.
    """
    earlier = []
    for path in (env.root() / "outputs").glob(f"*/*/{stage}/manifest.json"):
        manifest = read_facts(path)
        if not is_manifest(manifest) or manifest["status"] != "success":
            continue
        before = manifest["parameters"]
        if all(before.get(name) == params.get(name) for name in ("task", "data_path", "model")):
            alike = sum(before.get(name) == value for name, value in params.items() if name != "run_id")
            earlier.append((alike, path.stat().st_mtime, manifest["seconds"]))
    return max(earlier)[2] if earlier else None
