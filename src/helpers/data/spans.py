"""Evidence in a user's table: where in a text the words stand that speak for its label, as other tools write it."""

from __future__ import annotations

import ast
import json
import warnings
from bisect import bisect_left
from typing import Any

import numpy as np

from helpers.text import normalise, unstripped


def read_spans(value: Any, text: str) -> tuple[list[list[int]], int]:
    """([start, end) of every span in the cleaned text, number of those left out) of one cell.

    Spans are pairs, triples [start, end, label], dicts with `start` and `end`, JSON or Python text of these, or what `ambo
    labels export` writes (annotator → pairs), in characters of `text` as it stands in the file. Left out is what is not inside
    the text, has no whole numbers, or is nothing of these.
    """
    spans, bad = [], 0
    for entry in _entries(value):
        span = _pair(entry)
        if span and 0 <= span[0] < span[1] <= len(text):
            spans.append(span)
        else:
            bad += 1
    moved = sorted({_moved(text, start, end) for start, end in spans})
    inside = [[start, end] for start, end in moved if start < end]
    return inside, bad


def _entries(value: Any) -> list:
    """The spans of a cell as they are written, one by one."""
    if isinstance(value, str):
        if not value.strip():
            return []
        try:
            value = _parsed(value)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            return [None]
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        if {"start", "end"} & value.keys():
            return [value]
        lists = [spans if isinstance(spans, list) else [None] for spans in value.values()]  # annotator → spans
        return [entry for spans in lists for entry in spans]
    if isinstance(value, list | tuple):
        value = [entry.tolist() if isinstance(entry, np.ndarray) else entry for entry in value]
        is_single = _pair(value) is not None and not any(isinstance(part, list | tuple | dict) for part in value)
        return [value] if is_single else value
    return [] if value is None or value != value else [None]


def _parsed(text: str) -> Any:
    """The value of JSON text, or of what pandas writes into a CSV file for dicts and tuples."""
    try:
        return json.loads(text)
    except ValueError:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)  # of a backslash in a text
            return ast.literal_eval(text.strip())


def _pair(entry: Any) -> tuple[int, int] | None:
    """(start, end) of one span; None where it has no two whole numbers."""
    if isinstance(entry, dict):
        entry = [entry.get("start"), entry.get("end")]
    if not isinstance(entry, list | tuple) or not 2 <= len(entry) <= 3:
        return None
    start, end = entry[:2]
    for number in (start, end):
        # A column of pairs with gaps is read as decimals.
        if isinstance(number, bool) or not isinstance(number, int | float) or number != number or number % 1:
            return None
    return int(start), int(end)


def _moved(text: str, start: int, end: int) -> tuple[int, int]:
    """Where a span of a text stands in its cleaned form, which may be shorter before it, in it and after it."""
    whole = unstripped(text)
    outer = len(whole) - len(whole.lstrip())
    length = len(whole.strip())
    # The start is counted from the end of the text, so that what goes before it is no part of the span.
    places = len(whole) - len(unstripped(text[start:])), len(unstripped(text[:end]))
    first, last = (min(max(0, place - outer), length) for place in places)
    return first, last


def carried(spans: list[list[int]], source: str, target: str) -> list[list[int]]:
    """The spans of a text in another one that differs from it in case and blanks; none where more differs."""
    if source == target:
        return spans
    places, others = ([i for i, char in enumerate(text) for _ in normalise(char)] for text in (source, target))
    if len(places) != len(others):
        return []
    moved = []
    for start, end in spans:
        first, last = bisect_left(places, start), bisect_left(places, end)
        if first < last:
            moved.append([others[first], others[last - 1] + 1])
    return moved
