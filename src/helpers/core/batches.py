"""Rows on their way to a model: their targets, which of them are held out, and padded batches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler

from helpers import env
from helpers.env import UserError
from helpers.task import Task


@dataclass(frozen=True)
class Targets:
    """What a loss knows of every labelled row. A new field of a record reaches every loss from here.

    Attributes
    ----------
    classes : int array (rows,)
        Position of the row's label in the task.
    weights : float32 array (rows,)
        The record's `weight`, by which its loss is multiplied; 1.0 where it has none.
    groups : int array (rows,)
        Code of the record's `group`, for losses that compare groups; one code for all rows without
        one.
    """

    classes: np.ndarray
    weights: np.ndarray
    groups: np.ndarray

    @classmethod
    def of(cls, task: Task, records: list[dict]) -> Targets:
        """Targets of labelled records; raises UserError on an unknown label or a weight below 0."""
        classes = np.array(task.index([r["label"] for r in records]), dtype=int)
        weights = [1.0 if r.get("weight") is None else float(r["weight"]) for r in records]
        for record, weight in zip(records, weights, strict=True):
            if not 0 <= weight < math.inf:
                name = record.get("id", record["text"][:40])
                raise UserError(f"Record {name!r} has weight {weight}: give a number from 0 on.")
        groups = np.unique([str(r.get("group", "")) for r in records], return_inverse=True)[1]
        return cls(classes, np.array(weights, dtype=np.float32), groups)

    @classmethod
    def join(cls, parts: Sequence[Targets]) -> Targets:
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def __getitem__(self, rows: Sequence[int]) -> Targets:
        return Targets(*(getattr(self, f.name)[rows] for f in fields(self)))

    def tensors(self) -> dict[str, torch.Tensor]:
        """The arguments of a module's loss."""
        return {f.name: torch.tensor(getattr(self, f.name), device=env.device()) for f in fields(self)}


def holdout(classes: np.ndarray, share: float, keys: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Split rows into (training positions, held-out positions), the same share of each class.

    The rows with the lowest keys are held out; none where a class has fewer than four labels.

    Parameters
    ----------
    classes : int array (rows,)
    share : float
    keys : sequence (rows,)
        What does not change as labels are added, such as a digest of the text.
    """
    if share <= 0 or np.bincount(classes)[np.unique(classes)].min() < 4:
        return np.arange(len(classes)), np.arange(0)
    keys, positions = np.asarray(keys), []
    for number in np.unique(classes):
        members = np.flatnonzero(classes == number)
        lowest = keys[members].argsort(kind="stable")[: max(1, round(share * len(members)))]
        positions.extend(members[lowest])
    held_out = np.sort(np.array(positions))
    return np.setdiff1d(np.arange(len(classes)), held_out), held_out


# --- padding ---------------------------------------------------------------------------------------------------------


def pad(sequences: Sequence[Sequence[int]], value: int, left: bool = False, multiple: int = 1) -> torch.Tensor:
    """int64 (batch, longest); on a GPU the width is rounded up to `multiple`, for its matrix units."""
    multiple = multiple if env.device() == "cuda" else 1
    width = -(-max(map(len, sequences)) // multiple) * multiple
    rows = [[value] * (width - len(s)) + list(s) if left else list(s) + [value] * (width - len(s)) for s in sequences]
    return torch.tensor(rows, device=env.device())


def padded(ids: Sequence[list[int]], pad_id: int, left: bool = False, multiple: int = 1) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask` of token ids, both int64 (batch, longest)."""
    mask = [[1] * len(row) for row in ids]
    return {"input_ids": pad(ids, pad_id, left, multiple), "attention_mask": pad(mask, 0, left, multiple)}


def token_batches(lengths: Sequence[int], budget: int, shared: int = 0) -> Iterator[list[int]]:
    """Positions in order of length, in batches of at most `budget` padded tokens or of one text.

    A batch also ends where more than an eighth of it would be padding, once it is large enough to
    keep the processor busy (an eighth of the budget). `shared` tokens, such as a cached prefix,
    take memory in every row as well.
    """
    batch, real = [], 0
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = lengths[i] + shared
        size = length * (len(batch) + 1)
        wasted = size - real - length
        if batch and (size > budget or (8 * real > budget and 8 * wasted > size)):
            yield batch
            batch, real = [], 0
        batch.append(i)
        real += length
    if batch:
        yield batch


class ByLength(Sampler):
    """Order of training rows: batches of like length from each random half, in random order.

    The Trainer's own groups are smaller, so few rows pad a third more, and run from the longest
    text to the shortest.
    """

    def __init__(self, lengths: list[int], size: int):
        self.lengths, self.size = lengths, size

    def __len__(self):
        return len(self.lengths)

    def __iter__(self):
        order, size = torch.randperm(len(self)).tolist(), self.size
        half = size * max(1, len(self) // (2 * size))
        parts = [sorted(order[k : k + half], key=self.lengths.__getitem__) for k in range(0, len(self), half)]
        batches = [part[k : k + size] for part in parts for k in range(0, len(part), size)]
        # A short batch may only come last: the loader cuts the whole list every `size` rows.
        whole = [batch for batch in batches if len(batch) == size]
        rest = [i for batch in batches if len(batch) < size for i in batch]
        return iter([i for k in torch.randperm(len(whole)).tolist() for i in whole[k]] + rest)
