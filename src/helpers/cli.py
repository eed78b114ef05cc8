"""The `ambo` command: run the phases in order, see where runs stand, see what this machine can do."""

from __future__ import annotations

import difflib
import logging
import os
import shutil
import sys
import time
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from helpers import env, files, run
from helpers.core import recipe
from helpers.data import tables
from helpers.data.records import split_by_answer
from helpers.env import UserError
from helpers.labels import cli
from helpers.task import make_task

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)
app.add_typer(cli.app, name="labels")
AWAITING = 3  # exit code: the run waits for labels


def main() -> None:
    """Entry point: a user's mistake is one sentence on stderr and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"ambo: {error}", file=sys.stderr)
        sys.exit(2)


@app.command("run", context_settings={"allow_extra_args": True})
def run_command(
    context: typer.Context,
    task: Annotated[str, typer.Option(help="a file name in params/tasks")],
    profile: Annotated[str, typer.Option(help="a file name in params/profiles")],
    p: Annotated[
        list[str] | None, typer.Option("-p", help="-p KEY VALUE sets a parameter of the notebooks; repeat it")
    ] = None,
    stages: Annotated[str, typer.Option(help="comma-separated, such as 01,03")] = ",".join(run.STAGES),
    run_id: Annotated[str, typer.Option(help="name of the run; by default profile and a hash of the parameters")] = "",
) -> None:
    """Run the phases in order, each notebook through papermill; unchanged stages are skipped, a cut-off run goes on."""
    overrides = pairs(p or [], context.args)
    params = gather(task, profile, overrides)
    params["run_id"] = run_id or params.get("run_id") or f"{profile}-{files.digest(params)[:8]}"
    notebooks = chosen(stages, run.notebooks(params.get("kind", "classification")))
    per_stage = {notebook: stage_parameters(notebook, params) for notebook in notebooks}
    for notebook, values in per_stage.items():  # every stage is checked before the first kernel starts
        run.refuse_other_parameters(run.run_folder(values["task"], values["run_id"]) / notebook, values)
    folder = run.run_folder(params["task"], params["run_id"])
    due = {name: values for name, values in per_stage.items() if not run.unchanged(folder / name, values)}
    if run.STAGES["01"] in due:
        check_data(params | due[run.STAGES["01"]])
    for model, revision in {(v["model"], v["revision"]) for v in due.values() if "model" in v}:
        recipe.check_model(model, revision)
    run.hold_folder(folder, patience=0)  # two `ambo run` of one run id would write into the same files
    for notebook, values in per_stage.items():
        execute(notebook, values, folder / notebook)
    show_results(folder)


def check_data(params: dict[str, Any]) -> None:
    """Read a user's file as 01 will, so that a mistake in it is told before a kernel starts; raises UserError."""
    if not params["data_path"].startswith(("embedded:", "hf:")):
        records = tables.to_records(tables.read_table(params["data_path"], params["text_column"]), params)
        make_task(params, list({r["label"] for r in records if "label" in r}))
        split_by_answer(records, "target" if params["kind"] == "generation" else "label", params["labeller"])


def chosen(stages: str, notebooks: dict[str, str]) -> list[str]:
    """The notebooks of the stages asked for; says which a task of this kind goes without. Raises UserError on an unknown one."""
    asked = [s.strip() for s in stages.split(",") if s.strip()]
    for stage in asked:
        if stage not in run.STAGES:
            raise UserError(f"--stages {stage!r} is unknown: choose among {', '.join(run.STAGES)}.")
        if stage not in notebooks:
            print(f"{run.STAGES[stage]}: not part of a generation task, left out", flush=True)
    return [notebooks[stage] for stage in asked if stage in notebooks]


def pairs(keys: list[str], rest: list[str]) -> dict[str, str]:
    """What stands in `-p key value …`: option parsing keeps the keys, the values are what is left, in order."""
    if len(keys) != len(rest):
        raise UserError("Every -p takes a key and a value: -p rounds 4.")
    return dict(zip(keys, rest, strict=True))


def typed(name: str, text: str, default: Any) -> Any:
    """The value of a parameter given on the command line: a text as it stands, words of a list as words, the rest as YAML.

    So `-p positive_label yes` is no truth value, and `-p group_columns region` a list of one.
    """
    if isinstance(default, str) and not text.startswith(("'", '"')):
        return text
    try:
        if isinstance(default, float) and "e" in text:  # YAML 1.1 takes 2e-4 for a text
            return float(text)
    except ValueError:
        return text
    try:
        value = yaml.load(text, yaml.BaseLoader if isinstance(default, list) else yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise UserError(f"Parameter {name}: {text!r} is not valid YAML ({str(error).splitlines()[0]}).") from error
    if isinstance(default, list) and not isinstance(value, list):
        return [value] if value else []
    return value


def gather(task: str, profile: str, overrides: dict[str, str]) -> dict[str, Any]:
    """Task, profile and overrides in one dict; raises UserError on a shared or unknown key, or a wrong type."""
    what, how = read_params("tasks", task), read_params("profiles", profile)
    if shared := what.keys() & how.keys():
        raise UserError(
            f"Task {task} and profile {profile} both set {', '.join(sorted(shared))}: keep it in one of them."
        )
    params = {**what, **how, **overrides}
    mine = known_parameters(run.notebooks(params.get("kind", "classification")))
    known = {name: value for table in run.KINDS.values() for name, value in known_parameters(table).items()} | mine
    for name, value in params.items():
        if name not in (mine if name in overrides else known):  # a profile serves both kinds of task
            near = difflib.get_close_matches(name, mine, n=1)
            why = "of no use to a task of this kind" if name in known else "unknown"
            raise UserError(f"Parameter {name!r} is {why}" + (f": did you mean {near[0]!r}?" if near else "."))
        if name in overrides:
            value = typed(name, overrides[name], known[name])
        params[name] = run.check_type(name, value, known[name])
    return params


def read_params(kind: str, name: str) -> dict[str, Any]:
    folder = env.root() / "params" / kind
    path = folder / f"{name}.yaml"
    if not path.exists():
        offered = ", ".join(sorted(f.stem for f in folder.glob("*.yaml")))
        raise UserError(f"--{kind[:-1]} {name!r} is not in {folder}: choose one of {offered}.")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML ({str(error).splitlines()[0]}).") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold flat `key: value` lines.")
    return values


def defaults(notebook: str) -> dict[str, Any]:
    return run.notebook_parameters(env.root() / "notebooks" / f"{notebook}.ipynb")


def known_parameters(notebooks: dict[str, str]) -> dict[str, Any]:
    """Names and defaults of every parameter that one of the notebooks takes."""
    return {name: value for notebook in notebooks.values() for name, value in defaults(notebook).items()}


def stage_parameters(notebook: str, params: dict[str, Any]) -> dict[str, Any]:
    """The parameters one notebook takes, defaults filled in."""
    return {name: run.check_type(name, params.get(name, value), value) for name, value in defaults(notebook).items()}


def execute(name: str, params: dict[str, Any], folder: Path) -> None:
    """Run one notebook unless its stage is unchanged; raises UserError for a user's mistake found inside it."""
    if run.unchanged(folder, params):
        print(f"{name}: unchanged, skipped", flush=True)
        return
    print(f"{name}: running …", flush=True)
    os.environ.setdefault("AMBO_ROOT", str(env.root()))  # the kernel inherits it
    folder.mkdir(parents=True, exist_ok=True)
    execute_notebook(env.root() / "notebooks" / f"{name}.ipynb", folder / f"{name}.ipynb", params, folder)
    manifest = run.read_manifest(folder)
    if manifest["status"] == "awaiting_labels":
        print(f"{name}: waits for labels; open {folder / f'{name}.ipynb'}", flush=True)
        raise typer.Exit(AWAITING)
    print(f"{name}: done in {manifest['seconds']:.0f} s", flush=True)


def execute_notebook(source: Path, target: Path, params: dict[str, Any], folder: Path) -> None:
    """papermill, with a failure told in one sentence and kept in the manifest."""
    warnings.filterwarnings("ignore")
    import papermill
    from nbclient.exceptions import DeadKernelError

    logging.getLogger("papermill").setLevel(logging.ERROR)
    try:
        papermill.execute_notebook(
            str(source),
            str(target),
            params,
            kernel_name="python3",
            progress_bar=sys.stderr.isatty(),
            stdout_file=Told(),
            cwd=str(env.root()),
            extra_arguments=["--log-level=50"],  # the kernel's own log is not the user's concern
        )
    except papermill.PapermillExecutionError as error:
        manifest = run.read_manifest(folder)
        if manifest:
            files.write_json(
                folder / "manifest.json", manifest | {"status": "failed", "error": f"{error.ename}: {error.evalue}"}
            )
        if error.ename == "UserError":
            raise UserError(error.evalue) from None
        said = (str(error.evalue).splitlines() or [""])[0][:200]
        raise UserError(
            f"{source.name} stopped at cell {error.exec_count} with {error.ename}: {said} (the traceback is in {target})."
        ) from None
    except DeadKernelError:
        raise UserError(
            f"{source.name}: its kernel died, most often because memory ran out; lower batch_size, token_budget or "
            f"pool_limit, or take a smaller model, under another run_id."
        ) from None
    except OSError as error:
        raise UserError(
            f"{target} could not be written ({error.strerror}): free space or permission is missing."
        ) from None


class Told:
    """What a notebook prints, as it prints it, line by line and indented; above the progress bar where there is one."""

    begun = ""  # a line comes in pieces

    def write(self, text: str) -> None:
        from tqdm import tqdm

        *lines, self.begun = (self.begun + text).split("\n")
        for line in lines:
            tqdm.write(f"  {line}")

    def flush(self) -> None:
        sys.stdout.flush()


def show_results(folder: Path) -> None:
    """The headline table and where the report, the notebooks and the figures are."""
    notebooks = sorted({name for table in run.KINDS.values() for name in table.values()})
    found = [folder / name / "headline.csv" for name in notebooks]
    for results in filter(Path.exists, found):
        import pandas as pd

        manifest = run.read_manifest(results.parent)
        print(f"\n{manifest.get('headline', 'Results')}\n")
        print(pd.read_csv(results).to_string(index=False, float_format="%.3f"))
        print(f"\nReport     {_short(results.parent / 'report.html')}")
    for stage in notebooks:
        if (folder / stage / f"{stage}.ipynb").exists():
            print(f"Notebook   {_short(folder / stage / f'{stage}.ipynb')}")
    for figure in sorted(folder.glob("*/*.png")):
        print(f"Figure     {_short(figure)}")


def _short(path: Path) -> str:
    return os.path.relpath(path)


@app.command()
def status(task: Annotated[str, typer.Option(help="only runs of this task")] = "") -> None:
    """List the runs, the latest last, and where each stage stands."""
    found = sorted((env.root() / "outputs").glob(f"{task or '*'}/*/*/manifest.json"))
    if not found:
        print("No runs yet: start one with `ambo run --task italian_jobs --profile demo`.")
    runs: dict[Path, list[Path]] = {}
    for path in found:
        runs.setdefault(path.parents[1], []).append(path)
    for folder, manifests in sorted(runs.items(), key=lambda pair: max(p.stat().st_mtime for p in pair[1])):
        print(f"{folder.parent.name}/{folder.name}")
        for path in manifests:
            print(f"  {stage_line(path)}")


def stage_line(path: Path) -> str:
    """Name, status, duration and day of the stage whose manifest lies at `path`, and what went wrong where something did."""
    manifest, ended = run.read_manifest(path.parent), time.localtime(path.stat().st_mtime)
    state = manifest["status"]
    if state == "running" and not run.is_held(path.parent):
        state = "cut off"
    minutes, seconds = divmod(round(manifest["seconds"]), 60)
    took = "" if state in ("running", "cut off") else f"{minutes:4d} min {seconds:02d} s"
    line = f"{manifest['stage']:24} {state.replace('_', ' '):16} {took:14} {time.strftime('%Y-%m-%d %H:%M', ended)}"
    return f"{line}\n    {manifest['error'].removeprefix('UserError: ')}" if "error" in manifest else line


@app.command()
def doctor() -> None:
    """What machine this is, which dtype training uses, which model sizes fit, and whether 4-bit works here."""
    facts = env.machine()
    for name, value in facts.items():
        print(f"{name:12} {value}")
    memory = facts.get("gpu_gib", facts["ram_gib"])
    # NF4 with double quantisation takes about 0.55 bytes a parameter; a quarter of memory is left to activations.
    print(
        f"{'fits':12} QLoRA of a model up to about {max(0, (memory * 0.75 - 1.5) / 0.62):.0f} billion parameters (estimate)"
    )
    if facts["device"] == "cpu":
        print(
            f"{'':12} but without a GPU take profile demo, minilm, or another model below 0.1 billion: larger ones take days"
        )
    print(f"{'project':12} {env.root()}, {shutil.disk_usage(env.root()).free / 2**30:.1f} GiB free")
    for package in run.PACKAGES:
        print(f"{package:12} {run.version(package)}")
    from helpers.core import base

    print(f"{'nf4':12} {base.check_nf4()}")


if __name__ == "__main__":
    main()
