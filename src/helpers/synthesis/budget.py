"""A hard budget of tokens and money for requests that run at the same time."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from helpers.env import UserError


class NotAnswered(Exception):
    """A request without a reply; the message says why."""


@dataclass
class Budget:
    """Limits on tokens and money that are not exceeded, and what was spent; 0 sets no limit, prices are per million tokens.

    Before a request its most is set aside: a prompt has at most as many tokens as UTF-8 bytes, an answer at most
    `max_tokens`. What the server reports takes its place; without a report, or when a reply was lost after the server may have
    written it, the most counts. So the end comes a little early, and late only if a server goes past `max_tokens`.
    Replies from the store count once, at what they cost: a run started again does not get a fresh budget.
    """

    tokens: int = 0
    money: float = 0.0
    prompt_price: float = 0.0
    completion_price: float = 0.0
    spent_prompt: int = 0
    spent_completion: int = 0
    _held: list[tuple[int, int]] = field(default_factory=list, repr=False)
    _turn: threading.Condition = field(default_factory=threading.Condition, repr=False)

    def __post_init__(self):
        if min(self.tokens, self.money, self.prompt_price, self.completion_price) < 0:
            raise UserError("A budget or price is negative: give 0 for no limit.")
        if self.money and not (self.prompt_price or self.completion_price):
            raise UserError(
                "A budget in money needs prices: give prompt_price and completion_price per million tokens."
            )

    def cost(self, prompt: int, completion: int) -> float:
        return (prompt * self.prompt_price + completion * self.completion_price) / 1e6

    @property
    def spent(self) -> float:
        """Money spent."""
        return self.cost(self.spent_prompt, self.spent_completion)

    def _fits(self, held: list[tuple[int, int]]) -> bool:
        prompt, completion = (sum(part) for part in zip((self.spent_prompt, self.spent_completion), *held, strict=True))
        within = not self.tokens or prompt + completion <= self.tokens
        return within and (not self.money or self.cost(prompt, completion) <= self.money)

    def reserve(self, most: tuple[int, int]) -> None:
        """Set (prompt, completion) tokens aside, waiting for requests under way to settle; NotAnswered if they never fit."""
        with self._turn:
            self._turn.wait_for(lambda: self._fits([*self._held, most]) or not self._fits([most]) or not self._held)
            if not self._fits([*self._held, most]):
                raise NotAnswered(self.exhausted())
            self._held.append(most)

    def settle(self, most: tuple[int, int], used: tuple[int, int]) -> None:
        """Replace a reservation by what was used."""
        with self._turn:
            self._held.remove(most)
            self.add(used)

    def add(self, used: tuple[int, int]) -> None:
        with self._turn:
            self.spent_prompt += used[0]
            self.spent_completion += used[1]
            self._turn.notify_all()

    def exhausted(self) -> str:
        limits = [f"{self.tokens:,} tokens"] if self.tokens else []
        limits += [f"{self.money:g} in money"] if self.money else []
        used = f"{self.spent_prompt + self.spent_completion:,} tokens, {self.spent:.4g} in money"
        return f"the budget of {' and '.join(limits)} is used up ({used}): raise it and run again to go on"
