"""Which stage of a run takes labels that were imported, and for which records it goes on waiting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from helpers.data.records import asks_people
from helpers.env import short_path
from helpers.labels import decisions, exchange, log, seats
from helpers.manifest import is_manifest, read_facts, stored_name

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
        human, first = self.folders["03"] / "labels" / "human", self.folders["01"] / "labels"
        self.human = [human.resolve(), first.resolve()]  # where people's answers are
        answers_of = seats.log_folder(human.parent, self.labeller, self.strategy)
        own = {"01": first, "02": self.folders["02"] / "labels", "03": answers_of}
        self.logs = {number: [folder.resolve()] for number, folder in own.items()}
        if self._is_due_with("01", human):
            self.logs["01"].append(human.resolve())
        if self.labeller != "oracle" and self._is_due_with("03", first):
            self.logs["03"].append(first.resolve())

    def fate(self, place: Path, record: str) -> str:
        """The number of the stage that takes the label of a record from a folder of logs, or why none does."""
        if place in self.logs["02"]:
            return "02"
        if record in self.given:
            return "given"
        if record in self.asked:
            return "01" if self._takes("01", place, record) else "elsewhere"
        if record in self.pool and self._takes("03", place, record):
            return "03"
        if place not in self.human or (record in self.pool and asks_people(self.labeller)):
            return "elsewhere"
        return "labeller" if record in self.pool else "synthetic"

    def _takes(self, stage: str, place: Path, record: str) -> bool:
        """Whether a stage takes a record's label from a folder of logs; from that of another stage, what its own do not say."""
        own, *others = self.logs[stage]
        return place == own or (place in others and record not in self._own_answers[stage])

    @cached_property
    def _own_answers(self) -> dict[str, dict[str, str]]:
        return {stage: exchange.settled_labels(self.logs[stage][0]) for stage in ("01", "03")}

    def _is_due_with(self, stage: str, logs: Path) -> bool:
        """Whether a label in the logs of another stage makes this one due: not where it has finished without reading them."""
        facts = read_facts(self.folders[stage] / "manifest.json")
        has_finished = is_manifest(facts) and facts["status"] == "success"
        return not has_finished or stored_name(logs) in facts["inputs"]


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
    notes += _outvoted(written)
    return lines, notes + [note for stage in TAKEN for note in _waiting(readers, stage, fates.get(stage, []))]


def _outvoted(written: Sequence[Written]) -> list[str]:
    """What to say of labels that do not decide their record, because of what the logs say beside this import."""
    votes: dict[Path, dict[str, set[str]]] = {}  # place → record → whose labels were imported
    for place, name, record in written:
        votes.setdefault(place, {}).setdefault(record, set()).add(name)
    even, lost, winners, overruled = 0, 0, set(), Counter()
    for place, imported in votes.items():
        decided = decisions.decisions(log.annotations(place))
        for record, names in imported.items():
            decision, labels = decided[record], decided[record]["labels"]
            losing = {name for name in names if str(labels[name]) != str(decision["label"])}
            against = {name for name in labels if str(labels[name]) == str(decision["label"])} - names
            if decision["decided"] == "tie":
                even += 1
            elif decision["decided"] == log.ADJUDICATOR:
                overruled[place] += len(losing)
            elif losing and against:
                lost, winners = lost + len(losing), winners | against
    notes = []
    if even:
        remedy = "to correct what NAME said, import them with --annotator NAME"
        notes.append(
            f"{even} have now as many votes for one label as for another, so that none of them counts: {remedy}."
        )
    if lost:
        remedy = (
            f"to correct what {' and '.join(sorted(winners))} said, import them with --annotator, once for each name"
        )
        notes.append(f"{lost} of these lose against other votes: {remedy}.")
    for place, count in (+overruled).items():
        remedy = f"correct {log.ADJUDICATOR}.jsonl in {short_path(place)}"
        notes.append(f"{count} change nothing, because the adjudicator has decided otherwise: {remedy}.")
    return notes


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
