"""Where a person is in the run: which batch of how many, the scores so far, and whether the stopping rule says stop."""

from __future__ import annotations

from collections.abc import Sequence

from helpers.text import plural

SCORES = {
    "macro_f1": "macro-F1",
    "compliance": "share that complies",
}  # what a round of either kind of task is measured by


class Course:
    """Reads the rounds of the run as they are now: a panel that retrains adds to the list while a person labels.

    Parameters
    ----------
    rounds : list of dict
        Finished rounds in order, each with `picks` (record ids), one of `SCORES`, `stop` and perhaps `advice`, sentences or ''.
    batches : int
        How many batches the run will ask for; 0 where it has none.
    validation_rows : int
        How many rows the rounds are scored on; 0 where nobody says.
    """

    def __init__(self, rounds: Sequence[dict], batches: int, validation_rows: int = 0):
        self.rounds, self.batches, self.validation_rows = rounds, batches, validation_rows
        self._number: dict[str, int] = {}  # record id → its batch, from 1
        self._read = 0

    @property
    def is_over(self) -> bool:
        """Whether the run's own rule ends it: all cells run again finish it."""
        return bool(self.rounds and self.rounds[-1].get("stop"))

    @property
    def stop(self) -> str:
        """That the person may stop, why and how, '' where neither the run's rule nor a flat curve says so."""
        latest = self.rounds[-1] if self.rounds else {}
        if self.is_over:
            return f"You may stop now. {latest['stop']}"
        if not latest.get("advice"):
            return ""
        batches = sum(bool(row["picks"]) for row in self.rounds[:-1])
        how = (
            f"set rounds = {batches} in the notebook's parameters and run all cells; labels stay, the curve begins anew"
        )
        return f"You may stop now. {latest['advice']} To stop, {how}."

    def scores(self) -> list[float]:
        return [row[name] for row in self.rounds for name in SCORES if name in row]

    def measured(self) -> str:
        """What the scores are: `macro-F1 on 40 validation rows`."""
        names = {words for row in self.rounds for name, words in SCORES.items() if name in row}
        rows = plural(self.validation_rows, "validation row") if self.validation_rows else "the validation rows"
        return f"{' or '.join(sorted(names))} on {rows}"

    def batch(self, record_id: str | None) -> int:
        """The batch that a text belongs to; without a text the latest, 0 where there is none."""
        if len(self.rounds) != self._read:
            self._number = {i: n for n, row in enumerate(self.rounds, 1) for i in row["picks"]}
            self._read = len(self.rounds)
        latest = sum(bool(row["picks"]) for row in self.rounds)
        return self._number.get(record_id, latest) if record_id else latest
