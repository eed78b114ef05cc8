"""The suite's own files: written completely or not at all, read back, and hashed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import time
from collections import Counter
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
import yaml
from safetensors import SafetensorError

from helpers.env import UserError

LARGE = 2**27  # bytes; what is smaller is hashed in a tenth of a second
SETTLED = 2_000_000_000  # nanoseconds; the coarsest clock of a file system counts in two seconds
_digests: dict[tuple[int, ...], str] = {}
MOST_JSON = 2**28  # characters; the largest tokenizers have a tenth


@contextlib.contextmanager
def replacing(path: Path, holder: str = ""):
    """Yield a temporary path; the file or folder that the block writes there replaces `path` if the block succeeds.

    Raises UserError when the disk refuses; `path` is then as it was. With a `holder`, the name of a lock that is held, files
    that killed writers of the same holder left are removed first.
    """
    key = hashlib.sha256(holder.encode("utf-8", "surrogatepass")).hexdigest()[:8] if holder else ""
    # A name that nobody can guess: a link of that name would be written through.
    temporary = path.with_name(f".{path.name}.{key}{secrets.token_hex(6)}.part")
    left = re.compile(rf"{re.escape(f'.{path.name}.{key}')}[0-9a-f]{{12}}\.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for other in path.parent.iterdir() if holder else []:
            if left.fullmatch(other.name):
                with contextlib.suppress(OSError):
                    other.unlink()  # a link, not what it leads to
        yield temporary
        if temporary.is_dir() and path.is_dir():
            shutil.rmtree(path)  # a folder cannot be replaced at once
        os.replace(temporary, path)
    except BrokenPipeError:  # of the terminal, not of the disk
        raise
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path} could not be written ({reason}): free space or permission is missing.") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        with contextlib.suppress(OSError):  # the parent of `path` is a file, or its name is too long
            temporary.unlink(missing_ok=True)


def open_regular(path: str, flags: int) -> int:
    """An `opener` for a file that may have been replaced: it neither waits for a pipe nor reads a device."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", path)
    return descriptor


def file_name(text: str) -> str:
    """A name of the data, such as a column or a split, as part of a file name that cannot leave its folder.

    Letters, digits, `_` and `-` stay, at most 40; a name that needed a change ends in a digest, so that no two meet.
    """
    safe = re.sub(r"[^\w-]+", "_", text)[:40]
    return safe if safe == text else f"{safe}_{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def write_text(path: Path, text: str) -> Path:
    """Write a text as UTF-8 with `\\n` line ends on every system; returns the path, as all of these functions do."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return path


def write_json(path: Path, value: Any) -> Path:
    return write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    return write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def read_jsonl(path: Path) -> list[dict]:
    """Rows of a file that this suite wrote; a user's file goes through `tables.read_table`."""
    if not path.exists():
        raise UserError(f"{path} is missing: run the notebook that writes it first (see its Reads / Writes table).")
    rows = []
    # splitlines() would also split at U+2028, which may stand unescaped inside a JSON string.
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
            if not isinstance(rows[-1], dict):
                raise ValueError("not an object")
        except (ValueError, RecursionError) as error:
            remedy = "run the notebook that writes it again, or restore it"
            raise UserError(f"{path} is damaged (line {number}: {str(error)[:80]}): {remedy}.") from error
    return rows


def own_rows(path: Path, *texts: str) -> list[dict]:
    """Rows of a file that a stage reads and writes itself; none where a row lacks one of the fields `texts`.

    A missing or damaged file is no error here, for the stage writes it again.
    """
    try:
        rows = read_jsonl(path)
    except (UserError, OSError):
        return []
    return rows if all(isinstance(row.get(name), str) for row in rows for name in texts) else []


def write_csv(path: Path, table: pd.DataFrame) -> Path:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        write_delimited(stream, table)
    return path


def write_delimited(stream: TextIO, table: pd.DataFrame, separator: str = ",", has_header: bool = True) -> None:
    """Write a table to a stream, a line a row; a cell with a bare `\r` is quoted too, or readers would end the row there."""
    table.to_csv(LineFeeds(stream), index=False, header=has_header, sep=separator, lineterminator="\r\n")


class LineFeeds:
    """A stream for a `csv` writer, which quotes the signs of its line end, and so `\r` only where rows end in `\r\n`."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def write(self, row: str) -> int:
        return self.stream.write(row.removesuffix("\r\n") + "\n")


def read_json(path: Path) -> Any:
    """The JSON value in a file; raises UserError where there is none, or a pipe or device stands in its place."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no regular file: remove it, and run what writes it again.")
    try:
        return json.loads(read_text(path, MOST_JSON))
    except (ValueError, RecursionError) as error:
        remedy = "run what writes it again, or restore it"
        raise UserError(f"{path} is damaged ({str(error)[:80]}): {remedy}.") from error


def read_text(path: Path, most: int = 2**20) -> str:
    """The UTF-8 text of a file of at most so many characters; raises ValueError on another, OSError on a pipe or device."""
    with open(path, encoding="utf-8", opener=open_regular) as stream:
        text = stream.read(most + 1)
    if len(text) > most:
        raise ValueError(f"more than {most:,} characters")
    return text


def notebook_cells(path: Path) -> list[dict[str, Any]]:
    """The cells of a notebook, each with `cell_type`, `metadata` and `source`, a text; raises UserError on what is none."""
    facts = read_json(path)
    try:
        cells = [cell | {"source": "".join(cell["source"])} for cell in facts["cells"]]
        if all(isinstance(cell["metadata"], dict) and isinstance(cell["cell_type"], str) for cell in cells):
            return cells
    except (KeyError, TypeError):
        pass
    raise UserError(f"{path} is no notebook with cells: restore it.")


def read_yaml(text: str, loader: type = yaml.SafeLoader) -> Any:
    """The value of a YAML text; raises ValueError, YAMLError or RecursionError where it has none.

    Nor may it repeat a part by its name: a few lines can stand for gigabytes; nor a key, of which the last would win.
    """
    if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
        raise ValueError("an alias, as in `*name`; write the value out")
    nodes = [yaml.compose(text, loader)]
    for node in nodes:  # which grows
        pairs = node.value if isinstance(node, yaml.MappingNode) else ()
        keys = Counter(key.value for key, _ in pairs if isinstance(key, yaml.ScalarNode))
        if repeated := next((key for key, count in keys.items() if count > 1), None):
            raise ValueError(f"the key {repeated[:100]!r} twice; keep one of them")
        if isinstance(node, yaml.CollectionNode):
            nodes += [part for entry in node.value for part in (entry if isinstance(entry, tuple) else (entry,))]
    try:
        return yaml.load(text, loader)
    except (ArithmeticError, AttributeError, LookupError, TypeError) as error:  # `!!bool maybe`
        raise ValueError("a value that is not what its tag, as in `!!bool`, says") from error


def sha256(path: Path) -> str:
    """sha256 of a file; of a folder, over the relative names and digests of its files, hidden ones left out."""
    if path.is_file():
        return _file_sha256(path)
    files = sorted(f for f in path.rglob("*") if f.is_file() and not f.name.startswith("."))
    listing = "".join(f"{f.relative_to(path).as_posix()} {sha256(f)}\n" for f in files)
    return hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()  # a name may be of another encoding


def _file_sha256(path: Path) -> str:
    """sha256 of a file; a large one, such as the weights of a base model, is read once a process while it stays as it is."""
    facts = path.stat()
    if not facts.st_size:  # the system's own files have none either, and to read one may wait for ever
        return hashlib.sha256().hexdigest()
    key = _identity(facts)
    if key not in _digests:
        with path.open("rb") as stream:
            sha = hashlib.file_digest(stream, "sha256").hexdigest()
        # A write within the resolution of the clock would leave the same times.
        is_settled = time.time_ns() - max(facts.st_mtime_ns, facts.st_ctime_ns) > SETTLED
        if facts.st_size < LARGE or not is_settled or _identity(path.stat()) != key:
            return sha
        _digests[key] = sha
    return _digests[key]


def _identity(facts: os.stat_result) -> tuple[int, ...]:
    """What of a file changes with its content; a process cannot set the last of them."""
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def digest(value: Any) -> str:
    """sha256 of a JSON value, whatever the order of its keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
