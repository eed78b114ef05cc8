"""What a long prediction has done so far, kept in a file from which the next call goes on, and the name that it holds.

A file is believed only where all of it fits: each part says at which text it starts and has a digest, and its numbers
can be answers to those texts. Anything else, such as what two processes wrote or a torn disk left, is begun anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from helpers import env
from helpers.env import UserError
from helpers.files import digest, file_name, read_json, write_json, write_text
from helpers.run import make_folder

PIPED = "-"  # as a source: the lines of standard input
SLACK = 1e-6  # a probability may leave 0 to 1 by rounding


# --- the name -------------------------------------------------------------------------------------


@contextlib.contextmanager
def hold_place(folder: Path, source: str, texts: str) -> Iterator[Path]:
    """Yield the place of a source's answers in `folder`, a path without suffix, and keep other predictions out of it.

    It is called like the source's file. Where that is the place of another source, as `<place>.json` says, a digest of
    the source's path follows. Texts from standard input, which are in no file, take turns at one place.

    Parameters
    ----------
    folder : Path
    source : str
    texts : str
        Digest of the texts.

    Raises
    ------
    UserError
        Where a prediction of this source is running.
    """
    make_folder(folder)
    name, own = file_name(Path(source).stem), _identity(source)
    key = digest(texts if source == PIPED else own)[:8]
    second = folder / f"{name}_{key}"
    for place in (folder / name, second):
        # Killed processes lose the lock at once; filelock's fallback for drives without locks would keep it for good.
        lock = FileLock(_lock_file(place), timeout=0, fallback_to_soft=False)
        is_free, owner = _acquire(lock), _owner(place)  # the owner is read under the lock
        if is_free and (place == second or owner in (None, own)):
            try:
                if owner is None:
                    write_json(place.with_suffix(".json"), {"source": source})
                yield place
            finally:
                lock.release()
            return
        lock.release()
        if owner == own and source != PIPED:
            break
    what = "these lines" if source == PIPED else source
    raise UserError(f"Another prediction of {what} is running: wait until it has ended, or stop it.")


def parts_file(path: Path) -> Path:
    """The file with what is done of the answers whose place `hold_place` yielded."""
    return path.with_name(f".{path.name}.part.jsonl")


def _lock_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _identity(source: str) -> str:
    return str(env.resolve(source).resolve())


def _acquire(lock: FileLock) -> bool:
    """Whether no other process holds the lock; on a drive without locks nobody does, and the parts are checked anyway."""
    try:
        lock.acquire()
    except Timeout:
        return False
    except (OSError, NotImplementedError):
        return True
    return True


def _owner(place: Path) -> str | None:
    """Identity of the source whose answers are at a place; None where there are none, '' where nothing says whose."""
    record = place.with_suffix(".json")
    try:
        return _identity(read_json(record)["source"]) if record.exists() else None
    except (OSError, ValueError, TypeError, KeyError):
        return ""


# --- the parts ------------------------------------------------------------------------------------


def resume(path: Path, key: str, texts: Sequence[str], width: int) -> list[list]:
    """The rows that a call with the same key has left in the file, which is then ready for `append`.

    Parameters
    ----------
    path : Path
        A link in its place is replaced, not followed.
    key : str
    texts : strings
        All texts of the prediction.
    width : int
        Number of probabilities in a row.

    Returns
    -------
    list of lists
        (probabilities, spans) of the first texts; none where the file does not fit.

    Raises
    ------
    UserError
        Where a folder stands in its place, or it cannot be written.
    """
    if path.is_dir() and not path.is_symlink():
        raise UserError(f"{path} is a folder, where the answers so far are to be kept: remove it.")
    lines, rows = _fitting_parts(path, key, texts, width)
    write_text(path, "".join(f"{line}\n" for line in [json.dumps(key), *lines]))
    return rows


def append(path: Path, key: str, start: int, rows: list[list]) -> None:
    """Write the rows of the texts from `start` on, as one line; raises UserError where the disk refuses."""
    try:
        with open(path, "a", encoding="utf-8", opener=_open_no_link) as stream:
            stream.write(json.dumps(_part(key, start, rows)) + "\n")
    except OSError as error:
        reason = f"{path} could not be written ({error.strerror})"
        raise UserError(f"{reason}: free space or permission is missing there.") from error


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _part(key: str, start: int, rows: list[list]) -> dict[str, Any]:
    return {"start": start, "sha256": digest([key, start, rows]), "rows": rows}


def _fitting_parts(path: Path, key: str, texts: Sequence[str], width: int) -> tuple[list[str], list[list]]:
    """(lines after the first, their rows) of a file that fits; what stands behind the last line end is torn."""
    rows: list[list] = []
    try:
        if not stat.S_ISREG(path.lstat().st_mode):  # a pipe would keep us waiting
            return [], []
        first, *lines = path.read_bytes().decode("utf-8").split("\n")[:-1]
        if first != json.dumps(key):
            return [], []
        for line in lines:
            part = json.loads(line)
            new, rest = part["rows"], texts[len(rows) :]
            if part != _part(key, len(rows), new) or not 0 < len(new) <= len(rest):
                return [], []
            if not all(_is_answer(*row, text, width) for row, text in zip(new, rest, strict=False)):
                return [], []
            rows += new
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # what JSON can hold instead of a part
        return [], []
    return lines, rows


def _is_answer(probabilities: Any, spans: Any, text: str, width: int) -> bool:
    """Whether the values can be the probabilities and the evidence of a text; an empty one has neither."""
    numbers = [p for p in probabilities if type(p) is float]
    if not len(numbers) == len(probabilities) == width:
        return False
    if not text.strip():
        return all(p != p for p in numbers) and spans == []
    return all(-SLACK <= p <= 1 + SLACK for p in numbers) and all(_is_span(*span, text) for span in spans)


def _is_span(start: Any, end: Any, loss: Any, text: str) -> bool:
    is_typed = type(start) is int and type(end) is int and type(loss) is float
    return is_typed and 0 <= start < end <= len(text) and 0 <= loss <= 1 + SLACK
