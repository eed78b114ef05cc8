"""The parameters and the recipe of a run: a notebook's parameter cell under a profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from helpers.core.recipe import Recipe
from helpers.parameters import notebook_parameters

ROOT = Path(__file__).parents[2]


def parameters(profile: str, notebook: str = "03_active_learning") -> dict[str, Any]:
    """The parameters of a notebook under `params/profiles/<profile>.yaml`."""
    settings = yaml.safe_load((ROOT / "params" / "profiles" / f"{profile}.yaml").read_text(encoding="utf-8"))
    return notebook_parameters(ROOT / "notebooks" / f"{notebook}.ipynb") | settings


def recipe(profile: str, notebook: str = "03_active_learning", **changes: Any) -> Recipe:
    """The recipe that a notebook trains with under a profile, with a benchmark's own `changes`."""
    return Recipe.from_params(parameters(profile, notebook) | changes)
