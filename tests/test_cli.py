"""The `ambo` command: what it accepts, and the one sentence with exit code 2 for what it does not."""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml

from helpers import env, files, outputs, pipeline, run
from helpers.cli import command, given
from helpers.cli.notebook import IndentedOutput, execute_notebook
from helpers.cli.predict import open_texts
from helpers.core import recipe
from helpers.data import embedded
from helpers.data.records import record_id
from helpers.env import UserError
from helpers.evaluation import runs
from helpers.evaluation.start import runs_table
from helpers.labels import exchange, log
from tests.project import ROOT, finish, new_project, notebook, save_manifest, start


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("AMBO_ROOT", str(tmp_path))
    return new_project(tmp_path)


def ambo(monkeypatch, capsys, *words):
    """(exit code, stdout, stderr) of the command run in this process."""
    monkeypatch.setattr(sys, "argv", ["ambo", *words])
    with pytest.raises(SystemExit) as ended:
        command.main()
    captured = capsys.readouterr()
    return ended.value.code or 0, captured.out, captured.err


def test_a_folder_that_one_may_not_enter_is_a_sentence(project, monkeypatch, capsys):
    folder, exists = project / "private", Path.exists

    def refusing(path, **options):  # as the system does to all but its administrator, who runs many a test
        if folder in path.parents:
            raise PermissionError(13, "Permission denied", str(path))
        return exists(path, **options)

    monkeypatch.setattr(Path, "exists", refusing)
    code, _, err = ambo(monkeypatch, capsys, "run", *CSV, "-p", "data_path", str(folder / "x.csv"))
    assert (code, err) == (2, f"ambo: {folder / 'x.csv'} may not be opened or written by you: {RIGHT}\n")


RIGHT = "ask for the right, or name another."
CSV = ["--task", "csv", "--profile", "demo"]
JOBS = ["--task", "italian_jobs", "--profile", "demo"]
WRITING = ["--task", "counter_narrative", "--profile", "demo"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--task", "none", "--profile", "demo"], "--task 'none' is not in"),
        (
            ["--task", "csv", "--profile", "none"],
            "choose one of demo, demo_generation, demo_rewriting, gemma270m, llama2_7b_sbic, minilm, smollm2, t4",
        ),
        (["--task", "csv", "--profile", "demo", "-p", "epoch", "3"], "'epoch' is unknown: did you mean 'epochs'?"),
        (
            ["--task", "csv", "--profile", "demo", "-p", "epochs", "many"],
            "epochs='many' is a text, but a whole number between 0 and 1,000, such as 2, is expected.",
        ),
        (
            ["--task", "csv", "--profile", "demo", "-p", "epochs", "!!bool maybe"],
            "epochs: '!!bool maybe' is not valid YAML",
        ),
        (
            ["--task", "csv", "--profile", "demo", "-p", "data_path", "a.csv", "-p", "guideline", "/dev/zero"],
            "guideline=",
        ),
        (["--task", "csv", "--profile", "demo", "-p", "labels", "[a, b"], "labels: '[a, b' is not valid YAML"),
        (["--task", "csv", "--profile", "demo"], "data_path is empty: give a file or folder"),
        (["--task", "csv", "--profile", "demo", "-p", "data_path", "no.csv"], "'no.csv' is not a file or folder"),
        (
            ["--task", "italian_jobs", "--profile", "demo", "-p", "model", "./no/model"],
            "'./no/model' is a folder that does not exist",
        ),
        (["--task", "csv", "--profile", "demo", "-p", "epochs"], "Every -p takes a key and a value"),
        (["--task", "csv", "--profile", "demo", "--stages", "07"], "--stages '07' is unknown"),
        (["--task", "csv", "--profile", "demo", "--run-id", "a/b"], "names a folder"),
        (["--task", "csv", "--profile", "demo", "-p", "kind", "poetry"], "kind='poetry' is unknown: choose one of"),
        ([*JOBS, "-p", "learner", "QLoRA"], "learner='QLoRA' must be one of probe, qlora"),
        ([*JOBS, "-p", "judge", "me"], "judge='me' must be one of '', endpoint"),
        ([*JOBS, "-p", "balance_group", "region"], "balance_group='region' is not among the group_columns (sector,"),
        ([*JOBS, "-p", "strategy", "magic"], "strategy='magic' is unknown: choose one of badge, bait, cluster_equal,"),
        ([*JOBS, "-p", "stop", "never"], "stop='never' must be one of budget, change, kappa, plateau, uncertainty"),
        ([*JOBS, "-p", "labeller", "me"], "labeller='me' must be one of human, model, oracle, teacher"),
        ([*JOBS, "-p", "head", "arm"], "head='arm' must be one of classifier, lm"),
        ([*JOBS, "-p", "pooling", "max"], "pooling='max' must be one of evidence, mean"),
        ([*JOBS, "-p", "quantization", "int8"], "quantization='int8' must be one of nf4, none"),
        (
            [*WRITING, "--stages", "01,03", "-p", "strategy", "bait"],
            "is not for tasks of kind generation: choose one of cluster_random, core_set,",
        ),
        ([*JOBS, "-p", "methods", "[swap, magic]"], "methods: 'magic' is none of back_translation, double_form,"),
        ([*JOBS, "-p", "group_columns", "['']"], "has an empty name"),
        ([*JOBS, "-p", "annotators", "[anna, anna]"], "names one twice"),
        ([*JOBS, "-p", "learning_rate", ".inf"], "learning_rate=inf must lie between 0 and 1"),
        ([*JOBS, "-p", "learning_rate", ".nan"], "learning_rate=nan must lie"),
        ([*JOBS, "-p", "epochs", "-1"], "epochs=-1 must lie between 0 and 1,000"),
        ([*JOBS, "-p", "holdout", "-0.5"], "holdout=-0.5 must lie"),
        ([*JOBS, "-p", "seed", "2026-13-45"], "seed: '2026-13-45' is not valid YAML"),
        ([*JOBS, "-p", "labels", "[" * 5000], "is not valid YAML"),
        ([*JOBS, "-p", "label_column", b"citt\xe0".decode("utf-8", "surrogateescape")], "is not valid UTF-8"),
        ([*JOBS, "--run-id", "x" * 300], "use at most 80 letters"),
        ([*JOBS, "--run-id", ".."], "use at most 80 letters"),
        ([*JOBS, "-p", "seed", "9" * 5000], "seed"),
        ([*JOBS, "-p", "learning_rate", "1" * 400], "must lie between 0 and 1"),
        ([*JOBS, "-p", "rounds", "1:30"], "rounds='1:30' is a text, but a whole number"),
        (
            [*JOBS, "-p", "language", "IT"],
            "language='IT' must be one of '', en, it; '' stands for every other language",
        ),
        ([*JOBS, "-p", "language", "ita"], "language='ita' must be one of '', en, it"),
        ([*JOBS, "-p", "language", "fr"], "language='fr' must be one of '', en, it"),
        (
            [*JOBS, "-p", "labels", "fine, biased"],
            'at least two labels, all different: write them in brackets, as in -p labels "[',
        ),
        ([*JOBS, "-p", "labels", "[&a [x, y], *a]"], "an alias, as in `*name`"),
        ([*JOBS, "-p", "seed", "1", "-p", "seed", "2"], "Parameter 'seed' is given twice by -p"),
        ([*JOBS, "-p", "labels", "{a: 1, a: 2}"], "the key 'a' twice; keep one of them"),
        (["--task", "csv", "--profile", "demo", "-p", "data_path", "x" * 300], "longer than 255 bytes"),
        ([*JOBS, "-p", "model", "~nobody-here/base"], "names a home folder that does not exist"),
        ([*JOBS, "--run-id", "con.x"], "use at most 80 letters"),
        ([*JOBS, "--stages", ""], "--stages is empty"),
        ([*JOBS, "--stagse", "01"], "Option '--stagse' is unknown"),
        (["--task", "../tasks/csv", "--profile", "demo"], "use at most 80 letters"),
        ([*WRITING, "--stages", "01,03", "-p", "scorer", "magic"], "scorer='magic' is unknown"),
        ([*WRITING, "-p", "pooling", "mean"], "'pooling' is of no use to a task of this kind"),
        ([*WRITING, "-p", "epoch", "3"], "'epoch' is unknown: did you mean 'epochs'?"),
        ([*JOBS, "--stages", "01", "-p", "strategy", "foo"], "strategy='foo' is unknown: choose one of badge, bait,"),
        ([*JOBS, "--stages", "01", "-p", "methods", "[foo]"], "methods: 'foo' is none of"),
        ([*JOBS, "--stages", "01", "-p", "model", "./no_such_model"], "is a folder that does not exist"),
        ([*JOBS, "--stages", "01", "-p", "model", "none.gguf"], "is a file that does not exist"),
        ([*JOBS, "-p", "annotators", "[a/b]"], "Annotator 'a/b' names a file"),
        ([*JOBS, "-p", "annotators", "[teacher]"], "Annotator 'teacher' is the name of a machine"),
        ([*JOBS, "-p", "brief", "/nope.yaml"], "brief='/nope.yaml' cannot be read"),
        ([*JOBS, "-p", "guideline", "nope.md"], "guideline='nope.md' is not a text file"),
        ([*JOBS, "-p", "teacher", "endpoint"], "TEACHER_BASE_URL is not set"),
        ([*JOBS, "-p", "labeller", "teacher"], "TEACHER_BASE_URL is not set"),
        ([*JOBS, "-p", "judge", "endpoint"], "JUDGE_BASE_URL is not set"),
        ([*WRITING, "--stages", "01,03", "-p", "scorer", "judge"], "JUDGE_BASE_URL is not set"),
        ([*JOBS, "-p", "learning_rate", "nan"], "Parameter learning_rate=nan must lie between 0 and 1."),
        ([*JOBS, "-p", "learning_rate", "-Infinity"], "Parameter learning_rate=-inf must lie between 0 and 1."),
        ([*JOBS, "-p", "learning_rate", "1e999"], "Parameter learning_rate=inf must lie between 0 and 1."),
        ([*JOBS, "-p", "learning_rate", "fast"], "but a number between 0 and 1, such as 0.0015, is expected.\n"),
        ([*JOBS, "-p", "rounds", "nan"], "rounds=nan is a number, but a whole number between 0 and 10,000, such as 4,"),
        ([*JOBS, "-p", "bootstrap", "1"], "bootstrap=1 must lie between 100 and 1,000,000"),
    ],
)
def test_mistakes_before_any_kernel_starts(project, monkeypatch, capsys, words, sentence):
    code, out, err = ambo(monkeypatch, capsys, "run", *words)
    assert code == 2 and sentence in err and "Traceback" not in err and err.count("\n") == 1 and not out
    assert not (project / "outputs").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["run", "--task", "csv"], "ambo: Missing option '--profile': see `ambo run --help`."),
        (["status", "--\x1b[31mred"], "ambo: No such option: --\\x1b[31mred: see `ambo status --help`."),
        (["st\x1b]0;x\x07"], "ambo: No such command 'st\\x1b]0;x\\x07': see `ambo --help`."),
        (["labels", "export", "--task", "t", "\x1b[2J"], "ambo: "),
        (["predict"], "ambo: Missing argument"),
        (["status", "--task"], "ambo: Option '--task' requires an argument"),
    ],
)
def test_words_that_are_no_command_are_one_sentence_that_nothing_obeys(project, monkeypatch, capsys, words, sentence):
    code, out, err = ambo(monkeypatch, capsys, *words)
    assert code == 2 and err.startswith(sentence) and err.count("\n") == 1 and "\x1b" not in err and not out


def test_the_help_of_run_lists_every_parameter(project, monkeypatch, capsys):
    code, out, _ = ambo(monkeypatch, capsys, "run", "--help")
    assert code == 0 and "--profile" in out and "\x1b" not in out
    lines = out.splitlines()
    names = {name for notebooks in pipeline.KINDS.values() for name in given.known_parameters(notebooks)}
    assert names <= {line.split()[0] for line in lines if line.startswith("  ") and line.strip()}
    place = lines.index("  labeller")
    assert lines[place + 1] == "      oracle, teacher: labels come with the data; human, model: people are asked"
    assert lines[place + 2] == "      a text; default 'oracle'; one of human, model, oracle, teacher"
    assert lines[lines.index("  epochs") + 2] == "      a whole number; default 2 or 8; between 0 and 1,000"
    assert "one of badge, bait" in lines[lines.index("  strategy") + 2] and "  copies (generation only)" in lines


TABLES = {
    "column": ("body,label\na b c,x\nd e f,y\n", "no column 'text'"),
    "classes": ("text,label\na b c,x\nd e f,x\n", "holds only the class 'x'"),
    "empty": ("text,label\n", "has no rows"),
    "label": ("text,label\na b c,x\nd e f,z\n", "a.csv, row 3: label 'z'"),
}
FEW = "".join(f"a text of its own number {i},{'xy'[i % 2]}\n" for i in range(60))
TABLES |= {
    "few": (f"text,label\n{FEW}", "leave 42 texts to choose from and the seed (seed_size=40) takes 40 of them"),
    "two": ("text,label\na b c,x\na b c,x\nd e f,y\nd e f,y\n", "leave 2 texts to choose from: give more texts"),
}
A_CSV = ["run", "--task", "csv", "--profile", "demo", "--run-id", "r", "-p", "data_path", "a.csv"]
SOUND = [*A_CSV, "-p", "seed_size", "9"]  # for the 60 rows of FEW


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["label_names", "[a]"], "label_names=['a'] needs one for each of the labels (x, y)"),
        (
            ["test_size", "10000000"],
            "(test_size=10000000, validation_size=6, scorer_size=0) take every text (60): lower",
        ),
        (["brief", "b.yaml"], "b.yaml must say what each of x, y means"),
    ],
)
def test_parameters_that_do_not_fit_the_data_are_reported_before_any_kernel_starts(
    project, monkeypatch, capsys, words, sentence
):
    (project / "a.csv").write_text(f"text,label\n{FEW}")
    (project / "b.yaml").write_text("text: an ad\nlabels: {u: one, v: another}\ncolumns: {}\n")
    code, out, err = ambo(monkeypatch, capsys, *SOUND, "-p", *words)
    assert code == 2 and sentence in err and err.count("\n") == 1 and not out
    assert not (project / "outputs").exists()


@pytest.mark.parametrize(
    ("rows", "remark"),
    [
        (f"{FEW}once more,z\n", "Class 'z' with one row only: a slip of the pen?"),
        ("".join(f"text number {i},{i}\n" for i in range(60)), "are numbers, not classes: set label_threshold."),
    ],
)
def test_what_the_table_has_to_say_is_said_beside_a_mistake(project, monkeypatch, capsys, rows, remark):
    (project / "a.csv").write_text(f"text,label\n{rows}")
    code, out, err = ambo(monkeypatch, capsys, *A_CSV)
    assert code == 2 and "set positive_label to one of them" in err and err.count("\n") == 1
    assert out.endswith(f"{remark}\n") and not (project / "outputs").exists()


def test_batches_that_take_the_whole_pool_are_said(project, monkeypatch, capsys):
    (project / "a.csv").write_text(f"text,label\n{FEW}")
    params = given.gather_parameters("csv", "demo", {"data_path": "a.csv", "seed_size": "14"})
    first, loop = (given.stage_parameters(pipeline.STAGES[number], params) for number in ("01", "03"))
    with monkeypatch.context() as at:
        at.chdir(project)
        given.check_data(params | first, loop)
        remark = capsys.readouterr().out
        given.check_data(params | first, loop | {"batch_labels": 4})
    assert remark.startswith(
        "5 rounds of 76 labels take all 28 texts of the pool, whatever the strategy: set batch_labels to 4"
    )
    assert not capsys.readouterr().out


@pytest.mark.parametrize("case", TABLES)
def test_mistakes_in_the_data_are_reported_before_any_kernel_starts(project, monkeypatch, capsys, case):
    content, sentence = TABLES[case]
    (project / "a.csv").write_text(content)
    more = ["-p", "labels", "[x, y]"] if case == "label" else []
    code, out, err = ambo(monkeypatch, capsys, *A_CSV, "-p", "seed_size", "40", *more)
    assert code == 2 and sentence in err and err.count("\n") == 1 and not out
    assert not (project / "outputs").exists()


def test_a_table_without_labels_says_how_and_one_command_leads_to_the_panel(project, monkeypatch, capsys):
    (project / "a.csv").write_text("text\n" + "".join(f"a text of its own number {i}\n" for i in range(60)))
    code, out, err = ambo(monkeypatch, capsys, *SOUND)
    assert code == 2 and not out and err.count("\n") == 1
    assert 'For texts without labels add -p labels "[fine, biased]", with your own, and -p labeller human.' in err
    labels = ["-p", "labels", "[fine, biased]"]
    code, out, err = ambo(monkeypatch, capsys, *SOUND, *labels)
    assert code == 2 and "None of the 60 texts has a label" in err and "set labeller to human" in err
    names = ["-p", "label_names", "[Open to all, Shuts out]"]
    code, out, err = ambo(monkeypatch, capsys, *SOUND, *labels, *names, "-p", "labeller", "human")
    assert "Looked for: 'Shuts out' (the last of labels" in out and "of the classes Open to all, Shuts out\n" in out
    assert code == 3 and "01_seed_curation: waits for labels; open" in out and "Classes in" not in out and not err
    remark = "The table has no column 'label' (parameter label_column), so every text counts as unlabelled; people give"
    assert f"  {remark} one of fine, biased.\n" in out


def test_a_mistake_that_a_notebook_finds_is_one_sentence_too(project, monkeypatch, capsys):
    rows = [f"{' '.join(map(str, range(100)))} {i},{'xy'[i % 2]},{'test' if i < 4 else 'train'}" for i in range(60)]
    (project / "a.csv").write_text("\n".join(["text,label,split", *rows]))  # every text resembles a test row
    code, out, err = ambo(monkeypatch, capsys, *SOUND, "-p", "split_column", "split")
    assert (
        code == 2
        and "leave 0 texts to choose from: give more texts" in err
        and err.count("\n") == 1
        and "60 texts" in out
    )
    assert run.read_manifest(project / "outputs/csv/r/01_seed_curation")["status"] == "failed"
    out = ambo(monkeypatch, capsys, "status")[1]
    assert "failed" in out and "\n    The evaluation sets leave" in out


def test_a_success_that_no_longer_counts_is_none_in_the_list(project, monkeypatch, capsys):
    source = files.write_text(project / "data.csv", "one")
    first = run.Run("01_seed_curation", {"run_id": "r"}, project / "outputs/t/r/01_seed_curation")
    first.reads(source)
    first.wrote(files.write_text(first.path("seed.jsonl"), "{}"))
    first.close()
    later = run.Run("03_active_learning", {"run_id": "r"}, project / "outputs/t/r/03_active_learning")
    later.earlier("01", "seed.jsonl")
    later.wrote(files.write_text(later.path("rounds.jsonl"), ""))
    later.close()
    lines = ambo(monkeypatch, capsys, "status")[1].splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["success", "success"]
    files.write_text(source, "two")
    lines = ambo(monkeypatch, capsys, "status")[1].splitlines()
    assert lines[1].split()[1:4] == lines[3].split()[1:4] == ["no", "longer", "counts"]
    assert lines[2] == "    data.csv changed" and lines[4] == "    01_seed_curation no longer counts: data.csv changed"
    stages = runs_table(runs.list_stages())["stages"][0]
    assert stages.count("no longer counts (") == 2 and "success" not in stages


def test_a_stage_whose_process_is_gone_was_cut_off(project):
    folder = project / "outputs/t/r/01_seed_curation"
    path = save_manifest(folder, status="running", seconds=0.1)
    assert "cut off" in command.stage_line(path)
    outputs.hold_folder(folder)
    assert "running" in command.stage_line(path)


def test_a_damaged_manifest_hides_no_other_run(project, monkeypatch, capsys):
    for name, text in (("01_seed_curation", "{"), ("02_synthetic_expansion", "[]")):
        files.write_text(project / "outputs/t/r" / name / "manifest.json", text)
    for number, seconds in enumerate((1e300, -5, 4e8)):  # no stage takes ten years, or less than no time
        save_manifest(project / f"outputs/t/r{number}/01_seed_curation", seconds=seconds)
    save_manifest(project / "outputs/t/s/01_seed_curation", seconds=61)
    code, out, _ = ambo(monkeypatch, capsys, "status")
    assert len(max(out.splitlines(), key=len)) < 250
    assert code == 0 and out.count("its manifest cannot be read") == 5 and "success             1 min 01 s" in out


PARAMS = {
    "latin": b"task: citt\xe0\n",
    "keys": b"1: a\n2: b\n",
    "nested": b"a: " + b"[" * 50_000,
    "date": b"a: 2026-13-45\n",
    "list": b"- a\n",
    "no time": b"seed: !!timestamp abc\n",
    "no number": b"seed: !!float ''\n",
    "no truth": b"seed: !!bool maybe\n",
    "a pipe": None,
    "a device": Path("/dev/zero"),
    "huge": 20 * 2**30,
    "bomb": b"a: &a [x, x]\nb: &b [*a, *a]\nlabels: [*b, *b]\n",
}


@pytest.mark.parametrize("case", PARAMS)
def test_files_of_parameters_that_cannot_be_read_are_named(tmp_path, monkeypatch, capsys, case):
    for folder in ("notebooks", "params/tasks", "params/profiles"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setenv("AMBO_ROOT", str(tmp_path))
    path = tmp_path / "params/tasks/odd.yaml"
    if case == "a pipe":
        os.mkfifo(path)
    elif case == "a device":
        path.symlink_to(PARAMS[case])
    elif case == "huge":  # a sparse file
        path.touch()
        os.truncate(path, PARAMS[case])
    else:
        path.write_bytes(PARAMS[case])
    code, out, err = ambo(monkeypatch, capsys, "run", "--task", "odd", "--profile", "demo")
    assert (
        code == 2
        and ("odd.yaml" in err or "Parameter kind=['a'] must be" in err)
        and "Traceback" not in err
        and err.count("\n") == 1
        and not out
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("kind: [a]\ntask: odd\n", "Parameter kind=['a'] must be"), ("seed: 1\n", "odd.yaml names no task")],
)
def test_a_task_without_its_name_or_with_an_odd_kind(tmp_path, monkeypatch, capsys, content, sentence):
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    shutil.copytree(ROOT / "params", tmp_path / "params")
    monkeypatch.setenv("AMBO_ROOT", str(tmp_path))
    (tmp_path / "params/tasks/odd.yaml").write_text(content)
    code, out, err = ambo(monkeypatch, capsys, "run", "--task", "odd", "--profile", "demo")
    assert code == 2 and sentence in err and err.count("\n") == 1 and not out


@pytest.mark.parametrize("kind", ["file", "link", "run is a file", "stage is a file"])
def test_outputs_that_cannot_hold_a_run_are_named(project, monkeypatch, capsys, kind):
    (project / "a.csv").write_text(f"text,label\n{FEW}")
    place = project / "outputs"
    if kind == "file":
        place.write_text("mine")
    elif kind == "link":
        place.symlink_to(project / "gone")
    else:
        place = project / ("outputs/csv/r" if kind == "run is a file" else "outputs/csv/r/01_seed_curation")
        place.parent.mkdir(parents=True)
        place.write_text("mine")
    code, _, err = ambo(monkeypatch, capsys, *SOUND)
    assert code == 2 and f"{place} is" in err and "Traceback" not in err and err.count("\n") == 1
    assert place.is_symlink() or place.read_text() == "mine"


def test_a_kernel_that_does_not_start_is_a_sentence(project):
    """As with a home folder on a full disk."""
    (project / "a.csv").write_text(f"text,label\n{FEW}")
    (project / "ipykernel_launcher.py").write_text("raise SystemExit('No space left on device')")
    path = os.pathsep.join([str(project), os.environ.get("PYTHONPATH", "")])
    words = [sys.executable, "-m", "helpers.cli", *SOUND, "--stages", "01"]
    err = finish(project, words, 2, PYTHONPATH=path)[1]
    assert "01_seed_curation.ipynb: its kernel did not start (Kernel died" in err.splitlines()[-1]
    assert err.startswith("No space left on device\n" * 2 + "ambo: ") and err.count("\n") == 3  # tried twice, then we


def test_a_kernel_that_finds_a_port_taken_is_started_once_more(project):
    once = "import os\nif not os.path.exists('tried'):\n    open('tried', 'w').close()\n    raise SystemExit('Address in use')\n"
    launch = "from ipykernel.kernelapp import launch_new_instance\nlaunch_new_instance()\n"
    (project / "ipykernel_launcher.py").write_text(once + launch)
    page = notebook(project / "page.ipynb", ("x = 1", ["parameters"]), ("print(x + 1)", []))
    script = "import sys; from pathlib import Path; from helpers.cli.notebook import execute_notebook as run\n"
    script += "run(Path(sys.argv[1]), Path(sys.argv[2]), {'x': 2})"
    path = os.pathsep.join([str(project), os.environ.get("PYTHONPATH", "")])
    finish(project, [sys.executable, "-c", script, str(page), str(project / "out.ipynb")], PYTHONPATH=path)
    assert files.read_json(project / "out.ipynb")["cells"][-1]["outputs"][0]["text"] == ["3\n"]
    assert (project / "tried").exists()


def test_the_kernel_is_this_interpreter_whatever_kernelspecs_the_user_has(project, monkeypatch, capsys):
    spec = {"argv": ["/nowhere/python", "-f", "{connection_file}"], "display_name": "mine", "language": "python"}
    files.write_json(project / "jupyter/kernels/python3/kernel.json", spec)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(project / "jupyter"))
    page = notebook(project / "page.ipynb", ("x = 1", ["parameters"]), ("import sys; print(sys.executable)", []))
    execute_notebook(page, project / "out.ipynb", {"x": 2})
    cells = files.read_json(project / "out.ipynb")["cells"]
    assert cells[-1]["outputs"][0]["text"] == [f"{sys.executable}\n"]


@pytest.mark.parametrize(("words", "lines"), [(["run", "--help"], 0), (["status"], 0), ([*SOUND, "--stages", "01"], 1)])
def test_a_reader_that_has_ended_is_no_fault_of_the_disk(project, words, lines):
    """As in `ambo run … | head -3`."""
    (project / "a.csv").write_text(
        "text,label\n" + "".join(f"word {i} of text {i % 7},{'xy'[i % 2]}\n" for i in range(60))
    )
    process = start(project, [sys.executable, "-m", "helpers.cli", *words])
    for _ in range(lines):
        process.stdout.readline()
    process.stdout.close()
    assert (process.stderr.read(), process.wait(60)) == ("", 1)


@pytest.mark.parametrize("task", ["/tmp/x", "../x", "a/b", "**"])
def test_status_of_a_task_that_is_no_name(project, monkeypatch, capsys, task):
    code, _, err = ambo(monkeypatch, capsys, "status", "--task", task)
    assert code == 2 and "--task" in err and err.count("\n") == 1


@pytest.mark.parametrize("moment", ["papermill starts", 0.3, 0.8, "a cell runs"])
def test_ctrl_c_ends_a_run_and_its_kernel_in_a_sentence_and_it_goes_on(project, moment):
    (project / "a.csv").write_text(
        "text,label\n" + "".join(f"word {i} of text {i % 7},{'xy'[i % 2]}\n" for i in range(60))
    )
    words = [sys.executable, "-m", "helpers.cli", *SOUND, "--stages", "01"]
    manifest = project / "outputs/csv/r/01_seed_curation/manifest.json"
    process = start(project, words, PYTHONUNBUFFERED="1")
    assert "running, stage 1 of 1" in process.stdout.readline()
    while moment == "a cell runs" and not manifest.exists():
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(moment if isinstance(moment, float) else 0)  # seconds, in which the kernel starts
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted; the same command goes on" in err and "Traceback" not in err
    assert not [
        p for p in psutil.process_iter(["environ"]) if (p.info["environ"] or {}).get("AMBO_ROOT") == str(project)
    ]
    if manifest.exists():
        assert pipeline.stage_status(manifest.parent) == "cut off"
    assert "01_seed_curation: done" in finish(project, words)[0]


def test_values_have_the_type_of_their_default():
    for text, default, value in [
        ("yes", "", "yes"),
        ("a: b", "", "a: b"),
        ("''", "x", ""),
        ("[yes, 1]", [], ["yes", "1"]),
        ("region", [], ["region"]),
        ("", ["x"], []),
        ("2e-4", 0.1, 2e-4),
        ("3", 1, 3),
        ("true", False, True),
    ]:
        assert given.parse_value("p", text, default) == value


def test_a_model_is_a_folder_with_its_files_or_a_hub_id(tmp_path):
    recipe.check_model(recipe.EMBEDDED)
    recipe.check_model(str(embedded.FOLDER / "base_model"))
    with pytest.raises(UserError, match=r"is a folder without config\.json"):
        recipe.check_model(str(tmp_path))


def test_gather_merges_task_profile_and_overrides(project):
    params = given.gather_parameters("italian_jobs", "demo", {"rounds": "2", "run_id": "7"})
    assert params["task"] == "italian_jobs" and params["rounds"] == 2 and params["run_id"] == "7"
    assert "rounds" in params and "rounds" not in given.stage_parameters("01_seed_curation", params)


def test_a_kind_of_task_has_its_own_notebooks(project, capsys):
    assert given.chosen_notebooks("01,02,03,04", pipeline.notebooks("generation")) == [
        "01_seed_curation",
        "03_active_generation",
        "04_generation_evaluation",
    ]
    assert capsys.readouterr().out == "02_synthetic_expansion: not part of a generation task, left out\n"
    assert given.chosen_notebooks("01, 02", pipeline.notebooks("classification")) == [
        "01_seed_curation",
        "02_synthetic_expansion",
    ]
    params = given.gather_parameters(
        "inclusive_rewriting_it", "demo", {}
    )  # a profile's keys for the other kind are left out
    assert "pooling" in params and "pooling" not in given.stage_parameters("03_active_generation", params)


@pytest.mark.parametrize(
    ("task", "profile", "remark"),
    [
        ("csv", "demo", ""),
        ("csv", "t4", ""),
        ("detoxification", "t4", ""),
        ("counter_narrative", "demo_generation", ""),
        (
            "csv",
            "demo_generation",
            "params/profiles/demo_generation.yaml is for tasks of generation, and params/tasks/csv",
        ),
        ("italian_jobs", "demo_rewriting", "is one of classification: silver, copies are not used, and epochs"),
        ("counter_narrative", "demo", "is one of generation: head, pooling, head_first, perplexity_tail are not used"),
    ],
)
def test_a_profile_for_the_other_kind_of_task_is_said(project, task, profile, remark):
    kind = given.read_params("tasks", task).get("kind", "classification")
    said = given.profile_remark(task, profile, kind)
    assert remark in said and bool(said) == bool(remark)


def test_a_remark_on_the_profile_comes_before_the_first_kernel(project, monkeypatch, capsys):
    monkeypatch.setattr(command, "run_stage", lambda *words: print("a kernel"))
    out = ambo(monkeypatch, capsys, "run", "--task", "counter_narrative", "--profile", "demo", "--stages", "01")[1]
    assert out.startswith("params/profiles/demo.yaml is for tasks of classification") and out.endswith("a kernel\n")


def test_a_task_and_a_profile_may_not_set_the_same_key(project, tmp_path):
    (tmp_path / "params").unlink()
    for kind, values in (("tasks", {"task": "a", "seed": 1}), ("profiles", {"seed": 2})):
        (tmp_path / "params" / kind).mkdir(parents=True)
        (tmp_path / "params" / kind / "a.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(UserError, match="both set seed"):
        given.gather_parameters("a", "a", {})


def test_a_run_that_is_not_there_is_told_from_those_that_are(project, monkeypatch, capsys):
    assert ambo(monkeypatch, capsys, "status", "--task", "cvs")[:2] == (0, "No runs yet: start one with `ambo demo`.\n")
    code, _, err = ambo(monkeypatch, capsys, "predict", "my.csv", "--run-id", "mesy")
    assert code == 2 and "with run id 'mesy' has finished 03_active_learning: train a model first" in err
    save_manifest(project / "outputs/csv/messy/03_active_learning")
    code, out, err = ambo(monkeypatch, capsys, "status", "--task", "cvs")
    assert code == 2 and err == "ambo: There is no run of task 'cvs': there are runs of csv.\n" and not out
    code, _, err = ambo(monkeypatch, capsys, "predict", "my.csv", "--run-id", "mesy")
    assert code == 2 and "has finished 03_active_learning: choose --task csv --run-id messy." in err


def test_predict_speaks_of_its_own_options_and_keeps_no_line_end(tmp_path, monkeypatch):
    monkeypatch.setenv("AMBO_ROOT", str(tmp_path))
    with pytest.raises(UserError, match=r"nofile\.csv is not a file or folder .*check the path, or give - ") as error:
        open_texts("nofile.csv", "text")
    assert "data_path" not in str(error.value) and "hf:" not in str(error.value)
    (tmp_path / "my.csv").write_text("body,n\nun testo,1\n")
    with pytest.raises(UserError, match="has no column 'text': set --text-column to one of body, n"):
        open_texts("my.csv", "text")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("  un testo\ndue righe\r\n\n")
    assert next(open_texts("texts", "text").batches())["text"].tolist() == ["  un testo\ndue righe"]


def test_a_run_whose_file_is_gone_is_told_how_to_go_on(project, monkeypatch, capsys):
    folder = project / "outputs/csv/r/01_seed_curation"
    words = ["--task", "csv", "--profile", "demo", "-p", "data_path", "gone.csv"]
    values = given.stage_parameters(folder.name, given.gather_parameters("csv", "demo", {"data_path": "gone.csv"}))
    save_manifest(folder, parameters=values | {"run_id": "r"})
    code, out, err = ambo(monkeypatch, capsys, "run", *words, "--run-id", "r")
    assert code == 2 and not out and "gone.csv is missing, and outputs/csv/r/01_seed_curation was made from it" in err
    assert err.endswith("put it back, or go on from what 01 made of it by --stages 02,03,04.\n")


def test_status_and_doctor(project, monkeypatch, capsys):
    assert "No runs yet" in ambo(monkeypatch, capsys, "status")[1]
    code, out, _ = ambo(monkeypatch, capsys, "doctor")
    assert code == 0 and "nf4          works" in out and "torch        2." in out
    assert "device       c" in out and "dtype        " in out and "not used" not in out


def test_what_needs_no_model_is_fast_and_loads_no_torch(project):
    script = "import sys; from helpers.cli import command; sys.argv = ['ambo', 'status']; command.app(standalone_mode=False); "
    started = time.time()
    out, _ = finish(project, [sys.executable, "-c", script + "print('torch' in sys.modules)"])
    assert out.splitlines() == ["No runs yet: start one with `ambo demo`.", "False"]
    assert time.time() - started < 10  # half a second on a machine of its own


def test_the_demo_is_a_run_of_its_own_name(project, monkeypatch, capsys):
    folder = project / "outputs/italian_jobs/demo/03_active_learning"
    values = given.stage_parameters(folder.name, given.gather_parameters("italian_jobs", "demo", {"run_id": "demo"}))
    save_manifest(folder, parameters=values | {"seed": 99})
    code, out, err = ambo(monkeypatch, capsys, "demo")
    assert code == 2 and not out and f"{folder} belongs to a run with seed=99" in err


@pytest.mark.parametrize("stages", ["04", "03,04", "01,02,03,04"])
@pytest.mark.parametrize("change", [("-p", "strategy", "entropy"), ("-p", "lora_r", "4")])
def test_a_stage_that_is_not_asked_for_keeps_its_parameters_too(project, monkeypatch, capsys, stages, change):
    params = given.gather_parameters("italian_jobs", "demo", {}) | {"run_id": "r"}
    folder = project / "outputs/italian_jobs/r"
    for name in pipeline.STAGES.values():
        save_manifest(folder / name, parameters=given.stage_parameters(name, params))
    code, out, err = ambo(monkeypatch, capsys, "run", *JOBS, "--run-id", "r", "--stages", stages, *change)
    assert code == 2 and not out and f"{folder / '03_active_learning'} belongs to a run with {change[1]}=" in err


def test_other_people_may_label_the_pool_than_the_seed(project, monkeypatch, capsys):
    params = given.gather_parameters("italian_jobs", "demo", {}) | {"run_id": "r", "labeller": "human"}
    first = project / "outputs/italian_jobs/r/01_seed_curation"
    save_manifest(first, parameters=given.stage_parameters(first.name, params))
    monkeypatch.setattr(command, "run_stage", lambda *words: None)
    words = ["--run-id", "r", "--stages", "03", "-p", "labeller", "oracle", "-p", "annotators", "[bob]"]
    assert ambo(monkeypatch, capsys, "run", *JOBS, *words)[0] == 0


def test_a_later_stage_says_nothing_of_an_earlier_one(project, monkeypatch, capsys):
    """04 had other draws: 01 alone is asked for, whatever comes of it."""
    save_manifest(project / "outputs/italian_jobs/r/04_bias_evaluation", parameters={"bootstrap": 7})
    monkeypatch.setattr(command, "run_stage", lambda *words: None)
    assert ambo(monkeypatch, capsys, "run", *JOBS, "--run-id", "r", "--stages", "01")[0] == 0


def test_the_tests_are_run_as_make_runs_them(project, monkeypatch, capsys):
    words = [sys.executable, "-m", "helpers.cli", "test", "tests/test_rooms.py", "-k", "circle", "-n", "0", "-v"]
    assert "1 passed" in finish(ROOT, words)[0]
    code, out, err = ambo(monkeypatch, capsys, "test")
    assert code == 2 and not out and "has no tests: run `ambo test` inside a checkout" in err
    recipes = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    assert {"\t$(BIN)/ambo demo", "\t$(BIN)/ambo test"} <= set(recipes)


# --- ambo labels ----------------------------------------------------------------------------------


@pytest.fixture
def labelled(project):
    """The human logs of a run whose 01 has finished: ann and bob differ on one of three ads."""
    first = project / "outputs/t/r/01_seed_curation"
    records = [{"id": f"r{i}", "text": f"Annuncio {i}", "form": "ab"[i % 2]} for i in range(4)]
    files.write_jsonl(first / "pool.jsonl", records[:3])
    files.write_jsonl(first / "seed.jsonl", records[3:])
    files.write_jsonl(first / "oracle.jsonl", [{"id": "r0", "label": "x"}])
    files.write_json(first / "task.json", {"labels": ["x", "y"], "positive_label": "y"})
    save_manifest(first, parameters={"group_columns": ["form"]})
    folder = project / "outputs/t/r/03_active_learning/labels/human"
    for annotator, labels in {"ann": "xyx", "bob": "xyy"}.items():
        for i, label in enumerate(labels):
            log.append(folder, annotator, "label", f"r{i}", label=label)
    log.append(folder, "bob", "note", "r2", text="incerto")
    return folder


RUN = ["--task", "t", "--run-id", "r"]


def test_labels_agreement(labelled, monkeypatch, capsys):
    code, out, err = ambo(monkeypatch, capsys, "labels", "agreement", *RUN)
    assert code == 0 and not err
    assert "alpha all 0.444" in " ".join(out.split())
    assert "form=a" in out and "label=y" in out and "0.40 (3)" in out
    ordinal = ambo(monkeypatch, capsys, "labels", "agreement", *RUN, "--order", "x,y")[1]
    assert "alpha (ordinal)" in ordinal


def test_labels_agreement_of_one_annotator_says_why_there_is_none(labelled, monkeypatch, capsys):
    (labelled / "bob.jsonl").unlink()
    code, out, _ = ambo(monkeypatch, capsys, "labels", "agreement", *RUN)
    assert code == 0 and "only one annotator" in out and "nan" not in out.lower()


def test_labels_agreement_of_many_annotators_shows_pairs_not_a_wide_matrix(labelled, monkeypatch, capsys):
    for k in range(9):
        log.append(labelled, f"p{k}", "label", "r0", label="x")
    out = ambo(monkeypatch, capsys, "labels", "agreement", *RUN)[1]
    assert "the ten pairs with most records in common" in out and "0.400  3" in out


def test_labels_adjudicate_lists_what_is_open(labelled, monkeypatch, capsys):
    code, out, _ = ambo(monkeypatch, capsys, "labels", "adjudicate", "--list", *RUN)
    assert code == 0 and "records to settle: 1" in out and "r2  ann: x, bob: y" in out and "bob notes: incerto" in out
    log.append(labelled, log.ADJUDICATOR, "label", "r2", label="y")
    assert "records to settle: 0" in ambo(monkeypatch, capsys, "labels", "adjudicate", "--list", *RUN)[1]


def test_labels_export_and_import(labelled, project, monkeypatch, capsys):
    code, out, _ = ambo(monkeypatch, capsys, "labels", "export", *RUN, "--to", "final.csv")
    assert code == 0 and "final.csv: 3 rows written" in out and "Annuncio 2" in (project / "final.csv").read_text()
    out = ambo(monkeypatch, capsys, "labels", "export", *RUN, "--to", "all.jsonl", "--history")[1]
    assert "7 events" in out
    (project / "old.csv").write_text("testo,voto\nAnnuncio 3,1\nAnnuncio 0,2\nAltro,1\n")
    words = [
        "old.csv",
        *RUN,
        *["--text-column", "testo", "--label-column", "voto", "--annotator", "cy", "--rename", "1=y"],
    ]
    records = [{"id": record_id("t", f"Annuncio {i}"), "text": f"Annuncio {i}"} for i in range(4)]
    files.write_jsonl(project / "outputs/t/r/01_seed_curation/pool.jsonl", records)
    code, out, _ = ambo(monkeypatch, capsys, "labels", "import", *words)
    assert code == 0 and "taken: 1 of 3 rows" in out and "('2' 1×): 1 (row 3)" in out and "id: 1 (row 4)" in out
    assert log.annotations(labelled)["cy"][records[3]["id"]]["label"] == "y"


def test_an_import_that_names_nobody_says_under_which_name_it_counts(labelled, project, monkeypatch, capsys):
    records = [{"id": record_id("t", f"Annuncio {i}"), "text": f"Annuncio {i}"} for i in range(4)]
    files.write_jsonl(project / "outputs/t/r/01_seed_curation/pool.jsonl", records)
    (project / "in.csv").write_text("text,label,who\nAnnuncio 3,x,cy\n")
    said = "so the labels are those of 'imported': --annotator NAME names a person, --annotator-column COLUMN those"
    for words, is_said in ((["--annotator", "ann"], False), (["--annotator-column", "who"], False), ([], True)):
        code, _, err = ambo(monkeypatch, capsys, "labels", "import", "in.csv", *RUN, *words)
        assert code == 0 and (said in err) == is_said, err
    assert log.annotations(labelled).keys() == {"ann", "bob", "cy", "imported"}
    assert said not in ambo(monkeypatch, capsys, "labels", "import", "in.csv", *RUN)[2]  # none is taken


def test_an_export_has_the_labels_of_every_stage_and_comes_back_without_a_change(
    labelled, project, monkeypatch, capsys
):
    home = project / "outputs/t/r"
    records = [{"id": record_id("t", f"Annuncio {i}"), "text": f"Annuncio {i}", "split": "pool"} for i in range(4)]
    seeds = [r | {"split": name} for r, name in zip(records[2:], ("seed", "test"), strict=True)]
    files.write_jsonl(home / "01_seed_curation/pool.jsonl", records[:2])
    files.write_jsonl(home / "01_seed_curation/seed.jsonl", seeds[:1])
    files.write_jsonl(home / "01_seed_curation/test.jsonl", seeds[1:])
    for name in ("ann", "bob"):
        (labelled / f"{name}.jsonl").unlink()
    for folder, rows in ((labelled, records[:2]), (home / "01_seed_curation/labels", seeds)):
        for row in rows:
            log.append(folder, "ann", "label", row["id"], label="x")
    log.append(home / "02_synthetic_expansion/labels", "ann", "label", "s1", label="Un altro annuncio")
    code, out, err = ambo(monkeypatch, capsys, "labels", "export", *RUN, "--to", "all.csv")
    assert code == 0 and "all.csv: 4 rows written" in out
    assert "synthetic rows is left out: --folder" in err and err.count("\n") == 1
    table = pd.read_csv(project / "all.csv")
    assert dict(zip(table["text"], table["split"], strict=True)) == {r["text"]: r["split"] for r in records[:2] + seeds}
    assert "4 events" in ambo(monkeypatch, capsys, "labels", "export", *RUN, "--to", "all.jsonl", "--history")[1]
    words = ["labels", "import", "all.csv", *RUN, "--annotator", "ann"]
    assert "taken: 0 of 4 rows" in ambo(monkeypatch, capsys, *words)[1]
    table.assign(label=["y", *table["label"][1:]]).to_csv(project / "all.csv", index=False)
    out = ambo(monkeypatch, capsys, *words)[1]
    assert "taken: 1 of 4 rows" in out and "instead of another answer in the logs: 1" in out
    shutil.rmtree(labelled)
    code, out, _ = ambo(monkeypatch, capsys, "labels", "export", *RUN, "--to", "first.csv")
    assert code == 0 and "first.csv: 2 rows" in out  # 03 has not begun
    shutil.rmtree(home / "01_seed_curation/labels")
    assert f"{home} holds no labels" in ambo(monkeypatch, capsys, "labels", "export", *RUN, "--to", "none.csv")[2]
    review = ["--folder", str(home / "02_synthetic_expansion/labels")]
    files.write_jsonl(home / "02_synthetic_expansion/synthetic.jsonl", [{"id": "s1", "text": "Un annuncio"}])
    code, out, err = ambo(monkeypatch, capsys, "labels", "export", *RUN, "--to", "review.csv", *review)
    assert code == 0 and "1 row written" in out and not err


@pytest.fixture
def agreed(project):
    """The pool of a run where ann and bob agree on three texts, exported to all.csv."""
    first = project / "outputs/t/r/01_seed_curation"
    rows = [{"id": record_id("t", text), "text": text} for text in "abc"]
    files.write_jsonl(first / "pool.jsonl", rows)
    files.write_json(first / "task.json", {"labels": ["x", "y"], "positive_label": "y"})
    save_manifest(first, parameters={"labeller": "human"})
    folder = project / "outputs/t/r/03_active_learning/labels/human"
    for name in ("ann", "bob"):
        log.append_all(folder, name, [{"event": "label", "id": row["id"], "label": "x"} for row in rows])
    exchange.export(folder, project / "all.csv", rows)
    return folder


def test_corrections_that_other_votes_outnumber_are_said_with_what_corrects_them(agreed, project, monkeypatch, capsys):
    (project / "fixes.csv").write_text("text,label\na,y\nb,y\nc,x\n")
    words = ["labels", "import", "fixes.csv", *RUN]
    code, _, err = ambo(monkeypatch, capsys, *words)
    assert code == 0 and "note: 2 of these lose against other votes" in err and set(settled(agreed)) == {"x"}
    assert "to correct what ann and bob said, import them with --annotator, once for each name" in err
    assert "2 have now as many votes" in (err := ambo(monkeypatch, capsys, *words, "--annotator", "cy")[2])
    assert "lose" not in err
    assert not ambo(monkeypatch, capsys, *words, "--annotator", "ann")[2]
    assert settled(agreed) == ["y", "y", "x"]
    log.append(agreed, log.ADJUDICATOR, "label", record_id("t", "a"), label="x", reason="so")
    err = ambo(monkeypatch, capsys, *words, "--annotator", "bob")[2]
    assert "1 change nothing, because the adjudicator has decided otherwise: correct adjudicator.jsonl in" in err


def settled(folder) -> list[str]:
    labels = exchange.settled_labels(folder)
    return [labels.get(record_id("t", text)) for text in "abc"]


def test_minorities_of_one_import_are_no_surprise(agreed, project, monkeypatch, capsys):
    lines = [f"{text},{label},{who}" for text in "abc" for who, label in (("dan", "y"), ("eva", "y"), ("flo", "x"))]
    shutil.rmtree(agreed)
    (project / "team.csv").write_text("\n".join(["text,label,who", *lines]))
    words = ["labels", "import", "team.csv", *RUN, "--annotator-column", "who"]
    assert not ambo(monkeypatch, capsys, *words)[2] and settled(agreed) == ["y", "y", "y"]


def test_an_export_that_comes_back_as_one_more_vote_is_said_with_what_corrects_a_label(
    agreed, project, monkeypatch, capsys
):
    words = ["labels", "import", "all.csv", *RUN]
    err = ambo(monkeypatch, capsys, *words)[2]
    assert "all.csv is an export: its column label has decisions, of which 3 now count as votes of imported" in err
    assert "with --label-column label_ann --annotator ann. Only the adjudication panel decides" in err
    assert not ambo(monkeypatch, capsys, *words)[2]  # none is taken
    (agreed / "imported.jsonl").unlink()
    table = pd.read_csv(project / "all.csv")
    table.assign(label_ann="y", label_bob="y").to_csv(project / "all.csv", index=False)
    for name in ("ann", "bob"):
        err = ambo(monkeypatch, capsys, *words, "--label-column", f"label_{name}", "--annotator", name)[2]
        assert "is an export" not in err
    assert settled(agreed) == ["y", "y", "y"]
    shutil.rmtree(agreed)
    err = ambo(monkeypatch, capsys, *words)[2]
    assert "is an export" not in err and len(log.annotations(agreed)) == 1  # into a run without labels


@pytest.fixture
def asking(project):
    """A run whose 01 asked people for the labels of seed and test; one validation row came with its label."""
    first = project / "outputs/t/r/01_seed_curation"
    sets = {"seed": "ab", "test": "c", "validation": "d", "pool": "ef"}
    for name, texts in sets.items():
        files.write_jsonl(first / f"{name}.jsonl", [{"id": record_id("t", t), "text": t} for t in texts])
    files.write_json(first / "task.json", {"labels": ["x", "y"], "positive_label": "y"})
    files.write_json(first / "asked.json", [record_id("t", text) for text in "abc"])
    save_manifest(first, parameters={"labeller": "oracle"}, status="awaiting_labels")
    for text in "ab":
        log.append(first / "labels", "me", "label", record_id("t", text), label="x")
    return first


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("asked.json", "5", "no list of ids"),
        ("asked.json", '[["a"]]', "no list of ids"),
        ("asked.json", "{", "Expecting"),
        ("pool.jsonl", '{"text": "a"}', "a row without id and text"),
        ("pool.jsonl", '{"id": ["a"], "text": "a"}', "a row without id and text"),
        ("test.jsonl", '{"id": "a", "text": 5}', "a row without id and text"),
    ],
)
@pytest.mark.parametrize(
    "words", [["export", "--to", "all.csv"], ["adjudicate", "--list"]], ids=["export", "adjudicate"]
)
def test_damaged_files_of_a_run_are_a_sentence(asking, monkeypatch, capsys, name, content, problem, words):
    (asking / name).write_text(content)
    code, out, err = ambo(monkeypatch, capsys, "labels", *words, *RUN)
    assert code == 2 and f"{name} is damaged ({problem}" in err and err.count("\n") == 1 and not out


def test_a_file_of_labels_that_is_not_there_is_named(asking, monkeypatch, capsys):
    err = ambo(monkeypatch, capsys, "labels", "import", "none.csv", *RUN)[2]
    assert err.startswith("ambo: none.csv is not a file (looked for ") and "data_path" not in err


@pytest.mark.parametrize("knows_asked", [True, False], ids=["asked.json", "an older run"])
def test_imported_labels_go_where_they_count(asking, project, monkeypatch, capsys, knows_asked):
    if not knows_asked:
        (asking / "asked.json").unlink()
        log.append(asking / "labels", "me", "label", record_id("t", "c"), label="x")
    (project / "fix.csv").write_text("text,label,who\n" + "".join(f"{text},y,me\n" for text in "abcdef"))
    code, out, err = ambo(monkeypatch, capsys, "labels", "import", "fix.csv", *RUN, "--annotator-column", "who")
    assert code == 0 and "taken: 6 of 6 rows" in out
    assert "for the seed and evaluation rows of 01, which is due again: 3" in out
    assert "1 are of seed and evaluation rows whose answer comes with the data, which counts: correct the data" in err
    assert "2 are of the pool, where this run takes labels of oracle: a run with -p labeller human does" in err
    ids = {text: record_id("t", text) for text in "abcdef"}
    own, loop = (
        log.annotations(p)["me"] for p in (asking / "labels", project / "outputs/t/r/03_active_learning/labels/human")
    )
    assert {i: answer["label"] for i, answer in own.items()} == {ids[text]: "y" for text in "abc"}
    assert loop.keys() == {ids[text] for text in "def"}
    (project / "back.csv").write_text("text,label\na,x\n")
    err = ambo(monkeypatch, capsys, "labels", "import", "back.csv", *RUN)[2]
    assert "1 have now as many votes for one label as for another" in err and "--annotator NAME" in err
    words = ["fix.csv", *RUN, "--annotator-column", "who", "--folder", "mine"]
    code, _, err = ambo(monkeypatch, capsys, "labels", "import", *words)
    assert code == 0 and len(log.annotations(project / "mine")["me"]) == 6
    assert "mine, from which no stage of this run takes them: without --folder they go where" in err


WAITS = "03_active_learning goes on waiting for 1 of them, because it asks bob and not me: import them as of bob"


@pytest.mark.parametrize(
    ("folder", "loop", "texts", "out", "err"),
    [
        ("01_seed_curation/labels", {}, "abc", "rows of 01, which is due again: 3", ""),
        ("03_active_learning/labels/human", {}, "c", "rows of 01, which is due again: 1", ""),
        ("03_active_learning/labels/human", {}, "d", "", "1 are of seed and evaluation rows whose answer comes with"),
        (
            "03_active_learning/labels/human",
            {},
            "ef",
            "",
            "2 are of the pool, where this run takes labels of oracle: a",
        ),
        ("03_active_learning/labels/bait", {"strategy": "bait"}, "e", "pool of 03, which is due again: 1", ""),
        ("03_active_learning/labels/human", {"labeller": "human"}, "e", "pool of 03, which is due again: 1", ""),
        ("03_active_learning/labels/human", {"labeller": "human"}, "ef", "pool of 03, which is due again: 2", WAITS),
        ("01_seed_curation/labels", {"labeller": "human"}, "e", "pool of 03, which is due again: 1", ""),
        ("03_active_learning/labels/teacher", {"labeller": "human"}, "e", "", "teacher, from which no stage of this"),
        ("02_synthetic_expansion/labels", {}, "s", "synthetic rows of 02, which is due again: 1", ""),
        ("04_bias_evaluation/labels", {}, "a", "", "labels, from which no stage of this run takes them"),
        (
            "",
            {"labeller": "human"},
            "s",
            "",
            "02_synthetic_expansion/labels takes them to 02",
        ),
    ],
)
def test_an_import_says_where_labels_count(asking, project, monkeypatch, capsys, folder, loop, texts, out, err):
    home = asking.parent
    if loop:
        save_manifest(home / "03_active_learning", parameters=loop, status="awaiting_labels")
        files.write_json(home / "03_active_learning/waiting.json", {"bob": [record_id("t", "f")]})
    files.write_jsonl(home / "02_synthetic_expansion/synthetic.jsonl", [{"id": record_id("t", "s"), "text": "s"}])
    (project / "in.csv").write_text("text,label\n" + "".join(f"{text},y\n" for text in texts))
    words = [
        "labels",
        "import",
        "in.csv",
        *RUN,
        "--annotator",
        "me",
        *(["--folder", f"outputs/t/r/{folder}"] if folder else []),
    ]
    code, said, noted = ambo(monkeypatch, capsys, *words)
    assert code == 0 and (out in said if out else "which is due again" not in said)
    assert err in noted if err else not noted


@pytest.mark.parametrize(
    ("folder", "finished", "texts", "taken", "left"),
    [
        (
            "03_active_learning/labels/human",
            "",
            "abc",
            "rows of 01, which is due again: 1",
            2,
        ),  # 01 has a and b of its own
        ("03_active_learning/labels/human", "01", "c", "", 1),  # 01 has not read it
        ("01_seed_curation/labels", "", "ef", "pool of 03, which is due again: 1", 1),  # 03 has e of its own
        ("01_seed_curation/labels", "03", "f", "", 1),
        ("01_seed_curation/labels", "03 reads", "f", "pool of 03, which is due again: 1", 0),
    ],
)
def test_of_the_logs_of_another_stage_counts_what_its_own_do_not_say(
    asking, project, monkeypatch, capsys, folder, finished, texts, taken, left
):
    home, loop = asking.parent, asking.parent / "03_active_learning"
    log.append(loop / "labels/human", "me", "label", record_id("t", "e"), label="x")
    read = {"outputs/t/r/01_seed_curation/labels": "0"} if "reads" in finished else {}
    status = "success" if "03" in finished else "awaiting_labels"
    save_manifest(loop, parameters={"labeller": "human"}, status=status, inputs=read)
    if finished == "01":
        save_manifest(asking, parameters={"labeller": "human"})
    (project / "in.csv").write_text("text,label\n" + "".join(f"{text},y\n" for text in texts))
    words = ["in.csv", *RUN, "--annotator", "me", "--folder", str(home / folder)]
    code, out, err = ambo(monkeypatch, capsys, "labels", "import", *words)
    assert code == 0 and (taken in out if taken else "which is due again" not in out)
    assert (f"{left} are in " in err and "without --folder they go where they count" in err) if left else not err


def test_a_label_of_a_row_whose_answer_the_data_bring_by_now_does_not_count(asking, project, monkeypatch, capsys):
    files.write_json(asking / "asked.json", [record_id("t", "c")])
    (project / "in.csv").write_text("text,label\na,y\n")
    out, err = ambo(monkeypatch, capsys, "labels", "import", "in.csv", *RUN)[1:]
    assert "due again" not in out and "1 are of seed and evaluation rows whose answer comes with the data" in err


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(
    ("queues", "who", "waits"),
    [
        (
            {"me": "abc"},
            "imported",
            "01_seed_curation goes on waiting for 1 of them, because it asks me and not imported: ",
        ),
        (
            {"me": "c", "you": "ab"},
            "imported",
            "because it asks me and not imported: import them as of me (--annotator), or put",
        ),
        ({"me": "c", "you": "ab"}, "you", ""),  # who is asked may answer for another
        ({"me": "", "you": ""}, "imported", ""),
    ],
)
def test_an_import_says_that_01_asks_other_people(asking, project, monkeypatch, capsys, own, queues, who, waits):
    ids = {name: [record_id("t", text) for text in texts] for name, texts in queues.items()}
    files.write_json(asking / "waiting.json", ids | {"who": [[1], {}, 2]} if waits else ids)  # damaged beside it
    (project / "in.csv").write_text("text,label\na,x\nb,x\nc,x\n")
    words = ["in.csv", *RUN, "--annotator", who, *(["--folder", str(asking / "labels")] if own else [])]
    code, out, err = ambo(monkeypatch, capsys, "labels", "import", *words)
    assert code == 0 and "rows of 01, which is due again: 3" in out
    assert waits in err and ("goes on waiting" in err) == bool(waits)


def test_targets_that_people_wrote_are_exported(project, monkeypatch, capsys):
    first = project / "outputs/w/r/01_seed_curation"
    files.write_jsonl(first / "pool.jsonl", [{"id": "r0", "text": "Cercasi cuoco"}])
    files.write_json(first / "task.json", {"kind": "generation", "labels": [], "positive_label": ""})
    save_manifest(first, parameters={"group_columns": []})
    log.append(project / "outputs/w/r/03_active_generation/labels/human", "ann", "label", "r0", label="Cercasi cuoco/a")
    code, _, err = ambo(monkeypatch, capsys, "labels", "export", "--task", "w", "--run-id", "r", "--to", "final.csv")
    assert code == 0 and not err and "Cercasi cuoco,Cercasi cuoco/a" in (project / "final.csv").read_text()


def test_what_is_computed_of_classes_is_not_of_texts(project, monkeypatch, capsys):
    first = project / "outputs/w/r/01_seed_curation"
    files.write_jsonl(first / "pool.jsonl", [{"id": f"r{i}", "text": f"Cercasi cuoco {i}"} for i in range(3)])
    files.write_json(first / "task.json", {"kind": "generation", "labels": [], "positive_label": ""})
    save_manifest(first, parameters={"group_columns": []})
    for name in ("ann", "bob", "cy"):
        for i in range(3):
            folder = project / "outputs/w/r/03_active_generation/labels/human"
            log.append(folder, name, "label", f"r{i}", label=f"Cercasi cuoco/a {i} ({name})")
    words = ["--task", "w", "--run-id", "r"]
    code, out, err = ambo(monkeypatch, capsys, "labels", "agreement", *words)
    assert code == 2 and not out and "people answer with texts there, and agreement is on classes" in err
    code, _, err = ambo(monkeypatch, capsys, "labels", "export", *words, "--to", "final.csv")
    assert code == 0 and not err and "dawid_skene" not in pd.read_csv(project / "final.csv")


def test_labels_that_do_not_fit_are_noted(labelled, monkeypatch, capsys):
    with (labelled / "ann.jsonl").open("ab") as stream:
        stream.write(b'{"time": 1, "ev')
    log.append(labelled, "ann", "label", "gone", label="z")
    code, out, err = ambo(monkeypatch, capsys, "labels", "agreement", *RUN)
    assert code == 0 and "alpha" in out
    assert "ann.jsonl, line 4: not a readable event" in err
    assert "not among the run's: 1 (first: gone)" in err and "does not have: 'z' 1×" in err
    assert "03 would stop" not in err  # it does not ask what the text is
    log.append(labelled, "cy", "label", "r3", label="z")
    err = ambo(monkeypatch, capsys, "labels", "agreement", *RUN)[2]
    assert "cy.jsonl, line 1: cy labels record r3 'z', which is not one of x, y; correct that line" in err
    assert err.count("not a readable event") == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["agreement", "--task", "t", "--run-id", "none"], "01_seed_curation is missing: run `ambo run --task t"),
        (["agreement", "--task", "t", "--run-id", "../x"], "names a folder"),
        (["agreement", *RUN, "--folder", "empty"], "holds no labels"),
        (["agreement", *RUN, "--folder", "other"], "None of the 1 labelled record ids (first: q)"),
        (["agreement", *RUN, "--order", "y"], "'x' is not in the order given (y)"),
        (["export", *RUN, "--to", "out.xlsx"], "ends in '.xlsx'"),
        (["export", *RUN, "--to", "/proc/out.csv"], "could not be written"),
        (["import", "none.csv", *RUN], "none.csv is not a file (looked for "),
        (["import", "none.csv", *RUN, "--rename", "yes"], "--rename 'yes' must be OLD=NEW"),
        (["adjudicate", *RUN], "prints with --list"),
    ],
)
def test_mistakes_with_labels(labelled, project, monkeypatch, capsys, words, sentence):
    log.append(project / "other", "ann", "label", "q", label="x")
    code, out, err = ambo(monkeypatch, capsys, "labels", *words)
    assert code == 2 and sentence in err and err.count("\n") == 1 and not out and "Traceback" not in err


@pytest.mark.parametrize("content", ["[1]", "{}", '{"labels": 3}', '{"labels": [1]}', '{"labels": [], "kind": []}'])
def test_a_damaged_task_is_a_sentence(labelled, project, monkeypatch, capsys, content):
    (path,) = project.rglob("01_seed_curation/task.json")
    path.write_text(content)
    code, out, err = ambo(monkeypatch, capsys, "labels", "agreement", *RUN)
    assert code == 2 and "task.json is damaged (no list of labels)" in err and err.count("\n") == 1 and not out


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--task", "csv", "--profile", "demo", "-p", "data_path", "who.csv"],
        ["predict", "who.csv"],
        ["labels", "import", "who.csv", "--task", "t", "--run-id", "r"],
    ],
    ids=["run", "predict", "import"],
)
def test_a_file_of_the_folder_one_stands_in_is_not_taken_for_another(project, monkeypatch, capsys, words):
    (project / "who.csv").write_text("text,label\na,b\n")
    (project / "mine").mkdir()
    (project / "mine" / "who.csv").write_text("text,label\nmine,b\n")
    monkeypatch.chdir(project / "mine")
    code, _, err = ambo(monkeypatch, capsys, *words)
    here = project / "mine" / "who.csv"
    assert code == 2 and f"who.csv is in this folder, and relative paths are read from {project}: give {here}" in err


def test_no_export_takes_the_place_of_a_log(labelled, project, monkeypatch, capsys):
    (log_file,) = labelled.glob("ann.jsonl")
    before, copy = log_file.read_bytes(), shutil.copytree(labelled, project / "copied")
    for to in (log_file, labelled / "new.jsonl"):
        code, _, err = ambo(monkeypatch, capsys, "labels", "export", *RUN, "--to", str(to))
        assert code == 2 and "lies in the folder of a stage, beside labels and results: name another place" in err
    (first,) = project.rglob("01_seed_curation/manifest.json")
    facts = files.read_json(first)
    files.write_json(first, facts | {"parameters": facts["parameters"] | {"data_path": "mine.csv"}})
    (project / "mine.csv").write_text("text\na\n")
    code, _, err = ambo(monkeypatch, capsys, "labels", "export", *RUN, "--to", "mine.csv")
    assert code == 2 and "is the data_path of run" in err and "name another place" in err
    code, _, err = ambo(monkeypatch, capsys, "predict", "other.csv", "--out", "mine.csv")
    assert code == 2 and "is the data_path of run" in err
    assert (project / "mine.csv").read_text() == "text\na\n"
    words = ["labels", "export", *RUN, "--folder", str(copy), "--to", str(copy / "ann.jsonl")]
    code, _, err = ambo(monkeypatch, capsys, *words)
    assert code == 2 and "lies among the logs of the labels" in err
    assert log_file.read_bytes() == before == (copy / "ann.jsonl").read_bytes()


def test_what_the_data_say_is_shown_by_a_terminal_and_not_obeyed(labelled, monkeypatch, capsys):
    """In a note, in the label of a copied log, in its annotator, in a file's name and in an error."""
    attack = "\x1b]8;;http://payload.invalid\x1b\\\x1b[2J\a\r\x9b31m\u202e"
    log.append(labelled, "bob", "note", "r2", text=f"incerto {attack}")
    row = {"event": "label", "id": "r2", "label": attack, "time": 5.0, "annotator": attack}
    files.write_jsonl(labelled / f"cy{attack.replace('/', '')}.jsonl", [row])
    (labelled / f"di{attack.replace('/', '')}.jsonl").write_text("{")
    shown = []
    for words in (
        ["adjudicate", "--list"],
        ["agreement"],
        ["export", "--to", f"final{attack.replace('/', '')}.csv"],
        ["export", "--to", f"final.{attack}"],
        ["agreement", "--folder", attack],
    ):
        _, out, err = ambo(monkeypatch, capsys, "labels", *words, *RUN)
        shown += [out, err]
    assert all(letter.isprintable() or letter == "\n" for text in shown for letter in text)
    assert sum("\\x1b" in text for text in shown) >= 6


def test_what_a_notebook_prints_is_shown_by_a_terminal_and_not_obeyed(capsys):
    output = IndentedOutput()
    output.write("a \x1b[31mred\r")
    output.write(" text\nand \x9b2J more\n")
    assert capsys.readouterr().out == "  a \\x1b[31mred\\r text\n  and \\x9b2J more\n"


def test_a_failure_of_our_own_quotes_no_escapes_either(monkeypatch, capsys):
    def fail(**options):
        raise RuntimeError("\x1b[31m")

    monkeypatch.setattr(command, "app", fail)
    with pytest.raises(SystemExit):
        command.main()
    err = capsys.readouterr().err
    assert "RuntimeError: \\x1b[31m" in err and "\x1b" not in err


def test_a_project_root_that_is_no_folder_is_a_sentence_and_a_relative_one_is_made_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AMBO_ROOT", "nowhere")
    with pytest.raises(UserError, match="AMBO_ROOT is 'nowhere', which is no folder here"):
        env.root()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("AMBO_ROOT", "here")
    assert env.root() == tmp_path / "here"
    monkeypatch.chdir("/")
    with pytest.raises(UserError):
        env.root()


def test_ctrl_c_anywhere_in_a_command_is_a_sentence(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "app", interrupted)
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 130 and capsys.readouterr().err == "ambo: interrupted.\n"
