"""Several annotators: who labels what, what each still has to label, and what they say about themselves."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helpers.data.records import asks_people
from helpers.env import UserError
from helpers.files import read_json, write_json
from helpers.labels.log import annotations, append_all, check_annotator, check_person


def log_folder(labels: Path, labeller: str, strategy: str) -> Path:
    """Where the labels of the pool are in a stage's folder of labels: of the oracle by strategy, else by who labels."""
    name = strategy if labeller == "oracle" else "human" if asks_people(labeller) else labeller
    return labels / name


def assign(
    ids: Sequence[str],
    annotators: Sequence[str],
    overlap_k: int = 1,
    overlap_share: float = 1.0,
    repeat_share: float = 0.0,
    seed: int = 0,
) -> dict[str, list[str]]:
    """Divide records among annotators, each with a random order of their own; loads differ by at most one record.

    Parameters
    ----------
    overlap_k : int
        How many annotators label a shared record.
    overlap_share : float, 0 to 1
        Share of the records that are shared; each of the others goes to one annotator.
    repeat_share : float, 0 to 0.5
        Share of an annotator's records that come a second time, at least a quarter of the list later.

    Returns
    -------
    dict of lists
        Annotator → record ids; the second place of an id in a list is a repeat.
    """
    for name in annotators:
        check_person(name)
    if not 1 <= overlap_k <= len(set(annotators)):
        raise UserError(
            f"Parameter overlap_k={overlap_k} must lie between 1 and the {len(set(annotators))} annotators."
        )
    if not (0 <= overlap_share <= 1 and 0 <= repeat_share <= 0.5):
        raise UserError(
            f"Parameter overlap_share={overlap_share} must lie in 0 to 1, repeat_share={repeat_share} in 0 to 0.5."
        )
    rng = random.Random(seed)
    names, items = list(dict.fromkeys(annotators)), list(dict.fromkeys(ids))
    rng.shuffle(items)
    lists: dict[str, list[str]] = {name: [] for name in names}
    shared = round(overlap_share * len(items))
    for i, item in enumerate(items):
        # The least loaded first, ties at random, so that every pair of people shares some records.
        ranked = sorted(names, key=lambda name: (len(lists[name]), rng.random()))
        for name in ranked[: overlap_k if i < shared else 1]:
            lists[name].append(item)
    return {name: _with_repeats(own, repeat_share, rng) for name, own in lists.items()}


def _with_repeats(ids: list[str], share: float, rng: random.Random) -> list[str]:
    """The ids in random order, a share of their first half a second time in the last quarter."""
    rng.shuffle(ids)
    n = len(ids)
    repeats = rng.sample(ids[: n // 2], min(round(share * n), n // 2)) if n >= 3 else []
    head, tail = ids[: 3 * n // 4], ids[3 * n // 4 :] + repeats
    if repeats:
        rng.shuffle(tail)
    return head + tail


def keep_seats(seats: dict[str, list[str]], source: Path | list[dict]) -> dict[str, list[str]]:
    """The seats with every record that another annotator has answered in that one's list, so that nobody is asked again.

    For seats of one annotator a record, drawn anew because the records changed; `source` is as in `log.annotations`.
    """
    state = annotations(source)
    answered = {name: _answered(state.get(name, {})) for name in seats}
    kept: dict[str, list[str]] = {name: [] for name in seats}
    for name, ids in seats.items():
        for i in ids:
            owner = next((other for other in seats if i in answered[other]), name)
            kept[name if i in answered[name] else owner].append(i)
    return kept


def seats_of_rounds(
    rounds: Sequence[dict], annotators: Sequence[str], *, seed: int = 0, **shares: Any
) -> dict[str, list[str]]:
    """Who labels which of the picks so far: `assign` for every round, with a seed of its own.

    A round has `picks`, the record ids chosen in it, and `round`, its number. Later rounds leave the lists of earlier ones
    as they are. `shares` are `overlap_k`, `overlap_share` and `repeat_share` of `assign`.
    """
    seats: dict[str, list[str]] = {name: [] for name in annotators}
    for row in rounds:
        for name, ids in assign(row["picks"], annotators, seed=seed + row["round"], **shares).items():
            seats[name] += ids
    return seats


def simulate(folder: Path, ids: Sequence[str], oracle: dict[str, str]) -> None:
    """Let the simulated annotator `oracle` label records from the labels set aside before, and correct its old ones."""
    known = annotations(folder).get("oracle", {})
    rows = [{"event": "label", "id": i, "label": oracle[i]} for i in ids if known.get(i, {}).get("label") != oracle[i]]
    append_all(folder, "oracle", rows)


def settle(folder: Path, machine: str, labels: dict[str, str]) -> None:
    """Have a machine's log say exactly these labels (record id → label): a label of before that is not among them is withdrawn."""
    known = (
        {i: answer["label"] for i, answer in annotations(folder).get(machine, {}).items()} if folder.exists() else {}
    )
    rows = [{"event": "label", "id": i, "label": label} for i, label in labels.items() if known.get(i) != label]
    rows += [{"event": "skip", "id": i} for i, label in known.items() if label is not None and i not in labels]
    if rows:
        append_all(folder, machine, rows)


def pending(source: Path | list[dict], assigned: dict[str, list[str]]) -> dict[str, list[str]]:
    """The ids that every annotator has neither labelled nor skipped of those assigned to them, in order, each once."""
    state = annotations(source)
    waiting = {}
    for name, ids in assigned.items():
        done = _answered(state.get(name, {}))
        waiting[name] = [i for i in dict.fromkeys(ids) if i not in done]
    return waiting


def _answered(answers: dict[str, dict]) -> set[str]:
    """The records that an annotator has labelled or skipped."""
    return {i for i, answer in answers.items() if answer["label"] is not None or answer["skipped"]}


def attributes(folder: Path) -> dict[str, dict]:
    """Annotator → what they chose to say about themselves (`attributes.json`); no export contains it."""
    path = Path(folder) / "attributes.json"
    try:
        return read_json(path) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not readable JSON: correct or delete it.") from error


def set_attributes(folder: Path, annotator: str, facts: dict[str, Any]) -> None:
    """Store what this annotator says about themselves in place of what they said before; {} deletes it."""
    check_annotator(annotator)
    others = {name: own for name, own in attributes(folder).items() if name != annotator}
    write_json(Path(folder) / "attributes.json", others | ({annotator: facts} if facts else {}))
