"""One stage of one run: its parameters, its folder, its manifest, and whether it is due again.

`outputs/<task>/<run_id>/<stage>/` holds the executed notebook, `manifest.json` and the stage's files. A stage
is due again when its parameters, an input, an output, its notebook's code or anything in this package changes.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from helpers import env, hub, servers
from helpers.env import UserError
from helpers.files import digest, file_name, read_jsonl, sha256, write_json, write_jsonl
from helpers.manifest import (
    PACKAGES,
    changed_file,
    code_cells,
    code_sha,
    git_state,
    is_manifest,
    is_whole,
    read_facts,
    read_manifest,
    short_name,
    stored_name,
    version,
    write_manifest,
)
from helpers.parameters import stage_parameters

STAGES = {
    "01": "01_seed_curation",
    "02": "02_synthetic_expansion",
    "03": "03_active_learning",
    "04": "04_bias_evaluation",
}
GENERATION = {"01": "01_seed_curation", "03": "03_active_generation", "04": "04_generation_evaluation"}
KINDS = {"classification": STAGES, "generation": GENERATION}  # kind of task → its notebooks by stage number
LIMITS = ("teacher_tokens",)  # parameters that may change when a run is resumed
LOOKS = ("page", "show_suggestions", "label_names", "label_help")  # of the panel: they make no round void
WORDS = ("guideline", "brief")  # for people
# What two stages of one run may have each of their own: who labels, and by which words; where answers are kept; memory.
OWN = (*LIMITS, *LOOKS, *WORDS, "annotators", "labeller", "replies", "token_budget")
# Parameters that name a file or folder, each with the words that are none even where a folder of that name stands here.
SOURCES = {
    "data_path": (),
    "model": (),
    "teacher_model": (),
    "guideline": (),
    "brief": (),
    "scorer": ("lexicon", "pairs", "judge"),
    "secondary": ("tagger", "half"),
}

# --- one stage ------------------------------------------------------------------------------------


class Cells:
    """The cells that are run in a stage's notebook from its opening on, beside those that it has on the disk then."""

    def __init__(self, stage: str):
        self.own = {cell.strip() for cell in code_cells(stage)}
        self.start = max(0, len(self._run()) - 1)  # the one that opens it is the last

    def count_foreign(self) -> int:
        """The number of cells that were run and are none of the notebook's; 0 outside a kernel, or without that notebook."""
        if not self.own:
            return 0
        return sum(bool(cell.strip()) and cell.strip() not in self.own for cell in self._run()[self.start :])

    def _run(self) -> list[str]:
        shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
        return shell.history_manager.input_hist_raw if shell else []


@dataclass
class Run:
    """One stage of one run: its folder, its checked parameters, and its manifest."""

    stage: str
    params: dict[str, Any]
    folder: Path
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.time)
    code: str = field(init=False)
    commits: dict[str, str] = field(init=False)
    servers: dict[str, str] = field(init=False)
    counting: set[str] = field(default_factory=set)  # earlier stages that were found to count
    cells: Cells = field(init=False)

    def __post_init__(self) -> None:  # noted before it runs, as every input is before it is read
        self.code, self.commits = code_sha(self.stage), hub.commits(self.stage, self.params)
        self.servers, self.cells = servers.named(self.stage, self.params), Cells(self.stage)

    def path(self, name: str) -> Path:
        """Path of a file in this stage's folder; raises UserError where the name would lead out of it."""
        return inside(self.folder, name)

    def reads(self, path: str | Path) -> Path:
        """Record a file or folder as an input and return its path.

        Raises UserError if it is missing, or is a file that this stage has read and that has changed since.
        """
        path = env.resolve(path)
        if not path.exists():
            raise UserError(f"{path} is missing: check the path, or run the notebook that writes it first.")
        name, sha = stored_name(path), sha256(path)
        if path.is_file() and self.inputs.get(name, sha) != sha:  # a folder of labels grows while it is read
            raise UserError(f"{path} has changed while this stage was at work: run it again from its first cell.")
        self.inputs[name] = sha
        return path

    def earlier(self, stage: str, name: str, otherwise: str = "") -> Path:
        """Record the file `name` of an earlier stage of this run, such as `01`, as an input and return its path.

        Raises UserError where it is missing, or that stage no longer counts; `otherwise` says what else can be done then.
        """
        notebook = self._notebook(stage)
        path = inside(self.folder.parent / notebook, name)
        remedy = f"run {notebook} with run_id={self.params['run_id']!r}"
        if not path.exists():
            raise UserError(f"{path} is missing: {remedy} first{otherwise and f', or {otherwise}'}.")
        _refuse_unlike(path.parent, read_facts(path.with_name("manifest.json")), self)
        if notebook not in self.counting and (reason := no_longer_counts(path.parent)):
            raise UserError(
                f"{path.parent} no longer counts ({reason}): {remedy} again{otherwise and f', or {otherwise}'}."
            )
        self.counting.add(notebook)
        return self.reads(path)

    def _notebook(self, stage: str) -> str:
        """The notebook of an earlier stage of this run."""
        return (GENERATION if self.stage in GENERATION.values() else STAGES)[stage]

    @property
    def following(self) -> str:
        """The notebook that comes after this one in a run; '' after the last."""
        is_generation = self.params.get("kind") == "generation" or self.stage not in STAGES.values()
        names = [*(GENERATION if is_generation else STAGES).values(), ""]
        return names[names.index(self.stage) + 1]

    def wrote(self, path: Path) -> Path:
        """Record a file or folder as an output of this stage and return its path."""
        self.outputs[stored_name(path)] = sha256(path)
        return path

    def read_rounds(self) -> list[dict]:
        """Rounds of active learning that this stage has finished; raises UserError where one is not as it was recorded."""
        return _read_rounds(self.path("rounds.jsonl"))

    def resume_rounds(self, teacher: dict[str, str] | None = None) -> list[dict]:
        """The finished rounds, if they were made from the inputs recorded so far and from these parameters.

        Where they were not, or are damaged, all that the stage has written goes to `earlier/1`, `earlier/2` … and a
        sentence says so; labels stay where they are. The stage is held from here on.

        Where a teacher labels, `teacher` says which one, and what it is told. The rounds are made from that too, and labels
        of another teacher, or of one that was told something else, go with them.
        """
        hold_folder(self.folder)
        params = {name: value for name, value in self.params.items() if name not in (*LIMITS, *LOOKS)}
        # The guideline and the brief grow while people label, as do the logs: they make the stage due, not the rounds void.
        words = {env.resolve(self.params[name]) for name in WORDS if self.params.get(name)}
        read = {name: sha for name, sha in self.inputs.items() if not self._is_log(env.resolve(name))}
        basis = {"inputs": {name: sha for name, sha in read.items() if env.resolve(name) not in words}}
        basis["parameters"] = params
        judge = self.servers.get("JUDGE")
        if asked := {**(teacher or {}), **({"the judge": judge} if judge else {})}:
            basis["asked"] = asked
        path, record = self.path("rounds.jsonl"), self.path("rounds_from.json")
        earlier, reason, rows = read_facts(record), "", []
        hub_before = earlier.pop("hub", None)
        if path.exists() and earlier != basis:
            before = {name: fact for kind in ("inputs", "asked") for name, fact in _facts_in(earlier, kind).items()}
            reason = "nothing says what they were made from"
            if isinstance(earlier.get("inputs"), dict):
                now = basis["inputs"] | asked
                changed = [Path(name).name for name, fact in now.items() if before.get(name) != fact]
                reason = f"changed since: {', '.join(changed) or 'the parameters'}"
        elif path.exists() and (name := hub.moved(hub_before, self.stage, self.params)):
            reason = f"the hub has had another {name} since"
        elif path.exists():
            try:
                rows = self.read_rounds()
            except UserError:
                reason = "rounds.jsonl is damaged"
        answers, told = self.path("labels/teacher/teacher.jsonl"), self.path("labels/teacher/asked.json")
        are_others = bool(teacher) and answers.exists() and read_facts(told) != teacher
        if are_others and not reason:
            reason, rows = "labels of another teacher, or of one that was told something else", []
        if reason:
            place = put_results_aside(self.folder, [answers] if are_others else [])
            self.save_manifest("running")
            print(f"The rounds so far are put aside in {place} ({reason}).")
            kept = "people stay, those of the teacher are put aside too" if are_others else "people and teachers stay"
            print(f"The selection starts anew; labels of {kept}.")
        if teacher and read_facts(told) != teacher:
            write_json(told, teacher)
        if not rows:  # of those that stay it is part of their digest
            write_json(record, basis | {"hub": self.hub_commits()})
        return rows

    def _is_log(self, path: Path) -> bool:
        """Whether a path is, or is in, the folder of labels of a stage of this run."""
        place = _inside_run(path, self.folder.parent)
        return place is not None and place.parts[1:2] == ("labels",)

    def refuse_stale(self, stage: str) -> None:
        """Raise UserError where `ambo run` would do an earlier stage, such as `03`, again; of other code a note is enough."""
        notebook = self._notebook(stage)
        folder = self.folder.parent / notebook
        remedy = f"run {notebook} with run_id={self.params['run_id']!r} again"
        manifest = read_manifest(folder) or {"status": "not run yet"}
        if manifest["status"] != "success":
            raise UserError(f"{folder} is {manifest['status'].replace('_', ' ')}: {remedy}.")
        _refuse_unlike(folder, manifest, self)
        if reason := _what_changed(folder, manifest):
            raise UserError(f"{folder} no longer counts ({reason}): {remedy}.")
        if manifest["code"] != code_sha(notebook):  # a person may have edited the parameters in it for another run
            print(f"{notebook} was run with other code than there is now.")
        if number := manifest.get("foreign_cells"):
            print(f"{notebook}: {_foreign(number)}.")
        refuse_changed_adapter(folder)

    def add_round(self, row: dict) -> None:
        """Append a round to `rounds.jsonl` as it is on the disk now; raises UserError if another session was first."""
        hold_folder(self.folder)
        rows = self.read_rounds()
        key = row["strategy"], row["round"]
        if key in {(r["strategy"], r["round"]) for r in rows}:
            remedy = "run this notebook again, and it goes on from that round"
            raise UserError(f"Round {key[1]} of {key[0]} has been recorded by another session meanwhile: {remedy}.")
        path = self.path("rounds.jsonl")
        write_jsonl(path, [r | {"check": _check(r, path)} for r in [*rows, row]])

    def note(self, **facts: Any) -> None:
        """Add facts, such as the model's revision, to the manifest."""
        self.notes |= facts

    def save_manifest(self, status: str, **more: str) -> None:
        """Write `manifest.json` as things stand now, with `more` facts about this moment."""
        facts = {"stage": self.stage, "status": status, "parameters": self.params, **self.notes}
        facts |= {"code": self.code, "git": git_state(), "packages": {p: version(p) for p in PACKAGES}}
        facts |= {"machine": env.machine(), "peak_memory_gib": env.peak_memory_gib()}
        facts |= {"seconds": round(time.time() - self.started, 1), "inputs": self.inputs, "outputs": self.outputs}
        write_manifest(self.folder, facts | {"hub": self.hub_commits(), "servers": self.servers} | more)

    def hub_commits(self) -> dict[str, str]:
        """The commits that this stage has read: of the model as it was loaded, of others as they were at its opening."""
        now, loaded = hub.commits(self.stage, self.params), str(self.notes.get("revision", ""))
        read = {name: self.commits.get(name) or commit for name, commit in now.items()}
        is_loaded = hub.COMMIT.fullmatch(loaded)
        return {name: loaded if is_loaded and name.startswith("model=") else commit for name, commit in read.items()}

    def close(self, status: str = "success") -> None:
        """Write the final manifest and release the folder; `status` is `success` or `awaiting_labels`.

        With a success, all that stands in the folder is an output, and the executed notebook has to stay. Where cells were
        run that are none of the notebook's, the manifest says so, and the next `ambo run` does the stage again.
        """
        if number := self.cells.count_foreign():
            self.note(foreign_cells=number)
            print(f"{_foreign(number)}: the next `ambo run` does {self.stage} again.")
        if status == "success":
            for path in _results(self.folder):
                self.wrote(path)
            self.note(notebook=_executed(self.folder).exists())
        _open.clear()
        self.save_manifest(status)
        if lock := _locks.pop(self.folder, None):
            lock.release()


def _results(folder: Path) -> list[Path]:
    """What a stage wrote: everything in its folder but notebooks, which change when they are opened, and what stays."""
    return [path for path in sorted(folder.iterdir()) if not (_stays(path) or path.suffix == ".ipynb")]


def _stays(path: Path) -> bool:
    """Whether a file or folder of a stage is none of its results."""
    return path.name in ("labels", "earlier", "manifest.json") or path.name.startswith(".")


def _executed(folder: Path) -> Path:
    """The place of a stage's executed notebook."""
    return folder / f"{folder.name}.ipynb"


def _refuse_unlike(folder: Path, facts: dict[str, Any], later: Run) -> None:
    """Raise UserError where an earlier stage recorded another value of a parameter that a later one has as well.

    Both are of one run, so they differ in OWN alone; the rest shows a stage of another run, or one that was done anew.
    """
    recorded = facts.get("parameters")
    for name, value in recorded.items() if isinstance(recorded, dict) else ():
        if name in later.params and name not in OWN and later.params[name] != value:
            problem = f"{folder} was run with {name}={value!r}, and {later.stage} has {later.params[name]!r}"
            raise UserError(f"{problem}: give both the same, or run {folder.name} again.")


def _read_rounds(path: Path) -> list[dict]:
    rows = read_jsonl(path) if path.exists() else []
    for number, row in enumerate(rows, 1):
        if row.pop("check", "") != _check(row, path):
            remedy = "run the notebook that writes it again"
            raise UserError(f"{path} is damaged: line {number} is not as it was recorded; {remedy}.")
    return rows


def _facts_in(record: dict[str, Any], name: str) -> dict[str, Any]:
    """The JSON object under a name of another; {} where there is none."""
    facts = record.get(name)
    return facts if isinstance(facts, dict) else {}


def _check(row: dict, path: Path) -> str:
    """Digest of a round and of what it was made from: one that was damaged, edited, or is of another run does not fit."""
    return digest([row, read_facts(path.with_name("rounds_from.json"))])[:16]


def refuse_changed_adapter(stage: Path) -> None:
    """Raise UserError where the adapter in the folder of a stage 03, or the rows it was trained on, are not those that
    the rounds recorded last.
    """
    trained = [row for row in _read_rounds(stage / "rounds.jsonl") if row.get("adapter")]
    if not trained:
        raise UserError(f"{stage / 'adapter'} has no round that trained it: run {stage.name} again.")
    for name, key in (("adapter", "adapter"), ("training.jsonl", "training")):
        if trained[-1].get(key) and sha256(inside(stage, name)) != trained[-1][key]:
            raise UserError(f"{stage / name} is not that of the last training: run {stage.name} again.")


def open_run(stage: str, values: dict[str, Any]) -> Run:
    """Check a notebook's parameters, seed the random generators, and open the stage's folder.

    `stage` is the notebook's name, or the number of a classification stage; `values` are its globals. Raises UserError
    when a parameter has the wrong type, or the folder is in use. Where it belongs to a run with other parameters, a
    person at the notebook gets a new version of the stage (see `put_results_aside`), and a batch run a UserError.
    """
    stage = STAGES.get(stage, stage)
    params = stage_parameters(stage, values)
    folder = run_folder(params["task"], params["run_id"]) / stage
    if env.frontend() != "notebook":
        refuse_other_parameters(folder, params)
    before = read_facts(folder / "manifest.json")
    name = changed_parameter(folder, params)  # asked first: a stage that we hold does not look cut off
    hold_folder(folder)
    if name:
        place = put_results_aside(folder)
        was = read_manifest(place)["parameters"].get(name)
        print(f"{name} was {was!r} and is {params.get(name)!r}: the stage is done anew, labels stay; before: {place}")
    env.seed_everything(params["seed"])
    run = Run(stage, params, folder)
    _open[:] = [run]
    if env.frontend() == "notebook":  # of a batch run papermill says it
        _follow_cells(run)
        run.notes |= _command_now(before, params)
    for path in sources(stage, params):
        run.reads(path)
    for sentence in hub.unwatched(stage, params):
        print(sentence)
    run.save_manifest("running")
    return run


def _command_now(before: dict[str, Any], params: dict[str, Any]) -> dict[str, str]:
    """`command`, which stopped here for labels, with the parameters that a person has changed since; {} where none did."""
    command, earlier = before.get("command"), before.get("parameters")
    if not isinstance(command, str) or not isinstance(earlier, dict):
        return {}
    changed = [name for name, value in params.items() if earlier.get(name) != value]
    words = [word for name in changed for word in ("-p", name, json.dumps(params[name], ensure_ascii=False))]
    return {"command": f"{command} {shlex.join(words)}".rstrip()}


_open: list[Run] = []  # the run that this process has opened and not closed


def _follow_cells(run: Run) -> None:
    """Have the manifest say that the stage failed when a cell of its notebook does, and that it runs when the next goes well.

    The kernel lives on after an error, and holds the folder: nothing else would tell the two apart.
    """
    events = sys.modules["IPython"].get_ipython().events

    def after_cell(result: Any) -> None:
        if not any(opened is run for opened in _open):
            events.unregister("post_run_cell", after_cell)
            return
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            words = "stopped by hand" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
            run.save_manifest("failed", error=words)
        elif read_facts(run.path("manifest.json")).get("status") == "failed":
            run.save_manifest("running")

    events.register("post_run_cell", after_cell)


def sources(stage: str, params: dict[str, Any]) -> list[Path]:
    """The files and folders that a stage's parameters name: data, base model, guideline, brief, scorer, …"""
    names = []
    for parameter, words in SOURCES.items():
        if parameter != "data_path" or stage == STAGES["01"]:  # elsewhere it only says which set 01 has read
            value = params.get(parameter, "")
            names += [name for name in (value if isinstance(value, list) else [value]) if name and name not in words]
    places = [re.sub(r"^(table|detector):", "", name) for name in names if not name.startswith("embedded:")]
    packages = [name.removeprefix(env.PACKAGE) for name in places if name.startswith(env.PACKAGE)]
    models = [path for name in packages for path in env.package_files(name) if ".gguf" in path.name]
    return [env.resolve(place) for place in places if env.resolve(place).exists()] + models


def save_sets(here: Run, sets: dict[str, list[dict]]) -> list[Path]:
    """Write each set of 01 to a file of its own, and `sets.json`, which says which; returns the files.

    The files of sets that an earlier run of 01 wrote and the data no longer have are deleted.
    """
    file_of = {name: f"{file_name(name)}.jsonl" for name in sets}
    for name in read_facts(here.path("sets.json")).keys() - sets.keys():
        here.path(f"{file_name(name)}.jsonl").unlink(missing_ok=True)
    paths = [write_jsonl(here.path(file_of[name]), rows) for name, rows in sets.items()]
    return [*paths, write_json(here.path("sets.json"), file_of)]


def some_rows(path: Path) -> list[dict]:
    """The rows of a set; raises UserError where it has none, because people skipped them all."""
    if rows := read_jsonl(path):
        return rows
    raise UserError(f"{path} has no row: nothing can be measured on it. Label some in 01, or set its size above 0.")


def evaluation_sets(here: Run) -> dict[str, list[dict]]:
    """Name → rows of the sets that 01 set aside: validation, test, and further test sets; recorded as inputs."""
    record = here.earlier("01", "sets.json")
    file_of = read_facts(record)
    if not file_of or not all(file == f"{file_name(name)}.jsonl" for name, file in file_of.items()):
        raise UserError(f"{record} is damaged: run {record.parent.name} again.")
    return {
        name: read_jsonl(here.earlier("01", file))
        for name, file in file_of.items()
        if name == "validation" or name.startswith("test")
    }


def notebooks(kind: str) -> dict[str, str]:
    """Stage number → notebook for a kind of task; raises UserError on an unknown kind."""
    if kind not in KINDS:
        raise UserError(f"Parameter kind={kind!r} is unknown: choose one of {', '.join(KINDS)}.")
    return KINDS[kind]


# --- the folder -----------------------------------------------------------------------------------


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


def check_name(parameter: str, value: str) -> None:
    """Raise UserError unless `value` can be the name of a folder on every system."""
    is_usable = re.fullmatch(r"\w[\w .+-]{0,79}", value) and len(value.encode("utf-8", "replace")) <= 200
    if not is_usable or value[-1] in " ." or value.partition(".")[0].upper() in RESERVED:
        words = "use at most 80 letters, digits, - and _, beginning with a letter or digit"
        raise UserError(f"Parameter {parameter}={value[:100]!a} names a folder: {words}.")


# Names of devices on Windows.
RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{k}" for port in ("COM", "LPT") for k in range(1, 10))}

_locks: dict[Path, FileLock] = {}  # the folders that this process holds


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


# --- the manifest ---------------------------------------------------------------------------------


def stage_status(folder: Path) -> str:
    """The status in a stage's manifest; `cut off` for a stage that no process runs any more, `damaged` if unreadable."""
    try:
        manifest = read_manifest(folder)
    except UserError:
        return "damaged"
    if manifest is None:
        return "damaged"
    unfinished = manifest["status"] == "running" or not is_finished(_executed(folder))
    return "cut off" if unfinished and manifest["status"] != "failed" and not is_held(folder) else manifest["status"]


def is_finished(notebook: Path) -> bool:
    """Whether papermill has ended an executed notebook, the last thing that it writes; True where none was executed."""
    if not notebook.exists():
        return True  # the stage was run in JupyterLab, from the notebook itself
    facts: Any = read_facts(notebook)
    for name in ("metadata", "papermill", "end_time"):
        facts = facts.get(name) if isinstance(facts, dict) else None
    return bool(facts)


def mark_failed(folder: Path, error: str) -> None:
    """Say in the manifest of `folder` that its run failed, unless another process runs that stage."""
    with contextlib.suppress(UserError):  # a damaged manifest stays as it is
        if (manifest := read_manifest(folder)) and not is_held(folder):
            write_manifest(folder, manifest | {"status": "failed", "error": error})


def changed_parameter(folder: Path, params: dict[str, Any], free: Sequence[str] = LIMITS) -> str:
    """The first parameter, but for the `free` ones, that differs from those `folder` was run with.

    '' without one, or where that run left nothing.
    """
    try:
        manifest = read_manifest(folder)
    except UserError:  # the stage is done again, and nothing says with which parameters it was done before
        manifest = None
    earlier = manifest["parameters"] if manifest else params
    name = next((k for k in {**earlier, **params} if earlier.get(k) != params.get(k) and k not in free), "")
    return "" if name and _left_nothing(folder, manifest["status"]) else name


def _left_nothing(folder: Path, status: str) -> bool:
    """Whether the stage stopped before it wrote more than its manifest and its page; labels stay in any case."""
    return not _results(folder) and (status == "failed" or (status == "running" and not is_held(folder)))


def refuse_other_parameters(folder: Path, params: dict[str, Any], free: Sequence[str] = LIMITS) -> None:
    """Raise UserError naming the first parameter, but for the `free` ones, that differs from those `folder` was run with."""
    if name := changed_parameter(folder, params, free):
        earlier = read_manifest(folder)["parameters"].get(name)
        problem = f"belongs to a run with {name}={earlier!r}, not {params.get(name)!r}"
        raise UserError(f"{folder} {problem}: {_how_to_change(folder, name)}.")


def _how_to_change(folder: Path, name: str) -> str:
    """How to go on with another value of a parameter; no folder that holds labels is named as one to delete."""
    logs = (folder / "labels").rglob("*.jsonl")
    if all(path.stem == "oracle" for path in logs):  # its labels are in the data
        return "choose another run_id, or delete that folder"
    page, cell = _executed(folder), ' in the cell "# Parameters"'
    if not page.exists():
        page, cell = env.root() / "notebooks" / page.name, ""
    here = f"to keep its labels, open {env.short_path(page)} in JupyterLab, change {name} there{cell} and run all cells"
    return f"{here}; or choose another run_id and bring them there by `ambo labels export` and `ambo labels import`"


def put_results_aside(folder: Path, logs: Sequence[Path] = ()) -> Path:
    """Move what a stage wrote to `earlier/1`, `earlier/2` … in its folder, and return that place.

    Labels stay, but for the `logs`. The executed notebook is copied, because it may be the page that is open.
    """
    numbers = [int(path.name) for path in folder.glob("earlier/*") if path.name.isdecimal()]
    place = folder / "earlier" / str(max(numbers, default=0) + 1)
    make_folder(place)
    try:
        for path in sorted(folder.iterdir(), key=lambda path: path.name == "manifest.json"):  # last: then all is moved
            if path == _executed(folder):
                shutil.copy2(path, place)
            elif path.name not in ("labels", "earlier", ".lock"):
                path.rename(place / path.name)
        for path in logs:
            make_folder(place / path.relative_to(folder).parent)
            path.rename(place / path.relative_to(folder))
    except OSError as error:
        raise _unusable(folder, error) from error
    return place


def why_due(folder: Path, params: dict[str, Any]) -> str:
    """Why the stage in `folder` has to run with these parameters; '' where it succeeded and nothing has changed since."""
    try:
        manifest = read_manifest(folder)
    except UserError:
        return "its manifest is damaged"
    if manifest is None:
        return "not run yet"
    if manifest["status"] != "success":
        return f"its last run is marked {manifest['status'].replace('_', ' ')}"
    if manifest["parameters"] != params:
        return "its parameters changed"
    if manifest["code"] != code_sha(folder.name):
        return "the code, or a table of the package, changed"
    if number := manifest.get("foreign_cells"):
        return _foreign(number)
    return _what_changed(folder, manifest)


def _foreign(number: int) -> str:
    return f"cells were run in it that are not those of its notebook ({number})"


def no_longer_counts(folder: Path) -> str:
    """Why nothing may go on from what a stage left; '' where it may, or has no manifest.

    Other code, other words for people (guideline, brief) and a source that is gone are no reason.
    """
    if not (folder / "manifest.json").exists():
        return ""
    status = stage_status(folder)
    if status != "success":
        return f"it is {status.replace('_', ' ')}"
    manifest = read_manifest(folder)
    words = {stored_name(env.resolve(value)) for name in WORDS if (value := manifest["parameters"].get(name))}
    inputs = {name: sha for name, sha in manifest["inputs"].items() if name not in words and env.resolve(name).exists()}
    return changed_file(folder, manifest | {"inputs": inputs}) or _stale_before(folder, manifest)


def _stale_before(folder: Path, manifest: dict[str, Any]) -> str:
    """The first earlier stage of this run that a stage has read and that no longer counts, and why; '' without one."""
    read = {place.parts[0] for name in manifest["inputs"] if (place := _inside_run(env.resolve(name), folder.parent))}
    for stage in sorted(read - {folder.name}):
        if reason := no_longer_counts(folder.parent / stage):
            return f"{stage} no longer counts: {reason}"
    return ""


def _inside_run(path: Path, home: Path) -> Path | None:
    """A path as seen from the folder of a run; None where it does not lie in it."""
    return path.relative_to(home) if path.is_relative_to(home) and path != home else None


def _what_changed(folder: Path, manifest: dict[str, Any]) -> str:
    """What of a finished stage, or of what it was made from, is not as it was then; '' where all is. Code does not count."""
    if not is_finished(_executed(folder)):
        return "its notebook was cut off at the end"
    if manifest.get("notebook") and not _executed(folder).exists():
        return f"{folder.name}.ipynb is missing"
    if not is_whole(manifest):
        return "its manifest is not as the stage wrote it"
    params = manifest["parameters"]
    for path in sources(folder.name, params):
        if stored_name(path) not in manifest["inputs"]:
            return f"{short_name(stored_name(path))} was not read yet"
    if name := hub.moved(manifest.get("hub"), folder.name, params):
        return f"the hub has had another {name} since"
    return (
        servers.changed(manifest.get("servers"), folder.name, params)
        or changed_file(folder, manifest)
        or _stale_before(folder, manifest)
    )


def expected_seconds(stage: str, params: dict[str, Any]) -> float | None:
    """How long the stage took where it ended well with parameters most like these; None where it never did."""
    earlier = []
    for path in (env.root() / "outputs").glob(f"*/*/{stage}/manifest.json"):
        manifest = read_facts(path)
        if not is_manifest(manifest) or manifest["status"] != "success":
            continue
        if manifest["parameters"].get("model") == params.get("model"):
            alike = sum(manifest["parameters"].get(name) == value for name, value in params.items())
            earlier.append((alike, path.stat().st_mtime, manifest["seconds"]))
    return max(earlier)[2] if earlier else None
