"""`ambo export`: a trained model and the rows it has learned from, passed on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from helpers import env, files, outputs, pipeline, run
from helpers.cli.notebook import interruptible
from helpers.data import embedded, tables
from helpers.env import UserError, short_path
from helpers.evaluation import runs
from helpers.labels import decisions, log, seats
from helpers.text import say


def export(
    to: Annotated[str, typer.Option(help="folder to write: new, empty, or that of an earlier export")],
    task: Annotated[str, typer.Option(help="task of the run; without it that of the latest model")] = "",
    run_id: Annotated[str, typer.Option(help="name of the run; without it the latest that finished 03")] = "",
    push: Annotated[str, typer.Option(help="owner/name of repositories on the hub, private when they are new")] = "",
) -> None:
    """Write a run's adapter and its labelled rows as two folders, each with its card, in the format of the Hugging Face Hub."""
    with interruptible("the folder is as it was, or holds the whole of the new export"):
        export_run(to, task, run_id, push)


def export_run(to: str, task: str, run_id: str, push: str) -> None:
    """What `export` does."""
    latest = runs.require_detector(task, run_id, [notebooks["03"] for notebooks in pipeline.KINDS.values()])
    for remark in runs.due_remarks(latest):
        say(f"note: {remark}", file=sys.stderr)
    rows = files.read_jsonl(latest.adapter.with_name("training.jsonl"))
    rows = [row for row in rows if row.get("split") != "silver"]  # nobody has seen them: the card only counts them
    from helpers.core import export as core  # loads torch: not before the mistakes above are found

    place = env.resolve(to)
    outputs.refuse_loss(place, "--to")
    core.refuse_foreign(place)
    if push:
        core.refuse_push(push)
    with files.replacing(place) as new:
        write_export(new, latest, rows, push)
        edited = core.keep_edited_cards(place, new)
    for kind in ("model", "dataset"):
        kept = ", the card as you edited it" if edited.get(kind) == core.CARD else ""
        say(f"{kind.capitalize():8} {short_path(place / kind)}{kept}")
        if not kept and kind in edited:
            said = "the new card may say other things; take over from it what you wrote"
            say(f"{'':8} {short_path(place / kind / edited[kind])} is the card as you edited it: {said}")
        if push:
            with interruptible("the folder is whole here; the same command pushes again"):
                say(f"{'':8} {core.push(place / kind, push, kind)}")


def write_export(folder: Path, latest: runs.Detector, rows: list[dict], pushed: str = "") -> None:
    """Write adapter, labelled rows and cards of a run into a new folder; `pushed` is their name on the hub, if any."""
    from helpers.core import export as core
    from helpers.core import saved
    from helpers.evaluation import cards

    stage, home = latest.adapter.parent, outputs.run_folder(latest.task, latest.run)
    manifest, first = (run.read_manifest(place) or {} for place in (stage, home / pipeline.STAGES["01"]))
    if not first:
        raise UserError(
            f"{home / pipeline.STAGES['01']} has no manifest.json, which names the data: restore it, or run 01 again."
        )
    settings, revision = manifest["parameters"], manifest.get("revision", "")
    facts = core.export_adapter(latest.adapter, folder / "model", revision)
    outdated = saved.rules_remark(facts)
    if outdated:
        say(f"note: {outdated}", file=sys.stderr)
    own_logs = seats.log_folder(stage / "labels", settings["labeller"], settings["strategy"])
    logs = [home / pipeline.STAGES["01"] / "labels", own_logs]
    labellers, people = decisions.labellers(map(log.annotations, logs))
    who, guide = cards.who_labelled(rows, labellers), settings.get("guideline", "")
    data = {"path": first["parameters"]["data_path"], "language": latest.language, "run": latest.run, "pushed": pushed}
    data |= {"rows": len(rows), "who": who, "people": people, "guideline": cards.source_name(guide)}
    data["silver"] = settings.get("silver", 0)
    data["guideline_file"] = bool(guide and embedded.embedded_file(guide).is_file())
    if data["guideline_file"]:
        files.write_text(folder / "dataset" / "GUIDELINE.md", embedded.read_guideline(guide))
    if licence := embedded.licence(data["path"]):
        files.write_text(folder / "dataset" / "LICENSE", licence.read_text(encoding="utf-8"))
    table = pd.DataFrame(rows).assign(labelled_by=who)
    tables.write_table(folder / "dataset" / "data" / "train.parquet", table)
    cards.write_data_card(folder / "dataset" / core.CARD, facts.task, table, data)
    source = core.base_source(facts, revision)
    base = {
        "source": source,
        "model": cards.source_name(facts.recipe.model) if source == "folder" else facts.recipe.model,
    }
    base["revision"] = facts.recipe.revision or revision
    scores = evaluation_of(latest, "classification" if facts.task.labels else "generation")
    scores["outdated"] = outdated
    cards.write_model_card(folder / "model" / core.CARD, facts.task, facts.recipe, base, data, scores)


def evaluation_of(latest: runs.Detector, kind: str) -> dict[str, Any]:
    """What the card says of the tables of 04, or why there is nothing to say."""
    from helpers.evaluation import cards

    folder, missing = runs.evaluation(latest, kind)
    if missing:
        return {"missing": missing}
    manifest = run.read_manifest(folder)
    scores = cards.detection_scores(folder) if kind == "classification" else cards.generation_scores(folder)
    scores["verdict"] = manifest.get("verdict", "")
    return scores | cards.group_scores(folder, manifest["parameters"]["smallest_group"])
