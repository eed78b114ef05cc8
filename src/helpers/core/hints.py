"""Hints: the words of a text that rules mark, which the evidence head reads beside the states of the base.

Rules that people wrote know much of what labels would have to teach; as an input, not as labels, they can be overruled by
what people label (rules as weak supervision, Ratner et al. 2017, arXiv 1711.10160, go the other way). The only file of the
core that uses another room: a saved detector finds its rules again by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from helpers.files import digest, sha256
from helpers.task import Task

KNOWN = 20_000  # texts whose hints are kept: every round reads the same ones

Places = list[tuple[int, int]]


def rules_version(task: Task) -> str:
    """A digest of the rules and tables that `task.hints` names, '' without any: with others, a detector answers otherwise."""
    if not task.hints:
        return ""
    from helpers import italian

    (folder,) = map(Path, italian.__path__)
    return digest([sha256(path) for path in sorted(folder.rglob("*")) if path.suffix in (".py", ".tsv")])


def hinter(task: Task) -> Callable[[str], Places] | None:
    """The function that gives (start, end) of what the rules of `task.hints` mark in a text; None without any."""
    if not task.hints:
        return None
    from helpers.italian.cues import find_cues  # loads its tables

    known: dict[str, Places] = {}

    def places(text: str) -> Places:
        key = digest(text)
        if key not in known:
            if len(known) >= KNOWN:
                known.clear()
            known[key] = [(cue.start, cue.end) for cue in find_cues(text, task.scope)]
        return known[key]

    return places
