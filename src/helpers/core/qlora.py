"""The 4-bit core: train, score, embed, generate, save.

NF4 with double quantisation (`base`) under LoRA on all linear layers (QLoRA, Dettmers et al. 2023, arXiv 2305.14314).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from helpers import env
from helpers.core.base import attach, load_base, model_path, reset_adapters
from helpers.core.cpu import reading
from helpers.core.heads import (
    Classifier,
    LabelWords,
    fit_head,
    fit_temperature,
    head_state,
    holdout,
    nll,
    pad,
    pool,
    softmax,
    token_batches,
)
from helpers.core.label_words import keep_prefix, word_scores
from helpers.core.recipe import EMBEDDED, Recipe
from helpers.core.training import train
from helpers.env import UserError
from helpers.files import digest, replacing, sha256, write_json
from helpers.task import Task

# --- the learner -----------------------------------------------------------------------------------------------------


class QLoRA:
    """A learner with the four verbs `fit`, `predict_proba`, `embed`, `generate` over one quantised base."""

    def __init__(self, task: Task, recipe: Recipe, seed: int = 0):
        self.task, self.recipe, self.seed, self.temperature = task, recipe, seed, 1.0
        model, self.tokenizer = load_base(recipe)
        self.model = attach(model, recipe)
        self.tokens_read = 0  # by every pass so far, padding included
        self.model.get_input_embeddings().register_forward_hook(self._count)
        self.module: nn.Module | None = None  # the trained head over self.model
        self.frozen: dict[str, torch.Tensor] = {}  # what the base alone says of the texts of the last training

    @property
    def is_embedded(self) -> bool:
        """Whether the base is the tiny model of the demo, which every page with a figure must say."""
        return self.recipe.model == EMBEDDED

    def _count(self, _, inputs, output) -> None:
        self.tokens_read += inputs[0].numel()

    # training --------------------------------------------------------------------------------------------------------

    def fit(self, records: list[dict], seed: int | None = None, warm: bool = False) -> dict[str, Any]:
        """Train fresh adapters and head on labelled records; returns epochs run, held-out loss and temperature.

        `warm` goes on from the present weights instead, with a third of the epochs. The same records, seed and weights before
        give the same weights. A part of the records (`recipe.holdout`) is kept for early stopping and for the temperature
        (Guo et al. 2017). Raises UserError with fewer than two classes.
        """
        seed = self.seed if seed is None else seed
        classes = np.array(self.task.index([r["label"] for r in records]))
        if len(set(classes)) < 2:
            raise UserError("The labels so far are all of one class: label more rows before training.")
        env.seed_everything(seed)
        # By the text: what was held out stays so while labels are added, or a warm start would know it already.
        fitted, held = holdout(classes, self.recipe.holdout, [digest([self.seed, r["text"]]) for r in records])
        self.temperature, recipe = 1.0, self.recipe
        if warm and self.module is not None:
            recipe = replace(recipe, epochs=max(1, recipe.epochs // 3), head_first=False)
            self.module.weights = self._class_weights(classes[fitted])
        else:
            reset_adapters(self.model)
            self.module = self._new_head(classes[fitted])
        self.held = [records[i] for i in held]
        rows = [self._example(records[i]["text"], int(classes[i])) for i in range(len(records))]
        texts, temperatures = [r["text"] for r in self.held], {}
        start = self._fit_head([r["text"] for r in records], classes, fitted, held) if recipe.head_first else []

        def held_loss() -> float:  # at its best temperature: it is calibrated afterwards anyway
            logits = start.pop() if start else self.logits(texts)
            temperature = fit_temperature(logits, classes[held])
            loss = nll(logits / temperature, classes[held], self.module.weights.cpu().numpy())
            temperatures[loss] = temperature
            return loss

        kept = held_loss if len(held) else None
        report = train(self.module, [rows[i] for i in fitted], self._collate, recipe, seed, kept)
        self.temperature = temperatures.get(report["held_out_loss"], 1.0)  # of the weights that were kept
        return report | {"temperature": self.temperature, "train_rows": len(fitted), "held_out_rows": len(held)}

    def _class_weights(self, classes: np.ndarray) -> torch.Tensor:
        counts = np.bincount(classes, minlength=len(self.task.labels))
        weights = len(classes) / (len(counts) * np.maximum(counts, 1)) if self.recipe.class_weights else counts * 0 + 1
        return torch.tensor(weights, dtype=torch.float32, device=self.model.device)

    def _new_head(self, classes: np.ndarray) -> nn.Module:
        weights = self._class_weights(classes)
        if self.recipe.head == "lm":
            return LabelWords(self.model, weights)
        absent = next(i for i, label in enumerate(self.task.labels) if label != self.task.positive)
        return Classifier(self.model, len(self.task.labels), self.recipe.pooling, weights, absent)

    def _fit_head(
        self, texts: list[str], classes: np.ndarray, fitted: np.ndarray, held: np.ndarray
    ) -> list[np.ndarray]:
        """Train the head on what the frozen base says of the rows `fitted`; what it then answers to the rows `held`, in a list."""
        if self.recipe.head != "classifier":
            raise UserError("Parameter head_first needs head: classifier; label words have no head of their own.")
        states, size = self._frozen_states(texts), self.recipe.batch_size

        def batch(rows) -> tuple[torch.Tensor, torch.Tensor]:
            padded = nn.utils.rnn.pad_sequence([states[i] for i in rows], batch_first=True)
            return padded.to(env.device()), pad([[1] * len(states[i]) for i in rows], 0)

        fitted = sorted(fitted, key=lambda i: len(states[i]))
        parts = [fitted[k : k + size] for k in range(0, len(fitted), size)]
        order = np.random.default_rng(self.seed).permutation(len(parts))
        known = [(*batch(parts[i]), torch.tensor(classes[parts[i]], device=env.device())) for i in order]
        fit_head(self.module, known)
        with torch.no_grad():
            return [np.concatenate([self.module.answer(*batch([i])).cpu().numpy() for i in held])] if len(held) else []

    @torch.no_grad()
    def _frozen_states(self, texts: list[str]) -> list[torch.Tensor]:
        """What the base says of every token of every text, float32 (tokens, hidden); what it said last time is kept.

        Each text is read alone, so that what is kept does not depend, in the last digit, on what else was new with it.
        """
        self.module.eval()
        with reading(self.model):
            for text in dict.fromkeys(t for t in texts if t not in self.frozen):
                ids = pad(self.encode([text]), 0)
                self.frozen[text] = self.module.states(ids, torch.ones_like(ids))[0].cpu()
        self.frozen = {text: self.frozen[text] for text in texts}
        return [self.frozen[text] for text in texts]

    def _example(self, text: str, label: int) -> dict[str, Any]:
        ids = self.encode([text])[0]
        if self.recipe.head == "classifier":
            return {"input_ids": ids, "label": label, "length": len(ids)}
        word = self.label_tokens()[label]
        return {
            "input_ids": self.prefix_ids() + ids + word,
            "label": label,
            "completion": len(word),
            "length": len(ids),
        }

    def _collate(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        left = self.recipe.head == "lm"
        ids = [r["input_ids"] for r in rows]
        batch = {
            "input_ids": pad(ids, self.tokenizer.pad_token_id, left, 8),
            "attention_mask": pad([[1] * len(s) for s in ids], 0, left, 8),
        }
        classes = torch.tensor([r["label"] for r in rows], device=env.device())
        if not left:
            return batch | {"labels": classes}
        labels = [[-100] * (len(r["input_ids"]) - r["completion"]) + r["input_ids"][-r["completion"] :] for r in rows]
        completion = torch.tensor([r["completion"] for r in rows], device=env.device())
        return batch | {"labels": pad(labels, -100, True, 8), "completion": completion, "classes": classes}

    # scoring ---------------------------------------------------------------------------------------------------------

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of every text, cut to `max_length`; for the lm head with the prompt's suffix, without its prefix."""
        if self.recipe.head == "classifier":
            ids = self.tokenizer(list(texts), truncation=True, max_length=self.recipe.max_length)["input_ids"]
            return [i or [self.tokenizer.pad_token_id] for i in ids]  # an empty text has one token, not none
        suffix = self.tokenizer(self.task.suffix, add_special_tokens=False)["input_ids"]
        room = max(1, self.recipe.max_length - len(suffix) - len(self.prefix_ids()))
        ids = self.tokenizer(list(texts), add_special_tokens=False, truncation=True, max_length=room)["input_ids"]
        return [i + suffix for i in ids]

    def _start(self) -> list[int]:
        """The token that opens a text, for models that have one."""
        return [self.tokenizer.bos_token_id] if self.tokenizer.bos_token_id is not None else []

    def prefix_ids(self) -> list[int]:
        return self._start() + self.tokenizer(self.task.prefix, add_special_tokens=False)["input_ids"]

    def label_tokens(self) -> list[list[int]]:
        if _has_alibi(self.model.config):
            raise UserError(
                f"model {self.recipe.model!r} counts positions by ALiBi, which has no place for label words side by "
                "side: set head: classifier."
            )
        words = [self.tokenizer(w, add_special_tokens=False)["input_ids"] for w in self.task.label_words]
        if len({tuple(w) for w in words}) < len(words):
            raise UserError("Two label_words give the same tokens in this model: choose words that differ.")
        return words

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """Calibrated probabilities, float64 (texts, labels); the untrained base answers with its label words or evenly."""
        return softmax(self.logits(texts) / self.temperature)

    @torch.inference_mode()
    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Uncalibrated scores, float32 (texts, labels)."""
        if not len(texts):
            return np.zeros((0, len(self.task.labels)), np.float32)
        self.model.eval()
        if self.module is None and self.recipe.head == "classifier":
            return np.zeros((len(texts), len(self.task.labels)), np.float32)
        if self.module is not None:
            self.module.eval()
        return self._scores(texts)

    def _scores(self, texts: Sequence[str]) -> np.ndarray:
        """`logits` in whatever mode the model is."""
        if self.recipe.head == "lm":
            return self._label_word_scores(texts)[0]
        return self._over_batches(texts, lambda ids, mask: self.module(ids, mask)["logits"])

    @torch.inference_mode()
    def score(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(probabilities, embeddings) of the texts in one pass; with the lm head the embeddings are of texts behind the prompt."""
        self.model.eval()
        if self.recipe.head == "lm":
            logits, embeddings = self._label_word_scores(texts, embedded=True)
            return softmax(logits / self.temperature), embeddings
        if self.module is None:
            return self.predict_proba(texts), self.embed(texts)
        self.module.eval()
        classes = len(self.task.labels)

        def both(ids, mask):
            return torch.cat(self.module.read(ids, mask), 1)

        rows = self._over_batches(texts, both)
        return softmax(rows[:, :classes] / self.temperature), rows[:, classes:]

    def _over_batches(self, texts: Sequence[str], function) -> np.ndarray:
        ids = self.encode(texts)
        rows: list[np.ndarray | None] = [None] * len(ids)
        with reading(self.model):
            for batch in token_batches([len(i) for i in ids], self.recipe.token_budget):
                tokens = pad([ids[i] for i in batch], self.tokenizer.pad_token_id)
                mask = pad([[1] * len(ids[i]) for i in batch], 0)
                for i, row in zip(batch, function(tokens, mask).float().cpu().numpy(), strict=True):
                    rows[i] = row
        return np.stack(rows)

    def _label_word_scores(self, texts: Sequence[str], embedded: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """(`word_scores` after the prompt, embeddings if `embedded`); the shared prefix runs through the model once."""
        ids, words, prefix = self.encode(texts), self.label_tokens(), self.prefix_ids()
        scores, cache = np.zeros((len(ids), len(words)), np.float32), None
        states = np.zeros((len(ids), self.model.config.hidden_size if embedded else 0), np.float32)
        padding, budget = self.tokenizer.pad_token_id, self.recipe.token_budget
        with reading(self.model):
            if prefix:
                whole = self.model(input_ids=pad([prefix], 0), use_cache=True, logits_to_keep=1)
                cache = keep_prefix(whole.past_key_values)
            for batch in token_batches([len(i) for i in ids], budget, len(prefix)):
                score, means = word_scores(self.model, [ids[i] for i in batch], words, cache, padding, embedded)
                scores[batch] = score.cpu().numpy()
                if embedded:
                    states[batch] = means.cpu().numpy()
        return scores, states

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Mean of the last hidden states, float32 (texts, hidden); of the adapted model once it is trained."""
        self.model.eval()
        inner = self.model.get_base_model()
        body = getattr(inner, inner.base_model_prefix, inner) if self.recipe.head == "lm" else self.model

        def states(ids, mask):
            return pool(body(input_ids=ids, attention_mask=mask).last_hidden_state.float(), mask, "mean")

        return self._over_batches(texts, states)

    def embed_base(self, texts: Sequence[str]) -> np.ndarray:
        """`embed` without the adapters: of the frozen base, whatever was trained."""
        with self.model.disable_adapter():
            return self.embed(texts)

    def embedding_facts(self) -> dict[str, Any]:
        """All that fixes `embed_base`, for a cache: a folder's content, or the commit of a hub model, and how it is read."""
        path = Path(model_path(self.recipe.model))
        commit = getattr(self.model.config, "_commit_hash", None) or self.recipe.revision
        known = self.facts()
        facts = {name: known[name] for name in ("quantization", "double_quantization", "compute_dtype")}
        facts |= {name: getattr(self.recipe, name) for name in ("head", "bidirectional", "max_length")}
        return facts | {
            "model": sha256(path) if path.is_dir() else f"{self.recipe.model}@{commit}",
            "suffix": self.task.suffix if self.recipe.head == "lm" else "",
        }

    @torch.inference_mode()
    def draws(self, texts: Sequence[str], count: int = 10, seed: int = 0) -> np.ndarray:
        """Probabilities (count, texts, labels) under draws of the adapters' dropout (MC dropout, Gal & Ghahramani 2016).

        Adapters sit in every layer, from the first on: no activation is common to two draws, so each is a pass of its own.
        Raises UserError where the recipe has no dropout: the draws would be the same.
        """
        if self.module is None or not self.recipe.lora_dropout:
            raise UserError(
                "Draws of dropout need a trained model with dropout: set lora_dropout above 0, such as 0.1."
            )
        torch.manual_seed(seed)
        try:
            self.module.eval()
            for name, module in self.model.named_modules():
                module.training = "lora_dropout" in name
            return np.stack([softmax(self._scores(texts) / self.temperature) for _ in range(count)])
        finally:
            self.module.eval()

    def checked(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(embeddings, probabilities, class numbers) of the labels that `fit` held out."""
        probabilities, embeddings = self.score([r["text"] for r in self.held]) if self.held else (np.zeros((0, 2)),) * 2
        return embeddings, probabilities, np.array(self.task.index([r["label"] for r in self.held]), dtype=int)

    @torch.inference_mode()
    def generate(self, prompts: Sequence[str], max_new_tokens: int = 64, **sampling: Any) -> list[str]:
        """What the model writes to each prompt, in length-sorted batches; raises UserError for the classifier head.

        A prompt is the user's turn in the tokenizer's chat template where it has one; other models continue it.
        """
        if self.recipe.head != "lm":
            raise UserError("A model with the classifier head cannot write: set head: lm in the profile.")
        self.model.eval()
        ids = self._asked(prompts)
        texts = [""] * len(ids)
        with reading(self.model):
            for batch in token_batches([len(i) for i in ids], self.recipe.token_budget, max_new_tokens):
                tokens = pad([ids[i] for i in batch], self.tokenizer.pad_token_id, left=True)
                mask = pad([[1] * len(ids[i]) for i in batch], 0, left=True)
                out = self.model.generate(
                    input_ids=tokens,
                    attention_mask=mask,
                    max_new_tokens=max_new_tokens,
                    pad_token_id=self.tokenizer.pad_token_id,
                    **({"do_sample": False} | sampling),
                )
                for i, row in zip(batch, out[:, tokens.shape[1] :], strict=True):
                    texts[i] = self.tokenizer.decode(row, skip_special_tokens=True)
        return texts

    def _asked(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of the prompts; a chat template brings its own opening tokens."""
        start = self._start()
        if self.tokenizer.chat_template and len(prompts):
            turns = [[{"role": "user", "content": prompt}] for prompt in prompts]
            prompts = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            start = []
        return [start + i for i in self.tokenizer(list(prompts), add_special_tokens=False)["input_ids"]]

    @torch.inference_mode()
    def nll(self, texts: Sequence[str]) -> np.ndarray:
        """Mean negative log-likelihood of a token in each text, nats, float64 (texts,); exp gives the perplexity.

        NaN for a text without a token to predict. Raises UserError unless the model is a decoder with the lm head.
        """
        base = self.model.get_base_model()
        reads_back = self.recipe.bidirectional or type(base).__name__ not in (base.config.architectures or [])
        if self.recipe.head != "lm" or reads_back:
            raise UserError(f"model {self.recipe.model!r} does not write from left to right: it has no perplexity.")
        self.model.eval()
        start = self._start()
        room = self.recipe.max_length - len(start)
        ids = self.tokenizer(list(texts), add_special_tokens=False, truncation=True, max_length=room)["input_ids"]
        ids, out = [start + i for i in ids], np.full(len(ids), np.nan)
        with reading(self.model):
            # Logits over the whole vocabulary: 2,048 tokens of a 152,000-word model take 1.2 GB.
            for batch in token_batches([len(i) for i in ids], min(2048, self.recipe.token_budget)):
                tokens = pad([ids[i] for i in batch], self.tokenizer.pad_token_id)
                mask = pad([[1] * len(ids[i]) for i in batch], 0)
                logits = self.model(input_ids=tokens, attention_mask=mask).logits[:, :-1].float()
                loss = nn.functional.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")
                out[batch] = ((loss * mask[:, 1:]).sum(1) / mask[:, 1:].sum(1)).double().cpu().numpy()
        return out

    def facts(self) -> dict[str, Any]:
        """What the manifest says of the model: quantisation as it is, not as it was asked for."""
        trained = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        four_bit = sum(type(m).__module__.startswith("bitsandbytes") for m in self.model.modules())
        config = self.model.config
        return {
            "model": self.recipe.model,
            "revision": getattr(config, "_commit_hash", None) or self.recipe.revision or "local folder",
            "quantization": config.quantization_config.bnb_4bit_quant_type if four_bit else "none",
            "double_quantization": bool(four_bit) and config.quantization_config.bnb_4bit_use_double_quant,
            "four_bit_layers": four_bit,
            "compute_dtype": str(env.compute_dtype()).removeprefix("torch."),
            "trainable_parameters": trained,
            "base_parameters": self.model.get_base_model().num_parameters(exclude_embeddings=False) - trained,
        }

    # keeping ---------------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> Path:
        """Write the adapter, the head and the recipe; the base stays where it is. Raises UserError before `fit`."""
        from safetensors.torch import save_file

        if self.module is None:
            raise UserError("Nothing to save: the model has not been trained yet.")
        facts = {
            "temperature": self.temperature,
            "seed": self.seed,
            "recipe": asdict(self.recipe),
            "task": asdict(self.task),
            "base": self._base(),
        }
        with replacing(folder) as temporary:
            self.model.save_pretrained(temporary)
            if head := head_state(self.module):
                save_file(head, temporary / "head.safetensors")
            write_json(temporary / "learner.json", facts)
        return folder

    @classmethod
    def load(cls, folder: Path, **changes: Any) -> QLoRA:
        """The saved learner over its base; `changes` replace recipe fields, such as `model` after a move."""
        if not (folder / "learner.json").exists():
            raise UserError(f"{folder} holds no saved learner: run 03_active_learning first.")
        facts = json.loads((folder / "learner.json").read_text(encoding="utf-8"))
        task = Task(**{k: tuple(v) if isinstance(v, list) else v for k, v in facts["task"].items()})
        learner = cls(task, replace(Recipe(**facts["recipe"]), **changes), facts["seed"])
        learner.restore(folder)
        return learner

    def restore(self, folder: Path) -> None:
        """Take over the weights and the temperature that `save` wrote for the same task and recipe.

        Raises UserError where they were trained on another version of the embedded base.
        """
        from peft import load_peft_weights, set_peft_model_state_dict
        from safetensors.torch import load_file

        facts = json.loads((folder / "learner.json").read_text(encoding="utf-8"))
        if self.is_embedded and facts.get("base") != self._base():
            raise UserError(
                f"{folder} was trained on another version of the embedded base, and its adapter does not fit this one: "
                "run 03_active_learning again under a new run_id."
            )
        set_peft_model_state_dict(self.model, load_peft_weights(str(folder), device=env.device()))
        self.module = self._new_head(np.arange(len(self.task.labels)))
        if self.recipe.head == "classifier":
            self.module.load_state_dict(load_file(folder / "head.safetensors"), strict=False)
        self.temperature = facts["temperature"]

    def _base(self) -> str | None:
        """Digest of the embedded base, whose weights may change with the version of this package."""
        return sha256(Path(model_path(EMBEDDED)) / "model.safetensors") if self.is_embedded else None


# --- without training ------------------------------------------------------------------------------------------------


def zero_shot(task: Task, recipe: Recipe, texts: Sequence[str]) -> np.ndarray:
    """Probabilities (texts, labels) of the untuned base: label words for a decoder, nearest label name for an encoder."""
    from transformers import AutoConfig

    path = model_path(recipe.model)
    config = AutoConfig.from_pretrained(path, revision=recipe.revision or None)
    if "CausalLM" in (config.architectures or [""])[0] and not _has_alibi(config):
        return QLoRA(task, replace(recipe, head="lm", bidirectional=False)).predict_proba(texts)
    learner = QLoRA(task, replace(recipe, head="classifier"))
    rows, words = (_unit(learner.embed(t)) for t in (texts, [w.strip() for w in task.label_words]))
    return softmax(20.0 * rows @ words.T)


def _has_alibi(config) -> bool:
    return config.model_type in ("bloom", "mpt") or bool(getattr(config, "alibi", False))


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
