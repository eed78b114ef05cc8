"""The folder of a stage, `outputs/<task>/<run_id>/<stage>/`: its name, what lies in it, and which process holds it."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from helpers import env
from helpers.env import UserError
from helpers.manifest import read_facts

# Names of devices on Windows.
RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{k}" for port in ("COM", "LPT") for k in range(1, 10))}

KEPT, ATTEMPT = ".before.ipynb", "attempt.ipynb"

_locks: dict[Path, FileLock] = {}  # the folders that this process holds


def run_folder(task: str, run_id: str) -> Path:
    """Folder of a run, `outputs/<task>/<run_id>`; raises UserError where a name would lead out of it."""
    check_name("task", task)
    check_name("run_id", run_id)
    return env.root() / "outputs" / task / run_id


def inside(folder: Path, name: str) -> Path:
    """The path of `name` in a folder; raises UserError where it would lead out of the folder, also over a link."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()) or "\\" in name:
        raise UserError(f"{name!a} is not the name of a file in {folder}: nothing is read or written elsewhere.")
    return path


def refuse_loss(path: Path, option: str) -> None:
    """Raise UserError where what a command is told to write lies beside labels and results of a stage, or is what a run reads."""
    place, home = path.resolve(), (env.root() / "outputs").resolve()
    folders = place.relative_to(home).parts[2:-1] if place.is_relative_to(home) else ()
    if any(re.fullmatch(r"\d\d_[a-z_]+", name) for name in folders):
        raise UserError(
            f"{option} {path} lies in the folder of a stage, beside labels and results: name another place."
        )
    for manifest in sorted(home.glob("*/*/01_*/manifest.json")) if path.exists() else ():
        params = read_facts(manifest).get("parameters")
        for name in ("data_path", "guideline", "brief"):
            value = params.get(name) if isinstance(params, dict) else None
            if isinstance(value, str) and value and place == env.resolve(value).resolve():
                raise UserError(f"{option} {path} is the {name} of run {manifest.parts[-3]}: name another place.")


def check_name(parameter: str, value: str) -> None:
    """Raise UserError unless `value` can be the name of a folder on every system."""
    is_usable = re.fullmatch(r"\w[\w .+-]{0,79}", value) and len(value.encode("utf-8", "replace")) <= 200
    if not is_usable or value[-1] in " ." or value.partition(".")[0].upper() in RESERVED:
        words = "use at most 80 letters, digits, - and _, beginning with a letter or digit"
        raise UserError(f"Parameter {parameter}={value[:100]!a} names a folder: {words}.")


def hold_folder(folder: Path, patience: float = 10.0) -> None:
    """Keep other processes out of `folder` until this one ends or closes the run; raises UserError if it is taken.

    The kernel of a killed run lives on for a moment, so the lock is tried for `patience` seconds.
    """
    if (folder / ".lock").exists() and folder in _locks:
        return
    if lock := _locks.pop(folder, None):  # somebody deleted the folder
        lock.release()
    make_folder(folder)
    # Not bound to one thread: the panel's worker thread may release what the main thread acquired.
    lock = FileLock(folder / ".lock", thread_local=False)
    try:
        lock.acquire(timeout=patience, poll_interval=0.2)
    except Timeout:
        raise in_use(folder) from None
    except OSError as error:
        raise _unusable(folder, error) from error
    _locks[folder] = lock


def release_folder(folder: Path) -> None:
    """Let other processes have a folder that this one holds."""
    if lock := _locks.pop(folder, None):
        lock.release()


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder for a moment, where this process does not already; raises UserError if another one does."""
    is_mine = folder in _locks
    hold_folder(folder, 0)
    try:
        yield
    finally:
        if not is_mine:
            release_folder(folder)


def make_folder(folder: Path) -> None:
    """Make a folder of outputs with its parents; raises UserError where something stands in its place."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # read-only, full, a file or a dangling link where a folder should be
        raise _unusable(folder, error) from error


def in_use(folder: Path) -> UserError:
    """What to say of a folder that another process holds."""
    remedy = "wait for it, shut its kernel down, or choose another run_id"
    return UserError(f"{folder} is in use by another process: {remedy}.")


def _unusable(folder: Path, error: OSError) -> UserError:
    """What stands in the way of a folder: the nearest of its parents that is no folder, or the system's reason."""
    place = next(
        (p for p in [*reversed(folder.parents), folder] if (p.exists() or p.is_symlink()) and not p.is_dir()), None
    )
    if place:
        what = "is a link that leads nowhere" if place.is_symlink() and not place.exists() else "is no folder"
        return UserError(f"{place} {what}: remove it or put a folder in its place, so that runs can be written.")
    return UserError(f"{folder} cannot be written ({error.strerror}): free space or permission is missing there.")


def is_held(folder: Path) -> bool:
    """Whether a process, this one or another, holds `folder`."""
    if not (folder / ".lock").exists():
        return False
    try:  # two who ask at once hold it from each other for a moment, hence the wait
        with FileLock(folder / ".lock", timeout=0.3, poll_interval=0.03):
            return False
    except (Timeout, OSError):  # of a lock that may not be opened nothing is known: the manifest is believed
        return True


def results(folder: Path) -> list[Path]:
    """What a stage wrote: everything in its folder but notebooks, which change when they are opened, and what stays."""
    return [path for path in sorted(folder.iterdir()) if not (_stays(path) or path.suffix == ".ipynb")]


def _stays(path: Path) -> bool:
    """Whether a file or folder of a stage is none of its results."""
    return path.name in ("labels", "earlier", "manifest.json") or path.name.startswith(".")


def executed(folder: Path) -> Path:
    """The place of a stage's executed notebook."""
    return folder / f"{folder.name}.ipynb"


def keep_page(folder: Path) -> None:
    """Keep the executed notebook of a stage while papermill writes another in its place."""
    if executed(folder).exists():
        shutil.copy2(executed(folder), folder / KEPT)


def forget_page(folder: Path) -> None:
    """Let go of the executed notebook that was kept: another has taken its place."""
    (folder / KEPT).unlink(missing_ok=True)


def put_page_back(folder: Path) -> None:
    """Put the executed notebook that was kept in its place again; that of the attempt that stopped is `attempt.ipynb`."""
    if (folder / KEPT).exists():
        if executed(folder).exists():
            executed(folder).replace(folder / ATTEMPT)
        (folder / KEPT).replace(executed(folder))


def put_results_aside(folder: Path, logs: Sequence[Path] = ()) -> Path:
    """Move what a stage wrote to `earlier/1`, `earlier/2` … in its folder, and return that place.

    Labels stay, but for the `logs`. The executed notebook is copied, because it may be the page that is open.
    """
    numbers = [int(path.name) for path in folder.glob("earlier/*") if path.name.isdecimal()]
    place = folder / "earlier" / str(max(numbers, default=0) + 1)
    make_folder(place)
    try:
        for path in sorted(folder.iterdir(), key=lambda path: path.name == "manifest.json"):  # last: then all is moved
            if path == executed(folder):
                shutil.copy2(path, place)
            elif path.name not in ("labels", "earlier", ".lock"):
                path.rename(place / path.name)
        for path in logs:
            make_folder(place / path.relative_to(folder).parent)
            path.rename(place / path.relative_to(folder))
    except OSError as error:
        raise _unusable(folder, error) from error
    return place
