"""The parameters of a run as files and command give them, checked before the first kernel starts."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from helpers import env, outputs, pipeline, servers
from helpers.data import sbic, tables
from helpers.data.batched import listed
from helpers.data.embedded import read_guideline
from helpers.data.records import (
    drop_exact_duplicates,
    evaluation_sizes,
    is_evaluation,
    refuse_no_pool,
    refuse_small_run,
    split_by_answer,
    whole_pool_remark,
)
from helpers.env import UserError
from helpers.files import read_text, read_yaml
from helpers.labels import log
from helpers.manifest import stored_name
from helpers.parameters import (
    allowed_values,
    check_type,
    check_value,
    parameter_help,
    stage_parameters,
    type_name,
)
from helpers.task import make_task
from helpers.text import say


def parse_value(name: str, text: str, default: Any) -> Any:
    """The value of a parameter given on the command line, read by the type of its default; one word makes a list of one."""
    # A text stays as it is, so that `-p positive_label yes` is no truth value.
    if isinstance(default, str) and not text.startswith(("'", '"')):
        return text
    if type(default) in (int, float) and ":" in text:  # YAML 1.1 reads 1:30 as 90
        return text
    if isinstance(default, float) and "e" in text.lower():  # YAML 1.1 reads 2e-4 as a text
        with contextlib.suppress(ValueError):
            return float(text)
    try:
        value = read_yaml(text, yaml.BaseLoader if isinstance(default, list) else yaml.SafeLoader)
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
    usable = known_parameters(pipeline.notebooks(kind))
    known = usable.copy()  # a profile serves both kinds of task
    for notebooks in pipeline.KINDS.values():
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


def profile_remark(task: str, profile: str, kind: str) -> str:
    """A sentence where a profile sets what tasks of the other kind alone take, and nothing that this kind alone takes."""
    known = {name: known_parameters(notebooks).keys() for name, notebooks in pipeline.KINDS.items()}
    own, (other,) = known[kind], (name for name in known if name != kind)
    values = read_params("profiles", profile)
    unused = [name for name in values if name in known[other] - own]
    if not unused or any(name in own - known[other] for name in values):
        return ""
    files = f"params/profiles/{profile}.yaml is for tasks of {other}, and params/tasks/{task}.yaml is one of {kind}"
    unused = f"{listed(unused, 5)} {'are' if len(unused) > 1 else 'is'} not used"
    return f"{files}: {unused}, and epochs, rounds and learning rate may not suit it; choose another --profile."


def read_params(kind: str, name: str) -> dict[str, Any]:
    """The parameters in `params/<kind>/<name>.yaml`, where `kind` is tasks or profiles."""
    outputs.check_name(f"--{kind[:-1]}", name)
    folder = env.root() / "params" / kind
    path = folder / f"{name}.yaml"
    if not path.exists():
        names = ", ".join(sorted(f.stem for f in folder.glob("*.yaml")))
        raise UserError(f"--{kind[:-1]} {name!r} is not in {folder}: choose one of {names}.")
    try:
        values = read_yaml(read_text(path))
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
    for kind, notebooks in pipeline.KINDS.items():
        for name, value in known_parameters(notebooks).items():
            defaults.setdefault(name, {})[kind] = value
        for notebook in notebooks.values():
            comments = parameter_help(env.root() / "notebooks" / f"{notebook}.ipynb") | comments
    lines = ["Parameters, as in `-p rounds 4` (a task or profile may set another default):", ""]
    for name, by_kind in sorted(defaults.items()):
        default = " or ".join(dict.fromkeys(map(repr, by_kind.values())))
        only = "" if len(by_kind) == len(pipeline.KINDS) else f" ({min(by_kind)} only)"
        allowed = f"one of {', '.join(sorted(open_lists[name]))}" if name in open_lists else allowed_values(name)
        facts = [type_name(next(iter(by_kind.values()))), f"default {default}", *filter(None, [allowed])]
        lines += [f"  {name}{only}", f"      {comments[name]}", f"      {'; '.join(facts)}"]
    return "\n".join(lines)


def chosen_notebooks(stages: str, notebooks: dict[str, str]) -> list[str]:
    """The notebooks of the stages asked for; says which of them this kind of task does not have."""
    numbers = [number.strip() for number in stages.split(",") if number.strip()]
    if not numbers:
        raise UserError(f"--stages is empty: choose among {', '.join(pipeline.STAGES)}, or leave it out for all.")
    for number in numbers:
        if number not in pipeline.STAGES:
            raise UserError(f"--stages {number!r} is unknown: choose among {', '.join(pipeline.STAGES)}.")
        if number not in notebooks:
            say(f"{pipeline.STAGES[number]}: not part of a generation task, left out")
    return [notebooks[number] for number in numbers if number in notebooks]


def check_data(params: dict[str, Any], loop: dict[str, Any] | None = None) -> list[dict]:
    """The records of a user's file, read as 01 will, to report a mistake in it before a kernel starts; raises UserError.

    `loop` has the parameters of 03, where it is to run. What the file's remarks say is printed beside a mistake, which
    they may explain; otherwise 01 prints them.
    """
    if params["data_path"].startswith(("embedded:", "hf:")):
        return []
    table = tables.read_table(params["data_path"], params["text_column"])
    if params.get("question"):
        table = sbic.ask(table, params["question"], params["data_path"])
    try:
        records = tables.to_records(table, params)
        _check_records(records, params, loop or {})
    except UserError:
        for remark in table.attrs.get("remarks", []):
            say(remark)
        raise
    return records


def refuse_missing_data(params: dict[str, Any], folder: Path, stages: Iterable[str]) -> None:
    """Raise UserError where the user's file is gone of which 01 made the run in `folder`, that can go on without it."""
    path, first = params["data_path"], folder / pipeline.STAGES["01"]
    is_named = not path.startswith(("embedded:", "hf:"))
    if is_named:
        env.refuse_other_folder(path)
    if is_named and not env.resolve(path).exists() and (first / "manifest.json").exists():
        others = ",".join(stage for stage in stages if stage != "01")
        other_way = f", or go on from what 01 made of it by --stages {others}" if others else ""
        raise UserError(f"{path} is missing, and {stored_name(first)} was made from it: put it back{other_way}.")


def _check_records(records: list[dict], params: dict[str, Any], loop: dict[str, Any]) -> None:
    """Raise UserError where task, set sizes, seed or brief do not fit the records; say where the batches take the whole pool."""
    from helpers.synthesis.brief import read_brief

    task = make_task(params, [r["label"] for r in records if "label" in r])
    if params.get("brief"):
        read_brief(params["brief"], task)
    answer = "target" if params["kind"] == "generation" else "label"
    rows, pool_only = split_by_answer(drop_exact_duplicates(records), answer, params["labeller"])
    sizes = evaluation_sizes(len(rows), params["test_size"], params["validation_size"])
    sizes["scorer"] = params["scorer_size"] if params["kind"] == "generation" else 0
    splits = [r["split"] for r in rows]
    to_draw = sum(size for name, size in sizes.items() if name not in splits)
    candidates = sum(not is_evaluation(split) for split in splits) - to_draw
    if candidates < 1:
        refuse_no_pool(len(rows), sizes)
    refuse_small_run(candidates, len(pool_only), params["seed_size"], loop.get("rounds") or 4)
    pool = (
        candidates - min(params["seed_size"], candidates) + len(pool_only)
    )  # what resembles an evaluation row goes, too
    if loop and (remark := whole_pool_remark(pool, loop["rounds"], loop["batch_labels"])):
        say(remark)


def check_combinations(per_stage: dict[str, dict[str, Any]], kind: str, given: dict[str, Any]) -> None:
    """Raise UserError where the rooms would refuse a parameter that depends on others, before a kernel starts.

    `given` are the parameters of the command, whose names are checked whichever stages run.
    """
    # Imported here: these rooms load scikit-learn and openai, and `ambo status` should answer at once.
    from helpers.query import strategies
    from helpers.synthesis import methods, scorer, targets
    from helpers.synthesis.brief import read_brief

    if "strategy" in given:
        strategies.check_strategy(given["strategy"], kind)
    methods.check_names(given.get("methods", []))
    for params in per_stage.values():
        for name in params.get("annotators", []):
            log.check_person(name)
        read_guideline(params.get("guideline", ""))
    for notebook, params in per_stage.items():
        if notebook == pipeline.STAGES["02"]:
            methods.check_methods(params["methods"], params["teacher"], params["data_path"])
            read_brief(params["brief"], make_task(params) if params["labels"] else None)
        elif notebook == pipeline.STAGES["03"]:
            strategies.check_strategy(params["strategy"], "classification")
            if params["labeller"] == "teacher":
                read_brief(params["brief"], make_task(params) if params["labels"] else None)
        elif notebook == pipeline.GENERATION["03"]:
            targets.check_parameters(params)
        elif notebook == pipeline.GENERATION["04"]:
            scorer.check_scorer(params["scorer"], params["language"])


def check_endpoints(due: dict[str, dict[str, Any]]) -> None:
    """Raise UserError where a stage that is due asks an endpoint that the environment does not name."""
    from helpers.synthesis.endpoint import Endpoint

    for notebook, params in due.items():
        for name in servers.asked(notebook, params):
            Endpoint(name)


def check_models(parameters: Iterable[dict[str, Any]], named: str) -> None:
    """Raise UserError when a model that one of the stages names cannot be reached, or `named`, if any, is no right path.

    `named` is the model of command and profile, which may serve a later stage alone.
    """
    from helpers.core import recipe

    if named:
        recipe.refuse_wrong_path(named)
    for model, revision in {(values["model"], values["revision"]) for values in parameters if "model" in values}:
        recipe.check_model(model, revision)
