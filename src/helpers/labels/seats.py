"""Several annotators: who labels what, what is left to each of them, and what they choose to say about themselves."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helpers.env import UserError
from helpers.files import write_json
from helpers.labels.log import annotations, append_all, check_annotator


def assign(
    ids: Sequence[str],
    annotators: Sequence[str],
    overlap_k: int = 1,
    overlap_share: float = 1.0,
    repeat_share: float = 0.0,
    seed: int = 0,
) -> dict[str, list[str]]:
    """Annotator → record ids in that person's own random order; `overlap_share` of the items go to `overlap_k` people.

    Loads differ by at most one item. `repeat_share` (0 to 0.5) of a person's items come a second time, at least a quarter
    of the list later: an id's second place in a list is a repeat.
    """
    for name in annotators:
        check_annotator(name)
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
        # The least loaded, ties by lot: so every pair of people meets on some items.
        ranked = sorted(names, key=lambda name: (len(lists[name]), rng.random()))
        for name in ranked[: overlap_k if i < shared else 1]:
            lists[name].append(item)
    return {name: _with_repeats(own, repeat_share, rng) for name, own in lists.items()}


def _with_repeats(own: list[str], share: float, rng: random.Random) -> list[str]:
    rng.shuffle(own)
    n = len(own)
    again = rng.sample(own[: n // 2], min(round(share * n), n // 2)) if n >= 3 else []
    head, tail = own[: 3 * n // 4], own[3 * n // 4 :] + again
    if again:
        rng.shuffle(tail)
    return head + tail


def simulate(folder: Path, ids: Sequence[str], oracle: dict[str, str], **facts: Any) -> None:
    """The simulated annotator `oracle` labels what is not yet in its log, from labels that were set aside."""
    known = annotations(folder).get("oracle", {})
    append_all(
        folder, "oracle", [{"event": "label", "id": i, "label": oracle[i], **facts} for i in ids if i not in known]
    )


def pending(source: Path | list[dict], assigned: dict[str, list[str]]) -> dict[str, list[str]]:
    """What every annotator has neither labelled nor skipped of the ids assigned to them, in their order, each once."""
    state = annotations(source)
    left = {}
    for name, ids in assigned.items():
        own = state.get(name, {})
        done = {i for i in ids if i in own and (own[i]["label"] is not None or own[i]["skipped"])}
        left[name] = [i for i in dict.fromkeys(ids) if i not in done]
    return left


# --- about the annotators --------------------------------------------------------------------------------------------


def attributes(folder: Path) -> dict[str, dict]:
    """What annotators chose to say about themselves (`attributes.json`); no export contains it."""
    path = Path(folder) / "attributes.json"
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not readable JSON: mend or delete it.") from error


def set_attributes(folder: Path, annotator: str, **given: Any) -> None:
    """Keep what this annotator gives of their own accord; without arguments, forget it."""
    kept = {name: facts for name, facts in attributes(folder).items() if name != check_annotator(annotator)}
    write_json(Path(folder) / "attributes.json", kept | ({annotator: given} if given else {}))
