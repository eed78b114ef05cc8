"""The learner that writes: QLoRA on (text, target) pairs, greedy decoding in batches, distillation from a local teacher.

With `qlora`, `base` and `training` the only helper module that drives transformers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from helpers import edits, env
from helpers.core.base import reset_adapters
from helpers.core.cpu import reading
from helpers.core.heads import Completions, distillation, pad, positions, token_batches
from helpers.core.qlora import QLoRA
from helpers.core.recipe import Recipe
from helpers.core.training import train
from helpers.env import UserError
from helpers.task import Task

Prompt = tuple[
    list[int], list[tuple[int, int]]
]  # token ids, and the place in the text of every token ((0, 0): outside)


DRAFT_MARGIN = (
    2.5  # nats by which a correction of a draft by rule must be likelier than none; chosen on the validation rows
)


class Writer:
    """A learner that writes a target for a text, over one quantised base (QLoRA, Dettmers et al. 2023, arXiv 2305.14314).

    A base that reads both ways reads the prompt so and writes from left to right (prefix LM, Raffel et al. 2020). With
    `output: edits` in the task it learns the edits that lead to the target (see `edits`), not the target; a base that reads both
    ways then tags the words to edit and writes what takes their place, in the manner of FELIX (Mallinson et al. 2020,
    arXiv 2003.10687), any other base writes the whole script.
    """

    def __init__(
        self,
        task: Task,
        recipe: Recipe,
        seed: int = 0,
        core: QLoRA | None = None,
        drafters: Mapping[str, Callable[[str], str]] | None = None,
    ):
        if task.draft and task.draft not in (drafters or {}):
            raise UserError(
                f"The task asks for drafts by {task.draft!r}: hand over its function, as drafters={{name: function}}."
            )
        self.draft = drafters[task.draft] if task.draft else None
        self.core = core or QLoRA(task, replace(recipe, head="lm", head_first=False), seed)
        self.task, self.recipe, self.seed = task, self.core.recipe, seed
        self.model, self.tokenizer = self.core.model, self.core.tokenizer
        self.embed, self.embed_base = self.core.embed, self.core.embed_base
        self.facts, self.embedding_facts = self.core.facts, self.core.embedding_facts
        self.edits = task.output == "edits"
        self.tags = edits.TAGS * (self.edits and self.recipe.bidirectional)
        self.head = Completions(self.model, self.recipe.bidirectional, self.tags)

    @property
    def tokens_read(self) -> int:
        return self.core.tokens_read

    @property
    def is_embedded(self) -> bool:
        """Whether the base is the tiny model of the demo, which every page with a figure must say."""
        return self.core.is_embedded

    # training --------------------------------------------------------------------------------------------------------

    def fit(self, records: list[dict], seed: int | None = None, teacher: Writer | None = None) -> dict[str, Any]:
        """Train fresh adapters on records with `text` and `target`; returns epochs run and held-out loss.

        The same records and seed give the same weights. The loss is on the completion only, with a teacher in part its token
        distribution (`distil_weight` and `distil_temperature` of the recipe, see `heads.distillation`). Raises UserError without
        a pair, and with a teacher that does not share the tokenizer.
        """
        seed = self.seed if seed is None else seed
        if not records:
            raise UserError("No pairs to learn from: give at least one record with text and target.")
        env.seed_everything(seed)
        reset_adapters(self.model)
        self.head = Completions(self.model, self.recipe.bidirectional, self.tags)
        if teacher:
            self._check_teacher(teacher)
            self.head.distil = distillation(
                teacher.head.eval(), self.recipe.distil_weight, self.recipe.distil_temperature
            )
        held = min(int(self.recipe.holdout * len(records)), len(records) - 1)
        order = np.random.default_rng(seed).permutation(len(records))
        kept, rest = [records[i] for i in order[:held]], [records[i] for i in order[held:]]
        rows = self._examples([r["text"] for r in rest], [r["target"] for r in rest], [r.get("draft") for r in rest])

        def held_loss() -> float:
            return float(np.mean(self.nll([r["text"] for r in kept], [r["target"] for r in kept])))

        report = train(self.head, rows, self._collate, self.recipe, seed, held_loss if held else None)
        self.core.module, self.head.distil = self.head, None
        return report | {"train_rows": len(rows), "held_out_rows": held}

    def _check_teacher(self, teacher: Writer) -> None:
        if teacher.tokenizer.get_vocab() != self.tokenizer.get_vocab() or teacher.task.prompt != self.task.prompt:
            raise UserError(
                f"The teacher {teacher.recipe.model!r} does not have the tokenizer and prompt of {self.recipe.model!r}, so their "
                "token distributions cannot be compared: choose a teacher of the same family, or train on its outputs."
            )

    def _examples(self, texts: Sequence[str], outputs: Sequence[str], given: Sequence[str | None] = ()) -> list[dict]:
        rows, drafts = [], self.drafts(texts)
        if self.task.draft:  # silver pairs may bring a draft of their own
            drafts = [d or made for d, made in zip(given, drafts, strict=True)] if given else drafts
            outputs = [edits.onto_draft(*each) for each in zip(texts, drafts, outputs, strict=True)]
        for (prompt, places), text, output in zip(self.encode(drafts), drafts, outputs, strict=True):
            ids, learned, tags = [*prompt], [False] * len(prompt), [-100] * len(prompt)
            if self.edits:
                found = edits.spans(text, output)
                kinds = [(a, b, edits.tag(text[a:b], new)) for a, b, new in found]
                tags = [edits.token_tag(place, kinds) for place in places]
                for old, new in edits.lines(text, found):
                    given, written = self._ids(f" {old} |"), self._ids(f" {new}\n" if new else "\n")
                    ids += given + written
                    learned += [not self.tags] * len(given) + [bool(new) or not self.tags] * len(written)
                if not found and not self.tags:
                    ids += self._ids(edits.KEEP)
            else:
                ids += self._ids(output)
            ids.append(self.tokenizer.eos_token_id)
            learned += [True] * (len(ids) - len(learned) - 1) + [not self.tags]
            rows.append({"input_ids": ids, "completion": len(ids) - len(prompt), "learned": learned, "tags": tags})
        return [row | {"length": len(row["input_ids"])} for row in rows]

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def _collate(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        def padded(name: str, value: int) -> torch.Tensor:
            return pad([r[name] for r in rows], value, True, 8)

        tags = [r["tags"] + [-100] * r["completion"] for r in rows]
        return {
            "input_ids": padded("input_ids", self.tokenizer.pad_token_id),
            "attention_mask": pad([[1] * r["length"] for r in rows], 0, True, 8),
            "completion": torch.tensor([r["completion"] for r in rows], device=env.device()),
            "learned": padded("learned", 0).bool(),
            "tags": pad(tags, -100, True, 8),
        }

    def drafts(self, texts: Sequence[str]) -> list[str]:
        """First versions by rule, where the task has them: what the model reads and corrects."""
        return [self.draft(text) for text in texts] if self.draft else list(texts)

    # reading and writing -----------------------------------------------------------------------------------------------

    def encode(self, texts: Sequence[str]) -> list[Prompt]:
        """Token ids of the prompt around every text, and each token's place in the text; too long a text is cut, with a warning."""
        if not len(texts):
            return []
        filled = [self.task.prompt.replace("{text}", text) for text in texts]
        starts = [len(self.task.prefix)] * len(texts)
        if self.tokenizer.chat_template:
            turns = [[{"role": "user", "content": prompt}] for prompt in filled]
            chats = [self.tokenizer.apply_chat_template(t, tokenize=False, add_generation_prompt=True) for t in turns]
            starts = [
                c.index(p.strip()) + s - (len(p) - len(p.lstrip()))
                for c, p, s in zip(chats, filled, starts, strict=True)
            ]
            filled = chats
        made = self.tokenizer(filled, add_special_tokens=False, return_offsets_mapping=True)
        opening = [] if self.tokenizer.chat_template else self.core._start()
        prompts, cut = [], 0
        for ids, offsets, text, start in zip(made["input_ids"], made["offset_mapping"], texts, starts, strict=True):
            places = [(max(a - start, 0), min(b - start, len(text))) for a, b in offsets]
            inside = [i for i, (a, b) in enumerate(places) if a < b]
            extra = max(0, len(ids) + len(opening) - self.recipe.max_length)
            cut += bool(extra)
            drop = set(inside[max(len(inside) - extra, 1) :]) if extra else set()
            kept = [i for i in range(len(ids)) if i not in drop]
            places = [p if p[0] < p[1] else (0, 0) for p in places]
            prompts.append((opening + [ids[i] for i in kept], [(0, 0)] * len(opening) + [places[i] for i in kept]))
        if cut:
            warnings.warn(
                f"{cut} texts are longer than max_length={self.recipe.max_length} tokens: the rest of them is not read.",
                stacklevel=3,
            )
        return prompts

    @torch.inference_mode()
    def write(self, texts: Sequence[str]) -> list[str]:
        """What the model makes of every text, greedily."""
        self.model.eval()
        self.head.eval()
        texts = self.drafts(texts)
        prompts, out = self.encode(texts), [""] * len(texts)
        with reading(self.model, keep=True):
            found = self.proposed(texts, prompts) if self.tags else [[] for _ in texts]
            given = [
                [self._line(text[a:b], tag) for a, b, tag in places] for text, places in zip(texts, found, strict=True)
            ]
            todo = [i for i in range(len(texts)) if given[i] or not self.tags]
            lengths = [len(prompts[i][0]) for i in todo]
            for batch in token_batches(lengths, self.recipe.token_budget, self.recipe.max_new_tokens):
                batch = [todo[k] for k in batch]
                rows = self._decode([prompts[i][0] for i in batch], [given[i] for i in batch])
                for i, row in zip(batch, rows, strict=True):
                    out[i] = self.tokenizer.decode(row, skip_special_tokens=True)
        if not self.edits:
            return [o.strip() for o in out]
        return [self._edited(*each) for each in zip(texts, out, found, strict=True)]

    def _line(self, old: str, tag: int) -> list[int]:
        """What is given of an edit's line: all of it for a deletion."""
        return self._ids(f" {old} |") + (self._ids("\n") if tag == edits.DELETED else [])

    def _edited(self, text: str, written: str, places: list[tuple[int, int, int]]) -> str:
        if not self.tags:
            return edits.apply(text, edits.parse(text, written)[0])
        news = [line.partition(" |")[2].strip() for line in written.split("\n") if " |" in line]
        return edits.apply(text, [(start, end, new) for (start, end, _), new in zip(places, news, strict=False)])

    @torch.inference_mode()
    def proposed(self, texts: Sequence[str], prompts: list[Prompt]) -> list[list[tuple[int, int, int]]]:
        """(start, end, tag) of the stretches of every text that the tagger would edit."""
        found: list[list[tuple[int, int, int]]] = [[] for _ in texts]
        margin = DRAFT_MARGIN if self.task.draft else 0.0
        for batch in token_batches([len(ids) for ids, _ in prompts], self.recipe.token_budget):
            rows = [
                {"input_ids": prompts[i][0], "completion": 0, "learned": [], "tags": [], "length": len(prompts[i][0])}
                for i in batch
            ]
            made = self._collate(rows)
            tags = self.head.read(made["input_ids"], made["attention_mask"], made["completion"])[1].log_softmax(-1)
            for i, row in zip(batch, tags.cpu().numpy(), strict=True):
                found[i] = edits.tagged(texts[i], prompts[i][1], row[-len(prompts[i][0]) :], margin)
        return found

    def _decode(self, prompts: list[list[int]], given: list[list[list[int]]]) -> list[list[int]]:
        """Greedy continuations with a key-value cache; a row leaves the batch when it is finished.

        `given` are tokens that a row has to take, the next of them whenever it has ended a line; the row ends after the last.
        """
        eos, line = self.tokenizer.eos_token_id, self._ids("\n")[-1]
        tokens = pad(prompts, self.tokenizer.pad_token_id, True)
        mask = pad([[1] * len(p) for p in prompts], 0, True)
        rows: list[list[int]] = [[] for _ in prompts]
        waiting = [[*parts] for parts in given]
        queues = [parts.pop(0) if parts else [] for parts in waiting]
        alive, cache, at = list(range(len(rows))), None, positions(mask)
        room = self.recipe.max_new_tokens + max(sum(map(len, parts)) for parts in given)
        for _ in range(room):
            out = self.model(
                input_ids=tokens,
                attention_mask=mask,
                position_ids=at,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache, best, going = out.past_key_values, out.logits[:, -1].argmax(-1).tolist(), []
            for k, row in enumerate(alive):
                best[k] = queues[row].pop(0) if queues[row] else best[k]
                ended = best[k] == line and bool(given[row]) and not queues[row]
                if ended and waiting[row]:
                    queues[row] = waiting[row].pop(0)
                    ended = False
                if best[k] != eos and not ended:
                    going.append(k)
                if best[k] != eos:
                    rows[row].append(best[k])
            if not going:
                break
            if len(going) < len(alive):
                keep = torch.tensor(going, device=mask.device)
                cache.batch_select_indices(keep)
                alive, best, mask, at = [alive[k] for k in going], [best[k] for k in going], mask[keep], at[keep]
            tokens, at = torch.tensor(best, device=mask.device).unsqueeze(1), at[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        return rows

    @torch.inference_mode()
    def nll(self, texts: Sequence[str], outputs: Sequence[str]) -> np.ndarray:
        """Mean negative log-likelihood of a token of each output given its text, tags included, nats, float64 (texts,)."""
        self.model.eval()
        self.head.eval()
        rows, out = self._examples(texts, outputs), np.zeros(len(texts))
        with reading(self.model):
            for batch in token_batches([r["length"] for r in rows], min(2048, self.recipe.token_budget)):
                loss, count = self.head.losses(**self._collate([rows[i] for i in batch]))
                out[batch] = (loss / count.clamp(min=1)).double().cpu().numpy()
        return out

    # keeping ---------------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> Path:
        """Write the adapter, the tagger and the recipe; the base stays where it is. Raises UserError before `fit`."""
        return self.core.save(folder)

    @classmethod
    def load(cls, folder: Path, drafters: Mapping[str, Callable[[str], str]] | None = None, **changes: Any) -> Writer:
        """The saved writer over its base; `changes` replace recipe fields, such as `model` after a move."""
        from safetensors.torch import load_file

        core = QLoRA.load(folder, **changes)
        learner = cls(core.task, core.recipe, core.seed, core, drafters)
        if learner.tags:
            learner.head.load_state_dict(load_file(folder / "head.safetensors"), strict=False)
        learner.core.module = learner.head
        return learner
