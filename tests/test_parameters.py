"""Parameters: types, choices and bounds are checked, each mistake in a sentence that names the parameter."""

import math
import re
import shutil

import pytest

from helpers import manifest, parameters
from helpers.cli import given
from helpers.env import UserError
from helpers.query import rounds
from tests.project import ROOT, notebook

PARAMETERS = """task = 'demo'  # name
run_id = 'r'  # run
seed = 1  # seed
rate = 0.1  # a rate = a share
use = True  # yes
"""
DEFAULTS = [
    (path.stem, name, default)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    for name, default in parameters.notebook_parameters(path).items()
]


def test_parameters_survive_a_second_equals_sign(tmp_path):
    path = notebook(tmp_path / "01_seed_curation.ipynb", (PARAMETERS, ["parameters"]))
    found = parameters.notebook_parameters(path)
    assert found == {"task": "demo", "run_id": "r", "seed": 1, "rate": 0.1, "use": True}


EDITED = {
    "rounds = 2 * 3": "line 2 of the cell tagged `parameters`: `rounds = 2 * 3` cannot be read as it stands",
    "rounds = None": "`rounds = None` cannot be read as it stands",
    "rounds = {1: 2}": "`rounds = {1: 2}` cannot be read as it stands",
    "rounds = n": "`rounds = n` cannot be read as it stands",
    "rounds = [1": "line 2 of the cell tagged `parameters`: no Python",
    "a, b = 1, 2": "line 2 of the cell tagged `parameters`: it sets several names",
    "a.b = 1": "line 2 of the cell tagged `parameters`: it sets several names",
    "x = '\0'": "no Python",
}


@pytest.mark.parametrize("line", EDITED)
@pytest.mark.parametrize("read", [parameters.notebook_parameters, parameters.parameter_help])
def test_a_cell_that_somebody_edited_is_named_with_its_line(tmp_path, line, read):
    path = notebook(tmp_path / "01_seed_curation.ipynb", (f"seed = 1\n{line}\n", ["parameters"]))
    if read is parameters.parameter_help and "cannot be read" in EDITED[line]:
        assert read(path).keys() == {"seed", "rounds"}  # it reads no values
        return
    with pytest.raises(UserError, match=rf"01_seed_curation.ipynb.*{re.escape(EDITED[line])}"):
        read(path)


@pytest.mark.parametrize("content", ["[]", "{}", '{"cells": 3}', '{"cells": [3]}', '{"cells": [{"source": "a"}]}', "3"])
def test_a_notebook_that_is_none_is_named(tmp_path, monkeypatch, content):
    (tmp_path / "notebooks").mkdir()
    path = tmp_path / "notebooks" / "01_seed_curation.ipynb"
    path.write_text(content)
    monkeypatch.setenv("AMBO_ROOT", str(tmp_path))
    with pytest.raises(UserError, match=r"01_seed_curation\.ipynb is no notebook with cells"):
        parameters.notebook_parameters(path)
    with pytest.raises(UserError, match=r"01_seed_curation\.ipynb is no notebook with cells"):
        manifest.code_sha("01_seed_curation")


@pytest.mark.parametrize(
    ("value", "default", "words"),
    [
        ("2e-4", 0.1, "write 2.0e-4"),
        ("fast", 0.1, r"rate='fast' is a text, but a number such as 0\.1 is expected\.$"),
        ("nan", 3, r"rate=nan is a number, but a whole number such as 3 is expected\.$"),
        ("true", True, "is a text, but a truth value"),
        (True, 3, "is a truth value, but a whole number"),
        (None, 3, "rate=None is empty, but a whole number such as 3"),
        (1.5, 3, "is a number, but a whole number"),
        ("a", [], "but a list"),
        ([True, "no"], [], "True is a truth value; put it in quotes"),
    ],
)
def test_wrong_types_are_named(value, default, words):
    with pytest.raises(UserError, match=words):
        parameters.check_type("rate", value, default)


@pytest.mark.parametrize("value", ["nan", "NaN", ".nan", "inf", "-.inf", "-1.0e-3", "1e-400x", "2.5", "fast"])
def test_a_number_that_is_none_is_told_with_its_range(value, tmp_path, monkeypatch):
    """In a YAML file as on the command line."""
    monkeypatch.setenv("AMBO_ROOT", str(tmp_path))
    shutil.copytree(ROOT / "params", tmp_path / "params")
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    profile = (tmp_path / "params/profiles/demo.yaml").read_text()
    (tmp_path / "params/profiles/mine.yaml").write_text(re.sub("learning_rate: .*", f"learning_rate: {value}", profile))
    for name, overrides in (("mine", {}), ("demo", {"learning_rate": value})):
        with pytest.raises(UserError, match=r"Parameter learning_rate=.* between 0 and 1") as error:
            given.gather_parameters("csv", name, overrides)
        assert "YAML" not in str(error.value)


def test_an_integer_passes_for_a_float():
    assert parameters.check_type("rate", 1, 0.5) == 1.0 and isinstance(parameters.check_type("rate", 1, 0.5), float)


def test_every_number_has_bounds_and_every_default_is_sound():
    for page, name, default in DEFAULTS:
        parameters.check_value(name, default)
        if type(default) in (int, float):
            assert name in parameters.BOUNDS, f"{page}: {name} has no bounds"
    assert parameters.BOUNDS.keys() | parameters.CHOICES.keys() <= {name for _, name, _ in DEFAULTS}


@pytest.mark.parametrize("name", parameters.BOUNDS)
def test_numbers_out_of_bounds_are_refused(name):
    low, high = parameters.BOUNDS[name]
    for value in (low - 1, high + 1, math.inf, -math.inf, math.nan):
        with pytest.raises(UserError, match=f"Parameter {name}=.* must lie between"):
            parameters.check_value(name, value)
    parameters.check_value(name, low)
    parameters.check_value(name, high)


@pytest.mark.parametrize("name", parameters.CHOICES)
def test_closed_lists_are_closed(name):
    for value in parameters.CHOICES[name]:
        parameters.check_value(name, value)
    for value in ("QLoRA", "Oracle", "none ", "anything"):
        with pytest.raises(UserError, match=f"Parameter {name}='{value}' must be one of"):
            parameters.check_value(name, value)


# What no parameter expects: each is taken or refused in a sentence, and nothing else happens.
ODD = [
    math.nan,
    math.inf,
    -math.inf,
    0,
    -1,
    10**400,
    -(10**5000),
    1e308,
    5e-324,
    True,
    False,
    None,
    "",
    " ",
    "x" * 10**5,
]
ODD += [
    "nan",
    "\x1b[31m",
    "\0",
    "../..",
    "\ud800",
    [],
    [[]],
    ["a", "a"],
    [1],
    ["\ud800"],
    [None],
    {},
    {"a": 1},
    b"a",
    1j,
    object,
]
TYPED = [
    ".nan",
    "-.inf",
    "1e999",
    "9" * 5000,
    "1_0",
    "0x10",
    "1:30",
    "~",
    "null",
    "yes",
    "[",
    "[[a]]",
    "{a: 1}",
    "&a [*a]",
]
TYPED += [
    "2026-01-01",
    "2026-13-45",
    "!!python/object:os.system x",
    "'",
    '"',
    "a: b: c",
    "%",
    "@",
    "\x00",
    "\t",
    "- a",
    "|",
    "\ud800",
]


@pytest.mark.parametrize("name", sorted({name for _, name, _ in DEFAULTS}))
def test_every_value_is_taken_or_refused_in_a_sentence(name):
    defaults = [default for _, other, default in DEFAULTS if other == name]
    for default in defaults[:1]:
        for value in [*ODD, *TYPED]:
            try:
                if isinstance(value, str):
                    value = given.parse_value(name, value, default)
                accepted = parameters.check_type(name, value, default)
                parameters.check_value(name, accepted)
            except UserError as error:
                assert name in str(error) and len(str(error)) < 1000
            else:
                assert type(accepted) is type(default)


def test_closed_lists_are_sorted_where_they_are_shown():
    assert parameters.allowed_values("labeller") == "one of human, model, oracle, teacher"
    assert parameters.allowed_values("judge") == "one of '', endpoint"
    assert parameters.allowed_values("epochs") == "between 0 and 1,000"


def test_the_help_of_a_parameter_is_the_comment_on_its_line(tmp_path):
    path = notebook(
        tmp_path / "01_seed_curation.ipynb", (PARAMETERS + "names = [\n    'a',\n]  # two # of\n", ["parameters"])
    )
    assert parameters.parameter_help(path) == {
        "task": "name",
        "run_id": "run",
        "seed": "seed",
        "rate": "a rate = a share",
        "use": "yes",
        "names": "two # of",
    }


def test_choices_are_those_of_the_rooms():
    assert set(parameters.CHOICES["stop"]) == set(rounds.RULES)


@pytest.mark.parametrize("name", ["label_names", "label_help"])
def test_there_is_a_name_and_a_sentence_for_each_class(name):
    values = {"labels": ["a", "b"], "positive_label": "b", name: ["one"]}
    with pytest.raises(UserError, match=rf"Parameter {name}=\['one'\] needs one for each of the labels \(a, b\)"):
        parameters.stage_parameters("03_active_learning", values)
    assert parameters.stage_parameters("03_active_learning", values | {name: ["one", "two"]})[name] == ["one", "two"]


@pytest.mark.parametrize("value", [[""], [" "], ["a", "a"]])
def test_lists_of_names_have_no_empty_and_no_double_one(value):
    for name in parameters.NAMES:
        with pytest.raises(UserError, match="names one twice, or has an empty name"):
            parameters.check_value(name, value)


def test_text_in_another_encoding_is_refused():
    with pytest.raises(UserError, match="is not valid UTF-8"):
        parameters.check_value("text_column", b"citt\xe0".decode("utf-8", "surrogateescape"))
