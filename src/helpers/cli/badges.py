"""`ambo badges`: where the notebooks of this copy are on GitHub, for Colab and Kaggle."""

from __future__ import annotations

from typing import Annotated

import typer

from helpers import colab, env
from helpers.text import plural, say


def badges(
    repository: Annotated[str, typer.Argument(help='OWNER/NAME on GitHub; "" takes the badges out')],
    branch: Annotated[str, typer.Option(help="the branch that Colab opens")] = "main",
) -> None:
    """Write the badge that opens it in Colab, and what its first cell clones there, into every notebook."""
    changed = colab.write_badges(env.root() / "notebooks", repository, branch)
    where = f"of {repository}, branch {branch}" if repository else "without a repository"
    say(f"{plural(len(changed), 'notebook')} changed: {where}")
