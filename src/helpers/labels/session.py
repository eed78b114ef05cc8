"""One annotator's labelling session: what is labelled, what comes next, undo, counts and pace. No widgets here.

The state is the annotator's log replayed (see `labels`): a change counts only once it is on the disk.
"""

from __future__ import annotations

import re
import statistics
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from helpers.env import UserError
from helpers.labels import log

Key = tuple[str, bool]  # record id, and whether this is its second showing


class Session:
    """Records in the order of their showing, with what one annotator has said about each.

    `fits` tells whether a label in the log is one that this session can give; `classes` names what it counts as. A
    record given twice is a repeat for self-consistency: its second showing has a label of its own.
    """

    def __init__(
        self,
        records: Iterable[dict],
        folder: Path,
        annotator: str,
        guideline: str = "",
        fits: Callable[[Any], bool] = lambda label: True,
        classes: Callable[[Any], list[str]] = lambda label: [str(label)],
    ):
        self.folder, self.annotator = Path(folder), log.check_annotator(annotator)
        self.guideline = log.guideline_version(guideline)
        self.fits, self.classes = fits, classes
        self.records: list[dict] = []
        self.keys: list[Key] = []
        self.place: dict[Key, int] = {}
        self.add(records)
        self.reload()

    # --- the records ---

    def add(self, records: Iterable[dict], repeats: bool = True) -> int:
        """Append records and return how many; with `repeats=False` those that stand in the list already are left out."""
        before = len(self.records)
        for number, record in enumerate(records, 1):
            check_record(record, number)
            key = (record["id"], False)
            if key in self.place:
                if not repeats:
                    continue
                key = (record["id"], True)
                if key in self.place:
                    raise UserError(f"Row {number} of records shows {record['id']!r} a third time: twice at most.")
            self.place[key] = len(self.records)
            self.records.append(record)
            self.keys.append(key)
        if before:  # the first records are counted by reload()
            for key in self.keys[before:]:
                self._count(key, 1)
        return len(self.records) - before

    def reload(self) -> None:
        """Read the log anew; events on records outside the list are kept in mind but neither counted nor undone."""
        rows = log.events(self.folder) if self.folder.exists() else []
        self.stacks: dict[str, list[dict]] = {}
        self.history: list[str] = []
        self.counts: Counter[str] = Counter()
        self.done = self.skipped = self.misfits = 0
        self.paces: deque[float] = deque(maxlen=20)
        for row in rows:
            if row["annotator"] == self.annotator:
                self._push(row)
        for record_id in self.stacks:
            for key in ((record_id, False), (record_id, True)):
                self._count(key, 1)
        self._size = self._log_size()

    # --- what is known of an item ---

    def answer(self, place: int) -> dict | None:
        """The `label` or `skip` event that stands for the item, None when it is open."""
        return self._answer(self.keys[place])

    def flagged(self, place: int) -> bool:
        return sum(row["event"] == "flag" for row in self._own(self.keys[place])) % 2 == 1

    def note(self, place: int) -> str:
        return next((r.get("text") or "" for r in reversed(self._own(self.keys[place])) if r["event"] == "note"), "")

    @property
    def open(self) -> int:
        """How many items are neither labelled nor skipped."""
        return len(self.records) - self.done

    @property
    def strangers(self) -> int:
        """How many records this annotator has labelled or skipped that are not in the list."""
        outside = (i for i in self.stacks if (i, False) not in self.place)
        return sum(any(self._latest((i, again)) for again in (False, True)) for i in outside)

    def next_open(self, after: int = -1, count: int = 1) -> list[int]:
        """Places of the next open items behind `after`, going round at the end of the list."""
        found: list[int] = []
        n = len(self.records)
        if not self.open:
            return found
        for step in range(1, n + 1):
            place = (after + step) % n
            if self.answer(place) is None:
                found.append(place)
                if len(found) == count:
                    break
        return found

    def search(self, words: str, limit: int = 50) -> list[int]:
        """Places whose text contains `words` in any case; without words, the latest answered first."""
        if not words.strip():
            latest = dict.fromkeys(reversed(self.history))
            keys = [(record_id, again) for record_id in latest for again in (True, False)]
            return [self.place[k] for k in keys if k in self.place and self._answer(k)][:limit]
        wanted, found = words.strip().casefold(), []
        for place, record in enumerate(self.records):
            if wanted in record["text"].casefold():
                found.append(place)
                if len(found) == limit:
                    break
        return found

    def a_minute(self) -> float:
        """Items a minute over the latest labels: from the median, so that a coffee break does not count."""
        middle = statistics.median(self.paces) if self.paces else 0.0
        return 60 / middle if middle else 0.0

    # --- what changes it ---

    def write(self, event: str, place: int, **facts: Any) -> dict:
        """Write an event on an item and return it; raises UserError, with nothing changed, when the disk refuses."""
        record_id, again = self.keys[place]
        self.catch_up()
        extra = {"repeat": True} if again else {}
        facts = {"guideline": self.guideline} | extra | facts
        row = log.append(self.folder, self.annotator, event, record_id, **facts)
        self._take(row)
        self._size = self._log_size()
        return row

    def undo(self) -> tuple[int, dict] | None:
        """Take back the latest event on an item of the list; return the item's place and the event, None at the start."""
        self.catch_up()
        for record_id in reversed(self.history):
            row = self.stacks[record_id][-1]
            place = self.place.get((record_id, bool(row.get("repeat"))))
            if place is not None:
                self.write("undo", place)
                return place, row
        return None

    def catch_up(self) -> bool:
        """Read the log anew when another window wrote to it; returns whether that was so."""
        changed = self._log_size() != self._size
        if changed:
            self.reload()
        return changed

    # --- inside ---

    def _log_size(self) -> int:
        path = self.folder / f"{self.annotator}.jsonl"
        try:
            return path.stat().st_size
        except OSError:
            return 0

    def _take(self, row: dict) -> None:
        key = (row["id"], bool(row.get("repeat")))
        if row["event"] == "undo" and self.stacks.get(row["id"]):
            key = (row["id"], bool(self.stacks[row["id"]][-1].get("repeat")))
        self._count(key, -1)
        self._push(row)
        self._count(key, 1)

    def _push(self, row: dict) -> None:
        stack = self.stacks.setdefault(row["id"], [])
        if row["event"] != "undo":
            stack.append(row)
            self.history.append(row["id"])
            if row["event"] == "label" and row.get("seconds"):
                self.paces.append(row["seconds"])
        elif stack:
            stack.pop()
            last = next(i for i in range(len(self.history) - 1, -1, -1) if self.history[i] == row["id"])
            del self.history[last]

    def _own(self, key: Key) -> list[dict]:
        return [row for row in self.stacks.get(key[0], ()) if bool(row.get("repeat")) is key[1]]

    def _latest(self, key: Key) -> dict | None:
        if key[0] not in self.stacks:  # most of a long list: next_open() asks this of every item
            return None
        return next((row for row in reversed(self._own(key)) if row["event"] in ("label", "skip")), None)

    def _answer(self, key: Key) -> dict | None:
        row = self._latest(key)
        return row if row and (row["event"] == "skip" or self.fits(row["label"])) else None

    def _count(self, key: Key, sign: int) -> None:
        if key not in self.place:
            return
        row = self._latest(key)
        if row is None:
            return
        if row["event"] == "label" and not self.fits(row["label"]):
            self.misfits += sign
            return
        self.done += sign
        if row["event"] == "skip":
            self.skipped += sign
        else:
            for name in self.classes(row["label"]):
                self.counts[name] += sign


class Feeder:
    """Asks for the next records in a thread of its own while the last ones are being labelled.

    `next_batch` gets the labels given since its last call (record id → label) and returns records, none to end.
    `arrived` is called in the thread, under the lock, with those records or with the exception that was raised.
    """

    def __init__(
        self,
        next_batch: Callable[[dict[str, Any]], list[dict]],
        arrived: Callable[[Any], None],
        lock: threading.RLock,
        size: int,
    ):
        """`size` is the number of records there are already; the other methods are called under the lock."""
        self.next_batch, self.arrived, self.lock, self.size = next_batch, arrived, lock, size
        self.new: dict[str, Any] = {}
        self.busy = self.ended = False

    def label(self, record_id: str, label: Any) -> None:
        """Keep a label for the next call."""
        self.new[record_id] = label
        self.ended = False

    def wants_more(self, left: int) -> bool:
        """Whether to ask now: a fifth of the last records is left, so that nobody waits for the learner."""
        return not self.busy and not self.ended and left <= self.size // 5 and bool(self.new or not self.size)

    def ask(self) -> None:
        """Start the thread; the labels given so far go with it."""
        self.busy, given, self.new = True, self.new, {}
        threading.Thread(target=self._run, args=(given,), daemon=True).start()

    def _run(self, given: dict[str, Any]) -> None:
        try:
            result: Any = list(self.next_batch(dict(given)))
        except Exception as error:  # it is the caller's code: whatever it raises is shown in the panel
            result = error
        with self.lock:
            self.busy = False
            if isinstance(result, Exception):
                self.new = given | self.new
            else:
                self.ended = not result and not self.new
                self.size = len(result) or self.size
            self.arrived(result)


# --- evidence: stretches [start, end] of a text, in characters ---


def merge(spans: Iterable[list[int]]) -> list[list[int]]:
    """Spans in order, those that overlap or touch made one."""
    merged: list[list[int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return merged


def trim(text: str, start: int, end: int) -> list[int] | None:
    """The span without blanks at its ends, None when nothing is left."""
    start, end = max(0, start), min(len(text), end)
    piece = text[start:end]
    return [end - len(piece.lstrip()), start + len(piece.rstrip())] if piece.strip() else None


def find(text: str, phrase: str, spans: Iterable[list[int]]) -> int:
    """Where `phrase` first stands in `text` outside `spans`, in any case; -1 if nowhere."""
    for match in re.finditer(re.escape(phrase), text, re.IGNORECASE):
        if not any(start <= match.start() and match.end() <= end for start, end in spans):
            return match.start()
    return -1


def check_record(record: Any, number: int) -> None:
    """Raises UserError when a row cannot be shown."""
    if not isinstance(record, dict):
        raise UserError(f"Row {number} of records is a {type(record).__name__}: give dicts with an id and a text.")
    for name in ("id", "text"):
        if not isinstance(record.get(name), str):
            raise UserError(f"Row {number} of records has no {name} that is text: every record needs an id and a text.")
