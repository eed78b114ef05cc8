"""One notebook executed by papermill in the interpreter of the command; what goes wrong is one sentence."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import typer

from helpers import env, outputs, pipeline, run
from helpers.env import UserError
from helpers.manifest import write_manifest
from helpers.progress import duration
from helpers.text import say, visible

AWAITING, INTERRUPTED = 3, 130  # exit codes: the run waits for labels; Ctrl-C has ended the command
LONGEST = 10 * 365 * 86_400  # seconds that a stage can have taken


def run_stage(name: str, params: dict[str, Any], folder: Path, place: str, command: str) -> None:
    """Run one notebook unless its stage is unchanged; ends the command where people have to label first.

    `place` says which of the stages asked for it is; `command` is what to give again once people have labelled.
    """
    reason = pipeline.why_due(folder, params)
    if not reason:
        say(f"{name}: unchanged, skipped")
        return
    seconds = pipeline.expected_seconds(name, params)
    expected = f", about {duration(seconds)} as in an earlier run" if seconds and seconds <= LONGEST else ""
    say(f"{name}: {reason}; running, {place}{expected} …")
    if outputs.is_held(folder):
        raise outputs.in_use(folder)
    os.environ["AMBO_ROOT"] = str(env.root())  # the kernel inherits it
    outputs.make_folder(folder)
    execute_notebook(env.root() / "notebooks" / f"{name}.ipynb", folder / f"{name}.ipynb", params)
    manifest = run.read_manifest(folder)
    if manifest["status"] == "awaiting_labels":
        write_manifest(folder, manifest | {"command": command})
        page = folder / f"{name}.ipynb"
        say(f"{name}: waits for labels; open {page} in JupyterLab,")
        say("  choose Run → Run All Cells, label in the panel at its end, then run this command again.")
        raise typer.Exit(AWAITING)
    say(f"{name}: done in {manifest['seconds']:.0f} s")


def execute_notebook(source: Path, target: Path, params: dict[str, Any]) -> None:
    """Execute a notebook with papermill; a failure is one sentence (UserError), also in the stage's manifest."""
    warnings.filterwarnings("ignore")
    import papermill
    from nbclient.exceptions import DeadKernelError

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # errors are said below, in one sentence
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it tells of tasks that a run that was cut off leaves
    kernels = own_kernels()
    try:
        options = {"progress_bar": sys.stderr.isatty(), "stdout_file": IndentedOutput(), "cwd": str(env.root())}
        options["extra_arguments"] = ["--log-level=50"]  # the kernel's own log does not concern the user
        options["kernel_manager_class"] = kernels
        options["store_widget_state"] = False  # a saved panel would look open, though its kernel has ended
        options["kernel_name"] = "python3"
        outputs.keep_page(target.parent)
        work = partial(papermill.execute_notebook, str(source), str(target), params, **options)
        try:
            _in_thread(work, kernels)
        except RuntimeError as error:
            if not _has_not_started(error):
                raise
            _in_thread(work, kernels)  # beside others that start, it may find one of its ports taken
    except papermill.PapermillExecutionError as error:
        stands = pipeline.mark_failed(target.parent, f"{error.ename}: {error.evalue}")
        if error.ename == "UserError":
            raise UserError(error.evalue) from None
        message = (str(error.evalue).splitlines() or [""])[0][:200]
        cause = f"{source.name} stopped at cell {error.exec_count} with {error.ename}: {message}"
        page = target.with_name(outputs.ATTEMPT) if stands else target
        raise UserError(f"{cause} (the traceback is in {page}).") from None
    except DeadKernelError:
        remedy = "lower batch_size, token_budget or pool_limit, or take a smaller model, under another run_id"
        cause = f"{source.name}: its kernel died, most often because memory ran out"
        raise UserError(f"{cause}; {remedy}.") from None
    except RuntimeError as error:
        if not _has_not_started(error):
            raise
        remedy = "look for a full disk or home folder, run `ambo doctor`, and run the same command again"
        raise UserError(f"{source.name}: its kernel did not start ({error}): {remedy}.") from None
    except BrokenPipeError:  # of the terminal, as after `| head`
        raise
    except OSError as error:
        reason = f"{error.filename or target} could not be written ({error.strerror})"
        raise UserError(f"{reason}: free space or permission is missing there.") from None


def _has_not_started(error: RuntimeError) -> bool:
    """Whether this is the error of a kernel that ended before it ran a cell."""
    return "kernel" in str(error).lower() and "DeadKernel" not in type(error).__name__


def own_kernels() -> type:
    """A manager whose kernel is this interpreter, whichever one a kernelspec `python3` of the user names.

    `started` lists its managers, so that another thread than theirs can kill their kernels.
    """
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec

    words = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]

    class OwnKernel(AsyncKernelManager):
        kernel_spec = KernelSpec(argv=words, display_name="Python 3", language="python")
        started: ClassVar[list] = []

        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **kwargs)
            self.started.append(self)

    return OwnKernel


def _in_thread(work: Callable[[], Any], kernels: type) -> None:
    """Do the work in a thread, where nbclient cannot take Ctrl-C for itself and now and then forget it.

    Ctrl-C in this thread kills the kernels, waits for the work to end, and is raised again. No kernel outlives the work.
    """
    outcome: Future = Future()

    def do() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    try:
        threading.Thread(target=do, daemon=True).start()
        while not outcome.done():
            wait([outcome], 0.2)  # without a limit Windows would not hear Ctrl-C
    except KeyboardInterrupt:
        while not outcome.done():  # again and again: the work may be about to start its kernel
            _kill(kernels)
            wait([outcome], 0.2)
        raise
    finally:
        _kill(kernels)
    outcome.result()


def _kill(kernels: type) -> None:
    for manager in kernels.started:
        with contextlib.suppress(OSError, AttributeError):  # it is gone, or not there yet
            asyncio.run(manager.provisioner.kill())


@contextlib.contextmanager
def interruptible(goes_on: str) -> Iterator[None]:
    """End the command in a sentence at Ctrl-C; `goes_on` says how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"\nambo: interrupted; {goes_on}.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


class IndentedOutput:
    """A stream that prints a notebook's output line by line, indented, and above the progress bar."""

    incomplete_line = ""  # a line arrives in pieces

    def write(self, text: str) -> None:
        from tqdm import tqdm

        *lines, self.incomplete_line = (self.incomplete_line + text).split("\n")
        for line in lines:
            tqdm.write(visible(f"  {line}"))

    def flush(self) -> None:
        sys.stdout.flush()
