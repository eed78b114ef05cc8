"""Modules that return a loss: classifier, label words, completions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from helpers.core.masks import body_of, in_completion, mean_state, positions, prefix_mask
from helpers.core.probe import probe_head

HINT = 8.0  # log-odds by which a token that a rule marks says more before anything is learned

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
        mean or evidence.
    class_weights : float tensor (classes,)
    absent : int
        The class of a text without evidence for any other; with `evidence` its logit is 0.
    hinted : bool
        With `evidence`, a token that a rule marks says more, or less, by a weight for each class that is learned.

    Where a method takes `hints`, it is an int tensor (batch, tokens): 1 where a rule marks the token, else 0.
    """

    def __init__(
        self,
        encoder: nn.Module,
        classes: int,
        pooling: str,
        class_weights: torch.Tensor,
        absent: int = 0,
        hinted: bool = False,
    ):
        super().__init__()
        self.encoder, self.pooling, self.absent = encoder, pooling, absent
        hidden = encoder.config.hidden_size
        self.norm = nn.LayerNorm(hidden)
        self.out = nn.Linear(hidden, classes)
        nn.init.normal_(self.out.weight, std=0.02)
        nn.init.constant_(self.out.bias, -4.0 if pooling == "evidence" else 0.0)  # most words are no evidence
        self.hint = nn.Parameter(torch.ones(classes)) if hinted else None
        self.register_buffer("class_weights", class_weights)
        self.to(encoder.device)

    def states(self, input_ids, attention_mask) -> torch.Tensor:
        """Last hidden states of the encoder, float32 (batch, tokens, hidden)."""
        return self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state.float()

    def classify(self, states: torch.Tensor, mask: torch.Tensor, hints: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (batch, classes) from the states; in float32, under autocast too."""
        with torch.autocast(states.device.type, enabled=False):
            if self.pooling != "evidence":
                return self.out(self.norm(mean_state(states, mask)))
            logits = self.evidence(states, mask, hints).logsumexp(1)
            return logits * (torch.arange(logits.shape[1], device=logits.device) != self.absent)

    def evidence(self, states: torch.Tensor, mask: torch.Tensor, hints: torch.Tensor | None = None) -> torch.Tensor:
        """What each token says for each class (batch, tokens, classes); minus infinity where there is none."""
        return self._said(states, hints).masked_fill(~mask.unsqueeze(-1).bool(), float("-inf"))

    def _said(self, states: torch.Tensor, hints: torch.Tensor | None) -> torch.Tensor:
        """What states (..., hidden) say for each class (..., classes), with the hints (...)."""
        said = self.out(self.norm(states))
        return said if self.hint is None or hints is None else said + HINT * self.hint * hints.unsqueeze(-1)

    def read(self, input_ids, attention_mask, hints=None) -> tuple[torch.Tensor, torch.Tensor]:
        """(logits (batch, classes), embeddings (batch, hidden)), float32."""
        states = self.states(input_ids, attention_mask)
        return self.classify(states, attention_mask, hints), mean_state(states, attention_mask)

    def read_focused(self, input_ids, attention_mask, hints=None) -> tuple[torch.Tensor, torch.Tensor]:
        """As `read`; with pooling `evidence` the embedding's tokens weigh by their evidence for any class that has some."""
        states = self.states(input_ids, attention_mask)
        logits = self.classify(states, attention_mask, hints)
        if self.pooling != "evidence":
            return logits, mean_state(states, attention_mask)
        with torch.autocast(states.device.type, enabled=False):
            inside = attention_mask.unsqueeze(-1).bool()
            scores = self.evidence(states, attention_mask, hints)
            scores[..., self.absent] = float("-inf")
            shares = scores.logsumexp(-1).softmax(1).unsqueeze(-1)
            return logits, (shares * states.masked_fill(~inside, 0)).sum(1)

    def loss(self, logits, classes, weights, groups=None) -> torch.Tensor:
        """Weighted mean of the cross-entropy: the weight of a row's class times its own."""
        if bool((weights == 1).all()):  # the same mean, rounded as it always was
            return cross_entropy(logits, classes, weight=self.class_weights)
        return weighted_mean(cross_entropy(logits, classes, reduction="none"), self.class_weights[classes] * weights)

    def evidence_loss(self, states, classes, weights, marks, hints=None) -> torch.Tensor:
        """How far what the tokens say for their row's class is from where people marked evidence for it.

        So a label teaches where, as well as what (annotator rationales, Zaidan et al. 2007, aclanthology.org/N07-1033): a
        token in a marked span should speak for the class, another of the same text should not.

        Parameters
        ----------
        states : float tensor (batch, tokens, hidden)
        classes, weights : of the rows (batch,)
        marks : int tensor (batch, tokens)
            1 in a span, 0 outside, below 0 where nobody marked anything.
        """
        known = (marks >= 0) & (classes != self.absent).unsqueeze(1)
        if not known.any():
            return states.new_zeros(())
        rows = known.nonzero()[:, 0]
        with torch.autocast(states.device.type, enabled=False):
            said = self._said(states[known], None if hints is None else hints[known])
            own = said.gather(1, classes[rows].unsqueeze(1)).squeeze(1)
            losses = binary_cross_entropy_with_logits(own, marks[known].float(), reduction="none")
        return weighted_mean(losses, weights[rows])

    def forward(self, input_ids, attention_mask, classes=None, weights=None, groups=None, marks=None, hints=None):
        states = self.states(input_ids, attention_mask)
        logits, loss = self.classify(states, attention_mask, hints), None
        if classes is not None:
            loss = self.loss(logits, classes, weights, groups)
        if marks is not None:
            loss = loss + self.evidence_loss(states, classes, weights, marks, hints)
        return {"loss": loss, "logits": logits}


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
        `states` (batch, tokens, hidden), `mask`, `marks` and, where the head is hinted, `hints` (batch, tokens), and the
        tensors of `Targets`.
    passes : int
    """
    if module.pooling != "evidence":
        return _fit_probe(module, batches)
    parameters = [p for name, p in module.named_parameters() if not name.startswith("encoder.")]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.0)
    for step in range(passes):
        for settings in optimizer.param_groups:
            settings["lr"] = 1e-2 * (1 - step / passes)
        for batch in batches:
            states, hints = batch["states"], batch.get("hints")
            logits = module.classify(states, batch["mask"], hints)
            loss = module.loss(logits, batch["classes"], batch["weights"], batch["groups"])
            loss = loss + module.evidence_loss(states, batch["classes"], batch["weights"], batch["marks"], hints)
            loss = loss + 0.01 * module.out.weight.square().sum()  # few labels, many features
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@torch.no_grad()
def _fit_probe(module: Classifier, batches: list[dict[str, torch.Tensor]]) -> None:
    """Give the head the weights of a probe; a class without rows gets a bias far below the others."""
    pooled = torch.cat([module.norm(mean_state(b["states"], b["mask"])) for b in batches])
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
