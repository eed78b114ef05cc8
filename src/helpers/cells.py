"""The cells that a kernel has run, beside those of the notebook: others can change what a stage does."""

from __future__ import annotations

import ast
import re
import sys

from helpers.colab import is_bootstrap
from helpers.manifest import code_cells


class Cells:
    """The cells that a kernel has run beside those that a stage's notebook has on the disk when the stage is opened."""

    def __init__(self, stage: str):
        self.own = {_without_commands(cell) for cell in code_cells(stage)}
        self.opening = max(0, len(self._run()) - 1)  # the cell that opens the stage is the last so far

    def count_foreign(self) -> int:
        """The number of cells that were run and are none of the notebook's; 0 outside a kernel, or without that notebook.

        What was run before the stage was opened counts too, for it can have changed a function; values do not count
        there, for parameters are given so.
        """
        run = [(number, cell, _without_commands(cell)) for number, cell in enumerate(self._run() if self.own else [])]
        others = [(number, rest) for number, cell, rest in run if rest and rest not in self.own and _is_code(cell)]
        others = [(number, rest) for number, rest in others if not is_bootstrap(rest)]
        return sum(number >= self.opening or not _has_values_only(rest) for number, rest in others)

    def _run(self) -> list[str]:
        shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
        return shell.history_manager.input_hist_raw if shell else []


def _is_code(cell: str) -> bool:
    """Whether a cell, as it was typed, could be run at all: of a slip that cannot be read nothing was."""
    try:
        from IPython.core.inputtransformer2 import TransformerManager

        ast.parse(TransformerManager().transform_cell(cell))
    except ImportError:
        return True
    except Exception:  # the transformer, too, stumbles over what is no code
        return False
    return True


def _without_commands(cell: str) -> str:
    """A cell without commands to the shell and those to the notebook that change no result, as Colab needs them."""
    return re.sub(r"(?m)^\s*(!|%(cd|pip|conda|matplotlib|config|load_ext)\b).*$", "", cell).strip()


def _has_values_only(cell: str) -> bool:
    """Whether a cell does nothing but give names to values."""
    try:
        for line in ast.parse(cell).body:
            if not (isinstance(line, ast.Assign) and all(isinstance(name, ast.Name) for name in line.targets)):
                return False  # `module.NAME = 1` changes what the package does
            ast.literal_eval(line.value)
    except (SyntaxError, ValueError, TypeError):
        return False
    return True
