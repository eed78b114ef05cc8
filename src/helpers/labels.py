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
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from helpers.env import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

EVENTS = ("label", "undo", "skip", "flag", "note")
_NUMBER = (float, int)  # `float | int` is slower to test
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
        if not _is_event(row):
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


def events(folder: Path) -> list[dict]:
    """All events of all annotators in order of time, each once; an unreadable line is left out with a warning.

    Within a log the order of its lines holds, so that a clock that jumped back changes nothing.
    """
    with _no_collection():
        return list(_stream(folder))


def _stream(source: Path | list[dict]) -> Iterator[dict]:
    """The events one by one: a million of them need not be in memory at once, which also halves the time."""
    if isinstance(source, list):
        yield from source
        return
    seen: set[str] = set()
    logs = [_read_log(path, number) for number, path in enumerate(sorted(Path(source).glob("*.jsonl")))]
    for _, _, row in heapq.merge(*logs):  # within a log the merge keeps the order, whatever the times
        key = row.get("event_id") or json.dumps(row, sort_keys=True)
        if key not in seen:  # a log copied in under another name, or in part
            seen.add(key)
            yield row


def _read_log(path: Path, number: int) -> Iterator[tuple[float, int, dict]]:
    """(time, the log's number, event) of every readable line."""
    unreadable, name = [], path.stem
    try:
        with path.open("rb") as log:
            for place, line in enumerate(log, 1):
                row = _parse(line)
                if _is_event(row):
                    row.setdefault("annotator", name)
                    yield row["time"], number, row
                elif line.strip():
                    unreadable.append(place)
    except OSError as error:
        raise UserError(f"{path} could not be read ({error.strerror}): permission is missing, or the drive.") from error
    if unreadable:
        more = f" (and {len(unreadable) - 1} more)" if len(unreadable) > 1 else ""
        warnings.warn(f"{path}, line {unreadable[0]}{more}: not a readable event, left out.", stacklevel=2)


def _parse(line: bytes) -> Any:
    """The value of a line, None where it is torn or not UTF-8."""
    try:
        return orjson.loads(line)  # a million lines in 1.2 s; json takes 4.3
    except ValueError:
        with contextlib.suppress(ValueError):
            return json.loads(line)  # NaN, which orjson refuses
    return None


def _is_event(row: Any) -> bool:
    try:
        kind = row["event"]
        return (
            kind in EVENTS
            and isinstance(row["id"], str)
            and isinstance(row["time"], _NUMBER)
            and (kind != "label" or row["label"] is not None)
        )
    except (KeyError, TypeError):
        return False


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
    tops: dict[str, dict[str, tuple | None]] = {}
    with _no_collection():
        for row in _stream(source):
            own = tops.setdefault(row["annotator"], {})
            top = own.get(row["id"])  # (state, the top before it): undo goes back to that
            if row["event"] == "undo":
                own[row["id"]] = top and top[1]
            else:
                own[row["id"]] = (_after(row, top[0] if top else _UNTOUCHED), top)
        state = {name: {record: top[0] for record, top in own.items() if top} for name, own in tops.items()}
    return {name: own for name, own in state.items() if own}


def replay(source: Path | list[dict]) -> dict[str, Any]:
    """Current label of every record id: the adjudicator's, else the last one that stands, of whichever annotator."""
    last: dict[str, Any] = {}
    settled: dict[str, Any] = {}
    skipped: set[tuple[str, str]] = set()
    undone: dict[tuple[str, str], int] = {}
    with _no_collection():
        facts = [(e["annotator"], e["id"], e["event"], e.get("label"), e.get("repeat")) for e in _stream(source)]
        for annotator, record, kind, label, repeat in reversed(facts):  # from the end no state before an undo is needed
            if kind == "undo":
                undone[annotator, record] = undone.get((annotator, record), 0) + 1
            elif undone.get((annotator, record)):
                undone[annotator, record] -= 1
            elif kind == "label" and not repeat:
                found = settled if annotator == ADJUDICATOR else last
                if record not in found and (annotator, record) not in skipped:
                    found[record] = label
            elif kind == "skip" and not repeat:  # withdraws this annotator's earlier labels only
                skipped.add((annotator, record))
    return last | settled


_UNTOUCHED = {"label": None, "spans": [], "skipped": False, "flagged": False, "note": "", "time": 0.0}
_UNTOUCHED |= {"guideline": None, "shown": [], "seconds": 0.0, "reason": "", "repeats": []}


def _after(row: dict, state: dict) -> dict:
    """One annotator's state of a record after one more event."""
    kind, state = row["event"], state.copy()
    state["time"] = row["time"]
    if kind == "label" and row.get("repeat"):
        state["repeats"] = [*state["repeats"], row["label"]]
    elif kind == "label":
        state["label"], state["skipped"] = row["label"], False
        state["spans"], state["shown"] = row.get("spans") or [], row.get("shown") or []
        state["guideline"], state["seconds"] = row.get("guideline"), row.get("seconds") or 0.0
        state["reason"] = row.get("reason") or ""
    elif kind == "skip" and not row.get("repeat"):
        state["label"], state["skipped"], state["spans"] = None, True, []
    elif kind == "flag":
        state["flagged"] = not state["flagged"]
    elif kind == "note":
        state["note"] = row.get("text") or ""
    return state


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
