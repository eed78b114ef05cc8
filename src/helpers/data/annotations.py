"""What each of several annotators answered, from a column of a user's table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from helpers.text import name


def read_annotations(value: Any, labels: Sequence[str]) -> tuple[dict[str, str], int]:
    """(annotator → label of one cell, number of answers left out).

    A cell is an object (annotator → label), a list of labels, whose annotators then are 1, 2, …, or JSON text of either.
    Left out is what is none of `labels`, whatever its case, and a cell that is nothing of these.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else {}
        except (ValueError, RecursionError):
            return {}, 1
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        value = {str(number): answer for number, answer in enumerate(value, 1)}
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return {}, 0
    if not isinstance(value, dict):
        return {}, 1
    spellings = {name(label).casefold(): label for label in labels}
    given = {name(str(who)): _whole(answer) for who, answer in value.items() if answer is not None and answer != ""}
    known = {
        who: spellings[text] for who, answer in given.items() if (text := name(str(answer)).casefold()) in spellings
    }
    return known, len(given) - len(known)


def _whole(answer: Any) -> Any:
    """1 for 1.0, as a column with gaps has it."""
    return int(answer) if isinstance(answer, float) and answer.is_integer() else answer
