"""Embeddings of a frozen model, computed once for each text and kept on the disk between runs.

A folder for each model, named by a digest of what determines its embeddings; in it one file for
each block of texts, a NumPy array of (digest of the text, vector) rows, with a digest of itself in
its name. A file is written under a temporary name, renamed, and never changed: two processes that
share the folder at worst compute the same embeddings twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from helpers import env
from helpers.files import digest, replacing, sha256

Embed = Callable[[Sequence[str]], np.ndarray]


def cached(
    embed: Embed, facts: dict[str, Any], folder: Path | None = None, limit_gib: float = 4.0, block: int = 4096
) -> Embed:
    """An `embed` that looks up what the same model has embedded before.

    Parameters
    ----------
    embed : function from texts to an array (texts, hidden)
    facts : dict
        What determines the embeddings, such as `QLoRA.embedding_facts()`.
    folder : Path, optional
        `outputs/.cache/embeddings` by default.
    limit_gib : float
        Above this size of `folder` the files used longest ago are deleted, of all models in it.
    block : int
        Texts in a file, so that an interrupted run loses at most one block.

    Returns
    -------
    function from texts to a float32 array (texts, hidden)
    """
    folder = folder or env.root() / "outputs/.cache/embeddings"
    own_folder = folder / digest(facts)[:16]
    files: dict[str, np.ndarray] = {}  # memory-mapped vectors, by name
    places: dict[bytes, tuple[str, int]] = {}  # name of the file, row in it

    def look_up(texts: Sequence[str]) -> np.ndarray:
        keys = [hashlib.sha256(t.encode("utf-8", "surrogatepass")).digest()[:16] for t in texts]
        if any(key not in places for key in keys):
            _read_new(own_folder, files, places)
        missing = list({key: text for key, text in zip(keys, texts, strict=True) if key not in places}.items())
        for start in range(0, len(missing), block):
            part = missing[start : start + block]
            _save(own_folder, [key for key, _ in part], embed([text for _, text in part]))
            _read_new(own_folder, files, places)
        if missing:
            _shrink(folder, limit_gib * 2**30)
        if not keys:
            return np.asarray(embed([]), dtype=np.float32)
        return np.stack([files[name][row] for name, row in (places[key] for key in keys)])

    return look_up


def _save(folder: Path, keys: list[bytes], vectors: np.ndarray) -> None:
    rows = np.empty(len(keys), dtype=[("key", "V16"), ("vector", np.float32, (np.shape(vectors)[1],))])
    rows["key"], rows["vector"] = np.array(keys, dtype="V16"), vectors
    stream = io.BytesIO()
    np.save(stream, rows)
    key = hashlib.sha256(stream.getbuffer()).hexdigest()
    with replacing(folder / f"{uuid.uuid4().hex}-{key}.npy") as temporary:
        temporary.write_bytes(stream.getbuffer())


def _read_new(folder: Path, files: dict, places: dict) -> None:
    """Add the files that this or another process has written since the last look."""
    for path in sorted(folder.glob("*.npy")):
        if path.name in files:
            continue
        try:
            if path.stem.partition("-")[2] != sha256(path):
                raise ValueError("not as it was written")
            rows = np.load(path, mmap_mode="r")
            with contextlib.suppress(PermissionError):  # of another user
                os.utime(path)  # used just now
        except FileNotFoundError:  # another process made room
            continue
        except PermissionError:  # another user keeps it to herself
            continue
        except (ValueError, OSError, EOFError):  # a crash of the machine cut it or left zeros: computed again
            with contextlib.suppress(OSError):
                path.unlink()
            continue
        files[path.name] = rows["vector"]
        places.update((key.tobytes(), (path.name, i)) for i, key in enumerate(rows["key"]))


def _shrink(folder: Path, limit: float) -> None:
    """Delete the files used longest ago until the rest is within `limit` bytes."""
    files = []
    for path in folder.glob("*/*.npy"):
        try:
            files.append((path.stat().st_mtime_ns, path.stat().st_size, path))
        except FileNotFoundError:  # another process made room
            continue
    size = sum(bytes_ for _, bytes_, _ in files)
    for _, bytes_, path in sorted(files):
        if size <= limit:
            break
        path.unlink(missing_ok=True)
        size -= bytes_
