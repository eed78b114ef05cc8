"""A hard limit on tokens for requests that run at the same time."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from helpers.env import UserError


class NotAnswered(Exception):
    """A request without a reply; the message says why."""


@dataclass
class Budget:
    """A limit on prompt and completion tokens together that is not exceeded (0 sets no limit), and the tokens spent.

    Each request reserves an upper bound of its tokens in advance; the tokens that it used replace the bound afterwards.
    So requests stop a little before the limit, and the limit is exceeded only if a server ignores `max_tokens`.
    """

    tokens: int = 0
    spent_prompt: int = 0
    spent_completion: int = 0

    def __post_init__(self):
        if self.tokens < 0:
            raise UserError("The budget of tokens is negative: give 0 for no limit.")
        self._reserved, self._changed = 0, threading.Condition()

    def reserve(self, bound: tuple[int, int]) -> None:
        """Reserve (prompt, completion) tokens, waiting for running requests; raises NotAnswered when they do not fit."""

        def fits(reserved: int) -> bool:
            spent = self.spent_prompt + self.spent_completion
            return not self.tokens or spent + reserved + sum(bound) <= self.tokens

        with self._changed:
            # Waiting is in vain when the tokens spent already leave no room.
            self._changed.wait_for(lambda: fits(self._reserved) or not fits(0))
            if not fits(self._reserved):
                raise NotAnswered(self.exhausted())
            self._reserved += sum(bound)

    def settle(self, bound: tuple[int, int], used: tuple[int, int]) -> None:
        """Replace a reservation by the tokens used, and count these as spent, which never become fewer."""
        with self._changed:
            self._reserved -= sum(bound)
            self.spent_prompt += max(0, used[0])
            self.spent_completion += max(0, used[1])
            self._changed.notify_all()

    def exhausted(self) -> str:
        """The reason of a request that does not fit."""
        spent = self.spent_prompt + self.spent_completion
        return f"the budget of {self.tokens:,} tokens is used up (spent: {spent:,}): raise it and run again to go on"
