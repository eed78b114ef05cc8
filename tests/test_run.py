"""Runs: parameters are checked, manifests chain the stages, and a stage is due again only when something has changed."""

import ast
import hashlib
import json
import os
import re
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import huggingface_hub.constants
import pytest
from jupyter_client.manager import start_new_kernel
from safetensors import SafetensorError

from helpers import files, hub, manifest, outputs, pipeline, run
from helpers.cells import Cells
from helpers.env import UserError
from helpers.evaluation.runs import finished_runs
from helpers.parameters import notebook_parameters, parameter_help
from tests.project import ROOT, code_cells, notebook, save_manifest

PARAMETERS = """task = 'demo'  # name
run_id = 'r'  # run
seed = 1  # seed
rate = 0.1  # a rate = a share
use = True  # yes
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name in ("notebooks", "params"):
        (tmp_path / name).mkdir()
    write_notebook(tmp_path)
    monkeypatch.setenv("AMBO_ROOT", str(tmp_path))
    return tmp_path


def write_notebook(project, code="1 + 1"):
    return notebook(project / "notebooks" / "01_seed_curation.ipynb", (code, []), (PARAMETERS, ["parameters"]))


def open_stage(project, **changes):
    """A stage with one result."""
    stage = run.open_run("01", {**notebook_parameters(project / "notebooks" / "01_seed_curation.ipynb"), **changes})
    files.write_text(stage.path("result.txt"), "a")
    return stage


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/proc/self/mem", "is no file of this stage"),
        ("../elsewhere.txt", "is no file of this stage"),
        ("outputs/demo/r/01_seed_curation/pipe", "is no regular file"),
        ("outputs/demo/r/01_seed_curation/" + "x" * 300, "cannot be read"),
        ("x/" * 3000, "is no file of this stage"),
        ("\0", "cannot be read"),
    ],
)
def test_outputs_that_are_no_files_are_damage_and_are_not_opened(project, name, words):
    stage = open_stage(project)
    stage.close()
    os.mkfifo(stage.path("pipe"))  # to open it would wait for ever
    facts = run.read_manifest(stage.folder)
    manifest.write_manifest(stage.folder, facts | {"outputs": {name: "0" * 64}})
    reason = pipeline.why_due(stage.folder, stage.params)
    assert reason.startswith("its manifest is damaged: ") and reason.endswith(words) and len(reason) < 300


def test_a_copied_or_renamed_run_is_no_damage(project):
    stage = open_stage(project, run_id="r1")
    stage.close()
    home = stage.folder.parent
    shutil.copytree(home, home.with_name("r1_backup"))
    copied = finished_runs("demo", "01")
    assert [folder.name for folder in copied[0]] == ["r1"]
    assert copied[1] == {"r1_backup": "it is the run demo/r1, copied or renamed"}
    home.rename(home.with_name("r2"))
    assert finished_runs("demo", "01")[1] == dict.fromkeys(("r1_backup", "r2"), copied[1]["r1_backup"])


@pytest.mark.parametrize("more", [{"note": "\ud800"}, {"inputs": {"\ud800": "0"}}, {"outputs": {"\ud800": "0"}}])
def test_half_a_character_in_a_manifest_is_damage(project, more):
    stage = open_stage(project)
    stage.close()
    facts = run.read_manifest(stage.folder) | more
    stage.path("manifest.json").write_text(json.dumps(facts))
    assert pipeline.why_due(stage.folder, stage.params) == "its manifest is not as the stage wrote it"
    assert manifest.changed_file(stage.folder, facts) if "note" not in more else True


@pytest.mark.parametrize("name", ["/proc/kmsg", "/dev/zero", "/proc/self/mem"])
def test_inputs_of_the_system_are_not_waited_for(project, name):
    stage = open_stage(project)
    stage.close()
    facts = run.read_manifest(stage.folder)
    manifest.write_manifest(stage.folder, facts | {"inputs": {name: "0" * 64}})
    assert pipeline.why_due(stage.folder, stage.params)


def test_a_pipe_in_place_of_a_manifest_is_damage(project):
    folder = project / "outputs/demo/r/01_seed_curation"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "manifest.json")
    assert pipeline.stage_status(folder) == "damaged"
    assert pipeline.why_due(folder, {}) == "its manifest is damaged"


# --- a parameter that changes ---------------------------------------------------------------------


def cell_output(client, code, **options) -> str:
    """What a cell prints in a real kernel, error included."""
    lines = []

    def keep(message):
        content = message["content"]
        lines.append(content.get("text", "") + content.get("evalue", ""))

    client.execute_interactive(code, timeout=60, output_hook=keep, **options)
    return "".join(lines)


def test_a_parameter_changed_by_a_person_makes_a_new_version_and_by_a_batch_run_a_refusal(project):
    stage = open_stage(project)
    stage.wrote(files.write_text(stage.path("out.txt"), "seed 1"))
    files.write_text(stage.path("labels/anna.jsonl"), "her labels")
    shutil.copy(project / "notebooks/01_seed_curation.ipynb", stage.folder)
    stage.close()
    cells = ["import os, sys", f"os.environ['AMBO_ROOT'] = {str(project)!r}", f"sys.path[:0] = {sys.path!r}"]
    code = "\n".join(
        [*cells, PARAMETERS, "from helpers import run", "seed = {}", "run.open_run('01', globals()).close()"]
    )
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        refused = cell_output(client, code.format(2), allow_stdin=False)  # as papermill and nbconvert ask
        assert "belongs to a run with seed=1, not 2: to keep its labels, open" in refused
        assert not stage.path("earlier").exists()
        again = cell_output(client, code.format(2), allow_stdin=True)  # as JupyterLab, VS Code and Colab ask
        said = f"seed was 1 and is 2: the stage is done anew, labels stay; before: {stage.path('earlier/1')}\n"
        foreign = "cells were run in it that are not those of its notebook"
        assert again == f"{said}{foreign} (2): the next `ambo run` does 01_seed_curation again.\n"
        assert "done anew" not in cell_output(client, code.format(2), allow_stdin=True)
        assert "seed was 2 and is 3" in cell_output(client, code.format(3), allow_stdin=True)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert stage.path("labels/anna.jsonl").read_text() == "her labels"
    assert stage.path("earlier/1/out.txt").read_text() == "seed 1" and not stage.path("out.txt").exists()
    assert [run.read_manifest(stage.path(f"earlier/{k}"))["parameters"]["seed"] for k in (1, 2)] == [1, 2]
    manifest = run.read_manifest(stage.folder)
    assert manifest["parameters"]["seed"] == 3 and pipeline.why_due(stage.folder, manifest["parameters"]).startswith(
        foreign
    )
    assert stage.path("01_seed_curation.ipynb").exists() and stage.path("earlier/1/01_seed_curation.ipynb").exists()


@pytest.mark.parametrize(
    ("log", "executed", "remedy"),
    [
        (
            "me.jsonl",
            True,
            'outputs/demo/r/01_seed_curation/01_seed_curation.ipynb in JupyterLab, change seed there in the cell "# P',
        ),
        (
            "human/anna.jsonl",
            False,
            "notebooks/01_seed_curation.ipynb in JupyterLab, change seed there and run all cells; or choose",
        ),
        ("teacher/teacher.jsonl", False, "bring them there by `ambo labels export` and `ambo labels import`"),
        ("bait/oracle.jsonl", True, "choose another run_id, or delete that folder"),
        ("", True, "choose another run_id, or delete that folder"),
    ],
)
def test_no_refusal_says_to_delete_a_folder_that_holds_labels(project, log, executed, remedy):
    stage = open_stage(project)
    files.write_text(stage.path("out.txt"), "seed 1")
    if log:
        files.write_text(stage.path(f"labels/{log}"), "a label")
    if executed:
        shutil.copy(project / "notebooks/01_seed_curation.ipynb", stage.folder)
    stage.close()
    with pytest.raises(UserError, match="belongs to a run with seed=1, not 2: ") as refused:
        open_stage(project, seed=2)
    assert remedy in str(refused.value)
    assert ("delete that folder" in str(refused.value)) == ("oracle" in log or not log)


@pytest.mark.parametrize(
    ("given", "changes", "command"),
    [
        ("ambo run --run-id r", {}, "ambo run --run-id r"),
        ("ambo run --run-id r", {"seed": 3, "use": False}, "ambo run --run-id r -p seed 3 -p use false"),
        ("ambo run -p seed '1 ' -p use true --run-id r", {"seed": 3}, "ambo run -p use true --run-id r -p seed 3"),
    ],
)
def test_the_command_that_stopped_here_is_remembered_with_what_has_changed(
    project, monkeypatch, given, changes, command
):
    stage = open_stage(project)
    stage.close("awaiting_labels")
    files.write_json(stage.path("manifest.json"), run.read_manifest(stage.folder) | {"command": given})
    monkeypatch.setattr(run.env, "frontend", lambda: "notebook")
    monkeypatch.setattr(run, "_follow_cells", lambda run: None)
    for _ in range(2):  # run all cells, and again
        again = open_stage(project, **changes)
        assert again.notes["command"] == command
        again.close()
    assert run.read_manifest(stage.folder)["command"] == command


@pytest.mark.parametrize(("written", "status"), [("", "failed"), ("labels/human/me.jsonl", "failed"), ("", "running")])
def test_a_stage_that_left_nothing_takes_other_parameters(project, written, status, capsys):
    stage = open_stage(project)
    stage.path("result.txt").unlink()
    if written:
        files.write_text(stage.path(written), "a label")
    stage.save_manifest(status, error="no data")
    outputs._locks.pop(stage.folder).release()  # its process has ended
    again = open_stage(project, seed=2)
    again.close()
    assert run.read_manifest(stage.folder)["parameters"]["seed"] == 2 and not stage.path("earlier").exists()
    assert not written or stage.path(written).read_text() == "a label"
    assert not capsys.readouterr().out


def test_a_stage_whose_folder_was_deleted_begins_anew_in_the_same_process(project, monkeypatch):
    stage = open_stage(project)
    shutil.rmtree(stage.folder)
    again = open_stage(project)
    assert outputs.is_held(again.folder) and stage.path("manifest.json").exists()
    again.close()
    assert not outputs.is_held(again.folder)
    monkeypatch.delenv("AMBO_ROOT")
    monkeypatch.chdir(stage.folder)
    shutil.rmtree(stage.folder)
    with pytest.raises(UserError, match="has been deleted: open the notebook in notebooks/ instead"):
        open_stage(project)


def test_rounds_say_which_foreign_cells_were_run_and_their_model_is_trained_again(project):
    """What a cell of one's own changed nobody knows: texts that were asked stay asked, a model is trained anew."""
    head = f"import os, sys\nos.environ['AMBO_ROOT'] = {str(project)!r}\nsys.path[:0] = {sys.path!r}\n{PARAMETERS}"
    first = f"{head}\nfrom helpers import run\nhere = run.open_run('03', globals())"
    loop = "n = len(here.resume_rounds())\nhere.add_round({'strategy': 'bait', 'round': n})"
    last = "here.close()"
    cells = [(source, []) for source in (first, loop, last)]
    notebook(project / "notebooks/03_active_learning.ipynb", (PARAMETERS, ["parameters"]), *cells)
    folder = project / "outputs/demo/r/03_active_learning"
    above = ["!true\n%cd .", "seed = 1", "import textwrap\ntextwrap.fill = None"]  # the last may have changed anything
    for foreign in ([], ["n = 2"], []):
        manager, client = start_new_kernel(kernel_name="python3")
        try:
            for code in (*(above if foreign else above[:2]), first, *foreign, loop, last):
                cell_output(client, code, allow_stdin=True)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
        params = run.read_manifest(folder)["parameters"]
        mark = "cells were run in it that are not those of its notebook (2)" if foreign else ""
        assert pipeline.why_due(folder, params) == mark
    rounds = run.Run("03_active_learning", params, folder).read_rounds()
    assert [row.get("foreign_cells") for row in rounds] == [None, 2, None]
    own = run.Run("03_active_learning", params, folder)
    assert [own.is_own_code(row["code"]) for row in rounds] == [True, False, True]
    (remark,) = pipeline.lineage_remarks(folder)
    assert remark.endswith("not those of its notebook were run before it scored and chose in round bait 1.")
    later = run.Run("04_bias_evaluation", params, folder.with_name("04_bias_evaluation"))
    later.earlier("03", "rounds.jsonl")
    assert later.remarks == [remark]  # for the report's limits


def test_a_cell_that_fails_in_an_open_notebook_is_in_the_manifest_until_the_next_goes_well(project):
    folder = project / "outputs/demo/r/01_seed_curation"
    cells = ["import os, sys", f"os.environ['AMBO_ROOT'] = {str(project)!r}", f"sys.path[:0] = {sys.path!r}"]
    first = "\n".join([*cells, PARAMETERS, "from helpers import run", "here = run.open_run('01', globals())"])
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        cell_output(client, f"{first}\nraise run.UserError('row 3 is empty')", allow_stdin=True)
        assert pipeline.stage_status(folder) == "failed" and outputs.is_held(folder)
        assert run.read_manifest(folder)["error"] == "UserError: row 3 is empty"
        cell_output(client, "1 + 1", allow_stdin=True)
        assert pipeline.stage_status(folder) == "running" and "error" not in run.read_manifest(folder)
        cell_output(client, "raise KeyboardInterrupt", allow_stdin=True)
        assert run.read_manifest(folder)["error"] == "stopped by hand"
        cell_output(client, "here.close()", allow_stdin=True)
        assert (
            "division" in cell_output(client, "1 / 0", allow_stdin=True) and pipeline.stage_status(folder) == "success"
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_an_attempt_that_stops_before_it_changes_a_result_takes_no_success_away(project):
    """In an open notebook, as where 01 finds its data gone: what it made of them before still counts."""
    stage = open_stage(project)
    files.write_text(stage.path("seed.jsonl"), "{}")
    stage.close()
    cells = ["import os, sys", f"os.environ['AMBO_ROOT'] = {str(project)!r}", f"sys.path[:0] = {sys.path!r}"]
    first = "\n".join([*cells, PARAMETERS, "from helpers import run", "here = run.open_run('01', globals())"])
    for harm, status in (("", "success"), ("here.path('seed.jsonl').write_text('[]'); ", "failed")):
        manager, client = start_new_kernel(kernel_name="python3")
        try:
            cell_output(client, f"{first}\nraise run.UserError('the data are missing')", allow_stdin=True)
            assert pipeline.stage_status(stage.folder) == "success" and outputs.is_held(stage.folder)
            assert not pipeline.no_longer_counts(stage.folder)
            assert run.read_manifest(stage.folder)["error"].endswith("attempt failed: UserError: the data are missing")
            cell_output(client, "1 + 1", allow_stdin=True)
            assert pipeline.stage_status(stage.folder) == "running"
            cell_output(client, f"{first}\n{harm}raise ValueError", allow_stdin=True)  # in the same kernel
            assert pipeline.stage_status(stage.folder) == status
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)
    assert pipeline.no_longer_counts(stage.folder) == "it is failed"


def test_a_stage_that_was_left_after_its_first_cells_still_counts(project):
    stage = open_stage(project)
    files.write_text(stage.path("seed.jsonl"), "{}")
    stage.close()
    for leave, words in (
        (lambda: pipeline.mark_failed(stage.folder, "no memory"), "failed: no memory"),  # as `ambo run` does
        (lambda: None, "was cut off"),
    ):
        open_stage(project)
        assert pipeline.stage_status(stage.folder) == "running"
        outputs.release_folder(stage.folder)
        leave()
        assert pipeline.stage_status(stage.folder) == "success" and not outputs.is_held(stage.folder)
        assert run.read_manifest(stage.folder)["error"] == f"The last attempt {words}"
        assert not pipeline.why_due(stage.folder, stage.params)
    open_stage(project)
    files.write_text(stage.path("more.jsonl"), "{}")
    outputs.release_folder(stage.folder)
    assert pipeline.stage_status(stage.folder) == "cut off"


def test_a_page_that_was_cut_off_counts_once_a_person_has_run_it_to_its_end(project, monkeypatch):
    stage = open_stage(project)
    page = files.write_text(stage.path("01_seed_curation.ipynb"), '{"metadata": {"papermill": {"end_time": null}}}')
    stage.close()
    assert pipeline.stage_status(stage.folder) == "cut off"
    monkeypatch.setattr(run.env, "frontend", lambda: "notebook")
    stage.close()
    assert pipeline.stage_status(stage.folder) == "success" and not pipeline.why_due(stage.folder, stage.params)
    monkeypatch.undo()
    monkeypatch.setenv("AMBO_ROOT", str(project))
    page.unlink()
    assert pipeline.why_due(stage.folder, stage.params) == "01_seed_curation.ipynb is missing"


def test_a_cell_that_was_never_run_because_of_a_slip_is_not_foreign(project):
    cells = ["import os, sys", f"os.environ['AMBO_ROOT'] = {str(project)!r}", f"sys.path[:0] = {sys.path!r}"]
    first = "\n".join([*cells, PARAMETERS, "from helpers import run", "here = run.open_run('01', globals())"])
    notebook(
        project / "notebooks/01_seed_curation.ipynb", (PARAMETERS, ["parameters"]), (first, []), ("here.close()", [])
    )
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        for cell in ("seed = ", f"{PARAMETERS}seed = = 2", "=%'''", first, "here.close("):
            cell_output(client, cell, allow_stdin=True)
        assert "foreign" not in cell_output(client, "here.close()", allow_stdin=True)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert not run.read_manifest(project / "outputs/demo/r/01_seed_curation").get("foreign_cells")


@pytest.mark.parametrize(
    "cell",
    ["try:\n    import nothing_of_that_name\nexcept ImportError:\n    !true\nx = 1", "if True:\n    %cd .\nx = 1"],
)
def test_a_cell_with_commands_alone_in_a_block_is_still_seen(project, monkeypatch, cell):
    notebook(project / "notebooks/01_seed_curation.ipynb", (PARAMETERS, ["parameters"]), ("open it", []))
    monkeypatch.setattr(Cells, "_run", lambda self: ["open it", cell])
    assert Cells("01_seed_curation").count_foreign() == 1


def test_the_page_of_before_comes_back_with_its_success(project):
    """Where `ambo run` fails before it has changed a result; the page of the attempt, with its traceback, is kept too."""
    stage = open_stage(project)
    page = stage.path("01_seed_curation.ipynb")
    ended = '{"metadata": {"papermill": {"end_time": "2026-11-29T10:00:00", "exception": %s}}}'
    page.write_text(ended % "null")
    stage.close()
    for leave, status in ((lambda: pipeline.mark_failed(stage.folder, "no"), "failed"), (lambda: None, "cut off")):
        outputs.keep_page(stage.folder)
        page.write_text(ended % "true")
        open_stage(project)
        outputs.release_folder(stage.folder)
        leave()
        for _ in range(2):
            assert pipeline.stage_status(stage.folder) == "success" and page.read_text() == ended % "null"
        assert stage.path(outputs.ATTEMPT).read_text() == ended % "true" and not pipeline.why_due(
            stage.folder, stage.params
        )
        page.write_text(ended % "true")  # no page was kept, as by another program
        open_stage(project)
        outputs.release_folder(stage.folder)
        leave()
        for _ in range(2):
            assert pipeline.stage_status(stage.folder) == status
        page.write_text(ended % "null")
        outputs.keep_page(stage.folder)
        open_stage(project).close()
        assert not stage.path(outputs.KEPT).exists()  # another success has none of its page


def test_each_version_of_a_stage_has_a_number_of_its_own(project):
    stage = open_stage(project)
    stage.wrote(files.write_text(stage.path("out.txt"), "seed 1"))
    stage.close()
    outputs.put_results_aside(stage.folder)
    assert run.read_manifest(stage.folder) is None and outputs.put_results_aside(stage.folder).name == "2"


# --- when a stage is due again --------------------------------------------------------------------


def test_a_finished_stage_is_unchanged_until_a_parameter_an_input_an_output_or_the_notebook_changes(project):
    (project / "in.txt").write_text("a")
    stage = open_stage(project)
    assert json.loads(stage.path("manifest.json").read_text())["status"] == "running"
    stage.reads("in.txt")
    stage.wrote(files.write_text(stage.path("out.txt"), "b"))
    stage.close()
    assert not pipeline.why_due(stage.folder, stage.params)
    assert pipeline.why_due(stage.folder, stage.params | {"seed": 2})
    for path, content in ((project / "in.txt", "a"), (stage.path("out.txt"), "b")):
        path.write_text("changed")
        assert pipeline.why_due(stage.folder, stage.params)
        path.write_text(content)
    assert not pipeline.why_due(stage.folder, stage.params)
    write_notebook(project, "1 + 2")
    assert pipeline.why_due(stage.folder, stage.params)


@pytest.mark.parametrize("name", ["figure.png", "table.csv", "adapter/weights.bin"])
@pytest.mark.parametrize("harm", ["deleted", "edited"])
def test_every_file_that_a_stage_wrote_is_an_output(project, name, harm):
    """Nobody has to name it; what people add later, and what they label, is none."""
    stage = open_stage(project)
    path = files.write_text(stage.path(name), "a")
    stage.close()
    files.write_text(stage.path("mine.txt"), "a note")
    files.write_text(stage.path("labels/anna.jsonl"), "a label")
    assert not pipeline.why_due(stage.folder, stage.params)
    path.unlink() if harm == "deleted" else path.write_text("b")
    assert name.partition("/")[0] in pipeline.why_due(stage.folder, stage.params)


def test_an_executed_notebook_has_to_stay_and_may_be_opened(project):
    stage = open_stage(project)
    page, ended = stage.path("01_seed_curation.ipynb"), {"papermill": {"end_time": "2026-11-29T10:00:00"}}
    files.write_json(page, {"metadata": ended})
    stage.close()
    files.write_json(page, {"metadata": ended, "cells": []})  # as JupyterLab saves it
    assert not pipeline.why_due(stage.folder, stage.params)
    page.unlink()
    assert pipeline.why_due(stage.folder, stage.params) == "01_seed_curation.ipynb is missing"


@pytest.mark.parametrize("kind", ["inputs", "outputs"])
@pytest.mark.parametrize("left", [0, 1])
def test_a_manifest_from_which_files_were_taken_is_no_success(project, kind, left):
    folder = project / "outputs/demo/r" / pipeline.STAGES["04"]
    here = run.Run(pipeline.STAGES["04"], {}, folder)
    for name in "abc":
        here.reads(files.write_text(project / f"{name}.txt", name))
        files.write_text(here.path(f"{name}_out.txt"), name)
    here.note(shares={10: 0.1, 9: 0.2})  # JSON makes texts of the numbers, which sort otherwise
    here.close()
    assert not pipeline.why_due(folder, {})
    edit_manifest(folder, **{kind: dict(list(run.read_manifest(folder)[kind].items())[:left])})
    assert pipeline.why_due(folder, {}) == "its manifest is not as the stage wrote it"


def test_the_code_is_noted_before_it_runs(project):
    stage = open_stage(project)
    write_notebook(project, "1 + 2")  # while the stage runs
    stage.close()
    assert pipeline.why_due(stage.folder, stage.params) == "the code, or a table of the package, changed"


@pytest.mark.parametrize(
    ("parameter", "value", "place"),
    [
        ("model", "mymodel", "mymodel"),
        ("model", "a/b", "a/b"),
        ("teacher_model", "mymodel", "mymodel"),
        ("brief", "brief1.yaml", "brief1.yaml"),
        ("guideline", "guide.md", "guide.md"),
        ("scorer", "table:x.csv", "x.csv"),
        ("scorer", "detector:mymodel", "mymodel"),
        ("secondary", ["tagger", "mymodel"], "mymodel"),
        ("data_path", "d.csv", "d.csv"),
    ],
)
def test_whatever_a_parameter_names_is_a_source(project, parameter, value, place):
    stage = "01_seed_curation" if parameter == "data_path" else "03_active_generation"
    assert run.sources(stage, {parameter: value}) == []  # a hub id, say
    if "." in place:
        files.write_text(project / place, "a")
    else:
        files.write_text(project / place / "config.json", "a")
    assert run.sources(stage, {parameter: value}) == [project / place]
    here = run.Run(stage, {parameter: value}, project / "outputs/demo/r" / stage)
    here.reads(files.write_text(project / "other.txt", "a"))
    files.write_text(here.path("out.txt"), "a")
    here.close()
    assert pipeline.why_due(here.folder, here.params) == f"{place} was not read yet"


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("scorer", "pairs"), ("secondary", ["half"]), ("guideline", "embedded:pairs"), ("brief", "")],
)
def test_a_word_is_no_source_where_a_folder_of_that_name_stands(project, parameter, value):
    for name in ("pairs", "half", "embedded:pairs"):
        (project / name).mkdir()
    assert run.sources("03_active_generation", {parameter: value}) == []


def test_every_parameter_that_names_a_file_is_known():
    """By its comment in the notebook."""
    others = {"task", "replies", "curves_csv", "full_json"}  # folders that are written; what 05 notes itself
    for path in (ROOT / "notebooks").glob("0*.ipynb"):
        named = {
            name
            for name, words in parameter_help(path).items()
            if re.search(r"\b([Ff]ile|FILE|[Ff]older|FOLDER)\b", words)
        }
        assert named <= {*pipeline.SOURCES, *others}, path.name


@pytest.fixture
def package(project, monkeypatch):
    """A copy of the package that a test may change."""
    copy = project / "helpers"
    shutil.copytree(manifest.PACKAGE, copy)
    monkeypatch.setattr(manifest, "PACKAGE", copy)
    return copy


def change(package, pattern):
    """Change the first file that matches; fails where none does."""
    with sorted(package.rglob(pattern))[0].open("ab") as stream:
        stream.write(b" ")


@pytest.mark.parametrize(
    "pattern",
    [
        "italian/tables/lexicon.tsv",
        "italian/tables/*.yaml",
        "italian_jobs/*.jsonl",
        "italian_jobs/brief.yaml",
        "italian_jobs/GUIDELINE.md",
        "counter_narratives/*.csv",
        "base_model/*.safetensors",
        "evaluation/*.py",
        "run.py",
    ],
)
def test_a_stage_is_due_again_when_code_a_table_data_or_weights_of_the_package_change(project, package, pattern):
    stage = open_stage(project)
    stage.close()
    assert not pipeline.why_due(stage.folder, stage.params)
    change(package, pattern)
    assert pipeline.why_due(stage.folder, stage.params)


def test_a_kernel_that_has_imported_other_code_opens_no_stage(project, package):
    """What it would record as the work of the new code is that of the modules in its memory."""
    open_stage(project).close()
    change(package, "evaluation/*.py")
    with pytest.raises(UserError, match="has changed since this kernel imported it: restart the kernel"):
        open_stage(project)


def test_a_report_says_which_rounds_other_code_has_chosen(project, package, capsys):
    notebook(project / "notebooks/03_active_learning.ipynb", ("seed = 1", ["parameters"]))
    for number, pattern in enumerate(["", "query/*.py", "evaluation/*.py"]):
        if pattern:
            change(package, pattern)
        stage, _ = rounds_of(project, "a")
        stage.add_round({"strategy": "bait", "round": number})
    (remark,) = pipeline.lineage_remarks(stage.folder)
    assert remark == "03_active_learning: other code than in the last round scored and chose in rounds bait 0, bait 1."
    notebook(project / "notebooks/03_active_learning.ipynb", ("seed = 2", ["parameters"]))  # no other method
    stage, _ = rounds_of(project, "a")
    stage.add_round({"strategy": "bait", "round": 3})
    (remark,) = pipeline.lineage_remarks(stage.folder)
    assert remark.endswith("in rounds bait 0, bait 1.")


@pytest.mark.parametrize("pattern", ["README.md", "LICENSE"])
def test_a_page_that_changes_no_result_makes_no_stage_due(project, package, pattern):
    stage = open_stage(project)
    stage.close()
    change(package, pattern)
    (package / "run.cpython-311.pyc").write_bytes(b"compiled")
    for name in (".ipynb_checkpoints/run-checkpoint.py", "__pycache__/run.cpython-311.pyc.140", ".hidden"):
        files.write_text(package / name, "1")  # as JupyterLab keeps, and Python has for a moment
    assert not pipeline.why_due(stage.folder, stage.params)


# --- what the hub serves --------------------------------------------------------------------------

OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """The function that has the cache of the hub say which commit a branch of an id stands for."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return lambda place, commit, branch="main": files.write_text(tmp_path / "hub" / place / "refs" / branch, commit)


@pytest.mark.parametrize(
    ("stage", "params", "place", "branch"),
    [
        ("01_seed_curation", {"data_path": "hf:owner/set"}, "datasets--owner--set", "main"),
        ("01_seed_curation", {"data_path": "hf:owner/set:train"}, "datasets--owner--set", "main"),
        ("03_active_learning", {"model": "owner/name", "revision": ""}, "models--owner--name", "main"),
        ("03_active_learning", {"model": "gpt2", "revision": "dev"}, "models--gpt2", "dev"),
        ("03_active_generation", {"model": "m", "revision": OLD, "teacher_model": "o/n"}, "models--o--n", "main"),
        ("04_generation_evaluation", {"secondary": ["tagger", "half", "o/n"]}, "models--o--n", "main"),
    ],
)
def test_an_unpinned_hub_id_is_watched_in_the_cache(project, hub_cache, stage, params, place, branch):
    here = run.Run(stage, params, project / "outputs/t/r" / stage)
    (sentence,) = hub.unwatched(stage, params)
    assert "may change, and nothing here watches it" in sentence and ("revision=COMMIT" in sentence) == (
        "revision" in params and "teacher_model" not in params
    )
    here.save_manifest("running")
    hub_cache(place, OLD, branch)  # as when it is loaded
    here.close()
    assert not hub.unwatched(stage, params) and not pipeline.why_due(here.folder, params)
    hub_cache(place, NEW, branch)
    assert re.fullmatch(r"the hub has had another \w+=\S+ since", pipeline.why_due(here.folder, params))
    shutil.rmtree(project / "hub")
    assert not pipeline.why_due(here.folder, params)  # nobody knows


@pytest.mark.parametrize(
    ("stage", "params"),
    [
        ("03_active_learning", {"model": "owner/name", "revision": OLD}),
        ("03_active_learning", {"model": "embedded:italian_jobs/base_model", "revision": ""}),
        ("03_active_learning", {"model": "params", "revision": ""}),  # a folder
        ("03_active_learning", {"model": "/nowhere/name", "revision": ""}),
        ("02_synthetic_expansion", {"data_path": "hf:owner/set"}),  # it reads what 01 has made of it
        ("01_seed_curation", {"data_path": "a/b.csv"}),
    ],
)
def test_what_is_pinned_or_no_hub_id_is_not_watched(project, hub_cache, stage, params):
    assert hub.commits(stage, params) == {} and hub.unwatched(stage, params) == []


def test_the_commit_that_counts_is_the_one_that_was_read(project, hub_cache):
    stage, params = "03_active_learning", {"model": "owner/name", "revision": "", "teacher_model": "o/n"}
    for place in ("models--owner--name", "models--o--n"):
        hub_cache(place, OLD)
    here = run.Run(stage, params, project / "outputs/t/r" / stage)
    for place in ("models--owner--name", "models--o--n"):
        hub_cache(place, NEW)  # while the stage is at work
    here.save_manifest("running")
    here.close()
    assert pipeline.why_due(here.folder, params).startswith("the hub has had another")
    here.note(revision=NEW)  # loaded at its latest
    here.save_manifest("success")
    assert "teacher_model=o/n" in pipeline.why_due(here.folder, params)


def test_rounds_of_another_commit_are_put_aside(project, hub_cache, capsys):
    hub_cache("models--owner--name", OLD)
    for commit, kept in ((OLD, 0), (OLD, 1), (NEW, 0), (NEW, 1)):
        hub_cache("models--owner--name", commit)
        stage, rounds = rounds_of(project, "a", model="owner/name", revision="")
        assert len(rounds) == kept
        if not kept:
            stage.add_round({"strategy": "bait", "round": 0})
    assert "(the hub has had another model=owner/name since)" in capsys.readouterr().out


def test_opening_says_what_is_not_watched(project, hub_cache, capsys):
    parameters = PARAMETERS + "model = 'owner/name'  # hub id\nrevision = ''  # commit\n"
    path = notebook(project / "notebooks/01_seed_curation.ipynb", (parameters, ["parameters"]))
    run.open_run("01", notebook_parameters(path))
    assert capsys.readouterr().out.count("model=owner/name: what the hub has under that name may change") == 1


# --- folders and manifests ------------------------------------------------------------------------


def test_a_folder_with_other_parameters_is_refused_unharmed(project):
    stage = open_stage(project)
    stage.wrote(files.write_text(stage.path("out.txt"), "b"))
    stage.close()
    before = {f: f.read_bytes() for f in stage.folder.iterdir()}
    with pytest.raises(UserError, match="seed=1, not 2: choose another run_id"):
        open_stage(project, seed=2)
    assert {f: f.read_bytes() for f in stage.folder.iterdir()} == before


def test_a_limit_may_be_raised_when_a_run_goes_on(project):
    save_manifest(project, parameters={"seed": 1, "teacher_tokens": 100})
    pipeline.refuse_other_parameters(project, {"seed": 1, "teacher_tokens": 900})
    with pytest.raises(UserError, match="seed=1, not 2"):
        pipeline.refuse_other_parameters(project, {"seed": 2, "teacher_tokens": 900})


def test_missing_inputs_and_bad_run_names(project):
    stage = open_stage(project)
    with pytest.raises(UserError, match="run 01_seed_curation with run_id='r' first"):
        stage.earlier("01", "seed.jsonl")
    with pytest.raises(UserError, match="first, or set use_synthetic to false"):
        stage.earlier("01", "seed.jsonl", "set use_synthetic to false")
    with pytest.raises(UserError, match=r"none\.csv is missing"):
        stage.reads("none.csv")
    with pytest.raises(UserError, match=r"run_id='\.\./x' names a folder"):
        open_stage(project, run_id="../x")


def test_a_generation_stage_finds_what_earlier_notebooks_of_its_kind_wrote(project):
    folder = project / "outputs/t/r"
    before = run.Run("03_active_generation", {"run_id": "r"}, folder / "03_active_generation")
    files.write_text(before.path("a.txt"), "a")
    before.close()
    stage = run.Run("04_generation_evaluation", {"run_id": "r"}, folder / "04_generation_evaluation")
    assert stage.earlier("03", "a.txt").read_text() == "a"
    with pytest.raises(UserError, match=r"b\.txt is not there, and 03_active_generation ended without it"):
        stage.earlier("03", "b.txt")
    with pytest.raises(UserError, match="run 03_active_learning with run_id='r' first"):
        run.Run("04_bias_evaluation", {"run_id": "r"}, folder / "04_bias_evaluation").earlier("03", "a.txt")
    with pytest.raises(UserError, match="kind='poetry' is unknown: choose one of classification, generation"):
        pipeline.notebooks("poetry")


def test_the_manifest_says_what_ran(project):
    stage = open_stage(project)
    stage.note(model="m")
    stage.close()
    facts = run.read_manifest(stage.folder)
    assert facts["status"] == "success" and facts["model"] == "m" and facts["parameters"]["seed"] == 1
    assert facts["packages"]["torch"].startswith("2.") and facts["peak_memory_gib"]["ram"] > 0
    assert set(facts["git"]) == {"sha", "dirty"} and facts["machine"]["cores"] > 0


NO_TIME = (
    """{"stage": "01", "status": "success", "code": "", "parameters": {}, "inputs": {}, "outputs": {}, "seconds": %s}"""
)
DAMAGED = [
    NO_TIME % ("1" + "0" * 400),
    NO_TIME % "NaN",
    "{",
    "[]",
    "{}",
    '"text"',
    "[" * 100_000,
    '{"status": "success"}',
    None,
]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_stage_with_a_damaged_manifest_is_due_and_never_a_traceback(project, content):
    stage = open_stage(project)
    stage.close()
    path = stage.path("manifest.json")
    path.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_text(content)
    with pytest.raises(UserError, match=r"manifest\.json is damaged: run the stage again"):
        run.read_manifest(stage.folder)
    assert pipeline.why_due(stage.folder, stage.params) == "its manifest is damaged"
    assert pipeline.stage_status(stage.folder) == "damaged"
    pipeline.refuse_other_parameters(stage.folder, stage.params)
    pipeline.mark_failed(stage.folder, "no")
    assert path.is_dir() if content is None else path.read_text() == content


def test_a_stage_is_due_until_papermill_has_ended_its_notebook(project):
    stage = open_stage(project)
    executed = stage.path("01_seed_curation.ipynb")
    stage.close()
    assert not pipeline.why_due(stage.folder, stage.params)  # run in JupyterLab, from the notebook itself
    for content in ("{", "[]", '{"metadata": {"papermill": {"end_time": null}}}'):
        executed.write_text(content)
        assert pipeline.why_due(stage.folder, stage.params) == "its notebook was cut off at the end"
        assert pipeline.stage_status(stage.folder) == "cut off"
    executed.write_text('{"metadata": {"papermill": {"end_time": "2026-11-29T10:00:00"}}}')
    assert not pipeline.why_due(stage.folder, stage.params) and pipeline.stage_status(stage.folder) == "success"
    for content in ('{"metadata": null}', '{"metadata": {"papermill": null}}', '{"metadata": []}'):
        executed.write_text(content)
        assert pipeline.stage_status(stage.folder) == "cut off"


def test_a_failure_is_not_marked_in_a_stage_that_another_process_runs(project):
    stage = open_stage(project)
    pipeline.mark_failed(stage.folder, "in use")  # this process holds it
    assert run.read_manifest(stage.folder)["status"] == "running"
    outputs._locks.pop(stage.folder).release()
    pipeline.mark_failed(stage.folder, "a reason")
    assert run.read_manifest(stage.folder)["status"] == "failed"


# --- rounds ---------------------------------------------------------------------------------------


EDITED = "another pick"


def rounds_of(project, content, **params):
    """A stage that has read a file of this content, and the rounds that it goes on from."""
    files.write_text(project / "pool.jsonl", content)
    stage = run.Run("03_active_learning", {"seed": 1, **params}, project / "outputs/t/r/03_active_learning")
    stage.reads("pool.jsonl")
    return stage, stage.resume_rounds()


def test_rounds_of_other_data_are_put_aside_and_labels_stay(project, capsys):
    stage, rounds = rounds_of(project, "a")
    assert rounds == []
    stage.add_round({"strategy": "bait", "round": 0})
    files.write_text(stage.path("interim/x.jsonl"), "")
    files.write_text(stage.path("adapter/learner.json"), "{}")
    files.write_text(stage.path("labels/human/anna.jsonl"), "labels")
    assert len(rounds_of(project, "a")[1]) == 1 and not capsys.readouterr().out
    assert len(rounds_of(project, "a", teacher_tokens=5)[1]) == 1  # a limit
    assert len(rounds_of(project, "a", page=10, label_names=["x", "y"])[1]) == 1  # how the panel looks
    stage, rounds = rounds_of(project, "b")
    said = capsys.readouterr().out
    assert rounds == [] and "changed since: pool.jsonl" in said and "The selection starts anew" in said
    assert not stage.path("interim").exists() and stage.path("labels/human/anna.jsonl").read_text() == "labels"
    assert not stage.path("adapter").exists()  # a kill before the next one is trained leaves none that could pass
    assert len(files.read_jsonl(stage.path("earlier/1/rounds.jsonl"))) == 1
    assert stage.path("earlier/1/adapter/learner.json").exists()
    stage.add_round({"strategy": "bait", "round": 0})
    assert len(rounds_of(project, "b")[1]) == 1
    stage.path("rounds_from.json").write_text("[]")
    assert rounds_of(project, "b")[1] == [] and "nothing says what" in capsys.readouterr().out


def test_damaged_or_edited_rounds_are_put_aside(project, capsys):
    for number, content in enumerate(('{"strategy": "bait", "ro', "[]", '{"a": 1}\n\xff', "{}", EDITED), 1):
        stage, _ = rounds_of(project, "a")
        stage.add_round({"strategy": "bait", "round": 0, "picks": ["a"]})
        if content == EDITED:
            content = stage.path("rounds.jsonl").read_text().replace('["a"]', '["b"]')
        stage.path("rounds.jsonl").write_text(content, encoding="latin-1")
        assert rounds_of(project, "a")[1] == [] and "(rounds.jsonl is damaged)" in capsys.readouterr().out
        assert stage.path(f"earlier/{number}/rounds.jsonl").read_text(encoding="latin-1") == content


def test_a_cell_of_rounds_that_is_run_again_keeps_them_and_holds_the_folder(project, capsys):
    stage, _ = rounds_of(project, "a")
    stage.add_round({"strategy": "bait", "round": 0, "picks": ["a"]})
    files.write_text(stage.path("labels/human/anna.jsonl"), "a label")
    stage.reads(stage.path("labels/human"))  # as the loop does
    stage.close("awaiting_labels")
    assert len(stage.resume_rounds()) == 1 and not capsys.readouterr().out
    assert outputs.is_held(stage.folder)


@pytest.fixture
def finished_loop(project):
    """A stage 03 that has trained an adapter, and the stage that reads it."""
    stage, _ = rounds_of(project, "a")
    files.write_text(stage.path("adapter/learner.json"), "{}")
    stage.add_round({"strategy": "bait", "round": 0, "picks": [], "adapter": files.sha256(stage.path("adapter"))})
    stage.close()
    later = run.Run("04_bias_evaluation", {"run_id": "r"}, stage.folder.parent / "04_bias_evaluation")
    later.refuse_stale("03")
    return stage, later


def edit_manifest(folder, **facts):
    """As a person edits it; a fact of None is taken out."""
    whole = json.loads((folder / "manifest.json").read_text()) | facts
    files.write_json(folder / "manifest.json", {name: fact for name, fact in whole.items() if fact is not None})


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda stage: stage.path("manifest.json").unlink(), "03_active_learning is not run yet"),
        (lambda stage: stage.path("manifest.json").write_text("{"), "manifest.json is damaged"),
        (
            lambda stage: pipeline.mark_failed(stage.folder, "no"),
            "03_active_learning is failed: run 03_active_learning with",
        ),
        (lambda stage: stage.save_manifest("awaiting_labels"), "03_active_learning is awaiting labels"),
        (lambda stage: edit_manifest(stage.folder, seconds=9), "its manifest is not as the stage wrote it"),
        (lambda stage: edit_manifest(stage.folder, check=None), "its manifest is not as the stage wrote it"),
        (lambda stage: edit_manifest(stage.folder, inputs={}), "its manifest is not as the stage wrote it"),
        (lambda stage: stage.path("03_active_learning.ipynb").write_text("{}"), "it is cut off"),
        (lambda stage: (stage.folder.parents[3] / "pool.jsonl").write_text("b"), "pool.jsonl changed"),
        (lambda stage: stage.path("adapter/learner.json").write_text('{"labels": "reversed"}'), "adapter changed"),
        (lambda stage: stage.path("rounds.jsonl").unlink(), "rounds.jsonl is missing"),
        (lambda stage: stage.path("rounds_from.json").write_text("[]"), "rounds_from.json changed"),
        (lambda stage: stage.path("training.jsonl").unlink(), "training.jsonl is missing"),
    ],
)
def test_what_ambo_run_would_do_again_is_refused_later(finished_loop, harm, words):
    """As in a notebook that plain papermill runs."""
    stage, later = finished_loop
    files.write_jsonl(stage.path("training.jsonl"), [{"text": "a", "label": "good"}])
    stage.close()
    later.refuse_stale("03")
    harm(stage)
    with pytest.raises(UserError, match=re.escape(words)):
        later.refuse_stale("03")


def test_a_stage_of_before_a_parameter_had_its_default(finished_loop, project):
    notebook(project / "notebooks/03_active_learning.ipynb", ("scope = 'workplace'", ["parameters"]))
    _, later = finished_loop
    later.params["scope"] = "workplace"
    later.refuse_stale("03")
    later.params["scope"] = "applicant"
    with pytest.raises(
        UserError, match="03_active_learning was run with scope='workplace', and 04_bias_evaluation has"
    ):
        later.refuse_stale("03")


def test_a_large_file_is_hashed_once_a_process_while_it_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGE", 4)
    monkeypatch.setattr(files, "_digests", {})
    path, long_ago = files.write_text(tmp_path / "weights", "one"), -10 * files.SETTLED
    monkeypatch.setattr(files, "SETTLED", long_ago)  # as if nothing had been written for a while
    assert files.sha256(path) == hashlib.sha256(b"one").hexdigest() and not files._digests
    times = path.stat()
    for text in ("large", "grand"):  # of one length and one time: only the system's own time tells them apart
        time.sleep(0.02)
        path.write_text(text)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        for _ in range(2):
            assert files.sha256(path) == hashlib.sha256(text.encode()).hexdigest()
    assert len(files._digests) == 2
    monkeypatch.setattr(files, "SETTLED", 10**18)
    path.write_text("fresh")
    assert files.sha256(path) == hashlib.sha256(b"fresh").hexdigest() and len(files._digests) == 2


def test_other_code_is_said_later_and_not_refused(finished_loop, project, capsys):
    """A person edits the parameters in the notebook itself, for another run."""
    notebook(project / "notebooks/03_active_learning.ipynb", ("seed = 2", ["parameters"]))
    stage, later = finished_loop
    later.refuse_stale("03")
    assert capsys.readouterr().out == "03_active_learning was run with other code than there is now.\n"
    manifest.write_manifest(stage.folder, manifest.read_manifest(stage.folder) | {"foreign_cells": 2})
    later.refuse_stale("03")
    assert "03_active_learning: cells were run in it that are not those of its notebook (2)" in capsys.readouterr().out


def test_an_adapter_that_no_round_trained_is_refused(finished_loop):
    stage, later = finished_loop
    files.write_text(stage.path("adapter/learner.json"), '{"labels": "reversed"}')
    stage.close()
    with pytest.raises(UserError, match="is not that of the last training: run 03_active_learning again"):
        later.refuse_stale("03")
    stage.path("rounds.jsonl").unlink()
    with pytest.raises(UserError, match="has no round that trained it"):
        run.refuse_changed_adapter(stage.folder)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["rounds.jsonl", "adapter/learner.json"], "adapter changed"),
        (["rounds.jsonl", "rounds_from.json"], "rounds.jsonl changed"),
        (
            ["rounds.jsonl", "rounds_from.json", "adapter/learner.json", "manifest.json"],
            "it is the run t/other, copied or renamed",
        ),
    ],
)
def test_what_another_run_made_is_refused(finished_loop, project, names, words):
    stage, later = finished_loop
    other = run.Run("03_active_learning", {"seed": 2}, project / "outputs/t/other/03_active_learning")
    other.reads("pool.jsonl")
    other.resume_rounds()
    files.write_text(other.path("adapter/learner.json"), '{"of": "other"}')
    other.add_round({"strategy": "bait", "round": 0, "picks": [], "adapter": files.sha256(other.path("adapter"))})
    other.close()
    for name in names:
        shutil.copy(other.path(name), stage.path(name))
    with pytest.raises(UserError, match=words):
        later.refuse_stale("03")
    if "manifest.json" not in names:
        with pytest.raises(UserError, match=r"rounds\.jsonl is damaged: line 1|is not that of the last training"):
            run.refuse_changed_adapter(stage.folder)


@pytest.mark.parametrize(
    ("name", "theirs", "refused"),
    [
        ("run_id", "other", True),
        ("language", "en", True),
        ("annotators", ["bob"], False),  # every stage may have its own people
        ("teacher_tokens", 9, False),  # a limit
        ("lora_r", 4, False),  # the later stage does not have it
    ],
)
def test_a_stage_of_another_run_is_refused_by_the_parameters_that_both_have(finished_loop, name, theirs, refused):
    stage, later = finished_loop
    later.params |= {"language": "it", "annotators": ["anna"], "teacher_tokens": 5}
    save_manifest(stage.folder, parameters={"seed": 1, name: theirs})
    if refused:
        with pytest.raises(UserError, match=f"03_active_learning was run with {name}='{theirs}', and 04_bias_eval"):
            later.earlier("03", "adapter")
    else:
        later.earlier("03", "adapter")


@pytest.mark.parametrize("content", ["[]", "{}", '{"test": 3}', '{"test": "."}', '{"test": "a\\u0000"}'])
def test_a_damaged_list_of_sets_is_one_sentence(finished_loop, content):
    later = finished_loop[1]
    first = run.Run("01_seed_curation", {"run_id": "r"}, later.folder.parent / "01_seed_curation")
    files.write_text(first.path("sets.json"), content)
    first.close()
    with pytest.raises(UserError, match=r"sets\.json is damaged: run 01_seed_curation again"):
        run.evaluation_sets(later)


def test_a_later_stage_is_due_and_goes_on_from_nothing_that_is_due_or_was_cut_off(project):
    home, params = project / "outputs/t/r", {"run_id": "r"}
    files.write_text(project / "guide.md", "old")
    first = run.Run("01_seed_curation", params | {"guideline": "guide.md"}, home / "01_seed_curation")
    for source in (files.write_text(project / "data.csv", "one"), project / "guide.md"):
        first.reads(source)
    first.wrote(files.write_text(first.path("seed.jsonl"), "{}"))
    first.close()
    for number in ("03", "04"):
        later = run.Run(pipeline.STAGES[number], params, home / pipeline.STAGES[number])
        later.earlier(*{"03": ("01", "seed.jsonl"), "04": ("03", "x.txt")}[number])
        later.wrote(files.write_text(later.path("x.txt"), "made"))
        later.close()
    due = {
        stage: lambda stage=stage: pipeline.why_due(home / stage, params)
        for stage in list(pipeline.STAGES.values())[2:]
    }
    assert [why() for why in due.values()] == ["", ""]
    again = run.Run("03_active_learning", params, home / "03_active_learning")
    for change, reason in [
        (lambda: files.write_text(project / "data.csv", "two"), "data.csv changed"),
        (
            lambda: save_manifest(first.folder, **files.read_json(first.path("manifest.json")) | {"status": "running"}),
            "cut off",
        ),
    ]:
        change()
        assert due["03_active_learning"]() == f"01_seed_curation no longer counts: {reason}".replace(
            ": cut", ": it is cut"
        )
        assert due["04_bias_evaluation"]() == due["03_active_learning"]()  # the stage that is to be done first
        with pytest.raises(UserError, match=rf"01_seed_curation no longer counts \(.*{reason}\): run 01_seed_curation"):
            again.earlier("01", "seed.jsonl")
    files.write_text(project / "data.csv", "one")
    first.close()
    first.path("manifest.json").unlink()
    assert due["04_bias_evaluation"]() == "01_seed_curation no longer counts: its manifest.json is missing"
    first.close()
    files.write_text(project / "guide.md", "new")  # for people: it makes 01 due, and nothing that goes on from it
    (project / "data.csv").unlink()  # nobody can say whether it has changed
    assert [why() for why in due.values()] == ["", ""] and again.earlier("01", "seed.jsonl")


def test_what_waits_in_a_later_stage_makes_no_earlier_one_due_whose_labels_it_has(project):
    """01 reads the labels that people have given in 03, and 03 what 01 wrote."""
    home, params = project / "outputs/t/r", {"run_id": "r"}
    files.write_text(home / "03_active_learning/labels/human/anna.jsonl", "a label")
    first = run.Run("01_seed_curation", params, home / "01_seed_curation")
    first.reads(home / "03_active_learning/labels")
    first.wrote(files.write_text(first.path("seed.jsonl"), "{}"))
    first.close()
    for status in ("failed", "awaiting_labels", "running"):
        loop = run.Run("03_active_learning", params, home / "03_active_learning")
        loop.earlier("01", "seed.jsonl")
        loop.save_manifest(status)
        assert not pipeline.why_due(first.folder, params) and not pipeline.no_longer_counts(first.folder)
    files.write_text(home / "03_active_learning/labels/human/anna.jsonl", "a label\nanother, of the next batch")
    assert pipeline.why_due(first.folder, params) == "outputs/t/r/03_active_learning/labels changed"
    assert not pipeline.no_longer_counts(first.folder) and loop.earlier("01", "seed.jsonl")  # 03 goes on
    files.write_text(first.path("labels/anna.jsonl"), "a label")
    first.reads(first.path("labels"))
    first.close()
    files.write_text(first.path("labels/anna.jsonl"), "another label")  # of its own rows
    assert pipeline.no_longer_counts(first.folder) == "outputs/t/r/01_seed_curation/labels changed"


def test_rounds_of_before_a_parameter_are_of_its_default_though_the_manifest_is_lost(project, capsys):
    notebook(project / "notebooks/03_active_learning.ipynb", ("seed = 2\nstop = 'budget'", ["parameters"]))
    for value, kept in (("budget", 1), ("plateau", 0)):
        stage, _ = rounds_of(project, "a")
        stage.add_round({"strategy": "bait", "round": 0})
        stage.path("manifest.json").unlink(missing_ok=True)
        assert len(rounds_of(project, "a", stop=value)[1]) == kept
        shutil.rmtree(stage.folder)
    assert "changed since: the parameters" in capsys.readouterr().out


def test_a_run_of_before_a_parameter_was_added_goes_on(project, capsys):
    notebook(project / "notebooks/03_active_learning.ipynb", ("seed = 2\nscope = 'workplace'", ["parameters"]))
    stage, _ = rounds_of(project, "a")
    stage.add_round({"strategy": "bait", "round": 0})
    stage.close()
    params = stage.params | {"scope": "workplace"}
    outputs_now = pipeline.changed_parameters(stage.folder, params), pipeline.why_due(stage.folder, params)
    assert outputs_now == ([], "its parameters changed")
    pipeline.refuse_other_parameters(stage.folder, params)
    assert len(rounds_of(project, "a", scope="workplace")[1]) == 1
    assert "its first 1 rounds are of before there were parameters for scope='workplace'" in capsys.readouterr().out
    assert len(rounds_of(project, "a", scope="workplace")[1]) == 1 and not capsys.readouterr().out  # said once
    with pytest.raises(UserError, match="belongs to a run of before there was a parameter scope, not 'applicant'"):
        pipeline.refuse_other_parameters(stage.folder, params | {"scope": "applicant"})
    stage = rounds_of(project, "a", scope="workplace")[0]
    stage.close()
    with pytest.raises(UserError, match="scope='workplace', not 'applicant'"):
        pipeline.refuse_other_parameters(stage.folder, params | {"scope": "applicant"})
    assert not rounds_of(project, "a", scope="everyone")[1]
    assert "changed since: the parameters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "values"), [("page", (1, 10)), ("guideline", ("a.md", "b.md")), ("label_names", ([], ["x", "y"]))]
)
def test_how_the_panel_looks_and_words_for_people_void_no_round_of_an_open_notebook(project, name, values, capsys):
    cells = (f"{PARAMETERS}{name} = {values[0]!r}", ["parameters"])
    notebook(project / "notebooks/03_active_learning.ipynb", cells)
    given = notebook_parameters(project / "notebooks/03_active_learning.ipynb")
    for value, kept in zip(values, (0, 1), strict=True):
        stage = run.open_run("03", given | {name: value})
        assert len(stage.resume_rounds()) == kept
        if not kept:
            stage.add_round({"strategy": "bait", "round": 0})
        stage.close()
    assert pipeline.why_due(stage.folder, stage.params | {name: values[0]}) == "its parameters changed"
    assert not stage.path("earlier").exists() and "anew" not in capsys.readouterr().out


def test_a_page_that_is_open_adds_nothing_to_rounds_that_were_begun_anew(project):
    """In one tab the panel is open; the data are corrected, and `ambo run` has chosen anew meanwhile."""
    old, _ = rounds_of(project, "a")
    old.add_round({"strategy": "bait", "round": 0, "picks": ["a"]})
    old.close("awaiting_labels")
    new, rounds = rounds_of(project, "b")
    new.add_round({"strategy": "bait", "round": 0, "picks": ["b"]})
    new.close("awaiting_labels")
    before = {path: path.read_bytes() for path in new.folder.iterdir() if path.is_file()}
    for work in (
        old.read_rounds,
        lambda: old.add_round({"strategy": "bait", "round": 1}),
        lambda: old.close("awaiting_labels"),
        old.resume_rounds,
    ):
        with pytest.raises(
            UserError, match=r"begun anew.*since this page was run: run this notebook again.*Labels stay"
        ):
            work()
    assert before == {path: path.read_bytes() for path in before}
    assert not rounds and [row["picks"] for row in new.read_rounds()] == [["b"]]


def test_no_run_is_compared_whose_rounds_no_longer_count(project):
    home, params = project / "outputs/t/r", {"run_id": "r"}
    first = run.Run("01_seed_curation", params, home / "01_seed_curation")
    first.wrote(files.write_text(first.path("validation.jsonl"), "{}"))
    first.close()
    loop = run.Run("03_active_learning", params, home / "03_active_learning")
    loop.earlier("01", "validation.jsonl")
    loop.wrote(files.write_text(loop.path("rounds.jsonl"), "{}"))
    loop.close()
    assert finished_runs("t", "03")[0] == [home]
    files.write_text(first.path("validation.jsonl"), '{"label": "another"}')
    first.close()  # 01 alone is done again
    assert finished_runs("t", "03") == ([], {"r": "outputs/t/r/01 seed curation/validation.jsonl changed"})


def test_sets_that_somebody_has_edited_are_not_measured(finished_loop):
    later = finished_loop[1]
    first = run.Run("01_seed_curation", {"run_id": "r"}, later.folder.parent / "01_seed_curation")
    run.save_sets(first, {"test": [{"id": "a", "text": "t", "label": "x"}]})
    first.close()
    assert run.evaluation_sets(later)["test"][0]["label"] == "x"
    files.write_jsonl(first.path("test.jsonl"), [{"id": "a", "text": "t", "label": "y"}])
    again = run.Run("04_bias_evaluation", {"run_id": "r"}, later.folder)
    with pytest.raises(UserError, match=r"01_seed_curation no longer counts \(.*test\.jsonl changed\): run"):
        run.evaluation_sets(again)


def test_an_input_that_changes_at_work_is_refused_and_a_growing_log_is_not(project):
    stage = open_stage(project)
    files.write_text(project / "a.csv", "one")
    files.write_text(project / "logs/anna.jsonl", "one")
    for place in ("a.csv", "a.csv", "logs"):
        stage.reads(place)
    files.write_text(project / "logs/anna.jsonl", "two")
    stage.reads("logs")
    files.write_text(project / "a.csv", "two")
    with pytest.raises(UserError, match=r"a\.csv has changed while this stage was at work"):
        stage.reads("a.csv")


@pytest.mark.parametrize(
    "place", ["labels/seed.jsonl", "outputs/t/labels/01_seed_curation/seed.jsonl", "other/seed.jsonl"]
)
def test_no_name_of_a_folder_hides_an_input_from_the_rounds(project, place, capsys):
    folder = project / "outputs/t/labels/03_active_learning"
    for content, kept in (("a", 0), ("a", 1), ("b", 0)):
        files.write_text(project / place, content)
        files.write_text(project / "z/seed.jsonl", "the same name elsewhere")
        stage = run.Run("03_active_learning", {"seed": 1}, folder)
        stage.reads(place)
        stage.reads("z/seed.jsonl")
        assert len(stage.resume_rounds()) == kept
        if not kept:
            stage.add_round({"strategy": "bait", "round": 0})
    assert "(changed since: seed.jsonl)" in capsys.readouterr().out


def test_a_guideline_makes_a_stage_due_but_no_round_void(project):
    guide = files.write_text(project / "notes/guide.md", "first")
    params = {"guideline": "notes/guide.md"}
    for content in ("first", "second"):
        files.write_text(guide, content)
        stage = run.Run("03_active_learning", params, project / "outputs/t/r/03_active_learning")
        stage.reads(guide)
        stage.resume_rounds()
        if content == "first":
            stage.add_round({"strategy": "bait", "round": 0})
    assert len(stage.read_rounds()) == 1


TEACHER = {"the teacher": "model-a", "what the teacher is told": "one"}


@pytest.mark.parametrize("name", TEACHER)
def test_another_teacher_or_another_guideline_starts_anew_without_its_labels(project, capsys, name):
    stage = run.Run("03_active_learning", {"seed": 1}, project / "outputs/t/r/03_active_learning")
    logs = stage.path("labels/teacher")
    assert stage.resume_rounds(TEACHER) == []
    stage.add_round({"strategy": "bait", "round": 0})
    files.write_text(logs / "teacher.jsonl", "of model-a")
    files.write_text(logs / "anna.jsonl", "a correction")
    assert len(stage.resume_rounds(TEACHER)) == 1 and not capsys.readouterr().out
    assert stage.resume_rounds(TEACHER | {name: "another"}) == []
    said = capsys.readouterr().out
    assert (
        f"(changed since: {name})" in said and "labels of people stay, those of the teacher are put aside too" in said
    )
    assert not (logs / "teacher.jsonl").exists() and (logs / "anna.jsonl").read_text() == "a correction"
    assert stage.path("earlier/1/labels/teacher/teacher.jsonl").read_text() == "of model-a"
    assert stage.path("earlier/1/rounds.jsonl").exists()


def test_labels_of_which_nobody_knows_the_teacher_are_put_aside(project, capsys):
    """As where a person has changed the guideline in the notebook, which puts the rounds aside."""
    stage = run.Run("03_active_learning", {"seed": 1}, project / "outputs/t/r/03_active_learning")
    files.write_text(stage.path("labels/teacher/teacher.jsonl"), "of somebody")
    assert stage.resume_rounds(TEACHER) == [] and "of another teacher" in capsys.readouterr().out
    assert not stage.path("labels/teacher/teacher.jsonl").exists()


def test_labels_of_the_same_teacher_stay_where_other_data_void_the_rounds(project, capsys):
    for content in "ab":
        files.write_text(project / "pool.jsonl", content)
        stage = run.Run("03_active_learning", {"seed": 1}, project / "outputs/t/r/03_active_learning")
        stage.reads("pool.jsonl")
        assert stage.resume_rounds(TEACHER) == []
        if content == "a":
            stage.add_round({"strategy": "bait", "round": 0})
            files.write_text(stage.path("labels/teacher/teacher.jsonl"), "of model-a")
    assert "labels of people and teachers stay" in capsys.readouterr().out
    assert stage.path("labels/teacher/teacher.jsonl").exists()


@pytest.mark.parametrize(
    ("stage", "params", "name"),
    [
        ("02_synthetic_expansion", {"teacher": "endpoint"}, "TEACHER"),
        ("02_synthetic_expansion", {"judge": "endpoint"}, "JUDGE"),
        ("03_active_learning", {"labeller": "teacher"}, "TEACHER"),
        ("03_active_generation", {"labeller": "human", "teacher": "endpoint"}, "TEACHER"),
        ("03_active_generation", {"labeller": "oracle", "teacher": "endpoint", "scorer": "judge"}, "JUDGE"),
        ("04_generation_evaluation", {"scorer": "judge"}, "JUDGE"),
    ],
)
def test_another_model_behind_an_endpoint_makes_a_stage_due(project, monkeypatch, stage, params, name):
    def environment(model, host="a.example:81"):
        monkeypatch.setenv(f"{name}_MODEL", model)
        monkeypatch.setenv(f"{name}_BASE_URL", f"http://user:pass-word@{host}/v1")

    environment("model-a")
    here = run.Run(stage, params, project / f"outputs/t/r/{stage}")
    outputs.make_folder(here.folder)
    here.close()
    assert here.servers == run.read_manifest(here.folder)["servers"] == {name: "model-a"}
    environment("model-b")
    assert pipeline.why_due(here.folder, params) == f"the {name.lower()} was model-a and is model-b"
    # A server of one's own moves from port to port, from machine to machine; and without a name nobody knows.
    for model, host in (("model-a", "a.example:81"), ("model-a", "b.example"), ("", "b.example")):
        environment(model, host)
        assert not pipeline.why_due(here.folder, params)


def test_another_judge_that_ranks_voids_the_rounds(project, monkeypatch, capsys):
    monkeypatch.setenv("JUDGE_BASE_URL", "http://host/v1")
    for model in "ab":
        monkeypatch.setenv("JUDGE_MODEL", model)
        stage = run.Run("03_active_generation", {"scorer": "judge"}, project / "outputs/t/r/03_active_generation")
        assert stage.resume_rounds() == []
        stage.add_round({"strategy": "hassan", "round": 0})
    assert "(changed since: the judge)" in capsys.readouterr().out


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("0*.ipynb")), ids=lambda path: path.stem)
def test_the_last_cell_notes_no_input(path):
    """There it would note what came in while the notebook ran, such as a corrected label, and call it read."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert not [c for c in cells if "checks" in c["metadata"].get("tags", []) and ".reads(" in "".join(c["source"])]


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("0[1-3]*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_notes_every_folder_of_logs_that_it_reads(path):
    """Otherwise a label that comes in later makes nothing due."""
    calls = [n for source in code_cells(path.stem) for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)]
    names: dict[str, set[str]] = {"reads": set(), "settled_labels": set(), "pending": set(), "reviews_of": set()}
    for call in calls:
        called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        if called in names and isinstance(call.args[0], ast.Name):
            names[called].add(call.args[0].id)
    read = (names["settled_labels"] | names["pending"]) - {"reviews"} | names["reviews_of"]
    assert read and read <= names["reads"]


def test_two_sessions_lose_no_round(project):
    first, _ = rounds_of(project, "a")
    second, _ = rounds_of(project, "a")
    first.add_round({"strategy": "bait", "round": 0, "picks": ["a"]})
    with pytest.raises(UserError, match="Round 0 of bait has been recorded by another session meanwhile"):
        second.add_round({"strategy": "bait", "round": 0, "picks": ["b"]})
    second.add_round({"strategy": "bait", "round": 1, "picks": ["b"]})
    assert [r["picks"] for r in first.read_rounds()] == [["a"], ["b"]]


# --- paths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "..", "link/x", "a\\..\\x"])
def test_a_stage_reads_and_writes_in_its_run_alone(project, name):
    stage = open_stage(project)
    (stage.folder / "link").symlink_to(project)
    for reach in (stage.path, lambda name: stage.earlier("01", name)):
        with pytest.raises(UserError, match="is not the name of a file in"):
            reach(name)


# What stands in a path beside literal text, and why it cannot lead elsewhere.
SAFE = {
    "files.file_name(column)": "made fit",
    "files.file_name(name)": "made fit",
    "file_name(name)": "made fit",
    "name": "a strategy, a table of the package, or a checked parameter",
    "number": "of a round",
    "strategy": "a closed list",
    "here.params['strategy']": "a closed list",
    "row['strategy']": "through Run.path",
    "row['round']": "through Run.path",
    "stage": "a closed list",
    "notebook": "a closed list",
    "folder.name": "the folder itself",
    "annotator": "checked by check_annotator",
    "self.annotator": "checked by check_annotator",
    "path.name": "the file itself",
    "path.stem": "the file itself",
    "secrets.token_hex(6)": "a digest",
    "key": "a digest",
    "uuid.uuid4().hex": "a digest",
}


def test_no_other_value_is_part_of_a_path():
    """Walks package and notebooks for paths made by f-strings."""
    sources = {p.name: p.read_text(encoding="utf-8") for p in (ROOT / "src/helpers").rglob("*.py")}
    for page in (ROOT / "notebooks").glob("*.ipynb"):
        sources[page.name] = "\n".join(code_cells(page.stem))
    seen = set()
    for name, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            part = None
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                part = node.right
            elif isinstance(node, ast.Call) and node.args:
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                part = (
                    node.args[-1] if called in ("path", "earlier", "with_name", "joinpath", "Path", "inside") else None
                )
            if isinstance(part, ast.JoinedStr):
                values = {ast.unparse(v.value) for v in part.values if isinstance(v, ast.FormattedValue)}
                assert values <= SAFE.keys(), f"{name}: {ast.unparse(node)}"
                seen |= values
    assert seen == SAFE.keys()


# --- evaluation sets ------------------------------------------------------------------------------


NAMES = ["test_2020/21", "test_../../../other", "test_C:\\x", "test_" + "é" * 300, "test_a b", "test_a_b", "test_\0"]


def test_a_value_of_the_data_never_leaves_its_folder_and_no_set_is_lost(project):
    stage = open_stage(project)
    outside = files.write_text(project / "outputs/demo/other.jsonl", "labels")
    sets = {name: [{"id": name}] for name in ["seed", "pool", "validation", "test", *NAMES]}
    paths = run.save_sets(stage, sets)
    assert len({p.name.casefold() for p in paths}) == len(sets) + 1
    assert all(p.parent == stage.folder and len(p.name.encode()) <= 255 for p in paths)
    stage.close()
    later = run.Run("04_bias_evaluation", {"run_id": "r"}, stage.folder.parent / "04_bias_evaluation")
    evaluation = run.evaluation_sets(later)
    assert evaluation == {name: sets[name] for name in ["validation", "test", *NAMES]}
    stage = open_stage(project)
    run.save_sets(stage, {name: sets[name] for name in ["seed", "pool", "validation", "test"]})
    stage.close()
    later = run.Run("04_bias_evaluation", {"run_id": "r"}, later.folder)
    assert run.evaluation_sets(later).keys() == {"validation", "test"}
    assert len(list(stage.folder.glob("test*.jsonl"))) == 1 and outside.read_text() == "labels"


# --- files ----------------------------------------------------------------------------------------


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = files.write_text(tmp_path / "a.txt", "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(UserError, match="No space left on device"):
        files.write_text(path, "new")
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["a.txt", "a" * 200 + ".txt"])
def test_a_link_made_in_advance_is_not_written_through(tmp_path, monkeypatch, name):
    """In a folder that others may write in, the name of the temporary file is not to be known."""
    monkeypatch.setattr("os.getpid", lambda: 4321)
    (tmp_path / "victim").write_text("mine")
    written = []
    for _ in range(2):
        with files.replacing(tmp_path / name) as temporary:
            written.append(temporary)
            temporary.write_text("new")
        if len(written) == 1:
            written[0].symlink_to(tmp_path / "victim")
    assert written[0] != written[1] and "4321" not in written[1].name
    assert (tmp_path / "victim").read_text() == "mine" and not (tmp_path / name).is_symlink()


def test_a_file_where_a_folder_is_needed_is_named(tmp_path):
    (tmp_path / "a").write_text("a file")
    with pytest.raises(UserError, match="b could not be written"):
        files.write_text(tmp_path / "a" / "b", "text")


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    def save(text, fail=False):
        with files.replacing(tmp_path / "adapter") as folder:
            folder.mkdir()
            (folder / f"{text}.txt").write_text(text)
            if fail:
                raise SafetensorError("No space left on device (os error 28)")

    save("first")
    with pytest.raises(UserError, match=r"adapter could not be written \(No space left on device"):
        save("second", fail=True)
    assert [f.name for f in tmp_path.rglob("*.*")] == ["first.txt"]
    save("second")
    assert [f.name for f in tmp_path.rglob("*.*")] == ["second.txt"]


def test_jsonl_keeps_line_separators_inside_strings(tmp_path):
    rows = [{"text": "a\u2028b\u0085c"}]
    assert files.read_jsonl(files.write_jsonl(tmp_path / "a.jsonl", rows)) == rows


def test_two_who_ask_at_once_do_not_take_each_other_for_the_holder(tmp_path):
    (tmp_path / ".lock").touch()
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: outputs.is_held(tmp_path), range(40)))
    assert not any(answers)
    outputs.hold_folder(tmp_path)
    assert outputs.is_held(tmp_path)
    outputs._locks.pop(tmp_path).release()


def test_a_lock_that_may_not_be_opened_counts_as_held(tmp_path):
    (tmp_path / ".lock").mkdir()  # root may open any file, but no folder as one
    assert outputs.is_held(tmp_path)


def test_the_time_expected_is_that_of_the_most_similar_run_that_ended_well(project):
    params = {"model": "m", "rounds": 2, "epochs": 3}
    assert pipeline.expected_seconds("03_active_learning", params) is None
    outputs = project / "outputs" / "t"
    for name, facts in {
        "like": {"parameters": params, "seconds": 40.0},
        "far": {"parameters": params | {"rounds": 9, "epochs": 1}, "seconds": 900.0},
        "other model": {"parameters": params | {"model": "n"}, "seconds": 7.0},
        "other table": {"parameters": params | {"data_path": "big.csv"}, "seconds": 8.0},
        "failed": {"parameters": params, "seconds": 1.0, "status": "failed"},
    }.items():
        save_manifest(outputs / name / "03_active_learning", **facts)
    (outputs / "damaged" / "03_active_learning").mkdir(parents=True)
    (outputs / "damaged" / "03_active_learning" / "manifest.json").write_text("[]")
    assert pipeline.expected_seconds("03_active_learning", params) == 40.0
