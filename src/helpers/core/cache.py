"""Embeddings of a frozen model, worked out once for each text and kept on the disk between runs.

A folder per model, named by a digest of what fixes its embeddings; in it one file for every block of texts, a NumPy array of
(digest of the text, vector) rows. A file is written under a temporary name and renamed, and never changed: two processes that
share the folder at worst do the same work twice.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from helpers import env
from helpers.files import digest, replacing

Embed = Callable[[Sequence[str]], np.ndarray]


def cached(
    embed: Embed, facts: dict[str, Any], folder: Path | None = None, limit_gib: float = 4.0, block: int = 4096
) -> Embed:
    """`embed` that reads from the cache what the model described by `facts` has embedded before.

    New texts are embedded and saved in blocks of `block`, so that a run cut off loses one block at most. Above `limit_gib` the
    files used longest ago are deleted, of all models in `folder` (`outputs/.cache/embeddings` where none is given). Vectors come
    back as float32, as they were saved.
    """
    folder = folder or env.root() / "outputs/.cache/embeddings"
    mine = folder / digest(facts)[:16]
    files: dict[str, np.ndarray] = {}  # memory-mapped, in the order in which they were found
    where: dict[bytes, tuple[int, int]] = {}  # number of the file, row in it

    def look_up(texts: Sequence[str]) -> np.ndarray:
        keys = [hashlib.sha256(t.encode("utf-8", "surrogatepass")).digest()[:16] for t in texts]
        if any(key not in where for key in keys):
            _read_new(mine, files, where)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in where}
        for start in range(0, len(missing), block):
            part = dict(list(missing.items())[start : start + block])
            _save(mine, list(part), embed(list(part.values())))
            _read_new(mine, files, where)
        if missing:
            _shrink(folder, limit_gib * 2**30)
        return _gather(keys, files, where) if keys else np.asarray(embed([]), dtype=np.float32)

    return look_up


def _save(folder: Path, keys: list[bytes], vectors: np.ndarray) -> None:
    rows = np.empty(len(keys), dtype=[("key", "V16"), ("vector", np.float32, (np.shape(vectors)[1],))])
    rows["key"], rows["vector"] = np.array(keys, dtype="V16"), vectors
    with replacing(folder / f"{uuid.uuid4().hex}.npy") as temporary, temporary.open("wb") as stream:
        np.save(stream, rows)


def _read_new(folder: Path, files: dict, where: dict) -> None:
    for path in sorted(folder.glob("*.npy")):
        if path.name in files:
            continue
        try:
            rows = np.load(path, mmap_mode="r")
            os.utime(path)  # used just now
        except FileNotFoundError:  # another process made room
            continue
        except (ValueError, OSError, EOFError):  # cut short by a crash of the machine: worked out again
            path.unlink(missing_ok=True)
            continue
        files[path.name] = rows
        where.update((key.tobytes(), (len(files) - 1, i)) for i, key in enumerate(rows["key"]))


def _gather(keys: list[bytes], files: dict, where: dict) -> np.ndarray:
    """float32 (keys, hidden), file by file."""
    number, row = np.array([where[key] for key in keys]).T
    vectors = [rows["vector"] for rows in files.values()]
    out = np.empty((len(keys), vectors[0].shape[1]), dtype=np.float32)
    for file in np.unique(number):
        out[number == file] = vectors[file][row[number == file]]
    return out


def _shrink(folder: Path, limit: float) -> None:
    found = []
    for path in folder.glob("*/*.npy"):
        try:
            found.append((path.stat().st_mtime_ns, path.stat().st_size, path))
        except FileNotFoundError:
            continue
    excess = sum(size for _, size, _ in found) - limit
    for _, size, path in sorted(found):
        if excess <= 0:
            break
        path.unlink(missing_ok=True)
        excess -= size
