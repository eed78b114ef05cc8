"""The append-only label store: one JSONL event log per annotator, flushed and fsynced at every event.

What the logs say when replayed is the state; nothing else is kept. Logs merge by copying files into one folder: every
event has an `event_id` and counts once. Facts of a `label` event: `label` (text; a list for several choices; a dict for
several fields), and where they apply `spans` (list of [start, end] characters), `guideline` (version), `shown`
(suggestions that were visible, [] when blind), `seconds`, `repeat` (shown a second time), `reason` (adjudication).
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import heapq
import json
import os
import re
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from helpers.env import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

EVENTS = ("label", "undo", "skip", "flag", "note")
ADJUDICATOR = "adjudicator"  # its decisions go before everyone's labels


# --- writing ---------------------------------------------------------------------------------------------------------


def append(folder: Path, annotator: str, event: str, record_id: str, **facts: Any) -> dict:
    """Write one event to `<folder>/<annotator>.jsonl` and return it once it is on the disk.

    `undo` takes back this annotator's latest event on the record that still stands, of whatever kind; `skip` withdraws
    the label; a second `flag` removes the first; `note` carries `text`. Raises UserError on an unknown event, a name that
    cannot be a file's, or when the disk refuses; what was written before stays as it was.
    """
    return append_all(folder, annotator, [{"event": event, "id": record_id, **facts}])[0]


def append_all(folder: Path, annotator: str, rows: Sequence[dict]) -> list[dict]:
    """Write many events of one annotator with one fsync: all of them are on the disk on return, or none is.

    Events that bring no id or time get them here.
    """
    folder = Path(folder)
    now = {"time": round(time.time(), 3), "annotator": check_annotator(annotator)}
    rows = [{"event_id": os.urandom(8).hex()} | now | row for row in rows]
    for row in rows:
        if row["event"] not in EVENTS:
            raise UserError(f"Event {row['event']!r} is unknown: use one of {', '.join(EVENTS)}.")
        if not isinstance(row["id"], str) or (row["event"] == "label" and row.get("label") is None):
            raise UserError(
                f"A {row['event']} event on record {row['id']!r} needs a record id that is text and a label."
            )
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path = folder / f"{annotator}.jsonl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("ab+", buffering=0) as log:
            _write(log, lines.encode("utf-8", "replace"))  # a lone surrogate cannot be saved
        if fcntl and rows:
            _sync_folder(folder)
    except OSError as error:
        raise UserError(
            f"{path}: the label was NOT saved ({error.strerror}): make room there, or allow writing, and do it again."
        ) from error
    return rows


def check_annotator(name: str) -> str:
    """`name`, when it can be a file's name on every system; raises UserError otherwise."""
    if not isinstance(name, str) or not re.fullmatch(r"[\w-](?:[\w .@+-]{0,62}[\w@+-])?", name):
        raise UserError(f"Annotator {name!r} names a file: use 1 to 64 letters, digits, blanks and . _ - @ + only.")
    return name


def _write(log, lines: bytes) -> None:
    """Append whole lines under a lock; when the disk refuses, nothing of them stays."""
    with _locked(log) as locked:
        before = log.seek(0, os.SEEK_END)
        if before and not _ends_a_line(log):
            lines = b"\n" + lines  # a crash cut the last event: it stays as the torn line it is
        try:
            while lines:  # an unbuffered write may take a part only
                lines = lines[log.write(lines) :]
            os.fsync(log.fileno())
        except OSError:
            if locked:  # without a lock the end may be another process's event
                with contextlib.suppress(OSError):
                    log.truncate(before)
            raise


@contextlib.contextmanager
def _locked(log) -> Iterator[bool]:
    """Hold the log against other writers; False where there are no locks (mounted drives, Windows)."""
    try:
        fcntl.flock(log, fcntl.LOCK_EX)
    except (OSError, AttributeError):
        yield False
        return
    try:
        yield True
    finally:
        fcntl.flock(log, fcntl.LOCK_UN)


def _ends_a_line(log) -> bool:
    log.seek(-1, os.SEEK_END)
    return log.read(1) == b"\n"


def _sync_folder(folder: Path) -> None:
    """Put a new log's name on the disk too; some file systems cannot, and then it is theirs to keep."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# --- reading ---------------------------------------------------------------------------------------------------------


class _Answer(msgspec.Struct, gc=False):
    """What `replay` needs of an event: read and kept in a third of the time and memory that a dict takes."""

    event: Literal[EVENTS]
    id: str
    time: float | int
    event_id: str | int | None = None
    annotator: str | None = None
    label: Any = None
    repeat: Any = False


class _Event(_Answer, gc=False):
    """What the whole state needs."""

    spans: Any = None
    guideline: Any = None
    shown: Any = None
    seconds: Any = None
    reason: Any = None
    text: Any = None


def events(folder: Path) -> list[dict]:
    """All events of all annotators in order of time, each once; an unreadable line is left out with a warning.

    Within a log the order of its lines holds, so that a clock that jumped back changes nothing.
    """
    rows = []
    with _no_collection():
        for event, line in _stream(Path(folder), _Answer):
            rows.append(row := _dict(line))
            row["annotator"] = event.annotator
    return rows


def _stream(folder: Path, kind: type) -> Iterator[tuple[Any, bytes]]:
    """(event, its line) one by one: a million of them need not be in memory at once."""
    seen: set[str | int] = set()
    logs = [_read_log(path, number, kind) for number, path in enumerate(sorted(folder.glob("*.jsonl")))]
    for _, _, event, line in heapq.merge(*logs):  # within a log the merge keeps the order, whatever the times
        key = event.event_id or json.dumps([event.annotator, _dict(line)], sort_keys=True)
        if key not in seen:  # a log copied in under another name, or in part
            seen.add(key)
            yield event, line


def _read_log(path: Path, number: int, kind: type) -> Iterator[tuple[float, int, Any, bytes]]:
    """(time, the log's number, event, its line) of every readable line."""
    unreadable, decode = [], msgspec.json.Decoder(kind).decode
    try:
        with path.open("rb") as log:
            for place, line in enumerate(log, 1):
                try:
                    event = decode(line.decode())  # bytes would not be checked where a field is passed over
                except (ValueError, RecursionError):
                    event = _unusual(line, kind)
                if event and (event.label is not None or event.event != "label"):
                    event.annotator = sys.intern(path.stem if event.annotator is None else event.annotator)
                    if type(event.label) is str:
                        event.label = sys.intern(event.label)  # once in memory, not a million times
                    yield event.time, number, event, line
                elif line.strip():
                    unreadable.append(place)
    except OSError as error:
        raise UserError(f"{path} could not be read ({error.strerror}): permission is missing, or the drive.") from error
    if unreadable:
        more = f" (and {len(unreadable) - 1} more)" if len(unreadable) > 1 else ""
        warnings.warn(f"{path}, line {unreadable[0]}{more}: not a readable event, left out.", stacklevel=2)


def _unusual(line: bytes, kind: type) -> Any:
    """The event of a line with NaN, half a surrogate or a byte order mark, which msgspec refuses; None where it is torn."""
    with contextlib.suppress(ValueError, RecursionError):
        return msgspec.convert(json.loads(line), kind)
    return None


def _dict(line: bytes) -> dict:
    """A readable line with all its facts."""
    try:
        return msgspec.json.decode(line)
    except ValueError:
        return json.loads(line)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection while many small objects are made: it would walk all of them again and again."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


# --- state -----------------------------------------------------------------------------------------------------------


def annotations(source: Path | list[dict]) -> dict[str, dict[str, dict]]:
    """What every annotator says of every record now: annotator → record id → state, from a folder or from `events`.

    A state has label (None when skipped or only noted), spans, skipped, flagged, note, time, guideline, shown, seconds,
    reason, and repeats (labels given when the record was shown again). Records with everything undone are left out.
    """
    state: dict[str, dict[str, dict]] = {}
    with _no_collection():
        for event in reversed(list(_standing(source, _Event))):
            own = state.setdefault(event.annotator, {})
            if event.id not in own:
                own[event.id] = _UNTOUCHED.copy()
            _apply(event, own[event.id])
    return state


def replay(source: Path | list[dict]) -> dict[str, Any]:
    """Current label of every record id: the adjudicator's, else the last one that stands, of whichever annotator."""
    last: dict[str, Any] = {}
    settled: dict[str, Any] = {}
    skipped: set[tuple[str, str]] = set()
    with _no_collection():
        for event in _standing(source, _Answer):
            if event.repeat:
                continue
            if event.event == "label":
                found = settled if event.annotator == ADJUDICATOR else last
                if event.id not in found and (event.annotator, event.id) not in skipped:
                    found[event.id] = event.label
            elif event.event == "skip":  # withdraws this annotator's earlier labels only
                skipped.add((event.annotator, event.id))
    return last | settled


def _standing(source: Path | list[dict], kind: type) -> Iterator[Any]:
    """The events that no undo takes back, the latest first: from the end no state before an undo is needed."""
    rows = (
        msgspec.convert(source, list[kind])
        if isinstance(source, list)
        else [event for event, _ in _stream(Path(source), kind)]
    )
    undone: dict[tuple[str, str], int] = {}
    for event in reversed(rows):
        key = event.annotator, event.id
        if event.event == "undo":
            undone[key] = undone.get(key, 0) + 1
        elif undone.get(key):
            undone[key] -= 1
        else:
            yield event


_UNTOUCHED = {"label": None, "spans": [], "skipped": False, "flagged": False, "note": "", "time": 0.0}
_UNTOUCHED |= {"guideline": None, "shown": [], "seconds": 0.0, "reason": "", "repeats": []}


def _apply(event: _Event, state: dict) -> None:
    """Bring one annotator's state of a record up to one more event."""
    state["time"] = event.time
    if event.event == "label" and event.repeat:
        state["repeats"] = [*state["repeats"], event.label]
    elif event.event == "label":
        state["label"], state["skipped"] = event.label, False
        state["spans"], state["shown"] = event.spans or [], event.shown or []
        state["guideline"], state["seconds"] = event.guideline, event.seconds or 0.0
        state["reason"] = event.reason or ""
    elif event.event == "skip" and not event.repeat:
        state["label"], state["skipped"], state["spans"] = None, True, []
    elif event.event == "flag":
        state["flagged"] = not state["flagged"]
    elif event.event == "note":
        state["note"] = event.text or ""


def unmatched(state: dict[str, dict[str, dict]], ids) -> list[str]:
    """Record ids of the logs that are not among `ids`; raises UserError when none is: the log is another project's."""
    known, found = set(ids), {record for answers in state.values() for record in answers}
    missing = sorted(found - known)
    if found and len(missing) == len(found):
        raise UserError(
            f"None of the {len(found)} labelled record ids (first: {missing[0]}) is among the {len(known)} records: "
            "the logs are of another task or another run; check the folder."
        )
    return missing


def outside(state: dict[str, dict[str, dict]], task_labels: Sequence[str]) -> dict[str, int]:
    """Labels in the logs that the task does not have (a class was removed or renamed), with their counts."""
    counts: dict[str, int] = {}
    for answers in state.values():
        for answer in answers.values():
            values = answer["label"] if isinstance(answer["label"], list) else [answer["label"]]
            for value in values:
                if isinstance(value, str) and value not in task_labels:
                    counts[value] = counts.get(value, 0) + 1
    return counts


def guideline_version(text: str) -> str:
    """8 hexadecimal digits that change when the guideline's wording does; line ends and outer blanks do not count."""
    lines = [line.rstrip() for line in text.strip().splitlines()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]
