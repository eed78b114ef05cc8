"""The parameters of a notebook: names and defaults from its cell, types, choices and bounds of their values."""

from __future__ import annotations

import ast
import io
import math
import re
import tokenize
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helpers import env
from helpers.env import UserError
from helpers.files import notebook_cells

# What a text, or each entry of a list, may be.
CHOICES = {
    "kind": ("classification", "generation"),
    "question": ("offensive", "is_offensive", "implied_bias", "target_group", "all", ""),  # of SBIC
    "scope": ("workplace", "applicant", "everyone"),
    "labeller": ("oracle", "teacher", "human", "model"),
    "learner": ("qlora", "probe"),
    "stop": ("budget", "kappa", "change", "uncertainty", "plateau"),
    "teacher": ("embedded", "endpoint", "local", ""),
    "judge": ("endpoint", ""),
    "quantization": ("nf4", "none"),
    "head": ("classifier", "lm"),
    "pooling": ("mean", "evidence"),
    "output": ("text", "edits"),
    "language": ("it", "en", ""),  # for which there are prompts, and rules that swap genders
    "draft": ("italian", ""),
    "hints": ("italian", ""),
    "check": ("italian", "groups", ""),
}
# Lowest and highest value. No sensible value passes a bound: they refuse slips, and files made to exhaust the memory.
COUNT, SHARE = (0, 10_000_000), (0, 1)
BOUNDS = {
    "seed": (0, 2**32 - 1),
    "generated": COUNT,
    "test_size": COUNT,
    "validation_size": COUNT,
    "scorer_size": COUNT,
    "near_duplicate": (0.3, 0.95),
    "semantic_duplicate": SHARE,
    "seed_size": (1, 10_000_000),
    "most_generated": COUNT,
    "most_rewritten": COUNT,
    "per_parent": COUNT,
    "temperature": (0, 2),
    "teacher_tokens": (0, 10**12),
    "teacher_examples": (0, 100),
    "judge_floor": SHARE,
    "floor": SHARE,
    "perplexity_tail": (0, 0.5),
    "review": COUNT,
    "rounds": (0, 10_000),
    "batch_labels": (1, 10_000_000),
    "pool_limit": (1, 10_000_000),
    "detector_every": (0, 10_000),
    "overlap_k": (1, 1000),
    "overlap_share": SHARE,
    "repeat_share": (0, 0.5),
    "page": (1, 50),
    "prompt_price": (0, 1_000_000),
    "completion_price": (0, 1_000_000),
    "silver": COUNT,
    "copies": (1, 1000),
    "max_length": (1, 1_048_576),
    "max_new_tokens": (0, 65_536),
    "token_budget": (1, 16_777_216),
    "epochs": (0, 1000),
    "learning_rate": (0, 1),
    "batch_size": (1, 65_536),
    "accumulation": (1, 65_536),
    "holdout": (0, 0.9),
    "patience": (0, 1000),
    "warmup": SHARE,
    "weight_decay": (0, 10),
    "lora_r": (1, 1024),
    "lora_alpha": (1, 65_536),
    "lora_dropout": (0, 0.95),
    "distil_weight": SHARE,
    "bootstrap": (100, 1_000_000),
    "smallest_group": COUNT,
    "errors_shown": (0, 1000),
    "words_rows": (0, 1_000_000),
    "shots": (0, 64),
    "margin": (0, 0.5),
    "label_seconds": (0, 86_400),
    "hour_price": (0, 1_000_000),
    "promise": (0.5, 0.999),
    "samples_shown": (0, 1000),
    "clusters": (0, 1000),
    "upto": COUNT,
    "shown": (0, 100),
    "changes_shown": (0, 1000),
}
NOT_FINITE = ("nan", "inf", "infinity")
EXPONENT = r"[+-]?\d+(\.\d*)?[eE][+-]?\d+"  # a number that YAML 1.1 may read as a text
NAMES = (
    "labels",
    "label_names",
    "group_columns",
    "annotators",
    "target_columns",
)  # lists of names: none empty, none twice


def notebook_parameters(notebook: Path) -> dict[str, Any]:
    """Names and default values in the cell tagged `parameters`."""
    source, assignments = _assignments(notebook)
    values = {}
    for name, statement in assignments.items():
        try:
            values[name] = ast.literal_eval(statement.value)
            if not isinstance(values[name], bool | int | float | list | str):
                raise ValueError("no value of a parameter")
        except (ValueError, TypeError, RecursionError, MemoryError) as error:
            line = source.splitlines()[statement.lineno - 1].strip()[:100]
            remedy = "write a number, a text, True, False or a list out"
            raise _fault(notebook, statement.lineno, f"`{line}` cannot be read as it stands; {remedy}") from error
    return values


def default_parameters(stage: str) -> dict[str, Any]:
    """The parameters of a stage's notebook with their defaults; {} where it is not there."""
    notebook = env.root() / "notebooks" / f"{stage}.ipynb"
    return notebook_parameters(notebook) if notebook.exists() else {}


def parameter_help(notebook: Path) -> dict[str, str]:
    """What the comment on the line of each parameter says."""
    source, assignments = _assignments(notebook)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    return {name: comments.get(statement.end_lineno, "") for name, statement in assignments.items()}


def _assignments(notebook: Path) -> tuple[str, dict[str, ast.Assign]]:
    """(source of the cell tagged `parameters`, name → the statement that sets it)."""
    tagged = [cell for cell in notebook_cells(notebook) if "parameters" in (cell["metadata"].get("tags") or [])]
    if len(tagged) != 1:
        raise UserError(f"{notebook.name} has {len(tagged)} cells tagged `parameters`; it needs exactly one.")
    source, assignments = tagged[0]["source"], {}
    try:
        # Papermill's own inspection loses a parameter whose line has a second `=`.
        statements = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _fault(
            notebook, getattr(error, "lineno", None) or 1, f"no Python ({str(error)[:80]}); mend it"
        ) from error
    for statement in statements:
        if isinstance(statement, ast.Assign):
            if len(statement.targets) > 1 or not isinstance(statement.targets[0], ast.Name):
                raise _fault(notebook, statement.lineno, "it sets several names; write one a line")
            assignments[statement.targets[0].id] = statement
    return source, assignments


def _fault(notebook: Path, line: int, words: str) -> UserError:
    return UserError(f"{notebook}, line {line} of the cell tagged `parameters`: {words}, or restore the notebook.")


def allowed_values(name: str) -> str:
    """The values that a parameter may have, in words; '' where any of its type will do."""
    if name in CHOICES:
        return f"one of {', '.join(sorted(choice or repr('') for choice in CHOICES[name]))}"
    if name in BOUNDS:
        low, high = BOUNDS[name]
        return f"between {low:,} and {high:,}"
    return ""


def stage_parameters(notebook: str, values: dict[str, Any]) -> dict[str, Any]:
    """The parameters that one notebook takes, with its defaults for those that `values` leaves out, checked."""
    defaults = notebook_parameters(env.root() / "notebooks" / f"{notebook}.ipynb")
    params = {name: check_type(name, values.get(name, default), default) for name, default in defaults.items()}
    for name, value in params.items():
        check_value(name, value)
    balanced = params.get("balance_group", "")
    if balanced and balanced not in params["group_columns"]:
        columns = ", ".join(params["group_columns"]) or "none"
        raise UserError(f"Parameter balance_group={balanced!r} is not among the group_columns ({columns}).")
    check_label_lists(params, params.get("labels", []))
    return params


def check_label_lists(params: dict[str, Any], labels: Sequence[str]) -> None:
    """Raise UserError where `label_names` or `label_help` has not one entry for each of the labels, which may be none yet."""
    for name in ("label_names", "label_help"):
        if params.get(name) and labels and len(params[name]) != len(labels):
            raise UserError(
                f"Parameter {name}={_shown(params[name])} needs one for each of the labels ({', '.join(labels)})."
            )


def check_type(name: str, value: Any, default: Any) -> Any:
    """`value`, if it has the type of `default` (an int passes for a float); raises UserError otherwise."""
    if isinstance(default, float) and type(value) is int:
        value = float(value) if abs(value) < 10**300 else math.inf if value > 0 else -math.inf
    if type(default) in (int, float) and isinstance(value, str) and value.lower().lstrip("+-") in NOT_FINITE:
        value = float(value)  # YAML writes them with a point in front
    if type(value) is not type(default):
        is_short = isinstance(default, float) and isinstance(value, str) and re.fullmatch(EXPONENT, value)
        hint = " (in YAML write 2.0e-4, not 2e-4)" if is_short else ""
        among = f" {allowed_values(name)}, such as {default!r}," if name in BOUNDS else f" such as {default!r}"
        expected = f"{type_name(default)}{among} is expected{hint}"
        raise UserError(f"Parameter {name}={_shown(value)} is {type_name(value)}, but {expected}.")
    for entry in value if isinstance(value, list) else ():
        if not isinstance(entry, str):
            words = f"{_shown(entry)} is {type_name(entry)}; put it in quotes"
            raise UserError(f"Parameter {name}={_shown(value)}: {words}.")
    return value


def check_value(name: str, value: Any) -> None:
    """Raise UserError where a value is none of its choices, out of its bounds, or not text that can be saved."""
    if name in CHOICES and value not in CHOICES[name]:
        remedy = "; '' stands for every other language" if name == "language" else ""
        raise UserError(f"Parameter {name}={_shown(value)} must be {allowed_values(name)}{remedy}.")
    if name in BOUNDS:
        low, high = BOUNDS[name]
        if not low <= value <= high:  # NaN lies nowhere
            raise UserError(f"Parameter {name}={_shown(value)} must lie {allowed_values(name)}.")
    for entry in value if isinstance(value, list) else [value]:
        if isinstance(entry, str) and not _is_unicode(entry):
            raise UserError(f"Parameter {name}={entry!a} is not valid UTF-8: type it again.")
    if name == "labels" and len(value) == 1 and value[0].strip():
        remedy = """write them in brackets, as in -p labels "[fine, biased]\""""
        raise UserError(f"Parameter labels={_shown(value)} needs at least two labels, all different: {remedy}.")
    if name in NAMES and ("" in map(str.strip, value) or len(set(value)) < len(value)):
        raise UserError(f"Parameter {name}={value!r} names one twice, or has an empty name: leave it out.")


def _shown(value: Any) -> str:
    """The value as a sentence shows it, at most 100 characters."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no number of more than 4,300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= 100 else f"{text[:100]}…"


def _is_unicode(text: str) -> bool:
    """Whether a text can be saved; an argument in another encoding comes with lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def type_name(value: Any) -> str:
    """The type of a value as a sentence names it."""
    names = {bool: "a truth value", float: "a number", int: "a whole number", list: "a list", str: "a text"}
    return "empty" if value is None else names.get(type(value), f"a {type(value).__name__}")
