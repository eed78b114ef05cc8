"""What takes long says how far it is: a bar in a notebook or a terminal, plain lines where nobody watches."""

from __future__ import annotations

import sys
from html import escape
from typing import Any, ClassVar

from tqdm import tqdm

from helpers import env

PATIENCE = 2.0  # seconds before a bar is worth showing
EVERY = 30.0  # seconds between two lines in batch, where every line stays


class Bar(tqdm):
    """A bar over `total` units of work; of nested ones the outermost is shown.

    Parameters
    ----------
    total : int
    what : str
        What is done, such as `training`; no text of the data.
    unit : str
        What is counted, in the singular.

    Attributes
    ----------
    loss : number or tensor with one number, optional
        Shown beside the count. It is read only when the bar is drawn, because on a GPU that waits for it.
    """

    monitor_interval = 0  # no second thread that draws
    shown: ClassVar[list[Bar]] = []

    def __init__(self, total: int, what: str, unit: str = "text"):
        self.loss, self.output = None, None
        self.frontend = env.frontend()
        # (whether it is hidden, or None: unless this is a terminal; seconds before it is drawn, and between two draws)
        hidden, delay, every = {
            "terminal": (None, PATIENCE, 0.1),
            "notebook": (False, PATIENCE, PATIENCE / 4),
            "batch": (False, EVERY, EVERY),
        }[self.frontend]
        options: dict[str, Any] = {"delay": delay, "mininterval": every, "disable": True if self.shown else hidden}
        if self.frontend != "terminal":
            options |= {"gui": True, "miniters": 1}
        super().__init__(total=total, desc=what, unit=unit, leave=False, **options)
        if not self.disable:
            self.shown.append(self)

    def sentence(self) -> str:
        """How far it is, and how long it will take."""
        facts = self.format_dict
        parts = [f"{self.n:,} of {self.total:,} {self.unit}s"]
        if self.loss is not None:
            parts.append(f"loss {float(self.loss):.3f}")
        rate = facts["rate"] or (self.n - self.initial) / max(facts["elapsed"], 1e-9)
        if rate:
            parts.append(f"about {duration((self.total - self.n) / rate)} left")
        return f"{self.desc}: {', '.join(parts)}"

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Draw it anew; tqdm calls this."""
        if self.frontend == "terminal":
            if self.loss is not None:
                self.set_postfix({"loss": f"{float(self.loss):.3f}"}, refresh=False)
            super().display(msg, pos)
        elif self.frontend == "batch":
            # In a kernel the line belongs to the cell; elsewhere standard output may be the answers.
            print(self.sentence(), flush=True, file=sys.stdout if env.in_kernel() else sys.stderr)
        else:
            self._show(f'<progress value="{self.n}" max="{self.total}"></progress> {escape(self.sentence())}')

    def _show(self, html: str) -> None:
        from IPython.display import HTML, display

        if self.output is None:
            self.output = display(HTML(html), display_id=True)
        else:
            self.output.update(HTML(html))

    def close(self) -> None:
        if self in self.shown:
            self.shown.remove(self)
        if self.output is not None:  # a finished bar leaves nothing in the notebook
            self._show("")
            self.output = None
        super().close()


def duration(seconds: float) -> str:
    """A time in the unit that a reader would use."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
