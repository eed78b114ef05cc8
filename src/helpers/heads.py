"""Parts of the 4-bit core that need torch alone: heads, pooling, batches, holding out, calibration."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from helpers import env

# --- heads: both take a batch and return the loss, so that one Trainer trains either -----------------------------------


class Classifier(nn.Module):
    """Encoder, pooling over the tokens, and a float32 linear layer.

    Pooling `evidence` scores every token and takes a smooth maximum for each class, as in multiple-instance learning: one
    telling word in a long text is enough (Ilse et al. 2018, arXiv 1802.04712, use attention to the same end). The class
    `absent` is what a text is in which nothing speaks for another: it needs no evidence, its logit is 0.
    """

    def __init__(self, encoder: nn.Module, classes: int, pooling: str, weights: torch.Tensor, absent: int = 0):
        super().__init__()
        self.encoder, self.pooling, self.absent = encoder, pooling, absent
        hidden = encoder.config.hidden_size
        self.norm = nn.LayerNorm(hidden)
        self.out = nn.Linear(hidden, classes)
        nn.init.normal_(self.out.weight, std=0.02)
        nn.init.constant_(self.out.bias, -4.0 if pooling == "evidence" else 0.0)  # most words say nothing
        self.register_buffer("weights", weights)
        self.to(encoder.device)

    def states(self, input_ids, attention_mask) -> torch.Tensor:
        """What the encoder says of every token, float32 (batch, tokens, hidden)."""
        return self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.float()

    def answer(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits (batch, classes) from the states."""
        if self.pooling != "evidence":
            return self.out(self.norm(pool(states, mask, self.pooling)))
        tokens = self.out(self.norm(states)).masked_fill(~mask.unsqueeze(-1).bool(), float("-inf"))
        logits = tokens.logsumexp(1)
        return logits * (torch.arange(logits.shape[1], device=logits.device) != self.absent)

    def read(self, input_ids, attention_mask) -> tuple[torch.Tensor, torch.Tensor]:
        """(logits (batch, classes), embeddings (batch, hidden)), float32."""
        states = self.states(input_ids, attention_mask)
        how = "mean" if self.pooling == "evidence" else self.pooling
        return self.answer(states, attention_mask), pool(states, attention_mask, how)

    def forward(self, input_ids, attention_mask, labels=None):
        logits, _ = self.read(input_ids, attention_mask)
        loss = None if labels is None else cross_entropy(logits, labels, weight=self.weights)
        return {"loss": loss, "logits": logits}


class LabelWords(nn.Module):
    """Causal model trained to write the label word after the prompt; the loss is on the completion only."""

    def __init__(self, model: nn.Module, weights: torch.Tensor):
        super().__init__()
        self.model = model
        self.register_buffer("weights", weights)
        self.to(model.device)

    def forward(self, input_ids, attention_mask, labels, completion, classes):
        """`labels` are token ids at the last `completion` positions (left padding), -100 elsewhere."""
        keep = int(completion.max()) + 1
        logits = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=positions(attention_mask),
            logits_to_keep=keep,
            use_cache=False,
        ).logits.float()
        target = labels[:, -keep + 1 :]
        loss = cross_entropy(logits[:, :-1].transpose(1, 2), target, ignore_index=-100, reduction="none").sum(1)
        weight = self.weights[classes]
        return {"loss": (loss * weight).sum() / weight.sum()}


def pool(states: torch.Tensor, mask: torch.Tensor, how: str) -> torch.Tensor:
    """(batch, hidden) from (batch, tokens, hidden), padding left out."""
    if how == "last":
        last = mask.shape[1] - 1 - mask.flip(1).argmax(1)
        return states[torch.arange(len(states), device=states.device), last]
    inside = mask.unsqueeze(-1).bool()
    if how == "max":
        return states.masked_fill(~inside, float("-inf")).amax(1)
    return states.masked_fill(~inside, 0).sum(1) / inside.sum(1).clamp(min=1)


def positions(mask: torch.Tensor) -> torch.Tensor:
    """Position ids under left padding."""
    return (mask.cumsum(1) - 1).clamp(min=0)


# --- batches ---------------------------------------------------------------------------------------------------------


def pad(sequences: Sequence[Sequence[int]], value: int, left: bool = False, multiple: int = 1) -> torch.Tensor:
    """int64 (batch, longest), rounded up to `multiple`."""
    width = -(-max(map(len, sequences)) // multiple) * multiple
    rows = [[value] * (width - len(s)) + list(s) if left else list(s) + [value] * (width - len(s)) for s in sequences]
    return torch.tensor(rows, device=env.device())


def token_batches(lengths: Sequence[int], budget: int, shared: int = 0) -> Iterator[list[int]]:
    """Indices in order of length, cut so that a padded batch holds at most `budget` tokens (one text at least).

    `shared` tokens (a cached prefix) take memory in every row as well.
    """
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (lengths[i] + shared) * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


# --- parts of training -----------------------------------------------------------------------------------------------


def fit_head(module: Classifier, batches: list[dict[str, torch.Tensor]], passes: int = 20) -> None:
    """Train the head alone on what the frozen encoder says, which is worked out once.

    Fine-tuning that starts from such a head distorts the encoder less (LP-FT, Kumar et al. 2022, arXiv 2202.10054).
    """
    module.encoder.eval()
    with torch.no_grad():
        known = [
            (module.states(b["input_ids"], b["attention_mask"]), b["attention_mask"], b["labels"]) for b in batches
        ]
    weights = [*module.norm.parameters(), *module.out.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=1e-2, weight_decay=0.0)
    for step in range(passes):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * (1 - step / passes)
        for states, mask, labels in known:
            loss = cross_entropy(module.answer(states, mask), labels, weight=module.weights)
            loss = loss + 0.01 * module.out.weight.square().sum()  # few labels, many features
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def head_state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Weights of the classifier above the encoder."""
    return {k: v.detach().clone() for k, v in module.state_dict().items() if not k.startswith(("encoder.", "weights"))}


def holdout(classes: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(train, held) positions, stratified by class; nothing is held out where a class has fewer than four labels."""
    if share <= 0 or np.bincount(classes)[np.unique(classes)].min() < 4:
        return np.arange(len(classes)), np.arange(0)
    rng, held = np.random.default_rng(seed), []
    for c in np.unique(classes):
        members = rng.permutation(np.flatnonzero(classes == c))
        held.extend(members[: max(1, round(share * len(members)))])
    held = np.sort(np.array(held))
    return np.setdiff1d(np.arange(len(classes)), held), held


def fit_temperature(logits: np.ndarray, classes: np.ndarray) -> float:
    """Temperature in [0.25, 10] that minimises the negative log-likelihood (Guo et al. 2017, arXiv 1706.04599)."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(lambda t: nll(logits / np.exp(t), classes), bounds=np.log([0.25, 10]), method="bounded")
    return float(np.exp(found.x))


def nll(logits: np.ndarray, classes: np.ndarray) -> float:
    """Mean negative log-likelihood of `classes` under `logits`."""
    shifted = logits - logits.max(1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(classes)), classes]).mean())


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities in float64 from logits, row by row."""
    exponent = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return exponent / exponent.sum(1, keepdims=True)


# --- label words -----------------------------------------------------------------------------------------------------


def word_scores(model, ids: list[list[int]], words: list[list[int]], prefix, pad_id: int) -> np.ndarray:
    """Log-probability (texts, words) of every label word, of one or more tokens, after each text.

    `prefix` is the key-value cache of what stands before every text, computed once for one row, or None.
    """
    shared = prefix.get_seq_length() if prefix is not None else 0
    if shared:
        prefix = copy.deepcopy(prefix)
        prefix.batch_repeat_interleave(len(ids))
    # The padding stands between the prefix and the text, so that the last token of every row is the text's last.
    mask = pad([[1] * len(i) for i in ids], 0, left=True)
    mask = torch.cat([mask.new_ones(len(ids), shared), mask], 1)
    where = positions(mask)
    out = model(
        input_ids=pad(ids, pad_id, left=True),
        attention_mask=mask,
        position_ids=where[:, shared:],
        past_key_values=prefix,
        use_cache=shared > 0 or max(map(len, words)) > 1,
        logits_to_keep=1,
    )
    first = out.logits[:, -1].float().log_softmax(-1)
    scores = torch.stack([first[:, w[0]] for w in words], 1)
    for k, word in enumerate(words):
        if len(word) > 1:
            scores[:, k] += _rest(model, word, mask, where[:, -1:], out.past_key_values)
    return scores.cpu().numpy()


def _rest(model, word: list[int], mask: torch.Tensor, last: torch.Tensor, cache) -> torch.Tensor:
    """Log-probability (texts,) of the second to last token of a label word, given its first."""
    rows, n = len(mask), len(word) - 1
    out = model(
        input_ids=torch.tensor([word[:-1]] * rows, device=mask.device),
        attention_mask=torch.cat([mask, mask.new_ones(rows, n)], 1),
        position_ids=last + torch.arange(1, n + 1, device=mask.device),
        past_key_values=copy.deepcopy(cache),
        logits_to_keep=n,
    )
    tokens = torch.tensor([word[1:]] * rows, device=mask.device)
    return out.logits.float().log_softmax(-1).gather(2, tokens.unsqueeze(-1)).squeeze(-1).sum(1)
