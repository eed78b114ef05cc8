"""One stage of one run at work: its parameters, what it reads and writes, its rounds and its manifest.

`outputs/<task>/<run_id>/<stage>/` holds the executed notebook, `manifest.json` and the stage's files.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers import env, hub, servers
from helpers.cells import Cells
from helpers.env import UserError
from helpers.files import digest, file_name, read_jsonl, sha256, write_json, write_jsonl
from helpers.manifest import (
    PACKAGES,
    code_sha,
    git_state,
    method_sha,
    read_facts,
    read_manifest,
    refuse_changed_package,
    stored_name,
    version,
    write_manifest,
)
from helpers.outputs import (
    executed,
    forget_page,
    hold_folder,
    inside,
    put_results_aside,
    release_folder,
    results,
    run_folder,
)
from helpers.parameters import default_parameters, stage_parameters
from helpers.pipeline import (
    FREE,
    GENERATION,
    OWN,
    STAGES,
    WORDS,
    changed_parameters,
    first_unsound,
    foreign,
    inside_run,
    is_log,
    lineage_remarks,
    refuse_other_parameters,
    restore_success,
    sources,
    what_changed,
)

# --- one stage ------------------------------------------------------------------------------------


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
    method: str = field(init=False)
    commits: dict[str, str] = field(init=False)
    servers: dict[str, str] = field(init=False)
    counting: set[str] = field(default_factory=set)  # earlier stages that were found to count
    remarks: list[str] = field(default_factory=list)  # on what it goes on from, for the report's limits
    cells: Cells = field(init=False)
    made_from: str = ""  # digest of what the rounds were made from that this process goes on from
    before: dict[str, Any] = field(default_factory=dict)  # the manifest of a success of before

    def __post_init__(self) -> None:  # noted before it runs, as every input is before it is read
        self.code, self.method = code_sha(self.stage), method_sha(self.stage)
        self.commits = hub.commits(self.stage, self.params)
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
        other_way = f", or {otherwise}" if otherwise else ""
        if not path.exists():
            facts = read_facts(path.with_name("manifest.json"))
            if facts.get("status") == "success" and stored_name(path) not in (facts.get("outputs") or {}):
                why = "ended without it, as where nobody answered a row of that set: give some an answer, then run it again"
                raise UserError(f"{path} is not there, and {notebook} {why}{other_way}.")
            raise UserError(f"{path} is missing: {self._run_again(notebook)} first{other_way}.")
        _refuse_unlike(path.parent, read_facts(path.with_name("manifest.json")), self)
        if notebook not in self.counting:
            self._go_on_from(path.parent, other_way)
        return self.reads(path)

    def _go_on_from(self, folder: Path, other_way: str = "") -> None:
        """Raise UserError where an earlier stage, or one that it was made from, no longer counts; say what else is to know."""
        stage, reason = first_unsound(folder)
        if reason:
            place = folder.with_name(stage)
            raise UserError(f"{place} no longer counts ({reason}): {self._run_again(stage)} again{other_way}.")
        self.counting.add(folder.name)
        for remark in lineage_remarks(folder):
            if remark not in self.remarks:
                self.remarks.append(remark)
                print(remark)

    def _run_again(self, notebook: str) -> str:
        return f"run {notebook} with run_id={self.params['run_id']!r}"

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
        """Rounds of active learning that this stage has finished.

        Raises UserError where one is not as it was recorded, or they are no longer those that this process goes on from.
        """
        self._refuse_superseded()
        return _read_rounds(self.path("rounds.jsonl"))

    def resume_rounds(self, teacher: dict[str, str] | None = None) -> list[dict]:
        """The finished rounds, if they were made from the inputs recorded so far and from these parameters.

        Where they were not, or are damaged, all that the stage has written goes to `earlier/1`, `earlier/2` … and a
        sentence says so; labels stay where they are. The stage is held from here on.

        Where a teacher labels, `teacher` says which one, and what it is told. The rounds are made from that too, and labels
        of another teacher, or of one that was told something else, go with them.
        """
        hold_folder(self.folder)
        self._refuse_superseded()
        params = {name: value for name, value in self.params.items() if name not in FREE}
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
        had = _facts_in(earlier, "parameters")
        if had:  # a parameter that the notebook did not have then had its default, and one that it had says nothing now
            earlier["parameters"] = default_parameters(self.stage) | had
        both = earlier["parameters"].keys() & params.keys() if had else params.keys()
        earlier, now = (_limited(facts, both) for facts in (earlier, basis))
        if path.exists() and earlier != now:
            before = {name: fact for kind in ("inputs", "asked") for name, fact in _facts_in(earlier, kind).items()}
            reason = "nothing says what they were made from"
            if isinstance(earlier.get("inputs"), dict):
                facts = basis["inputs"] | asked
                changed = [Path(name).name for name, fact in facts.items() if before.get(name) != fact]
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
            place, self.before = put_results_aside(self.folder, [answers] if are_others else []), {}
            self.save_manifest("running")
            print(f"The rounds so far are put aside in {place} ({reason}).")
            kept = "people stay, those of the teacher are put aside too" if are_others else "people and teachers stay"
            print(f"The selection starts anew; labels of {kept}.")
        if teacher and read_facts(told) != teacher:
            write_json(told, teacher)
        if not rows:  # of those that stay it is part of their digest
            write_json(record, basis | {"hub": self.hub_commits()})
        elif added := [name for name in params if had and name not in had]:
            values = ", ".join(f"{name}={params[name]!r}" for name in added)
            remark = f"{self.stage}: its first {len(rows)} rounds are of before there were parameters for {values}."
            print(remark)
            self.remarks.append(remark)
            write_json(record, basis | {"hub": hub_before})  # another value is a change from here on
            write_jsonl(path, [row | {"check": _check(row, path)} for row in rows])
        self.made_from = digest(read_facts(record))
        return rows

    def _refuse_superseded(self) -> None:
        """Raise UserError where another process has begun the rounds anew since this one has read them."""
        if self.made_from and digest(read_facts(self.path("rounds_from.json"))) != self.made_from:
            problem = f"{self.folder} has been begun anew, from other data or parameters, since this page was run"
            raise UserError(f"{problem}: run this notebook again from its first cell. Labels stay.")

    def _is_log(self, path: Path) -> bool:
        """Whether a path is, or is in, the folder of labels of a stage of this run."""
        place = inside_run(path, self.folder.parent)
        return place is not None and is_log(place)

    def refuse_stale(self, stage: str) -> None:
        """Raise UserError where `ambo run` would do an earlier stage, such as `03`, again; of other code a note is enough."""
        notebook = self._notebook(stage)
        folder = self.folder.parent / notebook
        manifest = read_manifest(folder) or {"status": "not run yet"}
        if manifest["status"] != "success":
            raise UserError(f"{folder} is {manifest['status'].replace('_', ' ')}: {self._run_again(notebook)}.")
        _refuse_unlike(folder, manifest, self)
        self._go_on_from(folder)
        if reason := what_changed(folder, manifest):
            raise UserError(f"{folder} no longer counts ({reason}): {self._run_again(notebook)} again.")
        if manifest["code"] != code_sha(notebook):  # a person may have edited the parameters in it for another run
            print(f"{notebook} was run with other code than there is now.")
        refuse_changed_adapter(folder)

    def add_round(self, row: dict) -> None:
        """Append a round to `rounds.jsonl` as it is on the disk now; raises UserError if another session was first."""
        hold_folder(self.folder)
        rows = self.read_rounds()
        key = row["strategy"], row["round"]
        if key in {(r["strategy"], r["round"]) for r in rows}:
            remedy = "run this notebook again, and it goes on from that round"
            raise UserError(f"Round {key[1]} of {key[0]} has been recorded by another session meanwhile: {remedy}.")
        row |= {"code": self.code_run, "method": self.method}
        if number := self.cells.count_foreign():
            row["foreign_cells"] = number
        path = self.path("rounds.jsonl")
        write_jsonl(path, [r | {"check": _check(r, path)} for r in [*rows, row]])

    @property
    def code_run(self) -> str:
        """Digest of the code that trains a model now; '' where cells were run that are none of the notebook's."""
        return "" if self.cells.count_foreign() else self.code

    def is_own_code(self, code: str | None) -> bool:
        """Whether a model with this `code_run` need not be trained again: of other code, or behind foreign cells, it has to.

        While foreign cells are at work nothing is trained again because of earlier ones: that would help nothing.
        """
        return code in (self.code, self.code_run)

    def note(self, **facts: Any) -> None:
        """Add facts, such as the model's revision, to the manifest."""
        self.notes |= facts

    def save_manifest(self, status: str, **more: str) -> None:
        """Write `manifest.json` as things stand now, with `more` facts about this moment."""
        facts = {"stage": self.stage, "status": status, "parameters": self.params, **self.notes}
        facts |= {"code": self.code, "git": git_state(), "packages": {p: version(p) for p in PACKAGES}}
        facts |= {"machine": env.machine(), "peak_memory_gib": env.peak_memory_gib()}
        facts |= {"seconds": round(time.time() - self.started, 1), "inputs": self.inputs, "outputs": self.outputs}
        facts |= {"hub": self.hub_commits(), "servers": self.servers, "frontend": env.frontend()}
        if status in ("running", "failed") and self.before:
            facts["before"] = self.before
        write_manifest(self.folder, facts | more)

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
        self._refuse_superseded()
        if number := self.cells.count_foreign():
            self.note(foreign_cells=number)
            print(f"{foreign(number)}: the next `ambo run` does {self.stage} again.")
        if status == "success":
            for path in results(self.folder):
                self.wrote(path)
            self.note(notebook=executed(self.folder).exists())
        _open.clear()
        self.save_manifest(status)
        forget_page(self.folder)  # kept for a success of before, which is no more
        release_folder(self.folder)


def _refuse_unlike(folder: Path, facts: dict[str, Any], later: Run) -> None:
    """Raise UserError where an earlier stage recorded another value of a parameter that a later one has as well.

    Both are of one run, so they differ in OWN alone; the rest shows a stage of another run, or one that was done anew.
    """
    recorded = _facts_in(facts, "parameters")
    if recorded:  # a parameter that its notebook did not have then had its default
        recorded = default_parameters(folder.name) | recorded
    for name, value in recorded.items():
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


def _limited(record: dict[str, Any], names: Collection[str]) -> dict[str, Any]:
    """What rounds were made from, with these of its parameters alone."""
    kept = {name: value for name, value in _facts_in(record, "parameters").items() if name in names}
    return record | {"parameters": kept}


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
    refuse_changed_package()
    stage = STAGES.get(stage, stage)
    params = stage_parameters(stage, values)
    folder = run_folder(params["task"], params["run_id"]) / stage
    if env.frontend() != "notebook":
        refuse_other_parameters(folder, params)
    before = read_facts(folder / "manifest.json")
    success = before if before.get("status") == "success" else before.get("before")
    names = changed_parameters(folder, params)  # asked first: a stage that we hold does not look cut off
    hold_folder(folder)
    if names:
        place = put_results_aside(folder)
        was = default_parameters(stage) | read_manifest(place)["parameters"]
        changes = "; ".join(f"{name} was {was.get(name)!r} and is {params.get(name)!r}" for name in names)
        print(f"{changes}: the stage is done anew, labels stay; before: {place}")
    env.seed_everything(params["seed"])
    run = Run(stage, params, folder)
    run.before = {} if names or not isinstance(success, dict) else success
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
    try:
        words = shlex.split(command)
    except ValueError:  # a manifest that somebody has edited
        return {}
    given = {k + j for k, word in enumerate(words[:-2]) if word == "-p" and words[k + 1] in changed for j in range(3)}
    words = [word for k, word in enumerate(words) if k not in given]
    words += [word for name in changed for word in ("-p", name, json.dumps(params[name], ensure_ascii=False))]
    return {"command": shlex.join(words)}


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
            restore_success(run.folder, f"failed: {words}")
        elif read_facts(run.path("manifest.json")).get("status") != "running":
            run.save_manifest("running")

    events.register("post_run_cell", after_cell)


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
