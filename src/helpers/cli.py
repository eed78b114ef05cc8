"""The `ambo` command: run the phases in order, see where runs stand, see what this machine can do."""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
import typer.core
import yaml

from helpers import env, files, run
from helpers.data import embedded, tables
from helpers.data.language import language_remark
from helpers.data.records import (
    drop_exact_duplicates,
    evaluation_sizes,
    is_evaluation,
    refuse_small_run,
    split_by_answer,
)
from helpers.env import UserError
from helpers.evaluation import runs
from helpers.labels import cli as labels_cli
from helpers.labels import decisions, log
from helpers.parameters import allowed_values, check_type, check_value, parameter_help, stage_parameters, type_name
from helpers.progress import duration
from helpers.task import make_task
from helpers.text import say, visible

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False, rich_markup_mode=None
)
app.add_typer(labels_cli.app, name="labels")
ALL_STAGES = ",".join(run.STAGES)
AWAITING = 3  # exit code: the run waits for labels
LONGEST = 10 * 365 * 86_400  # seconds that a stage can have taken
INTERRUPTED = 130  # exit code of a command that Ctrl-C ended
Overrides = Annotated[list[str] | None, typer.Option("-p", help="-p KEY VALUE sets a parameter; repeat it for more")]


def main() -> None:
    """Entry point: a user's mistake is one sentence on stderr and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a Windows console may lack a character
    warnings.showwarning = lambda message, *_: say(f"note: {message}", file=sys.stderr)
    try:
        sys.exit(app(standalone_mode=False))
    except UserError as error:
        say(f"ambo: {error}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        if hasattr(
            error, "format_message"
        ):  # of Typer, about the words of the command, which it would quote as they are
            say(usage_sentence(error), file=sys.stderr)
            sys.exit(error.exit_code)
        say(traceback.format_exc(), file=sys.stderr)  # our own mistake; the message may quote the data
        sys.exit(1)


def usage_sentence(error: Any) -> str:
    """What Typer says of words that are no command; its help where there are none."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return error.format_message()
    command = error.ctx.command_path if getattr(error, "ctx", None) else "ambo"
    return f"ambo: {error.format_message().rstrip('.?')}: see `{command} --help`."


# --- ambo run, demo, test -------------------------------------------------------------------------


class RunCommand(typer.core.TyperCommand):
    """`ambo run`, whose help lists the parameters too."""

    def get_help(self, ctx: typer.Context) -> str:
        return f"{super().get_help(ctx)}\n\n{visible(parameter_list())}"


# A negative value, as in `-p holdout -1`, reads as an unknown option: it is taken as it is.
@app.command("run", cls=RunCommand, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run_command(
    context: typer.Context,
    task: Annotated[str, typer.Option(help="a file name in params/tasks")],
    profile: Annotated[str, typer.Option(help="a file name in params/profiles")],
    p: Overrides = None,
    stages: Annotated[str, typer.Option(help="comma-separated, such as 01,03")] = ALL_STAGES,
    run_id: Annotated[str, typer.Option(help="name of the run; by default profile and a hash of the parameters")] = "",
) -> None:
    """Run the phases in order through papermill; unchanged stages are skipped, a cut-off run is resumed."""
    keys, values = p or [], context.args  # option parsing takes the keys and leaves over the values
    if unknown := [word for word in values if re.match("--?[A-Za-z]", word)]:
        raise UserError(f"Option {unknown[0]!r} is unknown: `ambo run --help` lists them; a parameter is given by -p.")
    if len(keys) != len(values):
        raise UserError("Every -p takes a key and a value: -p rounds 4.")
    run_stages(task, profile, dict(zip(keys, values, strict=True)), stages, run_id)


@app.command()
def demo() -> None:
    """Run the four phases on the embedded Italian job ads: task italian_jobs, profile demo, run id demo."""
    run_stages("italian_jobs", "demo", {}, ALL_STAGES, "demo")


@app.command("test", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def test_command(context: typer.Context) -> None:
    """Run every test, notebooks executed for real; what follows goes to pytest, such as a file or `-k words`."""
    if not (env.root() / "tests").is_dir():
        raise UserError(f"{env.root()} has no tests: run `ambo test` inside a checkout of the project.")
    if not importlib.util.find_spec("xdist"):
        raise UserError('The tests need pytest and pytest-xdist: pip install -e ".[dev]" -c constraints.txt.')
    # Most test files wait for kernels and browsers, so three of them share the cores, one thread each.
    words = [sys.executable, "-m", "pytest", "-n", "3", "--dist", "loadfile", *context.args]
    process = subprocess.run(words, cwd=env.root(), env=os.environ | {"OMP_NUM_THREADS": "1"})
    raise typer.Exit(process.returncode)


def run_stages(task: str, profile: str, overrides: dict[str, str], stages: str, run_id: str) -> None:
    """Check the parameters of every stage, run the stages that are due, and print the results."""
    try:
        _run_stages(task, profile, overrides, stages, run_id)
    except KeyboardInterrupt:
        say("\nambo: interrupted; the same command goes on from where it stopped.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def _run_stages(task: str, profile: str, overrides: dict[str, str], stages: str, run_id: str) -> None:
    params = gather_parameters(task, profile, overrides)
    if not isinstance(params.get("task"), str):
        raise UserError(f"params/tasks/{task}.yaml names no task: add a line such as `task: {task}`.")
    params["run_id"] = run_id or params.get("run_id") or f"{profile}-{files.digest(params)[:8]}"
    notebooks = chosen_notebooks(stages, run.notebooks(params.get("kind", "classification")))
    per_stage = {notebook: stage_parameters(notebook, params) for notebook in notebooks}
    for notebook, values in per_stage.items():
        run.refuse_other_parameters(run.run_folder(values["task"], values["run_id"]) / notebook, values)
    folder = run.run_folder(params["task"], params["run_id"])
    check_combinations(per_stage)
    due = {name: values for name, values in per_stage.items() if run.why_due(folder / name, values)}
    records = check_data(params | due[run.STAGES["01"]]) if run.STAGES["01"] in due else []
    check_models(due.values())
    for model in sorted({values["model"] for values in due.values() if "model" in values} - {embedded.BASE}):
        if remark := language_remark([r["text"] for r in records], model):  # of the embedded base 01 says it
            say(remark)
    run.hold_folder(folder, patience=0)  # two `ambo run` of one run id would write into the same files
    for number, (notebook, values) in enumerate(per_stage.items(), 1):
        run_stage(notebook, values, folder / notebook, f"stage {number} of {len(per_stage)}")
    show_results(folder, notebooks)


# --- ambo predict ---------------------------------------------------------------------------------


@app.command()
def predict(
    file: Annotated[
        str, typer.Argument(help="a .csv, .tsv, .jsonl or .parquet file, a folder of .txt files, or - for lines")
    ],
    task: Annotated[str, typer.Option(help="task of the run; without it that of the latest detector")] = "",
    run_id: Annotated[str, typer.Option(help="name of the run; without it the latest that finished 03")] = "",
    text_column: Annotated[str, typer.Option(help="column with the texts")] = "text",
    out: Annotated[str, typer.Option(help="a .csv, .tsv, .jsonl or .parquet file; default: in the run's folder")] = "",
    html: Annotated[str, typer.Option(help="an HTML page of the answers, with filters, to write as well")] = "",
    explain: Annotated[bool, typer.Option("--explain", help="add the words that moved each answer")] = False,
) -> None:
    """Answer every text of a file with a trained detector: each row again, with answer, confidence and probabilities."""
    is_read, is_table = "the file that is read", "the table of --out"
    for written, other, what in ((out, file, is_read), (html, file, is_read), (html, out, is_table)):
        if written and other and env.resolve(written).resolve() == env.resolve(other).resolve():
            raise UserError(f"{written} is {what}: name another one to write.")
    if out:
        tables.check_suffix(out)
    latest = runs.require_detector(task, run_id)
    table = lines_table(text_column) if file == "-" else tables.read_table(file, text_column)
    texts = tables.clean_texts(table, text_column)
    from helpers.core import detector as core  # loads torch: not before the mistakes above are found
    from helpers.evaluation import report

    detector, folder = core.load_detector(latest.adapter), run.run_folder(latest.task, latest.run) / "predictions"
    tables.refuse_columns(table, [*detector.columns, "words"], file)
    to_output = file == "-" and not out
    with detector.predict_recorded(texts, folder, file, explain or bool(html)) as (answers, place):
        answers = answers.set_axis(table.index)
        spans = answers.pop("spans") if "spans" in answers else []
        if explain:
            answers["words"] = core.spanned_words(texts, spans)
        whole = table.join(answers)
        if to_output:
            print_lines(whole)
        else:
            written = tables.write_table(env.resolve(out) if out else place.with_suffix(".csv"), whole)
            say(f"{len(whole):,} rows → {_short(written)}: {answer_counts(answers['answer'])}")
        if html:
            who = f"the detector of run {latest.run}, task {latest.task}"
            page = report.write_answers(env.resolve(html), texts, answers, spans, who)
            say(f"Page       {_short(page)}", file=sys.stderr if to_output else None)


def lines_table(text_column: str) -> pd.DataFrame:
    """The lines of standard input as a table; raises UserError where they are not text."""
    try:
        lines = sys.stdin.read().splitlines()
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        remedy = "convert it, for example with `iconv -f WINDOWS-1252 -t UTF-8`, or give the file itself"
        raise UserError(f"Standard input, line {line}: not {error.encoding.upper()}; {remedy}.") from error
    table = pd.DataFrame({text_column: lines}, dtype=object)
    table.index += 1
    return table


def print_lines(table: pd.DataFrame) -> None:
    """The table on standard output: for a terminal, or as it is for another program."""
    if sys.stdout.isatty():
        say(table.to_csv(index=False).rstrip("\n"))
    else:
        table.to_csv(sys.stdout, index=False)


def answer_counts(answers: pd.Series) -> str:
    """How often each answer was given, and how many texts have none."""
    counts = ", ".join(f"{name} {count:,}" for name, count in answers.value_counts().items())
    unanswered = int(answers.isna().sum())
    return counts + (f"; {unanswered:,} without a text" if unanswered else "")


# --- ambo export ----------------------------------------------------------------------------------


@app.command()
def export(
    to: Annotated[str, typer.Option(help="folder to write: new, empty, or that of an earlier export")],
    task: Annotated[str, typer.Option(help="task of the run; without it that of the latest model")] = "",
    run_id: Annotated[str, typer.Option(help="name of the run; without it the latest that finished 03")] = "",
    push: Annotated[str, typer.Option(help="owner/name of repositories on the hub, private when they are new")] = "",
) -> None:
    """Write a run's adapter and its labelled rows as two folders, each with its card, in the format of the Hugging Face Hub."""
    latest = runs.require_detector(task, run_id, [notebooks["03"] for notebooks in run.KINDS.values()])
    rows = files.read_jsonl(latest.adapter.with_name("training.jsonl"))
    rows = [row for row in rows if row.get("split") != "silver"]  # nobody has seen them: the card only counts them
    from helpers.core import export as core  # loads torch: not before the mistakes above are found

    place = env.resolve(to)
    core.refuse_foreign(place)
    if push:
        core.refuse_push(push)
    with files.replacing(place) as new:
        write_export(new, latest, rows, push)
        edited = core.keep_edited_cards(place, new)
    for kind in ("model", "dataset"):
        kept = ", the card as you edited it" if f"{kind}/{core.CARD}" in edited else ""
        say(f"{kind.capitalize():8} {_short(place / kind)}{kept}")
        if push:
            say(f"{'':8} {core.push(place / kind, push, kind)}")


def write_export(folder: Path, latest: runs.Detector, rows: list[dict], pushed: str = "") -> None:
    """Write adapter, labelled rows and cards of a run into a new folder; `pushed` is their name on the hub, if any."""
    from helpers.core import export as core
    from helpers.evaluation import cards

    stage, home = latest.adapter.parent, run.run_folder(latest.task, latest.run)
    manifest, first = (run.read_manifest(place) or {} for place in (stage, home / run.STAGES["01"]))
    settings, revision = manifest["parameters"], manifest.get("revision", "")
    facts = core.export_adapter(latest.adapter, folder / "model", revision)
    arm = settings["strategy"] if settings["labeller"] == "oracle" else settings["labeller"]
    logs = [home / run.STAGES["01"] / "labels", stage / "labels" / arm]
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
    cards.write_model_card(folder / "model" / core.CARD, facts.task, facts.recipe, base, data, scores)


def evaluation_of(latest: runs.Detector, kind: str) -> dict[str, Any]:
    """What the card says of the tables of 04, or why there is nothing to say."""
    from helpers.evaluation import cards

    folder = run.run_folder(latest.task, latest.run) / run.KINDS[kind]["04"]
    if not (folder / "manifest.json").exists() or run.stage_status(folder) != "success":
        return {"missing": f"{folder.name} has not finished for this run"}
    manifest = run.read_manifest(folder)
    measured = [sha for name, sha in manifest["inputs"].items() if Path(name).name == "adapter"]
    if files.sha256(latest.adapter) not in measured:
        return {"missing": f"{folder.name} has measured another adapter than this one"}
    scores = cards.detection_scores(folder) if kind == "classification" else cards.generation_scores(folder)
    return scores | cards.group_scores(folder, manifest["parameters"]["smallest_group"])


# --- parameters -----------------------------------------------------------------------------------


def parse_value(name: str, text: str, default: Any) -> Any:
    """The value of a parameter given on the command line, read by the type of its default; one word makes a list of one."""
    # A text stays as it is, so that `-p positive_label yes` is no truth value.
    if isinstance(default, str) and not text.startswith(("'", '"')):
        return text
    if type(default) in (int, float) and ":" in text:  # YAML 1.1 reads 1:30 as 90
        return text
    if isinstance(default, float) and "e" in text:  # YAML 1.1 reads 2e-4 as a text
        with contextlib.suppress(ValueError):
            return float(text)
    try:
        refuse_aliases(text)
        value = yaml.load(text, yaml.BaseLoader if isinstance(default, list) else yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(
            f"Parameter {name}: {text[:100]!r} is not valid YAML ({str(error).splitlines()[0]})."
        ) from error
    if isinstance(default, list) and not isinstance(value, list):
        return [value] if value else []
    return value


def gather_parameters(task: str, profile: str, overrides: dict[str, str]) -> dict[str, Any]:
    """Task, profile and overrides in one dict; raises UserError on a shared or unknown key, or a wrong type."""
    task_params, profile_params = read_params("tasks", task), read_params("profiles", profile)
    if shared := task_params.keys() & profile_params.keys():
        keys = ", ".join(sorted(shared))
        raise UserError(f"Task {task} and profile {profile} both set {keys}: keep it in one of them.")
    params = {**task_params, **profile_params, **overrides}
    kind = params.get("kind", "classification")
    if not isinstance(kind, str):
        raise UserError(f"Parameter kind={str(kind)[:100]} must be classification or generation.")
    usable = known_parameters(run.notebooks(kind))
    known = usable.copy()  # a profile serves both kinds of task
    for notebooks in run.KINDS.values():
        known = known_parameters(notebooks) | known
    for name, value in params.items():
        if name not in (usable if name in overrides else known):
            similar = difflib.get_close_matches(name, usable, n=1)
            remedy = f": did you mean {similar[0]!r}?" if similar else "."
            problem = "of no use to a task of this kind" if name in known else "unknown"
            raise UserError(f"Parameter {name!r} is {problem}{remedy}")
        if name in overrides:
            value = parse_value(name, overrides[name], known[name])
        params[name] = check_type(name, value, known[name])
        check_value(name, params[name])
    return params


def read_params(kind: str, name: str) -> dict[str, Any]:
    """The parameters in `params/<kind>/<name>.yaml`, where `kind` is tasks or profiles."""
    run.check_name(f"--{kind[:-1]}", name)
    folder = env.root() / "params" / kind
    path = folder / f"{name}.yaml"
    if not path.exists():
        names = ", ".join(sorted(f.stem for f in folder.glob("*.yaml")))
        raise UserError(f"--{kind[:-1]} {name!r} is not in {folder}: choose one of {names}.")
    try:
        text = path.read_text(encoding="utf-8")
        refuse_aliases(text)
        values = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply: it must hold flat `key: value` lines.") from error
    except (yaml.YAMLError, ValueError) as error:  # a value that is no date, or no number
        raise UserError(f"{path} is not valid YAML ({str(error).splitlines()[0]}).") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{path} must hold flat `key: value` lines, each key a text.")
    return values


def refuse_aliases(text: str) -> None:
    """Raise ValueError where YAML repeats a part by its name: a few lines can stand for gigabytes."""
    if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
        raise ValueError("an alias, as in `*name`; write the value out")


def known_parameters(notebooks: dict[str, str]) -> dict[str, Any]:
    """Names and defaults of every parameter that one of the notebooks takes."""
    return {name: value for notebook in notebooks.values() for name, value in stage_parameters(notebook, {}).items()}


def parameter_list() -> str:
    """The parameters of `ambo run` with type, default, what they may be, and the comment of the notebook's cell."""
    from helpers.query import strategies
    from helpers.synthesis import methods, scorer

    open_lists = {"strategy": strategies.STRATEGIES, "methods": methods.METHODS, "scorer": scorer.KINDS}
    defaults: dict[str, dict[str, Any]] = {}  # name → kind of task → default
    comments: dict[str, str] = {}
    for kind, notebooks in run.KINDS.items():
        for name, value in known_parameters(notebooks).items():
            defaults.setdefault(name, {})[kind] = value
        for notebook in notebooks.values():
            comments = parameter_help(env.root() / "notebooks" / f"{notebook}.ipynb") | comments
    lines = ["Parameters, as in `-p rounds 4` (a task or profile may set another default):", ""]
    for name, by_kind in sorted(defaults.items()):
        default = " or ".join(dict.fromkeys(map(repr, by_kind.values())))
        only = "" if len(by_kind) == len(run.KINDS) else f" ({min(by_kind)} only)"
        allowed = f"one of {', '.join(sorted(open_lists[name]))}" if name in open_lists else allowed_values(name)
        facts = [type_name(next(iter(by_kind.values()))), f"default {default}", *filter(None, [allowed])]
        lines += [f"  {name}{only}", f"      {comments[name]}", f"      {'; '.join(facts)}"]
    return "\n".join(lines)


def chosen_notebooks(stages: str, notebooks: dict[str, str]) -> list[str]:
    """The notebooks of the stages asked for; says which of them this kind of task does not have."""
    numbers = [number.strip() for number in stages.split(",") if number.strip()]
    if not numbers:
        raise UserError(f"--stages is empty: choose among {', '.join(run.STAGES)}, or leave it out for all.")
    for number in numbers:
        if number not in run.STAGES:
            raise UserError(f"--stages {number!r} is unknown: choose among {', '.join(run.STAGES)}.")
        if number not in notebooks:
            say(f"{run.STAGES[number]}: not part of a generation task, left out")
    return [notebooks[number] for number in numbers if number in notebooks]


def check_data(params: dict[str, Any]) -> list[dict]:
    """The records of a user's file, read as 01 will, to report a mistake in it before a kernel starts; raises UserError."""
    if params["data_path"].startswith(("embedded:", "hf:")):
        return []
    records = tables.to_records(tables.read_table(params["data_path"], params["text_column"]), params)
    make_task(params, [r["label"] for r in records if "label" in r])
    answer = "target" if params["kind"] == "generation" else "label"
    rows, pool_only = split_by_answer(drop_exact_duplicates(records), answer, params["labeller"])
    sizes = evaluation_sizes(len(rows), params["test_size"], params["validation_size"])
    sizes["scorer"] = params["scorer_size"] if params["kind"] == "generation" else 0
    splits = [r["split"] for r in rows]
    to_draw = sum(size for name, size in sizes.items() if name not in splits)
    candidates = sum(not is_evaluation(split) for split in splits) - to_draw
    if candidates > 0:  # otherwise 01 says that the evaluation sets take every text
        refuse_small_run(candidates, len(pool_only), params["seed_size"])
    return records


def check_combinations(per_stage: dict[str, dict[str, Any]]) -> None:
    """Raise UserError where the rooms would refuse a parameter that depends on others, before a kernel starts."""
    # Imported here: these rooms load scikit-learn and openai, and `ambo status` should answer at once.
    from helpers.query import strategies
    from helpers.synthesis import methods, scorer, targets

    for notebook, params in per_stage.items():
        if notebook == run.STAGES["02"]:
            methods.check_methods(params["methods"], params["teacher"], params["data_path"])
        elif notebook == run.STAGES["03"]:
            strategies.check_strategy(params["strategy"], "classification")
        elif notebook == run.GENERATION["03"]:
            targets.check_parameters(params)
        elif notebook == run.GENERATION["04"]:
            scorer.check_scorer(params["scorer"], params["language"])


def check_models(parameters: Iterable[dict[str, Any]]) -> None:
    """Raise UserError when a model that one of the stages names cannot be reached."""
    from helpers.core import recipe

    for model, revision in {(values["model"], values["revision"]) for values in parameters if "model" in values}:
        recipe.check_model(model, revision)


# --- one notebook ---------------------------------------------------------------------------------


def run_stage(name: str, params: dict[str, Any], folder: Path, place: str) -> None:
    """Run one notebook unless its stage is unchanged; ends the command where people have to label first.

    `place` says which of the stages asked for it is.
    """
    reason = run.why_due(folder, params)
    if not reason:
        say(f"{name}: unchanged, skipped")
        return
    seconds = run.expected_seconds(name, params)
    expected = f", about {duration(seconds)} as in an earlier run" if seconds and seconds <= LONGEST else ""
    say(f"{name}: {reason}; running, {place}{expected} …")
    if run.is_held(folder):
        raise run.in_use(folder)
    os.environ.setdefault("AMBO_ROOT", str(env.root()))  # the kernel inherits it
    run.make_folder(folder)
    execute_notebook(env.root() / "notebooks" / f"{name}.ipynb", folder / f"{name}.ipynb", params)
    manifest = run.read_manifest(folder)
    if manifest["status"] == "awaiting_labels":
        page = folder / f"{name}.ipynb"
        say(f"{name}: waits for labels; open {page} in JupyterLab,")
        say("  choose Run → Run All Cells, label in the panel at its end, then run this command again.")
        raise typer.Exit(AWAITING)
    say(f"{name}: done in {manifest['seconds']:.0f} s")


def execute_notebook(source: Path, target: Path, params: dict[str, Any]) -> None:
    """Execute a notebook with papermill; a failure is one sentence (UserError), also in the stage's manifest."""
    warnings.filterwarnings("ignore")
    import papermill
    from nbclient.exceptions import DeadKernelError

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # errors are said below, in one sentence
    try:
        options = {"progress_bar": sys.stderr.isatty(), "stdout_file": IndentedOutput(), "cwd": str(env.root())}
        options["extra_arguments"] = ["--log-level=50"]  # the kernel's own log does not concern the user
        options["kernel_manager_class"] = own_kernel()
        options["store_widget_state"] = False  # a saved panel would look open, though its kernel has ended
        papermill.execute_notebook(str(source), str(target), params, kernel_name="python3", **options)
    except papermill.PapermillExecutionError as error:
        run.mark_failed(target.parent, f"{error.ename}: {error.evalue}")
        if error.ename == "UserError":
            raise UserError(error.evalue) from None
        message = (str(error.evalue).splitlines() or [""])[0][:200]
        cause = f"{source.name} stopped at cell {error.exec_count} with {error.ename}: {message}"
        raise UserError(f"{cause} (the traceback is in {target}).") from None
    except DeadKernelError:
        remedy = "lower batch_size, token_budget or pool_limit, or take a smaller model, under another run_id"
        cause = f"{source.name}: its kernel died, most often because memory ran out"
        raise UserError(f"{cause}; {remedy}.") from None
    except RuntimeError as error:
        if "kernel" not in str(error).lower():
            raise
        remedy = "look for a full disk or home folder, run `ambo doctor`, and run the same command again"
        raise UserError(f"{source.name}: its kernel did not start ({error}): {remedy}.") from None
    except OSError as error:
        reason = f"{error.filename or target} could not be written ({error.strerror})"
        raise UserError(f"{reason}: free space or permission is missing there.") from None


def own_kernel() -> type:
    """A manager whose kernel is this interpreter, whichever one a kernelspec `python3` of the user names."""
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec

    words = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]

    class OwnKernel(AsyncKernelManager):
        kernel_spec = KernelSpec(argv=words, display_name="Python 3", language="python")

    return OwnKernel


class IndentedOutput:
    """A stream that prints a notebook's output line by line, indented, and above the progress bar."""

    incomplete_line = ""  # a line arrives in pieces

    def write(self, text: str) -> None:
        from tqdm import tqdm

        *lines, self.incomplete_line = (self.incomplete_line + text).split("\n")
        for line in lines:
            tqdm.write(visible(f"  {line}"))

    def flush(self) -> None:
        sys.stdout.flush()


# --- what there is --------------------------------------------------------------------------------


def show_results(folder: Path, notebooks: Iterable[str]) -> None:
    """Print the headline table of the stages that were asked for, and where report, notebooks and figures of a run are."""
    for results in sorted(path for name in notebooks for path in folder.glob(f"{name}/headline.csv")):
        manifest = run.read_manifest(results.parent) or {}
        say(f"\n{manifest.get('headline', 'Results')}\n")
        with contextlib.suppress(ValueError):  # an empty file
            say(pd.read_csv(results).to_string(index=False, float_format="%.3f"))
        say(f"\nReport     {_short(results.parent / 'report.html')}")
    for path in sorted(folder.glob("0*/0*.ipynb")):
        say(f"Notebook   {_short(path)}")
    for figure in sorted(folder.glob("*/*.png")):
        say(f"Figure     {_short(figure)}")


def _short(path: Path) -> str:
    """The path as seen from here; in full when it is on another drive of a Windows machine."""
    try:
        return os.path.relpath(path)
    except ValueError:
        return str(path)


@app.command()
def status(task: Annotated[str, typer.Option(help="only runs of this task")] = "") -> None:
    """List the runs, the latest last, and where each stage stands."""
    runs: dict[Path, list[Path]] = {}
    if task:
        run.check_name("--task", task)
    for path in sorted((env.root() / "outputs").glob(f"{task or '*'}/*/*/manifest.json")):
        runs.setdefault(path.parents[1], []).append(path)
    if not runs:
        say("No runs yet: start one with `ambo demo`.")
    for folder, manifests in sorted(runs.items(), key=lambda pair: max(p.stat().st_mtime for p in pair[1])):
        say(f"{folder.parent.name}/{folder.name}")
        for path in manifests:
            say(f"  {stage_line(path)}")


def stage_line(path: Path) -> str:
    """Name, status, duration and end of the stage whose manifest is at `path`, and its error if it has one."""
    state = run.stage_status(path.parent)
    manifest = None if state == "damaged" else run.read_manifest(path.parent)
    if manifest is None or not 0 <= manifest["seconds"] <= LONGEST:
        return f"{path.parent.name:24} damaged: delete {_short(path)}, and the stage is done again; labels stay"
    ended = time.localtime(path.stat().st_mtime)
    minutes, seconds = divmod(round(manifest["seconds"]), 60)
    duration = "" if state in ("running", "cut off") else f"{minutes:4d} min {seconds:02d} s"
    line = f"{manifest['stage']:24} {state.replace('_', ' '):16} {duration:14} {time.strftime('%Y-%m-%d %H:%M', ended)}"
    return f"{line}\n    {manifest['error'].removeprefix('UserError: ')}" if "error" in manifest else line


@app.command()
def doctor() -> None:
    """What machine this is, which dtype training uses, which model sizes fit, and whether 4-bit works here."""
    from helpers.core import base  # loads torch, without which `env.machine` does not know the device

    facts = env.machine()
    for name, value in facts.items():
        say(f"{name:12} {value}")
    memory = facts.get("gpu_gib", facts["ram_gib"])
    # NF4 with double quantisation takes about 0.55 bytes a parameter; a quarter of the memory is left to activations.
    billions = max(0, (memory * 0.75 - 1.5) / 0.62)
    say(f"{'fits':12} QLoRA of a model up to about {billions:.0f} billion parameters (estimate)")
    if facts["device"] == "cpu":
        say(f"{'':12} but without a GPU use profile demo, minilm, or another model below 0.1 billion:")
        say(f"{'':12} larger ones take days")
    say(f"{'project':12} {env.root()}, {shutil.disk_usage(env.root()).free / 2**30:.1f} GiB free")
    for package in run.PACKAGES:
        say(f"{package:12} {run.version(package)}")
    say(f"{'nf4':12} {base.check_nf4()}")


if __name__ == "__main__":
    main()
