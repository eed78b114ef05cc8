"""What a long prediction has done so far, kept in a file from which the next call goes on, and the name that it holds.

Each part says at which text it starts and has a digest of its texts and answers. The file is believed up to the first
part that does not fit, such as what a torn disk left or what was made from other texts; the rest is done anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from helpers import env
from helpers.env import UserError
from helpers.files import digest, file_name, read_json, write_json, write_text
from helpers.outputs import make_folder

PIPED = "-"  # as a source: the lines of standard input


# --- the name -------------------------------------------------------------------------------------


@contextlib.contextmanager
def hold_place(folder: Path, source: str, texts: str) -> Iterator[Path]:
    """Yield the place of a source's answers in `folder`, a path without suffix, and keep other predictions out of it.

    It is called like the source's file. Where that is the place of another source, as `<place>.json` says, or its table
    is the source itself or of somebody else, a digest of the source's path follows. Texts from standard input, which are
    in no file, take turns at one place.

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
        if is_free and (place == second or (owner in (None, own) and not _is_others(place, owner, own))):
            try:
                if owner is None:
                    write_json(place.with_suffix(".json"), {"source": source})
                yield place
            finally:
                lock.release()
            return
        lock.release()
        if not is_free and owner == own and source != PIPED:
            break
    what = "these lines" if source == PIPED else source
    raise UserError(f"Another prediction of {what} is running: wait until it has ended, or stop it.")


def parts_file(path: Path) -> Path:
    """The file with what is done of the answers whose place `hold_place` yielded."""
    return path.with_name(f".{path.name}.parts")  # no table can be written there


def _lock_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _identity(source: str) -> str:
    return str(env.resolve(source).resolve())


def _is_others(place: Path, owner: str | None, own: str) -> bool:
    """Whether the table of a place is the source itself, or one of which nothing says that it has answers."""
    table = place.with_suffix(".csv")
    return table.exists() and (owner is None or _identity(str(table.absolute())) == own)


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


def resume(path: Path, key: str, batches: Iterable[Sequence[str]]) -> int:
    """The number of texts that the file has answers to, which is then ready for `append`.

    Parameters
    ----------
    path : Path
        A link in its place is replaced, not followed.
    key : str
        What determines the answers; the file of another key is not used.
    batches : iterable
        The texts in the parts in which they are answered.

    Raises
    ------
    UserError
        Where a folder stands in its place, or it cannot be written.
    """
    if path.is_dir() and not path.is_symlink():
        raise UserError(f"{path} is a folder, where the answers so far are to be kept: remove it.")
    done = end = 0
    for (stop, part), texts in zip(_parts(path, key), batches, strict=False):
        if part["texts"] != digest(list(texts)):
            break
        done, end = done + len(texts), stop
    if end:
        with _sentence(path):
            os.truncate(path, end)
    else:
        write_text(path, json.dumps(key) + "\n")
    return done


def append(path: Path, key: str, start: int, texts: Sequence[str], rows: list[list]) -> None:
    """Write the rows of the texts from `start` on, as one line; raises UserError where the disk refuses."""
    with _sentence(path), open(path, "a", encoding="utf-8", opener=_open_no_link) as stream:
        stream.write(json.dumps(_part(key, start, digest(list(texts)), rows)) + "\n")


def read(path: Path, key: str) -> Iterator[list]:
    """Yield the rows, (probabilities, spans) of a text each."""
    for _, part in _parts(path, key):
        yield from part["rows"]


@contextlib.contextmanager
def _sentence(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = f"{path} could not be written ({error.strerror})"
        raise UserError(f"{reason}: free space or permission is missing there.") from error


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _part(key: str, start: int, texts: str, rows: list[list]) -> dict[str, Any]:
    return {"start": start, "texts": texts, "sha256": digest([key, start, texts, rows]), "rows": rows}


def _parts(path: Path, key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(where it ends in the file, part) for each up to the first that does not fit; what has no line end is torn."""
    start = 0
    try:
        if not stat.S_ISREG(path.lstat().st_mode):  # a pipe would keep us waiting
            return
        with path.open("rb") as stream:
            if stream.readline() != json.dumps(key).encode() + b"\n":
                return
            while (line := stream.readline()).endswith(b"\n"):
                part = json.loads(line)
                if part != _part(key, start, part["texts"], part["rows"]):
                    return
                start += len(part["rows"])
                yield stream.tell(), part
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # what JSON can hold instead of a part
        return
