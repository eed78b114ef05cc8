"""Modules that return a loss: classifier, label words, completions; label words behind a cached prefix."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from transformers.cache_utils import Cache, DynamicLayer

from helpers.core.batches import pad
from helpers.core.probe import probe_head

# --- modules that return a loss, so that one Trainer trains any of them ------------------------------------------------


class Classifier(nn.Module):
    """Encoder, pooling over the tokens, and a float32 linear layer.

    Pooling `evidence` scores every token and takes a smooth maximum for each class, as in
    multiple-instance learning: one telling word in a long text is enough (Ilse et al. 2018, arXiv
    1802.04712, use attention to the same end).

    Parameters
    ----------
    encoder : module
        Returns `last_hidden_state`; has `config.hidden_size` and `device`.
    classes : int
    pooling : str
        mean, max, last or evidence.
    class_weights : float tensor (classes,)
    absent : int
        The class of a text without evidence for any other; with `evidence` its logit is 0.
    """

    def __init__(self, encoder: nn.Module, classes: int, pooling: str, class_weights: torch.Tensor, absent: int = 0):
        super().__init__()
        self.encoder, self.pooling, self.absent = encoder, pooling, absent
        hidden = encoder.config.hidden_size
        self.norm = nn.LayerNorm(hidden)
        self.out = nn.Linear(hidden, classes)
        nn.init.normal_(self.out.weight, std=0.02)
        nn.init.constant_(self.out.bias, -4.0 if pooling == "evidence" else 0.0)  # most words are no evidence
        self.register_buffer("class_weights", class_weights)
        self.to(encoder.device)

    def states(self, input_ids, attention_mask) -> torch.Tensor:
        """Last hidden states of the encoder, float32 (batch, tokens, hidden)."""
        return self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.float()

    def classify(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logits (batch, classes) from the states; in float32, under autocast too."""
        with torch.autocast(states.device.type, enabled=False):
            if self.pooling != "evidence":
                return self.out(self.norm(pool(states, mask, self.pooling)))
            tokens = self.out(self.norm(states)).masked_fill(~mask.unsqueeze(-1).bool(), float("-inf"))
            logits = tokens.logsumexp(1)
            return logits * (torch.arange(logits.shape[1], device=logits.device) != self.absent)

    def read(self, input_ids, attention_mask) -> tuple[torch.Tensor, torch.Tensor]:
        """(logits (batch, classes), embeddings (batch, hidden)), float32."""
        states = self.states(input_ids, attention_mask)
        method = "mean" if self.pooling == "evidence" else self.pooling
        return self.classify(states, attention_mask), pool(states, attention_mask, method)

    def loss(self, logits, classes, weights, groups=None) -> torch.Tensor:
        """Weighted mean of the cross-entropy: the weight of a row's class times its own."""
        if bool((weights == 1).all()):  # the same mean, rounded as it always was
            return cross_entropy(logits, classes, weight=self.class_weights)
        return weighted_mean(cross_entropy(logits, classes, reduction="none"), self.class_weights[classes] * weights)

    def forward(self, input_ids, attention_mask, classes=None, weights=None, groups=None):
        logits, _ = self.read(input_ids, attention_mask)
        return {"loss": None if classes is None else self.loss(logits, classes, weights, groups), "logits": logits}


class LabelWords(nn.Module):
    """Causal model trained to write the label word after the prompt; the loss is on the word only."""

    def __init__(self, model: nn.Module, class_weights: torch.Tensor):
        super().__init__()
        self.model = model
        self.register_buffer("class_weights", class_weights)
        self.to(model.device)

    def forward(self, input_ids, attention_mask, labels, completion, classes, weights, groups=None):
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
        losses = cross_entropy(logits[:, :-1].transpose(1, 2), target, ignore_index=-100, reduction="none").sum(1)
        return {"loss": weighted_mean(losses, self.class_weights[classes] * weights)}


class Completions(nn.Module):
    """Causal model trained to write a completion after its prompt; the loss is on it alone.

    Parameters
    ----------
    model : peft model
    prefix : bool
        The tokens of a prompt see each other both ways (prefix LM, Raffel et al. 2020, arXiv
        1910.10683).
    tags : int
        Above 0, a float32 linear layer gives each token of the prompt one of so many tags, in the
        same pass.
    """

    def __init__(self, model: nn.Module, prefix: bool, tags: int = 0):
        super().__init__()
        self.model, self.prefix = model, prefix
        self.distil: Callable[..., torch.Tensor] | None = None  # see `distillation`
        hidden = model.config.hidden_size
        self.tagger = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, tags)).to(model.device) if tags else None

    def read(self, input_ids, attention_mask, completion) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits of the completion's tokens and tags of all tokens, under left padding.

        Returns
        -------
        logits : float tensor (batch, longest completion, vocabulary)
        tags : float tensor (batch, tokens, tags), or None without a tagger
        """
        mask = prefix_mask(attention_mask.bool(), completion, self.model.dtype) if self.prefix else attention_mask
        inner = self.model.get_base_model()
        states = body_of(self.model)(
            input_ids=input_ids, attention_mask=mask, position_ids=positions(attention_mask), use_cache=False
        ).last_hidden_state
        logits = inner.get_output_embeddings()(states[:, -int(completion.max()) - 1 : -1]).float()
        with torch.autocast(states.device.type, enabled=False):
            return logits, None if self.tagger is None else self.tagger(states.float())

    def losses(self, input_ids, attention_mask, completion, learned, tags) -> tuple[torch.Tensor, torch.Tensor]:
        """(summed cross-entropy, number of tokens in it) of every row, written tokens and tags together.

        `learned` marks the tokens of a completion that are written, not given; `tags` are -100
        where there is none.
        """
        logits, tag_logits = self.read(input_ids, attention_mask, completion)
        width = logits.shape[1]
        inside = learned[:, -width:] & in_completion(completion, width)
        loss = cross_entropy(logits.transpose(1, 2), input_ids[:, -width:], reduction="none") * inside
        if self.distil and self.training:
            loss = self.distil(loss, logits, inside, input_ids, attention_mask, completion)
        if tag_logits is None:
            return loss.sum(1), inside.sum(1)
        tag_loss = cross_entropy(tag_logits.transpose(1, 2), tags, reduction="none", ignore_index=-100)
        return loss.sum(1) + tag_loss.sum(1), inside.sum(1) + (tags >= 0).sum(1)

    def forward(self, input_ids, attention_mask, completion, learned, tags):
        loss, count = self.losses(input_ids, attention_mask, completion, learned, tags)
        return {"loss": loss.sum() / count.sum()}


def weighted_mean(losses: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (losses * weights).sum() / weights.sum()


def distillation(teacher: Completions, share: float) -> Callable[..., torch.Tensor]:
    """The loss of a student: `share` of it is KL(teacher, student) over the completion's tokens.

    Hinton et al. 2015 (arXiv 1503.02531), on every token as in Kim & Rush 2016 (arXiv 1606.07947).
    The teacher reads the target, not its own output.
    """

    def mixed(loss, logits, inside, input_ids, attention_mask, completion) -> torch.Tensor:
        with torch.no_grad():
            expected = teacher.read(input_ids, attention_mask, completion)[0].log_softmax(-1)
        divergence = (expected.exp() * (expected - logits.log_softmax(-1))).sum(-1)
        return (1 - share) * loss + share * divergence * inside

    return mixed


# --- masks, positions, pooling ---------------------------------------------------------------------------------------


def body_of(model) -> nn.Module:
    """The part of a peft model that returns hidden states, without its output layer."""
    inner = model.get_base_model()
    return getattr(inner, inner.base_model_prefix, inner)


def in_completion(completion: torch.Tensor, width: int) -> torch.Tensor:
    """Which of the last `width` positions belong to a row's completion, bool (batch, width)."""
    return torch.arange(width, 0, -1, device=completion.device) <= completion.unsqueeze(1)


def prefix_mask(real: torch.Tensor, completion: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Additive mask (batch, 1, tokens, tokens), left padding: all see the prompt, completions are causal."""
    width = real.shape[1]
    prompt = real & ~in_completion(completion, width)
    causal = torch.ones(width, width, dtype=torch.bool, device=real.device).tril()
    return _additive((causal | prompt.unsqueeze(1)) & real.unsqueeze(1) | _diagonal(real), dtype)


def branch_mask(real: torch.Tensor, shared: int, tails: list[int], dtype: torch.dtype) -> torch.Tensor:
    """Additive mask (rows, 1, text + tails, shared + text + tails): texts that end in branches."""
    rows, width, behind = *real.shape, sum(tails)
    real = torch.cat([real, real.new_ones(rows, behind)], 1)
    sees = torch.ones(width + behind, width + behind, dtype=torch.bool, device=real.device).tril()
    start = width
    for tail in tails:
        sees[start : start + tail, width:start] = False  # the branches before this one
        start += tail
    inside = sees & real.unsqueeze(1) | _diagonal(real)
    return _additive(torch.cat([real.new_ones(rows, width + behind, shared), inside], 2), dtype)


def _diagonal(real: torch.Tensor) -> torch.Tensor:
    """Every token sees itself, padding too: a softmax over nothing would be NaN."""
    return torch.eye(real.shape[1], dtype=torch.bool, device=real.device)


def _additive(sees: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    sees = sees.unsqueeze(1)
    return torch.zeros(sees.shape, dtype=dtype, device=sees.device).masked_fill(~sees, torch.finfo(dtype).min)


def positions(mask: torch.Tensor) -> torch.Tensor:
    """Position ids under left padding."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def pool(states: torch.Tensor, mask: torch.Tensor, method: str) -> torch.Tensor:
    """(batch, hidden) from (batch, tokens, hidden) without padding; `method` is mean, max or last."""
    if method == "last":
        last = mask.shape[1] - 1 - mask.flip(1).argmax(1)
        return states[torch.arange(len(states), device=states.device), last]
    inside = mask.unsqueeze(-1).bool()
    if method == "max":
        return states.masked_fill(~inside, float("-inf")).amax(1)
    return states.masked_fill(~inside, 0).sum(1) / inside.sum(1).clamp(min=1)


# --- the classifier's head on the frozen encoder ---------------------------------------------------------------------


def fit_head(module: Classifier, batches: list[dict[str, torch.Tensor]], passes: int = 20) -> None:
    """Train the head alone on the states of the frozen encoder.

    Fine-tuning that starts from such a head distorts the encoder less (LP-FT, Kumar et al. 2022,
    arXiv 2202.10054). Over pooled states it is the logistic regression of `probe.Probe`, which
    needs no steps.

    Parameters
    ----------
    module : Classifier
    batches : list of dicts
        `states` (batch, tokens, hidden), `mask` (batch, tokens), and the tensors of `Targets`.
    passes : int
    """
    if module.pooling != "evidence":
        return _fit_probe(module, batches)
    parameters = [*module.norm.parameters(), *module.out.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.0)
    for step in range(passes):
        for settings in optimizer.param_groups:
            settings["lr"] = 1e-2 * (1 - step / passes)
        for batch in batches:
            logits = module.classify(batch["states"], batch["mask"])
            loss = module.loss(logits, batch["classes"], batch["weights"], batch["groups"])
            loss = loss + 0.01 * module.out.weight.square().sum()  # few labels, many features
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@torch.no_grad()
def _fit_probe(module: Classifier, batches: list[dict[str, torch.Tensor]]) -> None:
    """Give the head the weights of a probe; a class without rows gets a bias far below the others."""
    pooled = torch.cat([module.norm(pool(b["states"], b["mask"], module.pooling)) for b in batches])
    classes, weights = (torch.cat([b[name] for b in batches]) for name in ("classes", "weights"))
    length = pooled.shape[1] ** 0.5  # of every row after the norm; a probe reads rows of length 1
    probe = probe_head().set_params(class_weight=None)
    row_weights = module.class_weights[classes] * weights
    probe.fit((pooled / length).cpu().numpy(), classes.cpu().numpy(), row_weights.cpu().numpy())
    slopes, biases = torch.tensor(probe.coef_ / length), torch.tensor(probe.intercept_)
    if len(slopes) == 1:  # two classes share one row, with opposite signs
        slopes, biases = torch.cat([-slopes, slopes]) / 2, torch.cat([-biases, biases]) / 2
    module.out.weight.zero_()
    module.out.bias.fill_(float(biases.min()) - 4)
    module.out.weight[probe.classes_] = slopes.to(module.out.weight)
    module.out.bias[probe.classes_] = biases.to(module.out.bias)


def head_state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Weights of what a module has above its model."""
    inner = ("encoder.", "model.", "class_weights")
    return {k: v.detach().clone() for k, v in module.state_dict().items() if not k.startswith(inner)}


# --- label words behind a shared prompt ------------------------------------------------------------------------------


class PrefixLayer(DynamicLayer):
    """Keys and values of a prefix, put before any number of rows, again and again.

    It does not store what it joins: a plain cache would keep the joined tensors of all layers until
    the pass ends, which costs more in memory and page faults than the joining itself.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor):
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_, **__):
        pairs = ((self.keys, key_states), (self.values, value_states))
        return tuple(torch.cat([prefix.expand(len(new), -1, -1, -1), new], 2) for prefix, new in pairs)


def prefix_cache(model, prefix: list[int]) -> Cache:
    """The cache of a prefix that every text of a batch continues; it can serve many batches."""
    outputs = model(input_ids=pad([prefix], 0), use_cache=True, logits_to_keep=1)
    return Cache(layers=[PrefixLayer(layer.keys, layer.values) for layer in outputs.past_key_values.layers])


def word_scores(
    model, ids: list[list[int]], words: list[list[int]], prefix: Cache | None, pad_id: int, embed: bool = False
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Log-probability of every label word after each text, in one pass.

    The words stand behind the text without their last token, side by side: each sees the text and
    itself, not the other words.

    Parameters
    ----------
    model : peft model
    ids, words : lists of token ids
        One or more tokens for each text and each word.
    prefix : Cache or None
        What stands before every text, from `prefix_cache`.
    pad_id : int
    embed : bool
        Whether to return embeddings too.

    Returns
    -------
    scores : float32 tensor (texts, words)
    embeddings : float32 tensor (texts, hidden) or None
        Mean of the text's last hidden states behind the prefix.
    """
    shared = prefix.get_seq_length() if prefix is not None else 0
    tails = [word[:-1] for word in words]
    # The padding stands between prefix and text: the last token of every row is the text's last.
    real = pad([[1] * len(i) for i in ids], 0, left=True).bool()
    last = real.sum(1, keepdim=True) + shared - 1
    tail_positions = [last + 1 + torch.arange(len(tail), device=last.device) for tail in tails]
    tokens = pad(ids, pad_id, left=True)
    flat = torch.tensor([token for tail in tails for token in tail], dtype=torch.long, device=tokens.device)
    with _last_states(model) as states:
        logits = model(
            input_ids=torch.cat([tokens, flat.expand(len(ids), -1)], 1),
            attention_mask=branch_mask(real, shared, [len(tail) for tail in tails], model.dtype),
            position_ids=torch.cat([positions(real) + shared, *tail_positions], 1),
            past_key_values=prefix,
            use_cache=bool(shared),
            logits_to_keep=len(flat) + 1,
        ).logits
    scores = _branch_scores(logits.float().log_softmax(-1), words)
    return scores, pool(states[0][:, : real.shape[1]].float(), real, "mean") if embed else None


def _branch_scores(logits: torch.Tensor, words: list[list[int]]) -> torch.Tensor:
    """(texts, words) from the log-probabilities at the text's last token and at the words' tails."""
    scores, start = [], 1
    for word in words:
        score = logits[:, 0, word[0]]
        for step, token in enumerate(word[1:]):
            score = score + logits[:, start + step, token]
        scores.append(score)
        start += len(word) - 1
    return torch.stack(scores, 1)


@contextmanager
def _last_states(model):
    """Inside, a list that receives the last hidden states of every pass, (rows, tokens, hidden)."""
    states: list[torch.Tensor] = []
    hook = body_of(model).register_forward_hook(lambda module, inputs, output: states.append(output.last_hidden_state))
    try:
        yield states
    finally:
        hook.remove()
