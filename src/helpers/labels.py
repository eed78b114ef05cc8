"""The append-only label store: one JSONL event log per annotator, flushed and fsynced at every event.

What the logs say when replayed is the state; nothing else is kept. A line cut off by a crash is ignored.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from helpers.env import UserError

EVENTS = ("label", "undo", "skip", "flag", "note")


def append(folder: Path, annotator: str, event: str, record_id: str, **facts: Any) -> dict:
    """Write one event to `<folder>/<annotator>.jsonl` and return it once it is on the disk.

    Raises UserError on an unknown event or when the disk refuses; what was written before stays as it was.
    """
    if event not in EVENTS:
        raise UserError(f"Event {event!r} is unknown: use one of {', '.join(EVENTS)}.")
    row = {"time": round(time.time(), 3), "event": event, "id": record_id, "annotator": annotator, **facts}
    line = (json.dumps(row, ensure_ascii=False) + "\n").encode()
    path = folder / f"{annotator}.jsonl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as log:
            if log.tell() and not _ends_a_line(log):
                line = b"\n" + line  # a crash cut the last event: it stays readable as the torn line it is
            log.write(line)
            log.flush()
            os.fsync(log.fileno())
    except OSError as error:
        raise UserError(
            f"{path}: the label was NOT saved ({error.strerror}); free space or permission is missing."
        ) from error
    return row


def _ends_a_line(log) -> bool:
    log.seek(-1, os.SEEK_END)
    return log.read(1) == b"\n"


def events(folder: Path) -> list[dict]:
    """All events of all annotators in order of time; torn lines are left out."""
    rows = []
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_bytes().split(b"\n"):
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and row.get("event") in EVENTS:
                rows.append(row)
    return sorted(rows, key=lambda r: r["time"])


def replay(folder: Path) -> dict[str, str]:
    """Current label of every record id: the last `label` event that was not undone."""
    stacks: dict[str, list[str]] = {}
    for row in events(folder):
        if row["event"] == "label":
            stacks.setdefault(row["id"], []).append(row["label"])
        elif row["event"] == "undo" and stacks.get(row["id"]):
            stacks[row["id"]].pop()
    return {record: stack[-1] for record, stack in stacks.items() if stack}
