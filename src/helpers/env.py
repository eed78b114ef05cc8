"""Where we run: project root, device, compute dtype, memory, seeding."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import random
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

PACKAGE = "package:"  # before the name of an installed package, in place of a path


class UserError(ValueError):
    """A mistake that the user can correct: one sentence that names the file, row or parameter, and the remedy."""

    def _render_traceback_(self) -> list[str]:
        # IPython prints these lines in place of a traceback.
        return [f"Please check: {self}"]


def root() -> Path:
    """Project root: `$AMBO_ROOT`, otherwise the nearest folder upwards that has notebooks/ and params/."""
    if home := os.environ.get("AMBO_ROOT"):
        if not Path(home).is_dir():
            raise UserError(
                f"AMBO_ROOT is {home!r}, which is no folder here: set it to the project's folder, or unset it."
            )
        return Path(home).absolute()
    try:
        here = Path.cwd()
    except FileNotFoundError:  # the system's own words would not say which
        remedy = "open the notebook in notebooks/ instead, or give the same `ambo run` command again"
        raise UserError(f"The folder that this was started in has been deleted: {remedy}.") from None
    for folder in [here, *here.parents, *Path(__file__).resolve().parents]:
        if (folder / "notebooks").is_dir() and (folder / "params").is_dir():
            return folder
    raise UserError("No project root found: start inside the project folder, or set AMBO_ROOT to it.")


def resolve(path: str | Path) -> Path:
    """`path` as given when absolute, otherwise relative to the project root; `~` is the home folder."""
    try:
        path = Path(path).expanduser()
    except RuntimeError as error:  # ~nobody
        raise UserError(f"{str(path)[:100]!a} names a home folder that does not exist: check the path.") from error
    if any(len(part.encode("utf-8", "replace")) > 255 for part in path.parts) or "\0" in str(path):
        raise UserError(f"{str(path)[:100]!a} … is no path: a name in it is longer than 255 bytes, or holds a zero.")
    return path if path.is_absolute() else root() / path


def refuse_other_folder(path: str) -> None:
    """Raise UserError where a relative path names something in the folder one stands in, and `resolve` reads it elsewhere."""
    here, there = Path.cwd() / path, resolve(path)
    if path and here.exists() and here.resolve() != there.resolve():
        raise UserError(f"{path} is in this folder, and relative paths are read from {root()}: give {here} in full.")


def short_path(path: Path) -> str:
    """The path as seen from here; in full when it is on another drive of a Windows machine."""
    try:
        return os.path.relpath(path)
    except ValueError:
        return str(path)


def package_files(name: str) -> list[Path]:
    """The files of an installed package NAME, and of NAME_part1, NAME_part2 …; [] without one. No code of it runs."""
    try:
        spec = importlib.util.find_spec(name) if name.isidentifier() else None
    except ValueError:  # of __main__
        spec = None
    folders = [Path(place) for place in (spec and spec.submodule_search_locations) or []]
    is_part = re.compile(rf"{name}_part\d+")
    folders += [part for folder in folders for part in folder.parent.iterdir() if is_part.fullmatch(part.name)]
    return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())


def in_colab() -> bool:
    return "google.colab" in sys.modules


def _kernel() -> Any:
    """The Jupyter kernel that this runs in, or None."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return getattr(shell, "kernel", None)


def in_kernel() -> bool:
    return _kernel() is not None


def frontend() -> str:
    """`notebook` where a person runs this cell, `batch` where papermill, nbconvert or a script does, or `terminal`."""
    kernel = _kernel()
    if kernel is None:
        return "terminal" if sys.stderr.isatty() else "batch"
    # Jupyter, VS Code and Colab can be asked for input, papermill and nbconvert cannot.
    request = kernel.get_parent() or {}
    return "notebook" if request.get("content", {}).get("allow_stdin") else "batch"


def secret(name: str) -> str:
    """A key or address from the environment or, on Colab, from its secrets store; empty when neither has it."""
    value = os.environ.get(name, "")
    if not value and in_colab():
        from google.colab import userdata

        with contextlib.suppress(userdata.SecretNotFoundError, userdata.NotebookAccessError):
            value = userdata.get(name)
    return value.strip()  # a pasted line end would break the request header


def device() -> str:
    """`cuda` or `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def compute_dtype():
    """bfloat16 from compute capability 8.0 on, float16 on older GPUs (T4: 7.5), float32 on the CPU.

    `torch.cuda.is_bf16_supported()` would not do: it answers True on a T4, which emulates bfloat16.
    """
    import torch

    if device() == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.get_device_capability() >= (8, 0) else torch.float16


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and, if it is loaded, torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if "torch" in sys.modules:  # a stage that trains nothing need not load it
        sys.modules["torch"].manual_seed(seed)


def peak_memory_gib() -> dict[str, float]:
    """Peak resident memory of this process and, with a GPU, its peak allocation, in GiB."""
    import psutil

    memory = psutil.Process().memory_info()
    resident = getattr(memory, "peak_wset", memory.rss)  # Windows tells the peak; elsewhere psutil knows no peak
    with contextlib.suppress(ImportError):
        import resource  # Unix only

        # ru_maxrss is in bytes on macOS and in KiB on Linux.
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    peak = {"ram": round(resident / 2**30, 2)}
    if "torch" in sys.modules and device() == "cuda":
        peak["gpu"] = round(sys.modules["torch"].cuda.max_memory_allocated() / 2**30, 2)
    return peak


def machine() -> dict:
    """Python, platform, cores and memory in GiB; if torch is loaded, also device, compute dtype and GPU."""
    import psutil

    facts = {
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "cores": os.cpu_count(),
        "ram_gib": round(psutil.virtual_memory().total / 2**30, 1),
    }
    if "torch" not in sys.modules:
        return facts | {"device": "not used", "dtype": "not used"}
    facts |= {"device": device(), "dtype": str(compute_dtype()).removeprefix("torch.")}
    if facts["device"] == "cuda":
        properties = sys.modules["torch"].cuda.get_device_properties(0)
        facts |= {"gpu": properties.name, "gpu_gib": round(properties.total_memory / 2**30, 1)}
    return facts
