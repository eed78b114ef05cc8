"""Which stage of a run takes labels that were imported, and for which records it goes on waiting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from helpers.env import short_path
from helpers.labels import exchange, seats
from helpers.manifest import read_facts

Written = tuple[Path, str, str]  # folder of logs, annotator, record id
TAKEN = {"01": "seed and evaluation rows of 01", "02": "synthetic rows of 02", "03": "pool of 03"}


@dataclass
class Readers:
    """The stages of a run as readers of labels.

    `folders` are theirs by number. `asked` are the seed and evaluation rows that 01 asks people about, `given` those whose
    answer came with the data, `pool` the rows that 03 chooses from. 03 takes the answers of `labeller`; those of the oracle
    are kept under the name of the strategy.
    """

    folders: dict[str, Path]
    asked: set[str]
    given: set[str]
    pool: set[str]
    labeller: str
    strategy: str

    def __post_init__(self) -> None:
        own = {number: folder.resolve() / "labels" for number, folder in self.folders.items()}
        answers_of = self.strategy if self.labeller == "oracle" else self.labeller
        self.human = [own["03"] / "human", own["01"]]  # where people's answers are
        self.logs = {"01": [own["01"], own["03"] / "human"], "02": [own["02"]], "03": [own["03"] / answers_of]}
        self.logs["03"] += [own["01"]] if self.labeller != "oracle" else []

    def fate(self, place: Path, record: str) -> str:
        """The number of the stage that takes the label of a record from a folder of logs, or why none does."""
        if place in self.logs["02"]:
            return "02"
        if record in self.given:
            return "given"
        if record in self.asked:
            return "01" if place in self.logs["01"] else "elsewhere"
        if record in self.pool and place in self.logs["03"]:
            return "03"
        return "elsewhere" if place not in self.human else "labeller" if record in self.pool else "synthetic"


def what_counts(readers: Readers, written: Sequence[Written]) -> tuple[list[str], list[str]]:
    """(where imported labels count, notes on those that do not or not yet, each with its remedy)."""
    places = {place: place.resolve() for place, _, _ in written}
    fates: dict[str, list[Written]] = {}
    for place, name, record in written:
        fates.setdefault(readers.fate(places[place], record), []).append((places[place], name, record))
    lines = [f"of these, for the {TAKEN[k]}, which is due again: {len(fates[k])}" for k in TAKEN if k in fates]
    reasons = {
        "given": "are of seed and evaluation rows whose answer comes with the data, which counts: correct the data.",
        "labeller": f"are of the pool, where this run takes labels of {readers.labeller}: a run with -p labeller human does.",
        "synthetic": f"are of synthetic rows: --folder {short_path(readers.logs['02'][0])} takes them to 02, which reads them.",
    }
    notes = [f"{len(fates[fate])} {words}" for fate, words in reasons.items() if fate in fates]
    for place, count in Counter(place for place, _, _ in fates.get("elsewhere", [])).items():
        remedy = "without --folder they go where they count"
        notes.append(f"{count} are in {short_path(place)}, from which no stage of this run takes them: {remedy}.")
    tied = set().union(*map(exchange.tied_records, places))
    if even := len(tied & {record for _, _, record in written}):
        remedy = "to correct what NAME said, import them with --annotator NAME"
        notes.append(
            f"{even} have now as many votes for one label as for another, so that none of them counts: {remedy}."
        )
    return lines, notes + [note for stage in TAKEN for note in _waiting(readers, stage, fates.get(stage, []))]


def _waiting(readers: Readers, stage: str, written: Sequence[Written]) -> list[str]:
    """What to say where a stage asks other people than those whose labels were imported."""
    folder, logs = readers.folders[stage], readers.logs[stage][0]
    listed = {name: ids for name, ids in read_facts(folder / "waiting.json").items() if isinstance(ids, list)}
    queues = {name: [i for i in ids if isinstance(i, str)] for name, ids in listed.items()}
    if stage == "01":  # there each of those who are asked may answer for another
        queues = seats.keep_seats(queues, logs)
    open_to = {name: set(ids) for name, ids in seats.pending(logs, queues).items()}
    answers = {(name, i) for place, name, i in written if place == logs and any(i in ids for ids in open_to.values())}
    if not answers:
        return []
    waiting = {record for _, record in answers}
    said = ", ".join(sorted({name for name, _ in answers}))
    asked = ", ".join(name for name, ids in open_to.items() if ids & waiting)
    problem = f"{folder.name} goes on waiting for {len(waiting)} of them, because it asks {asked} and not {said}"
    remedy = f"import them as of {asked} (--annotator), or put {said} into the parameter annotators of {folder.name}"
    return [f"{problem}: {remedy}."]
