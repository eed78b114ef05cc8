"""A second training on a core that is free, in a process of its own, such as that of the random arm beside the chosen one."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from helpers.core.cpu import CORES, is_light
from helpers.core.qlora import QLoRA
from helpers.core.recipe import Recipe
from helpers.task import Task

_learner: QLoRA | None = None  # of the process beside this one


class Beside:
    """Trains a learner like this one in a second process, and answers texts with it.

    Nothing is started where that would gain nothing: without a learner, on one core, on a GPU, or for a model whose products
    use every core themselves. One thread trains a light model on any core alike, so the answers are those of `QLoRA.fit` here.
    """

    def __init__(self, learner: QLoRA | None):
        self.learner, self._future = learner, None
        self._pool: ProcessPoolExecutor | None = None
        self.is_useful = learner is not None and CORES > 1 and is_light(learner.model)

    def start(self, rows: list[dict], texts: Sequence[str], seed: int) -> None:
        """Begin to train on the rows, and to answer the texts; `take` waits for it."""
        if not self.is_useful:
            return
        if self._pool is None:
            context, learner = multiprocessing.get_context("spawn"), self.learner  # a fork would share torch's locks
            self._pool = ProcessPoolExecutor(1, context, _open, (learner.task, learner.recipe, learner.seed))
        self._future = self._pool.submit(_answer, rows, list(texts), seed)

    def take(self) -> tuple[np.ndarray, int, float] | None:
        """(probabilities of the texts, tokens read, seconds); None where nothing was started, or the process was ended."""
        future, self._future = self._future, None
        if future is None:
            return None
        try:
            return future.result()
        except BrokenProcessPool:
            print("The second process was ended, perhaps for want of memory: this one trains in its place.")
            self.is_useful = False
            return None

    def __enter__(self) -> Beside:
        return self

    def __exit__(self, *_) -> None:
        if self._pool:
            self._pool.shutdown(wait=False, cancel_futures=True)


def _open(task: Task, recipe: Recipe, seed: int) -> None:
    """Load the learner in the second process, which says nothing: a notebook would show it among its own lines."""
    global _learner
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    _learner = QLoRA(task, recipe, seed)


def _answer(rows: list[dict], texts: list[str], seed: int) -> tuple[np.ndarray, int, float]:
    started, tokens = time.time(), _learner.tokens_read
    _learner.fit(rows, seed)
    return _learner.predict_proba(texts), _learner.tokens_read - tokens, time.time() - started
