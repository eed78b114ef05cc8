"""One annotator's labelling session: what is labelled, what comes next, undo, counts and pace. No widgets here.

The state is what replaying the annotator's log gives (see `log`): a change counts only once it is on the disk.
"""

from __future__ import annotations

import re
import statistics
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from helpers.env import UserError
from helpers.labels import log
from helpers.text import searchable

SHORTEST = 0.01  # seconds: nobody labels in less
FEWEST = 5  # labels from which a pace is known
Key = tuple[str, bool]  # record id, and whether this is its second showing


class Session:
    """Records in the order of their showing, with one annotator's answer to each.

    A record given twice is a repeat for self-consistency: its second showing has a label of its own. `fits` tells whether
    a label of the log is one that this session can give, `category` under which name a label is counted.
    """

    def __init__(
        self,
        records: Iterable[dict],
        folder: Path,
        annotator: str,
        guideline: str = "",
        fits: Callable[[Any], bool] = lambda label: True,
        category: Callable[[Any], str] = str,
    ):
        self.folder, self.annotator = Path(folder), log.check_annotator(annotator)
        self.guideline = log.guideline_version(guideline)
        self.fits, self.category = fits, category
        self.records: list[dict] = []
        self.keys: list[Key] = []
        self.place: dict[Key, int] = {}
        self.stacks: dict[str, list[dict]] = {}  # record id → its events that no undo takes back
        self.add(records)
        self.reload()  # counts what the log says of them

    # --- the records ---

    def add(self, records: Iterable[dict], repeats: bool = True) -> None:
        """Append records; with `repeats=False`, leave out those that are in the list already."""
        for number, record in enumerate(records, 1):
            fields = record if isinstance(record, dict) else {}
            if not all(isinstance(fields.get(name), str) for name in ("id", "text")):
                raise UserError(f"Row {number} of records is no dict with texts as `id` and `text`.")
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
            self._count(key, 1)

    def reload(self) -> None:
        """Read the log again; events on records outside the list are stored but neither counted nor undone."""
        self._size = self._log_size()  # before reading: what is written meanwhile makes the next look find a change
        rows = log.events(self.folder)
        self.stacks = {}
        self.history: list[str] = []
        self.counts: Counter[str] = Counter()
        self.done = self.skipped = self.misfits = 0
        self.paces: deque[float] = deque(maxlen=20)
        for row in rows:
            key = (row["id"], False)
            record = self.records[self.place[key]] if key in self.place else {}
            if row["annotator"] == self.annotator and log.is_of(row, record):
                self._push(row)
        for record_id in self.stacks:
            self._count((record_id, False), 1)
            self._count((record_id, True), 1)

    # --- what the log says of an item ---

    def answer(self, place: int) -> dict | None:
        """The `label` or `skip` event that stands for the item, None when it is open."""
        return self._answer(self.keys[place])

    def flagged(self, place: int) -> bool:
        return sum(row["event"] == "flag" for row in self._own(self.keys[place])) % 2 == 1

    def note(self, place: int) -> str:
        own = reversed(self._own(self.keys[place]))
        return next((row["text"] for row in own if row["event"] == "note" and "text" in row), "")

    @property
    def open(self) -> int:
        """How many items are neither labelled nor skipped."""
        return len(self.records) - self.done

    @property
    def unlisted(self) -> set[str]:
        """The records that this annotator has labelled or skipped and that are not in the list."""
        outside = (i for i in self.stacks if (i, False) not in self.place)
        return {i for i in outside if self._latest((i, False)) or self._latest((i, True))}

    def next_open(self, after: int = -1, count: int = 1) -> list[int]:
        """Places of the next open items after the place `after`, from the start again at the end of the list."""
        if not self.open:
            return []
        n = len(self.records)
        around = ((after + step) % n for step in range(1, n + 1))
        return list(islice((place for place in around if self.answer(place) is None), count))

    def search(self, words: str) -> list[int]:
        """Places whose text contains `words`, whatever the case or accents; without words, of those answered, latest first."""
        query = searchable(words)
        if not query:
            return [place for place in self.touched() if self.answer(place)]
        return [place for place, record in enumerate(self.records) if query in searchable(record["text"])]

    def touched(self) -> list[int]:
        """Places of the items that an event stands for, the latest first."""
        latest = dict.fromkeys(reversed(self.history))
        keys = [(record_id, again) for record_id in latest for again in (True, False)]
        return [self.place[key] for key in keys if key in self.place and self._own(key)]

    def items_a_minute(self) -> float:
        """Pace over the latest labels, from their median time so that a coffee break does not count; 0 until it is known."""
        seconds = statistics.median(self.paces) if len(self.paces) >= FEWEST else 0.0
        return 60 / seconds if seconds else 0.0

    # --- what changes it ---

    def write(self, event: str, place: int, **facts: Any) -> None:
        """Write an event on an item; raises UserError, with nothing changed, when the disk refuses."""
        record_id, again = self.keys[place]
        self.catch_up()
        facts = {"guideline": self.guideline} | facts
        if "proposed" in self.records[place]:
            facts["proposed"] = self.records[place]["proposed"]
        if again:
            facts["repeat"] = True
        row = log.append(self.folder, self.annotator, event, record_id, **facts)
        key = (record_id, again)
        if event == "undo" and self.stacks.get(record_id):
            key = (record_id, bool(self.stacks[record_id][-1].get("repeat")))
        self._count(key, -1)
        self._push(row)
        self._count(key, 1)
        self._size = self._log_size()

    def undo(self) -> tuple[int, dict] | None:
        """Take back the latest event on an item of the list; return the item's place and the event, None at the start."""
        self.catch_up()
        latest = self.latest()
        if latest:
            self.write("undo", latest[0])
        return latest

    def latest(self) -> tuple[int, dict] | None:
        """Place and event of the latest event on an item of the list."""
        for record_id in reversed(self.history):
            row = self.stacks[record_id][-1]
            place = self.place.get((record_id, bool(row.get("repeat"))))
            if place is not None:
                return place, row
        return None

    def catch_up(self) -> bool:
        """Read the log again if another window wrote to it, and return whether one did."""
        changed = self._log_size() != self._size
        if changed:
            self.reload()
        return changed

    # --- inside ---

    def _log_size(self) -> int:
        try:
            return (self.folder / f"{self.annotator}.jsonl").stat().st_size
        except OSError:
            return 0

    def _push(self, row: dict) -> None:
        stack = self.stacks.setdefault(row["id"], [])
        if row["event"] != "undo":
            stack.append(row)
            self.history.append(row["id"])
            if row["event"] == "label" and row.get("seconds", 0) >= SHORTEST:
                self.paces.append(row["seconds"])
        elif stack:
            stack.pop()
            last = next(i for i in range(len(self.history) - 1, -1, -1) if self.history[i] == row["id"])
            del self.history[last]

    def _own(self, key: Key) -> list[dict]:
        return [row for row in self.stacks.get(key[0], ()) if bool(row.get("repeat")) is key[1]]

    def _latest(self, key: Key) -> dict | None:
        if key[0] not in self.stacks:  # true for most of a long list, and next_open() asks it of every item
            return None
        return next((row for row in reversed(self._own(key)) if row["event"] in ("label", "skip")), None)

    def _answer(self, key: Key) -> dict | None:
        row = self._latest(key)
        return row if row and (row["event"] == "skip" or self.fits(row["label"])) else None

    def _count(self, key: Key, sign: int) -> None:
        row = self._latest(key) if key in self.place else None
        if row is None:
            return
        if row["event"] == "label" and not self.fits(row["label"]):
            self.misfits += sign
            return
        self.done += sign
        if row["event"] == "skip":
            self.skipped += sign
        else:
            self.counts[self.category(row["label"])] += sign


class Feeder:
    """Asks for the next records in a thread of its own while the last ones are being labelled.

    `next_batch` gets the labels since its last call (record id → label) and returns records; none ends the session.
    `arrived` is called in the thread, under the lock, with those records or with the exception that was raised. `size` is
    the number of records in the list at the start. Every method is called under the lock.
    """

    def __init__(
        self,
        next_batch: Callable[[dict[str, Any]], list[dict]],
        arrived: Callable[[Any], None],
        lock: threading.RLock,
        size: int,
    ):
        self.next_batch, self.arrived, self.lock, self.size = next_batch, arrived, lock, size
        self.labels: dict[str, Any] = {}
        self.busy = self.ended = False

    def label(self, record_id: str, label: Any) -> None:
        """Store a label for the next call."""
        self.labels[record_id] = label
        self.ended = False

    def wants_more(self, open_items: int) -> bool:
        """Whether to ask now: at most a fifth of the last records is open, so that nobody waits for the learner."""
        if self.busy or self.ended or open_items > self.size // 5:
            return False
        return bool(self.labels) or not self.size

    def ask(self) -> None:
        """Start the thread and hand it the labels since the last call."""
        labels, self.labels = self.labels, {}
        self.busy = True
        threading.Thread(target=self._run, args=(labels,), daemon=True).start()

    def _run(self, labels: dict[str, Any]) -> None:
        try:
            result: Any = list(self.next_batch(dict(labels)))
        except Exception as error:  # the caller's code can raise anything; the panel shows it
            result = error
        with self.lock:
            self.busy = False
            if isinstance(result, Exception):
                self.labels = labels | self.labels
            else:
                self.ended = not result and not self.labels
                self.size = len(result) or self.size
            self.arrived(result)


# --- evidence: spans [start, end] of a text, in characters ---


def merge(spans: Iterable[list[int]]) -> list[list[int]]:
    """Spans in order; those that overlap or touch become one."""
    merged: list[list[int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return merged


def trim(text: str, start: int, end: int) -> list[int] | None:
    """The span without blanks at its ends; None when nothing else is in it."""
    start, end = max(0, start), min(len(text), end)
    piece = text[start:end]
    return [end - len(piece.lstrip()), start + len(piece.rstrip())] if piece.strip() else None


def whole_words(text: str, start: int, end: int) -> list[int] | None:
    """The span without blanks at its ends and with the words that it cuts made whole; None when nothing is in it."""
    span = trim(text, start, end)
    if span is None:
        return None
    start, end = span
    while start and text[start - 1].isalnum() and text[start].isalnum():
        start -= 1
    while end < len(text) and text[end - 1].isalnum() and text[end].isalnum():
        end += 1
    return [start, end]


def find(text: str, phrase: str, spans: Iterable[list[int]]) -> int:
    """Position of the first `phrase` in `text` outside `spans`, upper or lower case alike; -1 without one."""
    for match in re.finditer(re.escape(phrase), text, re.IGNORECASE):
        if not any(start <= match.start() and match.end() <= end for start, end in spans):
            return match.start()
    return -1
