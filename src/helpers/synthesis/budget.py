"""A hard limit on tokens for requests that run at the same time, and the ledger in which spending outlives a restart."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers import env
from helpers.env import UserError
from helpers.files import file_name


class NotAnswered(Exception):
    """A request without a reply; the message says why."""


@dataclass
class Budget:
    """A limit on prompt and completion tokens together that is not exceeded (0 sets no limit), and the tokens spent.

    Each request reserves an upper bound of its tokens in advance; the tokens that it used replace the bound afterwards.
    So requests stop a little before the limit, and the limit is exceeded only if a server ignores `max_tokens`.

    A `ledger` keeps both on the disk, a line each: what earlier processes spent is read from it, and an attempt that was
    killed counts with its upper bound. Only one process at a time may have it, as only one may run a stage.
    """

    tokens: int = 0
    spent_prompt: int = 0
    spent_completion: int = 0
    ledger: Path | None = None

    def __post_init__(self):
        if self.tokens < 0:
            raise UserError("The budget of tokens is negative: give 0 for no limit.")
        self._reserved, self._changed = 0, threading.Condition()
        prompt, completion, self._stored = _read_ledger(self.ledger)
        self.spent_prompt = max(self.spent_prompt, prompt)
        self.spent_completion = max(self.spent_completion, completion)

    @classmethod
    def of_stage(cls, tokens: int, store: Path, stage: Path, name: str, spent: tuple[int, int] = (0, 0)) -> Budget:
        """The budget of the endpoint `name` in the folder of a stage; its ledger lies beside the replies in `store`.

        `spent` are (prompt, completion) tokens that are known from elsewhere: of both counts, the higher ones hold.
        """
        place = stage.relative_to(env.root()) if stage.is_relative_to(env.root()) else stage
        name = f"{name} {place.as_posix()}"
        return cls(tokens, *spent, ledger=store / "spent" / f"{file_name(name)}.jsonl")

    def reserve(self, bound: tuple[int, int]) -> None:
        """Reserve (prompt, completion) tokens, waiting for running requests; raises NotAnswered when they do not fit.

        Raises UserError where the ledger cannot be written, so that nothing is sent.
        """

        def fits(reserved: int) -> bool:
            spent = self.spent_prompt + self.spent_completion
            return not self.tokens or spent + reserved + sum(bound) <= self.tokens

        with self._changed:
            # Waiting is in vain when the tokens spent already leave no room.
            self._changed.wait_for(lambda: fits(self._reserved) or not fits(0))
            if not fits(self._reserved):
                raise NotAnswered(self.exhausted())
            self._write({"reserved": bound})
            self._reserved += sum(bound)

    def settle(self, bound: tuple[int, int], used: tuple[int, int]) -> None:
        """Replace a reservation by the tokens used, and count these as spent, which never become fewer."""
        with self._changed:
            self._reserved -= sum(bound)
            self._spend(used)
            self._changed.notify_all()
            with contextlib.suppress(UserError):  # the ledger then keeps the upper bound, and the reply is not lost
                self._write({"settled": bound, "used": used})

    def note_stored(self, request: str) -> None:
        """Note that the store has the reply to the request with this hash, whose tokens are settled."""
        with self._changed:
            self._write({"stored": request})
            self._stored.add(request)

    def count_stored(self, request: str, used: tuple[int, int]) -> None:
        """Count the tokens of a reply from the store as spent, unless the ledger has them already."""
        with self._changed:
            if request not in self._stored:
                self._spend(used)

    def exhausted(self) -> str:
        """The reason of a request that does not fit."""
        spent = self.spent_prompt + self.spent_completion
        return f"the budget of {self.tokens:,} tokens is used up (spent: {spent:,}): raise it and run again to go on"

    def _spend(self, used: tuple[int, int]) -> None:
        self.spent_prompt += max(0, used[0])
        self.spent_completion += max(0, used[1])

    def _write(self, entry: dict[str, Any]) -> None:
        """Append a line to the ledger; on return it is on the disk."""
        if self.ledger is None:
            return
        try:
            self.ledger.parent.mkdir(parents=True, exist_ok=True)
            with self.ledger.open("ab") as file:
                # The line begins with its own line end: what a full disk has cut off before spoils no other.
                file.write(f"\n{json.dumps(entry)}".encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            problem = f"{self.ledger} could not be written ({error.strerror})"
            raise UserError(f"{problem}: nothing is asked without it; free space or permission is missing.") from error


def _read_ledger(path: Path | None) -> tuple[int, int, set[str]]:
    """(prompt, completion) tokens spent by a ledger, and the hashes of the requests whose replies were stored."""
    spent, stored, unreadable = [0, 0], set(), 0
    try:
        lines = path.read_bytes().split(b"\n") if path and path.exists() else []
    except OSError as error:
        raise UserError(f"{path} could not be read ({error.strerror}): it says what a teacher has cost.") from error
    for line in filter(bytes.strip, lines):
        try:
            entry = json.loads(line)
            if "stored" in entry:
                stored.add(str(entry["stored"]))
                continue
            plus = entry["reserved"] if "reserved" in entry else entry["used"]
            minus = (0, 0) if "reserved" in entry else entry["settled"]
            if not all(type(n) is int and n >= 0 for n in (*plus, *minus)):
                raise ValueError("no tokens")
            spent = [total + p - m for total, p, m in zip(spent, plus, minus, strict=True)]
        except (ValueError, TypeError, LookupError, RecursionError):
            unreadable += 1
    if unreadable:
        warnings.warn(f"{path}: {unreadable} unreadable lines are left out of what was spent.", stacklevel=4)
    return max(0, spent[0]), max(0, spent[1]), stored
