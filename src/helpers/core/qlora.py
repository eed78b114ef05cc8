"""The classifier of the 4-bit core: train, score, embed, generate, save.

NF4 with double quantisation (`base`) under LoRA on all linear layers (QLoRA, Dettmers et al. 2023,
arXiv 2305.14314).
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from helpers import env
from helpers.core import decoding, saved
from helpers.core.base import attach, base_version, load_base, model_path, reset_adapters
from helpers.core.batches import Targets, holdout, pad, padded, token_batches
from helpers.core.calibration import HeldOutLoss, softmax
from helpers.core.cpu import over_batches, reading
from helpers.core.encoding import IGNORED, OVERLAP, Encoding
from helpers.core.heads import Classifier, LabelWords, fit_head, head_state
from helpers.core.hints import rules_version
from helpers.core.kinds import Kinds
from helpers.core.label_words import prefix_cache, word_groups, word_scores
from helpers.core.masks import body_of, mean_state
from helpers.core.recipe import EMBEDDED, Recipe
from helpers.core.training import train
from helpers.env import UserError
from helpers.files import digest, replacing, sha256, write_json
from helpers.progress import Bar
from helpers.task import Task, refuse_one_class


class QLoRA:
    """A learner over one quantised base: `fit`, `predict_proba`, `embed`, `generate`.

    Parameters
    ----------
    task : Task
    recipe : Recipe
    seed : int
        Of training, where `fit` is not given one, and of the choice of held-out rows.
    in_chat : bool, optional
        Whether label words answer a turn in the tokenizer's chat template; by default where there is one.

    Attributes
    ----------
    temperature : float
        Divides the logits; fitted on held-out rows.
    held_out_rows : list of records
        Those that the last `fit` did not train on.
    kinds : Kinds or None
        Names kinds of exclusion beside the label, after `fit_kinds`.
    rules : str
        Which version of the rules its head reads the marks of; '' for none.
    base : str or None
        Which version of the base this is: a digest of its files, or the hub's commit.
    tokens_read : int
        Tokens that went through the base in any pass so far, padding included.
    """

    def __init__(self, task: Task, recipe: Recipe, seed: int = 0, in_chat: bool | None = None):
        self.task, self.recipe, self.seed, self.temperature = task, recipe, seed, 1.0
        self.base = base_version(recipe.model)  # noted, then read
        model, self.tokenizer = load_base(recipe)
        if commit := self.base is None and getattr(model.config, "_commit_hash", None):
            self.base = f"commit {commit}"
        self.model = attach(model, recipe)
        if in_chat is None:
            in_chat = recipe.head == "lm" and bool(self.tokenizer.chat_template)
        self.encoding = Encoding(task, recipe, self.tokenizer, in_chat)
        self.rules = rules_version(task) if self.encoding.is_hinted else ""
        self.tokens_read, self._counting = 0, threading.Lock()
        self.model.get_input_embeddings().register_forward_hook(self._count)
        self.module: nn.Module | None = None  # the trained head over self.model
        self.kinds: Kinds | None = None
        self.held_out_rows: list[dict] = []
        # Of the base without adapters, for the texts of the last training.
        self.frozen_states: dict[str, torch.Tensor] = {}

    @property
    def is_embedded(self) -> bool:
        """Whether the base is the tiny model of the demo, which every page with a figure must say."""
        return self.recipe.model == EMBEDDED

    def _count(self, _, inputs, output) -> None:
        with self._counting:  # batches may be read at once
            self.tokens_read += inputs[0].numel()

    # training --------------------------------------------------------------------------------------------------------

    def fit(self, records: list[dict], seed: int | None = None, warm: bool = False) -> dict[str, Any]:
        """Train adapters and head on labelled records.

        The same records, seed and earlier weights give the same weights. A share of the records
        (`recipe.holdout`) is held out for early stopping and for the temperature (Guo et al. 2017).

        Parameters
        ----------
        records : list of dicts
            Each has `text` and `label`, optionally `weight` (its part in every loss, default 1.0)
            and `group`.
        seed : int, optional
        warm : bool
            Continue from the present weights with a third of the epochs, instead of from fresh
            ones.

        Returns
        -------
        dict
            `epochs`, `held_out_loss`, `temperature`, `train_rows`, `held_out_rows`.

        Raises
        ------
        UserError
            With fewer than two classes, or a weight below 0.
        """
        seed = self.seed if seed is None else seed
        records = [r for r in records if r.get("weight") != 0]  # such a row changes no loss
        targets = Targets.of(self.task, records)
        refuse_one_class(targets.classes)
        if self.recipe.head == "lm":
            self._refuse_alibi()
        env.seed_everything(seed)
        self.kinds = None  # they belong to the weights of before
        # By the text, so that a row held out once stays so: a warm start would have trained on it.
        keys = [digest([self.seed, r["text"]]) for r in records]
        train_rows, held_out = holdout(targets.classes, self.recipe.holdout, keys)
        self.held_out_rows = [records[i] for i in held_out]
        recipe = self._start(targets[train_rows], warm)
        read = [self.encoding.around_evidence(r["text"], r.get("spans") or ()) for r in records]
        texts, spans = [text for text, _ in read], [own for _, own in read]
        head_logits = []
        if recipe.head_first:
            head_logits = self._fit_head(texts, targets, spans, train_rows, held_out)

        def held_out_logits() -> np.ndarray:  # the trained head's own come first
            return head_logits.pop() if head_logits else self.logits([records[i]["text"] for i in held_out])

        class_weights = self.module.class_weights.cpu().numpy()
        loss = HeldOutLoss(held_out_logits, targets[held_out], class_weights)
        own = [texts[i] for i in train_rows], targets[train_rows]
        if isinstance(self.module, Classifier) and self.module.pooling == "evidence":
            own += ([spans[i] for i in train_rows],)
        examples = self.encoding.examples(*own)
        self.temperature = 1.0
        report = train(self.module, examples, self.encoding.collate, recipe, seed, loss if len(held_out) else None)
        self.temperature = loss.temperature
        counts = {"train_rows": len(train_rows), "held_out_rows": len(held_out)}
        return report | {"temperature": self.temperature} | counts

    def fit_kinds(self, records: list[dict]) -> None:
        """Learn the kinds of exclusion from the records of the class looked for that say theirs (`kinds`), after `fit`."""
        rows = [r for r in records if r["label"] == self.task.positive and r.get("kinds")]
        self.kinds = (
            Kinds.fit(self._focused([r["text"] for r in rows])[1], [r["kinds"] for r in rows]) if rows else None
        )

    def _start(self, targets: Targets, warm: bool) -> Recipe:
        """Prepare the weights that training starts from; returns the recipe of this training."""
        if warm and self.module is not None:
            self.module.class_weights = self._class_weights(targets)
            return replace(self.recipe, epochs=max(1, self.recipe.epochs // 3), head_first=False)
        reset_adapters(self.model)
        self.module = self._new_head(self._class_weights(targets))
        return self.recipe

    def _class_weights(self, targets: Targets) -> torch.Tensor:
        """Weights by which every class counts alike, or ones; float32 (labels,)."""
        weights = np.ones(len(self.task.labels))
        if self.recipe.class_weights:
            totals = np.bincount(targets.classes, targets.weights, minlength=len(weights))
            weights = totals.sum() / (len(weights) * np.where(totals > 0, totals, 1))
        return torch.tensor(weights, dtype=torch.float32, device=self.model.device)

    def _new_head(self, class_weights: torch.Tensor) -> nn.Module:
        if self.recipe.head == "lm":
            return LabelWords(self.model, class_weights)
        absent = next(i for i, label in enumerate(self.task.labels) if label != self.task.positive)
        hinted = self.encoding.is_hinted
        return Classifier(self.model, len(self.task.labels), self.recipe.pooling, class_weights, absent, hinted)

    def _fit_head(
        self, texts: list[str], targets: Targets, spans: list[list], train_rows: np.ndarray, held_out: np.ndarray
    ) -> list[np.ndarray]:
        """Train the head on the states of the frozen base; returns [its logits of the held-out rows]."""
        if self.recipe.head != "classifier":
            raise UserError("Parameter head_first needs head: classifier; label words have no head of their own.")
        states, size = self._frozen_states(texts), self.recipe.batch_size
        hints = self.encoding.hints(texts, cut=True)

        def inputs(rows) -> dict[str, torch.Tensor]:
            stacked = nn.utils.rnn.pad_sequence([states[i] for i in rows], batch_first=True)
            mask = pad([[1] * len(states[i]) for i in rows], 0)
            own = {"hints": pad([hints[i] for i in rows], 0)} if hints else {}
            return {"states": stacked.to(env.device()), "mask": mask} | own

        def marks(rows) -> dict[str, torch.Tensor]:
            return {"marks": pad([self.encoding.marks(texts[i], spans[i], len(states[i])) for i in rows], IGNORED)}

        by_length = sorted(train_rows, key=lambda i: len(states[i]))
        parts = [by_length[k : k + size] for k in range(0, len(by_length), size)]
        order = np.random.default_rng(self.seed).permutation(len(parts))
        batches = [inputs(rows) | targets[rows].tensors() | marks(rows) for rows in (parts[i] for i in order)]
        fit_head(self.module, batches)
        if not len(held_out):
            return []
        with torch.no_grad():
            return [np.concatenate([self.module.classify(**inputs([i])).cpu().numpy() for i in held_out])]

    @torch.no_grad()
    def _frozen_states(self, texts: list[str]) -> list[torch.Tensor]:
        """Last hidden states of every text in the base without adapters, float32 (tokens, hidden).

        A text that the last training had is not read again. Each is read alone, so that its states
        do not depend, in the last digit, on what else was new with it.
        """
        self.module.eval()

        def read(text: str) -> torch.Tensor:
            return self.module.states(**padded(self.encoding.texts([text]), 0))[0].cpu()

        new = list(dict.fromkeys(t for t in texts if t not in self.frozen_states))
        with reading(self.model):
            self.frozen_states |= zip(new, over_batches(self.model, read, new), strict=True)
        self.frozen_states = {text: self.frozen_states[text] for text in texts}
        return [self.frozen_states[text] for text in texts]

    # scoring ---------------------------------------------------------------------------------------------------------

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """Calibrated probabilities, float64 (texts, labels); before `fit` by label words, or equal."""
        if isinstance(texts, str):
            raise UserError("predict_proba takes a list of texts, not one text: put it in brackets.")
        return softmax(self.logits(texts) / self.temperature)

    @torch.inference_mode()
    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Uncalibrated scores, float32 (texts, labels)."""
        untrained_head = self.module is None and self.recipe.head == "classifier"
        if not len(texts) or untrained_head:
            return np.zeros((len(texts), len(self.task.labels)), np.float32)
        self._evaluate()
        if self.recipe.head == "lm":
            return self._label_word_scores(texts)[0]
        rows, _, owners = self._over_windows(texts, lambda **inputs: self.module(**inputs)["logits"])
        return rows[self._worst_windows(rows, owners)]

    @torch.inference_mode()
    def score(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(probabilities, embeddings) of the texts in one pass.

        With the lm head the embeddings are those of texts behind the prompt.
        """
        self._evaluate()
        if self.recipe.head == "lm":
            logits, embeddings = self._label_word_scores(texts, embed=True)
            return softmax(logits / self.temperature), embeddings
        if self.module is None:
            return self.predict_proba(texts), self.embed(texts)
        rows, ids, owners = self._over_windows(texts, lambda **inputs: torch.cat(self.module.read(**inputs), 1))
        classes = len(self.task.labels)
        worst = self._worst_windows(rows[:, :classes], owners)
        return softmax(rows[worst, :classes] / self.temperature), _mean_of_windows(rows[:, classes:], ids, owners)

    @torch.inference_mode()
    def predict_kinds(self, texts: Sequence[str]) -> np.ndarray:
        """Calibrated probabilities of the labels, and behind them of the kinds, float64 (texts, labels + kinds)."""
        if self.kinds is None or not len(texts):
            return self.predict_proba(texts)
        logits, states = self._focused(texts)
        return np.hstack([softmax(logits / self.temperature), self.kinds.probabilities(states)])

    @torch.inference_mode()
    def _focused(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(logits, pooled states) of the texts in one pass; of a long one those of its worst window."""
        self._evaluate()
        if self.recipe.head == "lm":
            return self._label_word_scores(texts, embed=True)
        rows, _, owners = self._over_windows(texts, lambda **inputs: torch.cat(self.module.read_focused(**inputs), 1))
        rows = rows[self._worst_windows(rows[:, : len(self.task.labels)], owners)]
        return np.split(rows, [len(self.task.labels)], axis=1)

    def _worst_windows(self, logits: np.ndarray, owners: np.ndarray) -> np.ndarray:
        """The row of every text's window that speaks most for the class looked for, int array (texts,).

        One place is enough for that class, wherever it stands; the answer of that window is the text's.
        """
        if len(owners) == owners[-1] + 1:
            return np.arange(len(owners))
        shares = softmax(logits)[:, self.task.labels.index(self.task.positive)]
        order = np.lexsort((np.arange(len(owners)), -shares, owners))  # by text, the worst window first
        return order[np.unique(owners[order], return_index=True)[1]]

    def worst_places(self, texts: Sequence[str]) -> list[tuple[int, int]]:
        """(start, end) of what each answer comes from: the whole text, or the worst window of a long one."""
        places = [self.encoding.window_places(text) for text in texts]
        long = [i for i, own in enumerate(places) if len(own) > 1]
        parts = [texts[i][start:end] for i in long for start, end in places[i]]
        if parts:
            owners = np.repeat(np.arange(len(long)), [len(places[i]) for i in long])
            worst = self._worst_windows(self.logits(parts), owners)
            first = np.searchsorted(owners, np.arange(len(long)))
            for i, window in zip(long, worst - first, strict=True):
                places[i] = [places[i][window]]
        return [own[0] for own in places]

    def checked(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(embeddings, probabilities, class numbers) of the rows that `fit` held out."""
        rows = self.held_out_rows
        probabilities, embeddings = self.score([r["text"] for r in rows]) if rows else (np.zeros((0, 2)),) * 2
        return embeddings, probabilities, np.array(self.task.index([r["label"] for r in rows]), dtype=int)

    def _evaluate(self) -> None:
        self.model.eval()
        if self.module is not None:
            self.module.eval()

    def _over_windows(
        self, texts: Sequence[str], function: Callable[..., torch.Tensor], hinted: bool = True
    ) -> tuple[np.ndarray, list[list[int]], np.ndarray]:
        """(`function` of the inputs of every window, float32 (windows, ...), the windows' ids, the texts that they are of).

        They are read in length-sorted batches; with the task's hints, where there are any, unless `hinted` is false.
        """
        ids, owners = self.encoding.windows(texts)
        hints = self.encoding.hints(texts) if hinted else None
        rows: list[np.ndarray | None] = [None] * len(ids)

        def read(batch: list[int]) -> np.ndarray:
            inputs = padded([ids[i] for i in batch], self.tokenizer.pad_token_id)
            inputs |= {"hints": pad([hints[i] for i in batch], 0)} if hints else {}
            return function(**inputs).float().cpu().numpy()

        batches = list(token_batches([len(i) for i in ids], self.recipe.token_budget))
        with reading(self.model), Bar(len(ids), "reading") as bar:
            for batch, values in zip(batches, over_batches(self.model, read, batches), strict=True):
                for i, row in zip(batch, values, strict=True):
                    rows[i] = row
                bar.update(len(batch))
        return np.stack(rows), ids, owners

    def _label_word_scores(self, texts: Sequence[str], embed: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """(log-probabilities of the label words, embeddings if `embed`); the prefix is read once."""
        self._refuse_alibi()
        ids, owners = self.encoding.windows(texts)
        words, prefix = self.encoding.label_words(), self.encoding.prefix()
        scores = np.zeros((len(ids), len(words)), np.float32)
        embeddings = np.zeros((len(ids), self.model.config.hidden_size if embed else 0), np.float32)
        with reading(self.model), Bar(len(ids), "reading") as bar:
            cache = prefix_cache(self.model, prefix) if prefix else None
            groups = word_groups(words)
            behind = max(sum(len(words[k]) - 1 for k in group) for group in groups)
            for batch in token_batches([len(i) + behind for i in ids], self.recipe.token_budget, len(prefix)):
                parts = [ids[i] for i in batch]
                for group in groups:
                    own, asked = [words[k] for k in group], embed and group is groups[0]
                    score, means = word_scores(self.model, parts, own, cache, self.tokenizer.pad_token_id, asked)
                    scores[np.ix_(batch, group)] = score.cpu().numpy()
                    if means is not None:
                        embeddings[batch] = means.cpu().numpy()
                bar.update(len(batch))
        return scores[self._worst_windows(scores, owners)], _mean_of_windows(embeddings, ids, owners)

    def _refuse_alibi(self) -> None:
        if has_alibi(self.model.config):
            raise UserError(
                f"model {self.recipe.model!r} counts positions by ALiBi, which has no place for label words side by "
                "side: set head: classifier."
            )

    # embedding -------------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Mean of the last hidden states, float32 (texts, hidden), of the model with its adapters."""
        self.model.eval()
        body = body_of(self.model) if self.recipe.head == "lm" else self.model

        def means(input_ids, attention_mask):
            states = body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            return mean_state(states.float(), attention_mask)

        if not len(texts):
            return np.zeros((0, self.model.config.hidden_size), np.float32)
        return _mean_of_windows(*self._over_windows(texts, means, hinted=False))

    def embed_base(self, texts: Sequence[str]) -> np.ndarray:
        """`embed` without the adapters: of the frozen base, whatever was trained."""
        with self.model.disable_adapter():
            return self.embed(texts)

    def embedding_facts(self) -> dict[str, Any]:
        """All that determines `embed_base`, as the key of a cache."""
        path = Path(model_path(self.recipe.model))
        commit = getattr(self.model.config, "_commit_hash", None) or self.recipe.revision
        model = self.facts()
        facts = {name: model[name] for name in ("quantization", "double_quantization", "compute_dtype")}
        facts |= {name: getattr(self.recipe, name) for name in ("head", "bidirectional", "max_length")}
        facts |= {"overlap": OVERLAP, "room": self.encoding.room()}
        return facts | {
            "model": sha256(path) if path.is_dir() else f"{self.recipe.model}@{commit}",
            "suffix": self.encoding.frame[1] if self.recipe.head == "lm" else "",
        }

    # writing ---------------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def generate(self, prompts: Sequence[str], max_new_tokens: int = 64, **sampling: Any) -> list[str]:
        """What the model writes after each prompt.

        Parameters
        ----------
        prompts : strings
            Each is the user's turn in the tokenizer's chat template; a model without one continues
            the prompt.
        max_new_tokens : int
        **sampling
            Options of transformers' `generate`, such as `do_sample` and `temperature`; greedy
            without any.

        Raises
        ------
        UserError
            With the classifier head, which cannot write.
        """
        if self.recipe.head != "lm":
            raise UserError("A model with the classifier head cannot write: set head: lm in the profile.")
        self.model.eval()
        with reading(self.model):
            ids, budget = self.encoding.turns(prompts), self.recipe.token_budget
            return decoding.generate(self.model, self.tokenizer, ids, budget, max_new_tokens, **sampling)

    @torch.inference_mode()
    def nll(self, texts: Sequence[str]) -> np.ndarray:
        """Mean negative log-likelihood of a token in each text, nats, float64 (texts,).

        Its exponential is the perplexity. NaN for a text without a token to predict. Raises
        UserError unless the model is a decoder with the lm head.
        """
        base = self.model.get_base_model()
        reads_both_ways = self.recipe.bidirectional or type(base).__name__ not in (base.config.architectures or [])
        if self.recipe.head != "lm" or reads_both_ways:
            raise UserError(f"model {self.recipe.model!r} does not write from left to right: it has no perplexity.")
        self.model.eval()
        ids, padding = self.encoding.plain(texts), self.tokenizer.pad_token_id
        with reading(self.model):
            return decoding.token_loss(self.model, ids, self.recipe.token_budget, padding)

    # saving ----------------------------------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """What the manifest says of the model; the quantisation is that of its layers."""
        trainable = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        four_bit = sum(type(m).__module__.startswith("bitsandbytes") for m in self.model.modules())
        config = self.model.config
        return {
            "model": self.recipe.model,
            "revision": getattr(config, "_commit_hash", None) or self.recipe.revision or "local folder",
            "quantization": config.quantization_config.bnb_4bit_quant_type if four_bit else "none",
            "double_quantization": bool(four_bit) and config.quantization_config.bnb_4bit_use_double_quant,
            "four_bit_layers": four_bit,
            "compute_dtype": str(env.compute_dtype()).removeprefix("torch."),
            "chat_template": self.encoding.in_chat,
            "hints": self.task.hints if self.encoding.is_hinted else "none",
            "trainable_parameters": trainable,
            "base_parameters": self.model.get_base_model().num_parameters(exclude_embeddings=False) - trainable,
        }

    def save(self, folder: Path) -> Path:
        """Write the adapter, the head and the recipe, without the base; raises UserError before `fit`."""
        from safetensors.torch import save_file

        if self.module is None:
            raise UserError("Nothing to save: the model has not been trained yet.")
        facts = {
            "temperature": self.temperature,
            "seed": self.seed,
            "recipe": asdict(self.recipe),
            "task": asdict(self.task),
            "base": self.base,
            "rules": self.rules,
            "in_chat": self.encoding.in_chat,
            "kinds": self.kinds.names if self.kinds else (),
        }
        with replacing(folder) as temporary:
            self.model.save_pretrained(temporary)
            if head := head_state(self.module):
                save_file(head, temporary / saved.HEAD)
            if self.kinds:
                save_file(self.kinds.tensors(), temporary / saved.KINDS_HEAD)
            write_json(temporary / saved.FACTS, facts)
        return folder

    @classmethod
    def load(cls, folder: Path, **changes: Any) -> QLoRA:
        """The saved learner over its base.

        Parameters
        ----------
        folder : Path
            What `save` wrote.
        **changes
            Fields of the recipe to replace, such as `model` after a move.

        Raises
        ------
        UserError
            Where there is no learner, it is damaged, or it was trained on another version of its base.
        """
        facts = saved.read_facts(folder, **changes)
        learner = cls(facts.task, facts.recipe, facts.seed, facts.in_chat)
        learner.restore(folder)
        return learner

    def restore(self, folder: Path) -> None:
        """Take over the weights and the temperature that `save` wrote for the same task and recipe.

        Raises UserError where they do not fit, or were trained on another version of the base.
        """
        from peft import get_peft_model_state_dict, set_peft_model_state_dict

        facts = saved.read_facts(folder)
        if saved.is_other_base(facts.base, self.base) or (self.is_embedded and facts.base is None):
            raise saved.other_base(folder, self.recipe.model)
        if remark := saved.rules_remark(facts):
            warnings.warn(f"{folder}: {remark}", stacklevel=2)
        adapter = saved.read_weights(folder / saved.ADAPTER, get_peft_model_state_dict(self.model))
        set_peft_model_state_dict(self.model, adapter)
        self.module = self._new_head(torch.ones(len(self.task.labels), device=self.model.device))
        if self.recipe.head == "classifier":
            head = saved.read_weights(folder / saved.HEAD, head_state(self.module))
            self.module.load_state_dict(head, strict=False)
        self.temperature, self.kinds = facts.temperature, None
        if facts.kinds:
            expected = Kinds.empty(facts.kinds, self.model.config.hidden_size).tensors()
            tensors = saved.read_weights(folder / saved.KINDS_HEAD, expected)
            self.kinds = Kinds(facts.kinds, **{name: tensor.float().cpu() for name, tensor in tensors.items()})


def _mean_of_windows(rows: np.ndarray, ids: list[list[int]], owners: np.ndarray) -> np.ndarray:
    """Means of the windows' rows for every text, weighted by their tokens; float32 (texts, ...)."""
    if len(owners) == owners[-1] + 1:
        return rows
    lengths = np.array([len(i) for i in ids], np.float32)
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    return np.add.reduceat(rows * lengths[:, None], starts) / np.add.reduceat(lengths, starts)[:, None]


def has_alibi(config) -> bool:
    return config.model_type in ("bloom", "mpt") or bool(getattr(config, "alibi", False))


def unit_length(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
