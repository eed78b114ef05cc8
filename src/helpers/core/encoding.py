"""Texts as the token ids that a model reads, with the task's prompt, label words or chat template."""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
import torch

from helpers import env
from helpers.core.batches import Targets, pad, padded
from helpers.core.chat import in_template
from helpers.core.hints import hinter
from helpers.core.recipe import Recipe
from helpers.env import UserError
from helpers.task import TEXT, Task

IGNORED = -100  # of cross-entropy
OVERLAP = 64  # tokens that two windows of a long text share at most


def read(tokenizer, texts: str | Sequence[str], **options: Any):
    """What a tokenizer makes of texts; raises UserError where it cannot go on."""
    with _refusing_panic(tokenizer):
        return tokenizer(texts, **options)


def written(tokenizer, ids: Any) -> str:
    """The text of token ids, without special tokens; raises UserError where the tokenizer cannot go on."""
    with _refusing_panic(tokenizer):
        return tokenizer.decode(ids, skip_special_tokens=True)


@contextlib.contextmanager
def _refusing_panic(tokenizer) -> Iterator[None]:
    """Raise UserError for an error of the tokenizer's own library, as where a regular expression of it has no end."""
    try:
        yield
    except BaseException as error:  # a panic of Rust is no Exception
        if type(error) is not Exception and type(error).__name__ != "PanicException":
            raise
        reason = (str(error).splitlines() or ["a panic"])[0][:160]
        raise UserError(
            f"The tokenizer in {tokenizer.name_or_path} cannot read or write a text ({reason}): take another model."
        ) from None


class Encoding:
    """Token ids for one task and one model, and training batches of them.

    `in_chat` says whether the lm head's prompt is a user's turn in the tokenizer's chat template, and the label word the
    answer to it.
    """

    def __init__(self, task: Task, recipe: Recipe, tokenizer, in_chat: bool = False):
        self.task, self.recipe, self.tokenizer, self.in_chat = task, recipe, tokenizer, in_chat
        reads_tokens = recipe.head == "classifier" and recipe.pooling == "evidence" and tokenizer.is_fast
        self._hinter = hinter(task) if reads_tokens else None

    @property
    def is_hinted(self) -> bool:
        """Whether the head is told which tokens the rules of the task mark."""
        return self._hinter is not None

    def ids(self, text: str) -> list[int]:
        """Token ids of a piece of text, without opening or closing tokens."""
        return read(self.tokenizer, text, add_special_tokens=False)["input_ids"]

    def opening(self) -> list[int]:
        """The token that opens a text, for models that have one."""
        return [self.tokenizer.bos_token_id] if self.tokenizer.bos_token_id is not None else []

    @cached_property
    def frame(self) -> tuple[str, str]:
        """What stands before and behind a text, for the lm head; raises UserError where the chat template changes the text."""
        if not self.in_chat:
            return self.task.prefix, self.task.suffix
        (chat,) = in_template(self.tokenizer, [self.task.prompt], self.recipe.model)
        if chat.count(TEXT) != 1:
            problem = f"does not leave the prompt as it is ({TEXT} stands {chat.count(TEXT)} times in what it makes)"
            raise UserError(f"model {self.recipe.model!r} has a chat template that {problem}: correct or remove it.")
        before, _, behind = chat.partition(TEXT)
        return before, behind

    def prefix(self) -> list[int]:
        """What stands before every text, for the lm head."""
        opening = [] if self.in_chat else self.opening()  # a template brings its own
        return opening + self.ids(self.frame[0])

    def label_words(self) -> list[list[int]]:
        """Token ids of every label word; raises UserError where two are the same."""
        # A turn begins with a letter; elsewhere a word follows the prompt behind a blank.
        words = [self.ids(word.lstrip() if self.in_chat else word) for word in self.task.label_words]
        if len({tuple(word) for word in words}) < len(words):
            raise UserError("Two label_words give the same tokens in this model: choose words that differ.")
        return words

    def room(self) -> int:
        """The number of tokens of a text that are read, beside the prompt."""
        if self.recipe.head == "classifier":
            return self.recipe.max_length - self.tokenizer.num_special_tokens_to_add()
        return max(1, self.recipe.max_length - len(self.ids(self.frame[1])) - len(self.prefix()))

    def count_long(self, texts: Sequence[str]) -> int:
        """The number of texts that are longer than one window."""
        room = self.room()
        # A token has a character at least.
        long = [text for text in dict.fromkeys(texts) if len(text) > room]
        lengths = {text: len(ids) for text, ids in zip(long, self._cut(long, None), strict=True)} if long else {}
        return sum(lengths.get(text, 0) > room for text in texts)

    def windows(self, texts: Sequence[str]) -> tuple[list[list[int]], np.ndarray]:
        """Token ids of every window of every text, and the position of the text that each is from, int array (windows,).

        A text of at most `max_length` tokens is one window, as `texts` gives it. A longer one is read in windows of that
        length, each of which repeats up to OVERLAP tokens of the one before, so that a phrase at a seam is whole in one.
        """
        room = self.room()
        long = [len(text) > room for text in texts]  # a token has a character at least
        if not any(long) or not self.tokenizer.is_fast:
            return self.texts(texts), np.arange(len(texts))
        special = self.recipe.head == "classifier"
        length = self.recipe.max_length if special else room
        windows = read(self.tokenizer, list(texts), add_special_tokens=special, **_overlapping(length, room))
        owners = np.array(windows["overflow_to_sample_mapping"])
        ids = windows["input_ids"]
        if special:
            return [i or [self.tokenizer.pad_token_id] for i in ids], owners
        suffix = self.ids(self.frame[1])
        return [i + suffix for i in ids], owners

    def hints(self, texts: Sequence[str], cut: bool = False) -> list[list[int]] | None:
        """For each token whether the task's rules mark it, 0 or 1; None without rules.

        The tokens are those of every window that `windows` gives; where the texts are `cut`, those of `texts`.
        """
        if not self._hinter:
            return None
        room, length = self.room(), self.recipe.max_length
        is_long = not cut and any(len(text) > room for text in texts)
        options = _overlapping(length, room) if is_long else {"truncation": True, "max_length": length}
        windows = read(self.tokenizer, list(texts), return_offsets_mapping=True, **options)
        owners = windows["overflow_to_sample_mapping"] if is_long else range(len(texts))
        marked = [self._hinter(text) for text in texts]
        return [_touched(places, marked[i]) or [0] for places, i in zip(windows["offset_mapping"], owners, strict=True)]

    def window_places(self, text: str) -> list[tuple[int, int]]:
        """(start, end) of every window of a text, in characters; the whole of one that is read at once."""
        room = self.room()
        if len(text) <= room or not self.tokenizer.is_fast:
            return [(0, len(text))]
        options = _overlapping(room, room) | {"add_special_tokens": False, "return_offsets_mapping": True}
        windows = read(self.tokenizer, text, **options)["offset_mapping"]
        return [(window[0][0], window[-1][1]) for window in windows] if len(windows) > 1 else [(0, len(text))]

    def around_evidence(self, text: str, spans: Sequence[Sequence[int]]) -> tuple[str, list[tuple[int, int]]]:
        """What training reads of a text, and the spans in it: all of it, or of a longer one the window around its first
        evidence, or the first.
        """
        spans, room = [(start, end) for start, end, *_ in spans], self.room()
        if len(text) <= room or not self.tokenizer.is_fast:
            return text, spans
        offsets = read(self.tokenizer, text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        if len(offsets) <= room or not spans:
            return text, spans
        place = next((i for i, (_, end) in enumerate(offsets) if end > spans[0][0]), 0)
        first = min(max(0, place - room // 2), len(offsets) - room)
        left, right = offsets[first][0], offsets[first + room - 1][1]
        inside = [(max(start, left) - left, min(end, right) - left) for start, end in spans]
        return text[left:right], [(start, end) for start, end in inside if start < end]

    def marks(self, text: str, spans: Sequence[tuple[int, int]], length: int) -> list[int]:
        """For each of the `length` tokens that `texts` gives whether a span touches it, 0 or 1; IGNORED without any span."""
        if not spans or not self.tokenizer.is_fast:
            return [IGNORED] * length
        options = {"truncation": True, "max_length": self.recipe.max_length, "return_offsets_mapping": True}
        places = read(self.tokenizer, text, **options)["offset_mapping"]
        touched = _touched(places, spans)
        return [mark if a < b else IGNORED for mark, (a, b) in zip(touched, places, strict=True)]

    def texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of every text, cut to `max_length`; for the lm head with the prompt's suffix."""
        if self.recipe.head == "classifier":
            ids = read(self.tokenizer, list(texts), truncation=True, max_length=self.recipe.max_length)["input_ids"]
            return [i or [self.tokenizer.pad_token_id] for i in ids]  # an empty text has one token, not none
        suffix = self.ids(self.frame[1])
        return [ids + suffix for ids in self._cut(texts, self.room())]

    def plain(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of every text without a prompt, behind the opening token, cut to `max_length`."""
        opening = self.opening()
        return [opening + ids for ids in self._cut(texts, self.recipe.max_length - len(opening))]

    def _cut(self, texts: Sequence[str], room: int | None) -> list[list[int]]:
        """Token ids without special tokens, of which at most `room` stay."""
        options = {"add_special_tokens": False, "truncation": room is not None, "max_length": room}
        return read(self.tokenizer, list(texts), **options)["input_ids"]

    def turns(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts as a user's turn; without a chat template, behind the opening token."""
        opening = self.opening()
        if self.tokenizer.chat_template and len(prompts):
            prompts = in_template(self.tokenizer, prompts, self.recipe.model)
            opening = []  # the template brings its own
        return [opening + ids for ids in read(self.tokenizer, list(prompts), add_special_tokens=False)["input_ids"]]

    # training --------------------------------------------------------------------------------------------------------

    def examples(
        self, texts: Sequence[str], targets: Targets, spans: Sequence[Sequence[tuple[int, int]]] = ()
    ) -> list[dict[str, Any]]:
        """Training rows for `train` and `collate`, with the evidence in each text if it is given; for the lm head each ends
        with its label word.
        """
        rows = [
            {"input_ids": ids, "length": len(ids), "target": targets[[i]]} for i, ids in enumerate(self.texts(texts))
        ]
        for row, text, own in zip(rows, texts, spans, strict=False):
            row["marks"] = self.marks(text, own, row["length"])
        for row, own in zip(rows, self.hints(texts, cut=True) or (), strict=False):
            row["hints"] = own
        if self.recipe.head == "lm":
            prefix, words = self.prefix(), self.label_words()
            for row, number in zip(rows, targets.classes, strict=True):
                word = words[number]
                row |= {"input_ids": prefix + row["input_ids"] + word, "completion": len(word)}
        return rows

    def collate(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        """The batch that the module's `forward` takes."""
        left = self.recipe.head == "lm"
        ids = [row["input_ids"] for row in rows]
        batch = padded(ids, self.tokenizer.pad_token_id, left, 8)
        batch |= Targets.join([row["target"] for row in rows]).tensors()
        if "marks" in rows[0]:
            batch["marks"] = pad([row["marks"] for row in rows], IGNORED, multiple=8)
        if "hints" in rows[0]:
            batch["hints"] = pad([row["hints"] for row in rows], 0, multiple=8)
        if not left:
            return batch
        lengths = [row["completion"] for row in rows]
        labels = [[IGNORED] * (len(i) - n) + i[-n:] for i, n in zip(ids, lengths, strict=True)]
        completion = torch.tensor(lengths, device=env.device())
        return batch | {"labels": pad(labels, IGNORED, True, 8), "completion": completion}


def _touched(places: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[int]:
    """For each token's place in a text whether a span touches it, 0 or 1; a special token is at no place."""
    ordered = sorted(spans)
    starts, furthest = [start for start, _ in ordered], list(accumulate((end for _, end in ordered), max))

    def is_touched(a: int, b: int) -> bool:
        before = bisect_left(starts, b)  # the spans that begin before the token ends
        return a < b and before > 0 and furthest[before - 1] > a

    return [int(is_touched(a, b)) for a, b in places]


def _overlapping(length: int, room: int) -> dict[str, Any]:
    """A tokenizer's options for windows of `length` tokens, `room` of them of the text."""
    stride = min(OVERLAP, room // 4)  # a window holds a token of its own at least
    return {"truncation": True, "max_length": length, "stride": stride, "return_overflowing_tokens": True}
