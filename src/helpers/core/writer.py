"""The learner that writes: QLoRA on (text, target) pairs, greedy decoding, distillation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from helpers import edits, env
from helpers.core import decoding, saved
from helpers.core.base import reset_adapters
from helpers.core.batches import pad, padded, token_batches
from helpers.core.chat import in_template
from helpers.core.cpu import reading
from helpers.core.encoding import IGNORED, read, written
from helpers.core.heads import Completions, distillation, head_state
from helpers.core.qlora import QLoRA
from helpers.core.recipe import Recipe
from helpers.core.training import train
from helpers.env import UserError
from helpers.progress import Bar
from helpers.task import Task

Place = tuple[int, int]  # start and end of a token in its text; (0, 0) outside
Prompt = tuple[list[int], list[Place]]  # token ids, and the place of every token
Drafters = Mapping[str, Callable[[str], str]]

# Nats by which correcting a draft must be likelier than leaving it; chosen on the validation rows.
DRAFT_MARGIN = 2.5


class Writer:
    """A learner that writes a target for a text, over one quantised base.

    A base that reads both ways reads the prompt so and writes from left to right (prefix LM, Raffel
    et al. 2020). With `output: edits` in the task it learns the edits that lead to the target (see
    `edits`), not the target. A base that reads both ways then tags the words to edit and writes
    their replacements, in the manner of FELIX (Mallinson et al. 2020, arXiv 2003.10687); any other
    base writes the whole edit script.

    Parameters
    ----------
    task : Task
    recipe : Recipe
        Its head is ignored: a writer keeps the output layer.
    seed : int
    core : QLoRA, optional
        A base that is loaded already, with the lm head.
    drafters : dict from name to function, optional
        Functions from a text to its first version by rule; the task names one of them in `draft`,
        if any.

    Raises
    ------
    UserError
        When the drafter that the task names is missing.
    """

    def __init__(
        self,
        task: Task,
        recipe: Recipe,
        seed: int = 0,
        core: QLoRA | None = None,
        drafters: Drafters | None = None,
    ):
        if task.draft and task.draft not in (drafters or {}):
            raise UserError(
                f"The task asks for drafts by {task.draft!r}: hand over its function, as drafters={{name: function}}."
            )
        self.draft = drafters[task.draft] if task.draft else None
        self.core = core or QLoRA(task, replace(recipe, head="lm", head_first=False), seed)
        self.task, self.recipe, self.seed = task, self.core.recipe, seed
        self.model, self.tokenizer, self.encoding = self.core.model, self.core.tokenizer, self.core.encoding
        if self.tokenizer.eos_token_id is None:
            raise UserError(
                f"The tokenizer of {self.recipe.model!r} has no eos_token, so a writer could not learn where to end: "
                "name one in its tokenizer_config.json, or choose another model."
            )
        self.embed, self.embed_base = self.core.embed, self.core.embed_base
        self.facts, self.embedding_facts = self.core.facts, self.core.embedding_facts
        self.edits = task.output == "edits"
        self.tags = edits.TAGS if self.edits and self.recipe.bidirectional else 0
        self.head = self._new_head()

    @property
    def tokens_read(self) -> int:
        return self.core.tokens_read

    @property
    def is_embedded(self) -> bool:
        """Whether the base is the tiny model of the demo, which every page with a figure must say."""
        return self.core.is_embedded

    def _new_head(self) -> Completions:
        return Completions(self.model, self.recipe.bidirectional, self.tags)

    # training --------------------------------------------------------------------------------------------------------

    def fit(self, records: list[dict], seed: int | None = None, teacher: Writer | None = None) -> dict[str, Any]:
        """Train fresh adapters on pairs; the loss is on the completion only.

        The same records and seed give the same weights.

        Parameters
        ----------
        records : list of dicts
            Each has `text` and `target`, optionally a `draft` in place of the one by rule.
        seed : int, optional
        teacher : Writer, optional
            Its token distribution takes `recipe.distil_weight` of the loss (see
            `heads.distillation`).

        Returns
        -------
        dict
            `epochs`, `held_out_loss`, `train_rows`, `held_out_rows`.

        Raises
        ------
        UserError
            Without a pair, and with a teacher of another tokenizer or prompt.
        """
        seed = self.seed if seed is None else seed
        if not records:
            raise UserError("No pairs to learn from: give at least one record with text and target.")
        env.seed_everything(seed)
        reset_adapters(self.model)
        self.head = self._new_head()
        if teacher:
            self._check_teacher(teacher)
            self.head.distil = distillation(teacher.head.eval(), self.recipe.distil_weight)
        size = min(int(self.recipe.holdout * len(records)), len(records) - 1)
        order = np.random.default_rng(seed).permutation(len(records))
        held_out, rest = [records[i] for i in order[:size]], [records[i] for i in order[size:]]
        rows = self._examples([r["text"] for r in rest], [r["target"] for r in rest], [r.get("draft") for r in rest])

        def held_out_loss() -> float:
            return float(np.mean(self.nll([r["text"] for r in held_out], [r["target"] for r in held_out])))

        report = train(self.head, rows, self._collate, self.recipe, seed, held_out_loss if held_out else None)
        self.core.module, self.head.distil = self.head, None
        return report | {"train_rows": len(rows), "held_out_rows": len(held_out)}

    def _check_teacher(self, teacher: Writer) -> None:
        if teacher.tokenizer.get_vocab() != self.tokenizer.get_vocab() or teacher.task.prompt != self.task.prompt:
            raise UserError(
                f"The teacher {teacher.recipe.model!r} does not have the tokenizer and prompt of "
                f"{self.recipe.model!r}, so their token distributions cannot be compared: choose a teacher of the same "
                "family, or train on its outputs."
            )

    def _examples(
        self, texts: Sequence[str], targets: Sequence[str], own_drafts: Sequence[str | None] = ()
    ) -> list[dict[str, Any]]:
        """Training rows: token ids, length of the completion, which tokens are learned, and tags."""
        drafts = self.drafts(texts)
        if self.task.draft:  # silver pairs may bring a draft of their own
            if own_drafts:
                drafts = [own or rule for own, rule in zip(own_drafts, drafts, strict=True)]
            targets = [edits.onto_draft(*each) for each in zip(texts, drafts, targets, strict=True)]
        rows = []
        for (prompt, places), draft, target in zip(self.encode(drafts), drafts, targets, strict=True):
            tags = [IGNORED] * len(prompt)
            if self.edits:
                spans = edits.spans(draft, target)
                completion, learned = self._edit_script(draft, spans)
                kinds = [(start, end, edits.tag(draft[start:end], new)) for start, end, new in spans]
                tags = [edits.token_tag(place, kinds) for place in places]
            else:
                completion = self.encoding.ids(target)
                learned = [True] * len(completion)
            ids = prompt + completion + [self.tokenizer.eos_token_id]
            learned = [False] * len(prompt) + learned + [not self.tags]
            lengths = {"completion": len(ids) - len(prompt), "length": len(ids)}
            rows.append({"input_ids": ids, "learned": learned, "tags": tags, **lengths})
        return rows

    def _edit_script(self, text: str, spans: list[tuple[int, int, str]]) -> tuple[list[int], list[bool]]:
        """Token ids of the lines that edit `text`, and which are learned: with tags the replacements."""
        if not spans and not self.tags:
            ids = self.encoding.ids(edits.KEEP)
            return ids, [True] * len(ids)
        ids, learned = [], []
        for old, new in edits.lines(text, spans):
            start, rest = self.encoding.ids(f" {old} |"), self.encoding.ids(f" {new}\n" if new else "\n")
            ids += start + rest
            learned += [not self.tags] * len(start) + [bool(new) or not self.tags] * len(rest)
        return ids, learned

    def _collate(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        completion = [row["completion"] for row in rows]
        tags = [row["tags"] + [IGNORED] * row["completion"] for row in rows]
        return padded([row["input_ids"] for row in rows], self.tokenizer.pad_token_id, True, 8) | {
            "completion": torch.tensor(completion, device=env.device()),
            "learned": pad([row["learned"] for row in rows], 0, True, 8).bool(),
            "tags": pad(tags, IGNORED, True, 8),
        }

    def drafts(self, texts: Sequence[str]) -> list[str]:
        """First versions by rule, where the task has them: what the model reads and corrects."""
        return [self.draft(text) for text in texts] if self.draft else list(texts)

    # reading and writing ---------------------------------------------------------------------------------------------

    def encode(self, texts: Sequence[str]) -> list[Prompt]:
        """Token ids of the prompt around every text, and each token's place in the text.

        A text that is too long is cut at its end, with a warning.
        """
        if not len(texts):
            return []
        prompts, starts = self._prompts(texts)
        encoded = read(self.tokenizer, prompts, add_special_tokens=False, return_offsets_mapping=True)
        opening = [] if self.tokenizer.chat_template else self.encoding.opening()
        rows, cut_texts = [], 0
        columns = (encoded["input_ids"], encoded["offset_mapping"], texts, starts)
        for ids, offsets, text, start in zip(*columns, strict=True):
            places = [(max(a - start, 0), min(b - start, len(text))) for a, b in offsets]
            places = [place if place[0] < place[1] else (0, 0) for place in places]
            inside = [i for i, place in enumerate(places) if place != (0, 0)]
            excess = max(0, len(ids) + len(opening) - self.recipe.max_length)
            if excess:
                cut_texts += 1
                dropped = set(inside[max(len(inside) - excess, 1) :])
                ids, places = ([x for i, x in enumerate(row) if i not in dropped] for row in (ids, places))
            rows.append((opening + ids, [(0, 0)] * len(opening) + places))
        if cut_texts:
            warnings.warn(
                f"{cut_texts} texts are longer than max_length={self.recipe.max_length} tokens: the rest of them is "
                "not read.",
                stacklevel=3,
            )
        return rows

    def _prompts(self, texts: Sequence[str]) -> tuple[list[str], list[int]]:
        """The prompt around every text, in the chat template if any, and where the text starts in it."""
        prompts, start = [self.task.prompt.replace("{text}", text) for text in texts], len(self.task.prefix)
        if not self.tokenizer.chat_template:
            return prompts, [start] * len(texts)
        chats = in_template(self.tokenizer, prompts, self.recipe.model)
        # A template may strip the prompt.
        stripped = [len(prompt) - len(prompt.lstrip()) for prompt in prompts]
        starts = [c.index(p.strip()) + start - s for c, p, s in zip(chats, prompts, stripped, strict=True)]
        return chats, starts

    @torch.inference_mode()
    def write(self, texts: Sequence[str]) -> list[str]:
        """What the model makes of every text, greedily; the same alone and in a batch."""
        self.model.eval()
        self.head.eval()
        texts = self.drafts(texts)
        prompts, outputs = self.encode(texts), [""] * len(texts)
        with reading(self.model, keep=True), Bar(len(texts), "writing") as bar:
            spans = self.proposed(texts, prompts) if self.tags else [[] for _ in texts]
            lines = [
                [self._line_start(text[a:b], tag) for a, b, tag in own] for text, own in zip(texts, spans, strict=True)
            ]
            open_rows = [i for i in range(len(texts)) if lines[i] or not self.tags]
            bar.total = len(open_rows)
            lengths = [len(prompts[i][0]) for i in open_rows]
            for batch in token_batches(lengths, self.recipe.token_budget, self.recipe.max_new_tokens):
                batch = [open_rows[k] for k in batch]
                rows = self._continue([prompts[i][0] for i in batch], [lines[i] for i in batch])
                for i, row in zip(batch, rows, strict=True):
                    outputs[i] = written(self.tokenizer, row)
                bar.update(len(batch))
        if not self.edits:
            return [output.strip() for output in outputs]
        return [self._edited(*each) for each in zip(texts, outputs, spans, strict=True)]

    def _continue(self, prompts: list[list[int]], lines: list[list[list[int]]]) -> list[list[int]]:
        newline = self.encoding.ids("\n")[-1]
        return decoding.continue_lines(self.model, self.tokenizer, prompts, lines, newline, self.recipe.max_new_tokens)

    def _line_start(self, old: str, tag: int) -> list[int]:
        """The forced tokens of an edit's line: all of it for a deletion."""
        return self.encoding.ids(f" {old} |") + (self.encoding.ids("\n") if tag == edits.DELETED else [])

    def _edited(self, text: str, written: str, spans: list[tuple[int, int, int]]) -> str:
        if not self.tags:
            return edits.apply(text, edits.parse(text, written)[0])
        replacements = [line.partition(" |")[2].strip() for line in written.split("\n") if " |" in line]
        pairs = zip(spans, replacements, strict=False)  # the last lines may be cut off by max_new_tokens
        return edits.apply(text, [(start, end, new) for (start, end, _), new in pairs])

    @torch.inference_mode()
    def proposed(self, texts: Sequence[str], prompts: list[Prompt]) -> list[list[tuple[int, int, int]]]:
        """(start, end, tag) of the spans of every text that the tagger would edit."""
        spans: list[list[tuple[int, int, int]]] = [[] for _ in texts]
        margin = DRAFT_MARGIN if self.task.draft else 0.0
        for batch in token_batches([len(ids) for ids, _ in prompts], self.recipe.token_budget):
            inputs = padded([prompts[i][0] for i in batch], self.tokenizer.pad_token_id, True, 8)
            completion = torch.zeros(len(batch), dtype=torch.long, device=env.device())
            tags = self.head.read(**inputs, completion=completion)[1].log_softmax(-1).cpu().numpy()
            for i, row in zip(batch, tags, strict=True):
                ids, places = prompts[i]
                spans[i] = edits.tagged(texts[i], places, row[-len(ids) :], margin)
        return spans

    @torch.inference_mode()
    def nll(self, texts: Sequence[str], outputs: Sequence[str]) -> np.ndarray:
        """Mean negative log-likelihood of a token of each output given its text, tags included.

        Returns
        -------
        float64 array (texts,), in nats
        """
        self.model.eval()
        self.head.eval()
        rows, means = self._examples(texts, outputs), np.zeros(len(texts))
        budget = min(decoding.LOGIT_BUDGET, self.recipe.token_budget)
        with reading(self.model):
            for batch in token_batches([row["length"] for row in rows], budget):
                loss, count = self.head.losses(**self._collate([rows[i] for i in batch]))
                means[batch] = (loss / count.clamp(min=1)).double().cpu().numpy()
        return means

    # saving ----------------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> Path:
        """Write the adapter, the tagger and the recipe, without the base; raises UserError before `fit`."""
        return self.core.save(folder)

    @classmethod
    def load(cls, folder: Path, drafters: Drafters | None = None, **changes: Any) -> Writer:
        """The saved writer over its base.

        Parameters
        ----------
        folder : Path
        drafters : dict from name to function, optional
        **changes
            Fields of the recipe to replace, such as `model` after a move.
        """
        core = QLoRA.load(folder, **changes)
        learner = cls(core.task, core.recipe, core.seed, core, drafters)
        if learner.tags:
            tagger = saved.read_weights(folder / saved.HEAD, head_state(learner.head))
            learner.head.load_state_dict(tagger, strict=False)
        learner.core.module = learner.head
        return learner
