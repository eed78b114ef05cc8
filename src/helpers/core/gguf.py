"""A model in a .gguf file, as llama.cpp and packages of an index bring it: converted once into a folder of safetensors."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import math
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from helpers import env
from helpers.env import UserError
from helpers.files import digest, replacing, sha256
from helpers.outputs import make_folder
from helpers.text import say

PART = re.compile(r"(.+\.gguf)\.part(\d+)$")
NUMBERS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}  # struct codes of value types
TEXT, LIST = 8, 9  # the other two
SEAL = ".sha256"  # in a converted folder, the digest of its other files
REMEDY = "fetch it again, or give another model"


def is_gguf(model: str) -> bool:
    """Whether a model is a .gguf file or an installed package with one."""
    return model.startswith(env.PACKAGE) or model.lower().endswith(".gguf")


def gguf_parts(model: str) -> list[Path]:
    """The file of a model, or the parts to be joined to it, in order; no code of a package runs.

    A large file is spread over packages: the parts of `package:NAME` lie in NAME and in every NAME_part….

    Raises
    ------
    UserError
        Where there is no such file or package, no .gguf in it, several, or a part is missing.
    """
    if not model.startswith(env.PACKAGE):
        if not env.resolve(model).is_file():
            raise UserError(f"model {model!r} is a file that does not exist ({env.resolve(model)}): check the path.")
        return [env.resolve(model)]
    name = model.removeprefix(env.PACKAGE)
    files = env.package_files(name)
    if not files:
        raise UserError(
            f"model {model!r}: no package {name} is installed here; install it with pip, or check the name."
        )
    whole = [path for path in files if path.suffix.lower() == ".gguf"]
    parts = [(found[1], int(found[2]), path) for path in files if (found := PART.search(path.name))]
    if len(whole) > 1:
        names = ", ".join(path.name for path in whole[:3])
        raise UserError(f"model {model!r} has {len(whole)} .gguf files ({names}): give the path of one of them.")
    if not whole and not parts:
        raise UserError(f"model {model!r}: there is no .gguf file in that package; give one that has one.")
    numbers = sorted(number for _, number, _ in parts)
    if not whole and (len({name for name, _, _ in parts}) > 1 or len(set(numbers)) < len(numbers)):
        names = ", ".join(path.name for _, _, path in parts[:3])
        raise UserError(f"model {model!r} has parts of several files ({names}): give the path of a whole one.")
    if not whole and numbers != list(range(len(numbers))):
        missing = min(set(range(len(numbers))) - set(numbers))
        raise UserError(f"model {model!r} lacks part {missing:02d} of its file: install the package that has it.")
    return whole or [path for _, _, path in sorted(parts, key=lambda part: part[1])]


def converted(model: str) -> Path:
    """The folder with a .gguf model as safetensors, in `outputs/.cache/models`, made at the first call.

    The quantised weights become bfloat16: the model needs the memory of its unquantised size while it is converted. A folder
    that is not as it was written is made anew; of several processes one converts and the others wait.

    Parameters
    ----------
    model : str
        Path of a .gguf file, or `package:NAME`.

    Raises
    ------
    UserError
        Where the file is damaged, cut short, of an architecture that transformers does not know, or `gguf` is missing.
    """
    parts = gguf_parts(model)
    folder = env.root() / "outputs/.cache/models" / digest([sha256(part) for part in parts])[:16]
    if _is_whole(folder):
        return folder
    if not importlib.util.find_spec("gguf"):
        raise UserError(f'model {model!r} is a .gguf file: reading it needs `pip install "ambo-notebooks[gguf]"`.')
    with _alone(folder.parent):
        if not _is_whole(folder):  # another process may have made it meanwhile
            _convert(parts, folder, model)
    return folder


def _is_whole(folder: Path) -> bool:
    """Whether a converted model is as it was written; a power cut can leave zeros in it."""
    try:
        return (folder / SEAL).read_text() == _digest(folder, tuple(_facts(path) for path in sorted(folder.iterdir())))
    except (OSError, ValueError):
        return False


def _facts(path: Path) -> tuple[str, int, int]:
    return path.name, path.stat().st_size, path.stat().st_mtime_ns


@functools.lru_cache(16)  # gigabytes, and a stage asks several times
def _digest(folder: Path, facts: tuple) -> str:
    return sha256(folder)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process converts models into the folder; some drives have no locks, and there nobody waits."""
    make_folder(folder)
    lock = FileLock(folder.with_name(f"{folder.name}.lock"), timeout=0, fallback_to_soft=False)
    with contextlib.suppress(OSError, NotImplementedError):
        try:
            lock.acquire()
        except Timeout:
            say("Another process is converting a model: waiting for it")
            lock.acquire(timeout=-1)
    try:
        yield
    finally:
        lock.release()


def _convert(parts: list[Path], folder: Path, model: str) -> None:
    again = "again, for what was kept is damaged" if folder.exists() else "once"
    with replacing(folder) as temporary:
        temporary.mkdir()
        whole = temporary / "model.gguf"
        with whole.open("wb") as stream:
            copied = [_copy(part, stream) for part in parts]
        if digest(copied)[:16] != folder.name:
            raise UserError(f"model {model!r} has changed while it was read: give the command again.")
        _check_header(whole, model)
        _save_as_safetensors(whole, model, again)
        whole.unlink()
        (temporary / SEAL).write_text(sha256(temporary))


def _copy(part: Path, target: BinaryIO) -> str:
    """Append a file to an open one; returns the sha256 of what was copied."""
    sha = hashlib.sha256()
    with part.open("rb") as source:
        while block := source.read(2**20):
            sha.update(block)
            target.write(block)
    return sha.hexdigest()


def _check_header(path: Path, model: str) -> None:
    """Raise UserError unless the file is whole and its header asks for no more memory than its weights do.

    The format is that of ggml's docs/gguf.md. `GGUFReader` takes its lengths at their word.
    """
    try:
        facts, tensors, weights = _read_header(path)
    except (ValueError, struct.error, KeyError, OSError) as error:
        raise UserError(f"model {model!r} is no .gguf file, damaged or cut short: {REMEDY}.") from error

    def fact(name: str) -> int:
        values = [value for key, value in facts.items() if key.endswith(f".{name}")]
        return max((value for value in values if isinstance(value, int)), default=0)

    layers, width = fact("block_count"), max(1, fact("embedding_length"))
    expert = max(1, fact("expert_feed_forward_length") or fact("feed_forward_length"))
    if not 0 < layers <= tensors:  # every layer is an object in memory before a weight is read
        raise UserError(f"model {model!r} says it has {layers} layers, which its file has not: {REMEDY}.")
    for name, most in (
        ("vocab_size", weights // width),
        ("feed_forward_length", weights),
        ("embedding_length", weights),
        ("expert_count", weights // (width * expert)),  # each has a matrix of its own
    ):
        if fact(name) > most:
            raise UserError(f"model {model!r} says its {name} is {fact(name)}, which its file has not: {REMEDY}.")


def _read_header(path: Path) -> tuple[dict[str, object], int, int]:
    """(numbers of the header by name, tensors, weights in them); raises ValueError, KeyError or struct.error at a fault."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    size, facts, weights = path.stat().st_size, {}, 0
    with path.open("rb") as stream:

        def take(code: str):
            (value,) = struct.unpack(f"<{code}", stream.read(struct.calcsize(code)))
            return value

        def skip(length: int) -> None:
            if length > size - stream.tell():
                raise ValueError("cut short")
            stream.seek(length, 1)

        def text() -> str:
            length = take("Q")
            if length > min(size, 65_535):
                raise ValueError("a name that long")
            return stream.read(length).decode()

        def value(kind: int):
            if kind == TEXT:
                return skip(take("Q"))
            if kind != LIST:
                return take(NUMBERS[kind])
            inner, count = take("I"), take("Q")
            if inner in NUMBERS:
                return skip(count * struct.calcsize(NUMBERS[inner]))
            if inner != TEXT or count > size:
                raise ValueError("a list of lists, or longer than the file")
            for _ in range(count):
                skip(take("Q"))

        magic, version, tensors, entries = struct.unpack("<4sIQQ", stream.read(24))
        if magic != b"GGUF" or version not in (2, 3) or max(tensors, entries) > size:
            raise ValueError("no header")
        for _ in range(entries):
            name = text()
            facts[name] = value(take("I"))
        ends = []
        for _ in range(tensors):
            text()
            count = math.prod(take("Q") for _ in range(min(take("I"), 8)))
            block, width = GGML_QUANT_SIZES[GGMLQuantizationType(take("I"))]
            ends.append(take("Q") + count // block * width)
            weights += count
        alignment = max(1, facts.get("general.alignment") or 32)
        if -(-stream.tell() // alignment) * alignment + max(ends, default=0) > size:
            raise ValueError("cut short")
    return facts, tensors, weights


def _save_as_safetensors(path: Path, model: str, again: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(**source)  # refuses an unknown architecture
        say(f"Converting  {model} into safetensors, {again} (a minute or two)")
        loaded, report = AutoModelForCausalLM.from_pretrained(
            **source,
            output_loading_info=True,
            dtype=torch.bfloat16,
            # without it the weights may stay packed, which cannot be saved
            quantization_config=GgufConfig(gguf_file=path.name, dequantize=True),
        )
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise UserError(f"model {model!r} could not be converted ({reason}): give another one.") from error
    if missing := sorted(report["missing_keys"]):
        raise UserError(
            f"model {model!r} lacks {len(missing)} of its weights (first: {missing[0]}), which would be drawn at random: {REMEDY}."
        )
    loaded.save_pretrained(path.parent)
    tokenizer.save_pretrained(path.parent)
