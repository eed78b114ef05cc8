"""The `ambo` command: run the phases in order, see where runs stand, see what this machine can do."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import re
import shlex
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

from helpers import env, files, outputs, pipeline, run
from helpers.cli.badges import badges
from helpers.cli.export import export
from helpers.cli.given import (
    check_combinations,
    check_data,
    check_endpoints,
    check_models,
    chosen_notebooks,
    gather_parameters,
    parameter_list,
    profile_remark,
    refuse_missing_data,
)
from helpers.cli.notebook import INTERRUPTED, LONGEST, interruptible, run_stage
from helpers.cli.predict import predict
from helpers.data import embedded
from helpers.data.batched import listed
from helpers.data.language import language_remark
from helpers.env import UserError, short_path
from helpers.labels import cli as labels_cli
from helpers.parameters import stage_parameters
from helpers.text import say, visible

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False, rich_markup_mode=None
)
app.add_typer(labels_cli.app, name="labels")
ALL_STAGES = ",".join(pipeline.STAGES)
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
    except KeyboardInterrupt:
        say("ambo: interrupted.", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except PermissionError as error:  # wherever a path is looked at that one may not enter
        place = error.filename or "A file of this command"
        say(f"ambo: {place} may not be opened or written by you: ask for the right, or name another.", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        if str(error).startswith("Symlink loop") or getattr(error, "errno", None) == errno.ELOOP:
            say(f"ambo: {error}: a link leads to itself; name another path, or delete it.", file=sys.stderr)
            sys.exit(2)
        if hasattr(error, "format_message"):  # Typer's, about the words given, which it would quote as they are
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
    if unknown := [word for word in values if re.match("--?(?!(?i:inf(inity)?)$)[A-Za-z]", word)]:
        raise UserError(f"Option {unknown[0]!r} is unknown: `ambo run --help` lists them; a parameter is given by -p.")
    if len(keys) != len(values):
        raise UserError("Every -p takes a key and a value: -p rounds 4.")
    if repeated := [key for place, key in enumerate(keys) if key in keys[:place]]:
        raise UserError(f"Parameter {repeated[0]!r} is given twice by -p: keep one of them.")
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


app.command()(predict)
app.command()(export)
app.command()(badges)


def run_stages(task: str, profile: str, overrides: dict[str, str], stages: str, run_id: str) -> None:
    """Check the parameters of every stage, run the stages that are due, and print the results."""
    with interruptible("the same command goes on from where it stopped"):
        _run_stages(task, profile, overrides, stages, run_id)


def _run_stages(task: str, profile: str, overrides: dict[str, str], stages: str, run_id: str) -> None:
    params = gather_parameters(task, profile, overrides)
    if not isinstance(params.get("task"), str):
        raise UserError(f"params/tasks/{task}.yaml names no task: add a line such as `task: {task}`.")
    params["run_id"] = run_id or params.get("run_id") or f"{profile}-{files.digest(params)[:8]}"
    kind = params.get("kind", "classification")
    of_kind = pipeline.notebooks(kind)
    every, notebooks = list(of_kind.values()), chosen_notebooks(stages, of_kind)
    per_stage = {notebook: stage_parameters(notebook, params) for notebook in notebooks}
    folder = outputs.run_folder(params["task"], params["run_id"])
    for notebook in every[: max(map(every.index, notebooks), default=-1) + 1]:  # also those that it goes on from
        if notebook in per_stage or (folder / notebook / "manifest.json").exists():
            free = pipeline.FREE if notebook in per_stage else pipeline.OWN
            pipeline.refuse_other_parameters(folder / notebook, stage_parameters(notebook, params), free)
    given = {name: params[name] for name in overrides}
    check_combinations(per_stage, kind, given)
    due = {name: values for name, values in per_stage.items() if pipeline.why_due(folder / name, values)}
    check_endpoints(due)
    records, first = [], of_kind["01"]
    if first in due:
        refuse_missing_data(due[first], folder, [name[:2] for name in notebooks])
        records = check_data(params | due[first], per_stage.get(of_kind["03"]))
    check_models(due.values(), params.get("model", "") if due else "")
    for model in sorted({values["model"] for values in due.values() if "model" in values} - {embedded.BASE}):
        if remark := language_remark([r["text"] for r in records], model):  # of the embedded base 01 says it
            say(remark)
    if remark := profile_remark(task, profile, kind):
        say(remark)
    words = ["ambo", "run", "--task", task, "--profile", profile]
    words += [word for pair in overrides.items() for word in ("-p", *pair)]
    words += ["--stages", stages] if stages != ALL_STAGES else []
    command = shlex.join([*words, "--run-id", params["run_id"]])
    outputs.hold_folder(folder, patience=0)  # two `ambo run` of one run id would write into the same files
    for number, (notebook, values) in enumerate(per_stage.items(), 1):
        run_stage(notebook, values, folder / notebook, f"stage {number} of {len(per_stage)}", command)
    show_results(folder, notebooks)


def show_results(folder: Path, notebooks: Iterable[str]) -> None:
    """Print the headline table of the stages that were asked for, and where report, notebooks and figures of a run are."""
    for results in sorted(path for name in notebooks for path in folder.glob(f"{name}/headline.csv")):
        manifest = run.read_manifest(results.parent) or {}
        say(f"\n{manifest.get('headline', 'Results')}\n")
        with contextlib.suppress(ValueError):  # an empty file
            say(pd.read_csv(results).to_string(index=False, float_format="%.3f"))
        say(f"\nReport     {short_path(results.parent / 'report.html')}")
    for path in sorted(folder.glob("0*/0*.ipynb")):
        say(f"Notebook   {short_path(path)}")
    for figure in sorted(folder.glob("*/*.png")):
        say(f"Figure     {short_path(figure)}")


@app.command()
def status(task: Annotated[str, typer.Option(help="only runs of this task")] = "") -> None:
    """List the runs, the latest last, and where each stage stands."""
    runs: dict[Path, list[Path]] = {}
    if task:
        outputs.check_name("--task", task)
    for path in sorted((env.root() / "outputs").glob(f"{task or '*'}/*/*/manifest.json")):
        runs.setdefault(path.parents[1], []).append(path)
    others = {path.parents[2].name for path in (env.root() / "outputs").glob("*/*/*/manifest.json")}
    if task and not runs and others:
        raise UserError(f"There is no run of task {task!r}: there are runs of {listed(sorted(others), 10)}.")
    if not runs:
        say("No runs yet: start one with `ambo demo`.")
    for folder, manifests in sorted(runs.items(), key=lambda pair: max(p.stat().st_mtime for p in pair[1])):
        say(f"{folder.parent.name}/{folder.name}")
        for path in manifests:
            say(f"  {stage_line(path)}")


def stage_line(path: Path) -> str:
    """Name, status, duration and end of the stage whose manifest is at `path`, and its error if it has one."""
    state = pipeline.stage_status(path.parent)
    manifest = None if state == "damaged" else run.read_manifest(path.parent)
    if manifest is None or not 0 <= manifest["seconds"] <= LONGEST:
        return f"{path.parent.name:24} damaged: its manifest cannot be read, and the next `ambo run` does it again; labels stay"
    ended = time.localtime(path.stat().st_mtime)
    minutes, seconds = divmod(round(manifest["seconds"]), 60)
    duration = "" if state in ("running", "cut off") else f"{minutes:4d} min {seconds:02d} s"
    reason = pipeline.no_longer_counts(path.parent) if state == "success" else ""
    state = "no longer counts" if reason else state.replace("_", " ")
    line = f"{manifest['stage']:24} {state:16} {duration:14} {time.strftime('%Y-%m-%d %H:%M', ended)}"
    problem = reason or manifest.get("error", "").removeprefix("UserError: ")
    return f"{line}\n    {problem}" if problem else line


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
