"""Parts of the 4-bit core that need torch alone: heads, pooling, batches, holding out, calibration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

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
        """Logits (batch, classes) from the states, float32 wherever it is asked."""
        with torch.autocast(states.device.type, enabled=False):
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


class Completions(nn.Module):
    """Causal model trained to write a completion after its prompt; the loss is on the completion only.

    With `prefix` the tokens of a prompt see each other both ways (prefix LM, Raffel et al. 2020, arXiv 1910.10683). With `tags`
    a float32 linear layer beside it gives each token of the prompt one of so many tags, in the same pass.
    """

    def __init__(self, model: nn.Module, prefix: bool, tags: int = 0):
        super().__init__()
        self.model, self.prefix = model, prefix
        self.distil: Callable[..., torch.Tensor] | None = None  # see `distillation`
        hidden = model.config.hidden_size
        self.tagger = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, tags)).to(model.device) if tags else None

    def read(self, input_ids, attention_mask, completion) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(logits of the completion's tokens (batch, longest completion, vocabulary), tags (batch, tokens, tags)), left padding."""
        mask = prefix_mask(attention_mask.bool(), completion, self.model.dtype) if self.prefix else attention_mask
        inner = self.model.get_base_model()
        states = getattr(inner, inner.base_model_prefix)(
            input_ids=input_ids, attention_mask=mask, position_ids=positions(attention_mask), use_cache=False
        ).last_hidden_state
        logits = inner.get_output_embeddings()(states[:, -int(completion.max()) - 1 : -1]).float()
        with torch.autocast(states.device.type, enabled=False):
            return logits, None if self.tagger is None else self.tagger(states.float())

    def losses(self, input_ids, attention_mask, completion, learned, tags) -> tuple[torch.Tensor, torch.Tensor]:
        """(summed cross-entropy, tokens it was taken over), both (batch,): of the tokens to be written, and of the tags.

        `learned` says which tokens of the completions are written, not given; `tags` are -100 where there is nothing to tag.
        """
        logits, tagged = self.read(input_ids, attention_mask, completion)
        width = logits.shape[1]
        inside = learned[:, -width:] & completed(completion, width)
        loss = cross_entropy(logits.transpose(1, 2), input_ids[:, -width:], reduction="none") * inside
        if self.distil and self.training:
            loss = self.distil(loss, logits, inside, input_ids, attention_mask, completion)
        if tagged is None:
            return loss.sum(1), inside.sum(1)
        tag_loss = cross_entropy(tagged.transpose(1, 2), tags, reduction="none", ignore_index=-100)
        return loss.sum(1) + tag_loss.sum(1), inside.sum(1) + (tags >= 0).sum(1)

    def forward(self, input_ids, attention_mask, completion, learned, tags):
        loss, count = self.losses(input_ids, attention_mask, completion, learned, tags)
        return {"loss": loss.sum() / count.sum()}


def distillation(teacher: Completions, weight: float, temperature: float) -> Callable[..., torch.Tensor]:
    """The loss of a student that has a teacher: `weight` of it is KL(teacher, student) over the tokens of the completion.

    Both distributions are softened by the temperature, and its square makes up for the smaller gradients (Hinton et al. 2015,
    arXiv 1503.02531, on every token, as in Kim & Rush 2016, arXiv 1606.07947). The teacher reads the target, not its own output.
    """

    def mixed(loss, logits, inside, input_ids, attention_mask, completion) -> torch.Tensor:
        with torch.no_grad():
            told = (teacher.read(input_ids, attention_mask, completion)[0] / temperature).log_softmax(-1)
        ours = (logits / temperature).log_softmax(-1)
        divergence = (told.exp() * (told - ours)).sum(-1) * temperature**2
        return (1 - weight) * loss + weight * divergence * inside

    return mixed


def completed(completion: torch.Tensor, width: int) -> torch.Tensor:
    """Which of the last `width` positions belong to a row's completion, bool (batch, width)."""
    return torch.arange(width, 0, -1, device=completion.device) <= completion.unsqueeze(1)


def prefix_mask(real: torch.Tensor, completion: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Additive mask (batch, 1, tokens, tokens): all see the prompt, the completion is causal; left padding."""
    width = real.shape[1]
    prompt = real & ~completed(completion, width)
    causal = torch.ones(width, width, dtype=torch.bool, device=real.device).tril()
    own = torch.eye(width, dtype=torch.bool, device=real.device)  # padding looks at itself: a softmax needs something
    sees = ((causal | prompt.unsqueeze(1)) & real.unsqueeze(1) | own).unsqueeze(1)
    return torch.zeros(sees.shape, dtype=dtype, device=real.device).masked_fill(~sees, torch.finfo(dtype).min)


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


@contextmanager
def replaced(forwards: dict[nn.Module, Callable]):
    """Inside, these modules work by these functions; afterwards by what they had before."""
    before = {module: module.__dict__.get("forward") for module in forwards}
    for module, forward in forwards.items():
        module.forward = forward
    try:
        yield
    finally:
        for module, forward in before.items():
            if forward:
                module.forward = forward
            else:
                del module.forward


# --- batches ---------------------------------------------------------------------------------------------------------


def pad(sequences: Sequence[Sequence[int]], value: int, left: bool = False, multiple: int = 1) -> torch.Tensor:
    """int64 (batch, longest); on a GPU, whose matrix units want it, rounded up to `multiple`."""
    multiple = multiple if env.device() == "cuda" else 1
    width = -(-max(map(len, sequences)) // multiple) * multiple
    rows = [[value] * (width - len(s)) + list(s) if left else list(s) + [value] * (width - len(s)) for s in sequences]
    return torch.tensor(rows, device=env.device())


def token_batches(lengths: Sequence[int], budget: int, shared: int = 0) -> Iterator[list[int]]:
    """Indices in order of length, cut so that a padded batch holds at most `budget` tokens (one text at least).

    `shared` tokens (a cached prefix) take memory in every row as well. A batch also ends where more than an eighth of it would be
    padding, once it is large enough to keep the processor busy (an eighth of the budget).
    """
    batch, real = [], 0
    for i in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = lengths[i] + shared
        padded = length * (len(batch) + 1)
        wasted = padded - real - length
        if batch and (padded > budget or (8 * real > budget and 8 * wasted > padded)):
            yield batch
            batch, real = [], 0
        batch.append(i)
        real += length
    if batch:
        yield batch


# --- parts of training -----------------------------------------------------------------------------------------------


def fit_head(module: Classifier, batches: list[tuple[torch.Tensor, ...]], passes: int = 20) -> None:
    """Train the head alone on what the frozen encoder says: batches of (states, mask, classes).

    Fine-tuning that starts from such a head distorts the encoder less (LP-FT, Kumar et al. 2022, arXiv 2202.10054). Over pooled
    states it is the logistic regression of `baselines.Probe`, which needs no steps.
    """
    if module.pooling != "evidence":
        return _fit_probe(module, batches)
    weights = [*module.norm.parameters(), *module.out.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=1e-2, weight_decay=0.0)
    for step in range(passes):
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * (1 - step / passes)
        for states, mask, classes in batches:
            loss = cross_entropy(module.answer(states, mask), classes, weight=module.weights)
            loss = loss + 0.01 * module.out.weight.square().sum()  # few labels, many features
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@torch.no_grad()
def _fit_probe(module: Classifier, batches: list[tuple[torch.Tensor, ...]]) -> None:
    """Give the head the weights of a probe; the classes that no row has stay far behind."""
    from helpers.core.probe import probe_head

    rows = torch.cat([module.norm(pool(states, mask, module.pooling)) for states, mask, _ in batches])
    classes = torch.cat([c for *_, c in batches])
    length = rows.shape[1] ** 0.5  # of every row behind the norm; a probe reads rows of length 1
    probe = probe_head().set_params(class_weight=None)
    probe.fit((rows / length).cpu().numpy(), classes.cpu().numpy(), module.weights[classes].cpu().numpy())
    weights, biases = torch.tensor(probe.coef_ / length), torch.tensor(probe.intercept_)
    if len(weights) == 1:  # two classes share one row, with opposite signs
        weights, biases = torch.cat([-weights, weights]) / 2, torch.cat([-biases, biases]) / 2
    module.out.weight.zero_()
    module.out.bias.fill_(float(biases.min()) - 4)
    module.out.weight[probe.classes_] = weights.to(module.out.weight)
    module.out.bias[probe.classes_] = biases.to(module.out.bias)


def head_state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Weights of what a module has above its model."""
    inner = ("encoder.", "model.", "weights")
    return {k: v.detach().clone() for k, v in module.state_dict().items() if not k.startswith(inner)}


def holdout(classes: np.ndarray, share: float, keys: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """(train, held) positions: of each class the `share` with the lowest keys is held out.

    Nothing is held out where a class has fewer than four labels.
    """
    if share <= 0 or np.bincount(classes)[np.unique(classes)].min() < 4:
        return np.arange(len(classes)), np.arange(0)
    keys, held = np.asarray(keys), []
    for c in np.unique(classes):
        members = np.flatnonzero(classes == c)
        held.extend(members[keys[members].argsort(kind="stable")[: max(1, round(share * len(members)))]])
    held = np.sort(np.array(held))
    return np.setdiff1d(np.arange(len(classes)), held), held


def fit_temperature(logits: np.ndarray, classes: np.ndarray) -> float:
    """Temperature in [0.25, 10] that minimises the negative log-likelihood (Guo et al. 2017, arXiv 1706.04599).

    Held near 1 by a log-normal prior with a deviation of 0.5: a dozen rows answered rightly would ask for certainty.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_t: float) -> float:
        return nll(logits / np.exp(log_t), classes) + 2 * log_t**2 / len(classes)

    return float(np.exp(minimize_scalar(loss, bounds=np.log([0.25, 10]), method="bounded").x))


def nll(logits: np.ndarray, classes: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean negative log-likelihood of `classes` under `logits`, of every class with its own of `weights` (classes,)."""
    shifted = logits - logits.max(1, keepdims=True)
    each = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(classes)), classes]
    return float(np.average(each, weights=None if weights is None else weights[classes]))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities in float64 from logits, row by row."""
    exponent = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return exponent / exponent.sum(1, keepdims=True)
