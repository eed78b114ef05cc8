"""The append-only label store: one JSONL event log per annotator, flushed and fsynced at every event.

Replaying the logs gives the state; nothing else is stored. Logs merge by copying files into one folder: every event has
an `event_id` and counts once. A `label` event carries `label` and, where they apply, `spans` (list of [start, end] in
characters), `guideline` (version), `shown` (suggestions that were visible, [] when none was), `seconds`, `repeat` (shown
a second time), `reason` (of an adjudicator) and `together` (a token that labels given by one key share). A `skip` keeps
the `spans` that were marked. An event on a row that was shown with a proposed label has it as `proposed`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import heapq
import json
import os
import re
import time
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

from filelock import FileLock

from helpers.env import UserError
from helpers.text import plural

EVENTS = ("label", "undo", "skip", "flag", "note")
ADJUDICATOR = "adjudicator"  # this annotator's labels overrule everybody's
MACHINES = ("oracle", "teacher", "model")  # who label in batch, in logs of their own
LONGEST = 10 * 365 * 86_400  # seconds that one label can have taken
LOCK_SECONDS = 10  # how long a write waits for another process; a write takes milliseconds


# --- writing ---------------------------------------------------------------------------------------------------------


def append(folder: Path, annotator: str, event: str, record_id: str, **facts: Any) -> dict:
    """Write one event to `<folder>/<annotator>.jsonl` and return it once it is on the disk.

    `label` needs a `label` among the facts. `undo` takes back this annotator's latest standing event on the record, of
    whatever kind. `skip` withdraws the label. A second `flag` removes the first. `note` carries `text`. Facts are JSON
    values. When the event cannot be written, what was written before stays, and a UserError says why.
    """
    return append_all(folder, annotator, [{"event": event, "id": record_id, **facts}])[0]


def append_all(folder: Path, annotator: str, rows: Sequence[dict]) -> list[dict]:
    """Write many events of one annotator with one fsync: on return all of them are on the disk; on an error none is.

    Events without an id or a time get them here.
    """
    folder = Path(folder)
    defaults = {"time": round(time.time(), 3), "annotator": check_annotator(annotator)}
    rows = [{"event_id": os.urandom(8).hex()} | defaults | row for row in rows]
    for row in rows:
        if row["event"] not in EVENTS:
            raise UserError(f"Event {row['event']!r} is unknown: use one of {', '.join(sorted(EVENTS))}.")
        if not isinstance(row["id"], str) or (row["event"] == "label" and row.get("label") is None):
            raise UserError(
                f"A {row['event']} event on record {row['id']!r} needs a record id that is text and a label."
            )
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path = folder / f"{annotator}.jsonl"
    if not path.exists():
        refuse_look_alikes(folder, [annotator])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("ab+", buffering=0) as log, _lock(path) as locked:
            _write(log, lines.encode("utf-8", "replace"), locked)  # a lone surrogate cannot be saved
        _sync_folder(folder)
    except OSError as error:
        raise UserError(
            f"{path}: the label was NOT saved ({error.strerror}): make room there, or allow writing, and do it again."
        ) from error
    return rows


def refuse_look_alikes(folder: Path, annotators: Iterable[str]) -> None:
    """Raise UserError where a name differs in capitals alone from another one, or from that of a log in the folder."""
    logs = {log.stem for log in log_files(folder)}
    names: dict[str, str] = {name.casefold(): name for name in logs}
    for name in annotators:
        if (same := names.setdefault(name.casefold(), name)) != name and name not in logs:
            where = f"{folder} has a log of" if same in logs else "There is also"
            raise UserError(f"{where} {same!r}, and {name!r} differs in capitals alone: write it as there.")


def check_annotator(name: str) -> str:
    """Return `name` if it can be a file name on every system; raise UserError otherwise."""
    if not isinstance(name, str) or not re.fullmatch(r"[\w-](?:[\w .@+-]{0,62}[\w@+-])?", name):
        raise UserError(f"Annotator {name!r} names a file: use 1 to 64 letters, digits, blanks and . _ - @ + only.")
    return name


def check_person(name: str) -> str:
    """Return `name` if a person can have it; raises UserError for the adjudicator's name and those of machines.

    Upper and lower case are one: some drives keep `Adjudicator.jsonl` and `adjudicator.jsonl` in one file.
    """
    same = unicodedata.normalize("NFKC", str(name)).strip().casefold()
    if same == ADJUDICATOR:
        raise UserError(
            f"Annotator {name!r} would overrule everybody, as only the adjudication panel may: rename them."
        )
    if same in MACHINES:
        raise UserError(f"Annotator {name!r} is the name of a machine that labels: give the person another name.")
    return check_annotator(name)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[bool]:
    """Keep other writers out of a log, and yield whether that succeeded.

    What is locked is the open file `.<annotator>.lock`, not its existence: a file that a crash or a copied folder
    leaves behind keeps nobody out. Some mounted drives have no locks, and a halted process may hold one for good: the
    label is then saved without it.
    """
    # filelock's fallback for drives without locks goes by the file's existence: a copied file would lock us out.
    lock = FileLock(path.with_name(f".{path.stem}.lock"), timeout=LOCK_SECONDS, fallback_to_soft=False)
    try:
        lock.acquire(poll_interval=0.01)
    except (OSError, NotImplementedError) as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            raise  # an unlocked write could leave half a line on the full disk
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _write(log, lines: bytes, locked: bool) -> None:
    """Append whole lines to an open log; when the disk refuses, none of their bytes stays."""
    size = log.seek(0, os.SEEK_END)
    if size:
        log.seek(-1, os.SEEK_END)
        if log.read(1) != b"\n":
            lines = b"\n" + lines  # a crash cut the last event: its line stays torn and the new ones stay whole
    written = 0
    try:
        while written < len(lines):  # an unbuffered write may take only a part
            written += log.write(lines[written:])
        os.fsync(log.fileno())
    except OSError:
        # What follows could be another process's event, if that process works without the lock.
        if locked and log.seek(0, os.SEEK_END) == size + written:
            with contextlib.suppress(OSError):
                log.truncate(size)
        raise


def _sync_folder(folder: Path) -> None:
    """Put a new log's name on the disk too, where the system can (Windows and some mounted drives cannot)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


# --- reading ---------------------------------------------------------------------------------------------------------


def log_files(folder: Path) -> list[Path]:
    """The logs in a folder, sorted; what is hidden, as editors and copies leave it, is none."""
    return sorted(path for path in Path(folder).glob("*.jsonl") if not path.name.startswith("."))


def events(*folders: Path) -> list[dict]:
    """All events of all annotators in order of time, each once; unreadable lines are left out with a warning.

    So are events of the adjudicator, who overrules everybody, and of machines in a log of another name: somebody else has
    written it.

    The order of lines within a log is kept, so a clock that jumped back changes nothing.
    """
    logs = [_read_log(path) for folder in folders for path in log_files(folder)]
    rows: dict[str | int, dict] = {}
    for row in heapq.merge(*logs, key=lambda row: row["time"]):  # takes each log's lines in their order
        key = row.get("event_id") or json.dumps(row, sort_keys=True)
        rows.setdefault(key, row)  # the same event comes again where a log was copied under another name
    return list(rows.values())


def _read_log(path: Path) -> list[dict]:
    """The events of one log, in the order of its lines."""
    rows, unreadable, foreign = [], [], Counter()
    for number, row in _lines(path):
        if row is None:
            unreadable.append(number)
            continue
        if row["annotator"] in (ADJUDICATOR, *MACHINES) and row["annotator"] not in path.stem.casefold():
            foreign[row["annotator"]] += 1
            continue
        if row["time"] != row["time"]:  # NaN has no place in the order of time, its line has one
            row["time"] = rows[-1]["time"] if rows else 0
        rows.append(row)
    if unreadable:
        more = f" (and {len(unreadable) - 1} more)" if len(unreadable) > 1 else ""
        warnings.warn(f"{path}, line {unreadable[0]}{more}: not a readable event, left out.", stacklevel=3)
    for name, count in foreign.items():
        remedy = f"what {name!r} says stands in {name}.jsonl, or a copy whose name has that word"
        warnings.warn(f"{path}: {plural(count, 'event')} of {name!r} left out; {remedy}.", stacklevel=3)
    return rows


def _lines(path: Path) -> Iterator[tuple[int, dict | None]]:
    """(number, event) of every line that is not empty; None for one that is no event."""
    try:
        with path.open("rb") as log:
            for number, line in enumerate(log, 1):
                if line.strip():
                    yield number, _event(line, path.stem)
    except OSError as error:
        raise UserError(f"{path} could not be read ({error.strerror}): permission is missing, or the drive.") from error


def _event(line: bytes, annotator: str) -> dict | None:
    """The event of a line, without the fields that are of no use; None where it is no event."""
    try:
        row = json.loads(line)
        if b"\\ud" in line or b"\\uD" in line:  # half a character, which neither a table nor a page can hold
            row = json.loads(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    if not _is_event(row):
        return None
    row["annotator"] = row.get("annotator") or annotator
    return {name: value for name, value in row.items() if name not in USABLE or USABLE[name](value)}


def _is_event(row: Any) -> bool:
    """Whether a decoded line has what every event needs, in the right types."""
    return (
        isinstance(row, dict)
        and row.get("event") in EVENTS
        and isinstance(row.get("id"), str)
        and type(row.get("time")) in (int, float)
        and type(row.get("event_id")) in (str, int, NoneType)
        and type(row.get("annotator")) in (str, NoneType)
        and (row["event"] != "label" or row.get("label") is not None)
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_spans(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(span, list) and [type(n) for n in span] == [int, int] and 0 <= span[0] < span[1] for span in value
    )


# What an optional field has to be; an event keeps its label when another program, or a damaged disk, left something else.
USABLE: dict[str, Callable[[Any], bool]] = {
    "spans": _are_spans,
    "shown": lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "seconds": lambda value: type(value) in (int, float) and 0 <= value <= LONGEST,
    "repeat": lambda value: isinstance(value, bool),
    "reason": _is_text,
    "text": _is_text,
    "guideline": _is_text,
    "together": _is_text,
    "proposed": _is_text,
}


def is_of(event: dict, record: dict) -> bool:
    """Whether an event on a record holds for it as it is now: the label proposed for its text may be another since."""
    return event.get("proposed", record.get("proposed")) == record.get("proposed")


def place_of(folder: Path, annotator: str, record_id: str, label: Any) -> str:
    """File and line of the last event with which an annotator gave a record this label, for a sentence."""
    place = str(folder)
    for path in log_files(folder):
        for number, row in _lines(path):
            if row and (row["annotator"], row["id"], str(row.get("label"))) == (annotator, record_id, str(label)):
                place = f"{path}, line {number}"
    return place


# --- state -----------------------------------------------------------------------------------------------------------

NO_ANSWER = {"label": None, "spans": [], "skipped": False, "flagged": False, "note": "", "repeats": []}


def annotations(source: Path | list[dict]) -> dict[str, dict[str, dict]]:
    """What every annotator now says of every record, from the folder with the logs or from what `events` returned.

    Annotator → record id → the fields of `NO_ANSWER`: `label` is None when skipped or only noted, `repeats` are labels
    given when the record was shown again. A record whose events are all undone is left out.
    """
    states: dict[str, dict[str, dict]] = {}
    for row in _standing_events(source if isinstance(source, list) else events(source)):
        _apply(row, states.setdefault(row["annotator"], {}).setdefault(row["id"], NO_ANSWER.copy()))
    return states


def _standing_events(rows: list[dict]) -> list[dict]:
    """The events that no undo takes back, in order."""
    standing: list[dict] = []
    undos: dict[tuple[str, str], int] = {}  # read backwards, an undo takes back the next event of its record
    for row in reversed(rows):
        key = row["annotator"], row["id"]
        if row["event"] == "undo":
            undos[key] = undos.get(key, 0) + 1
        elif undos.get(key):
            undos[key] -= 1
        else:
            standing.append(row)
    return standing[::-1]


def _apply(row: dict, state: dict) -> None:
    """Bring one annotator's state of a record up to one more event."""
    if row["event"] == "label" and row.get("repeat"):
        state["repeats"] = [*state["repeats"], row["label"]]
    elif row["event"] == "label":
        state["label"], state["skipped"] = row["label"], False
        state["spans"] = row.get("spans") or []
    elif row["event"] == "skip" and not row.get("repeat"):
        state["label"], state["skipped"], state["spans"] = None, True, []
    elif row["event"] == "flag":
        state["flagged"] = not state["flagged"]
    elif row["event"] == "note":
        state["note"] = row.get("text", state["note"])


def unmatched(state: dict[str, dict[str, dict]], ids: Iterable[str]) -> list[str]:
    """Labelled record ids of the logs that are not among `ids`; raises UserError when none is: the log is another project's.

    A skipped text is not labelled: 01 leaves it out of its sets.
    """
    known = set(ids)
    given = [entry for answers in state.values() for entry in answers.items()]
    labelled = {record_id for record_id, own in given if own["label"] is not None}
    missing = sorted(labelled - known)
    if labelled and len(missing) == len(labelled):
        raise UserError(
            f"None of the {len(labelled)} labelled record ids (first: {missing[0]}) is among the {len(known)} records: "
            "the logs are of another task or another run; check the folder."
        )
    return missing


def outside(state: dict[str, dict[str, dict]], task_labels: Sequence[str]) -> dict[str, int]:
    """Labels in the logs that the task does not have (a class was removed or renamed), with their counts."""
    labels = [answer["label"] for answers in state.values() for answer in answers.values()]
    return Counter(str(label) for label in labels if label is not None and label not in task_labels)


def guideline_version(text: str) -> str:
    """8 hexadecimal digits that change when the guideline's wording does; line ends and outer blanks do not count."""
    lines = [line.rstrip() for line in text.strip().splitlines()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:8]
