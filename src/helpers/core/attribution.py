"""How much each word of a text moved an answer: by leaving it out, by gradient × input, or by what the evidence head says.

Every method gives, for each word of `word_places`, by how much the log-odds of the answer would fall without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from helpers.core import encoding
from helpers.core.batches import padded
from helpers.core.cpu import over_batches, reading
from helpers.core.heads import Classifier
from helpers.text import word_places

LEAVE_ONE_OUT, GRADIENT, EVIDENCE = "leave_one_out", "gradient", "evidence"
FIRST, BRANCHES, OPENED = 12, 4, 2  # groups of a text's words; parts of a group; groups that are opened
LEAST_LEFT = 1e-6  # share of the evidence that always stays, so that no fall is infinite

Span = tuple[int, int]


def methods(learner: Any) -> tuple[str, ...]:
    """The methods that a learner allows, the one that agrees best with people first (tests/benchmarks/README.md)."""
    module = getattr(learner, "module", None)
    if not isinstance(module, Classifier) or not learner.tokenizer.is_fast:
        return (LEAVE_ONE_OUT,)
    best = (EVIDENCE,) if module.pooling == "evidence" else ()
    return (*best, LEAVE_ONE_OUT, GRADIENT)


# --- any learner ------------------------------------------------------------------------------------------------------


def leave_one_out(
    texts: Sequence[str], whole: np.ndarray, log_odds: Callable[[list[str], list[int]], np.ndarray]
) -> list[np.ndarray]:
    """Falls by representation erasure (Li et al. 2016, arXiv 1612.08220), of every text's words.

    First FIRST groups of neighbours are left out in turn; the OPENED that move a text most are opened, down to single
    words. A text of n words is read about FIRST + OPENED * BRANCHES * log(n / FIRST, BRANCHES) times, not n times; a word
    that was left out only with its neighbours has a fall of 0.

    Parameters
    ----------
    texts : strings
    whole : float array (texts,)
        Their log-odds.
    log_odds : function of texts and of the positions in `texts` of those they were made from
    """
    words = [word_places(text) for text in texts]
    falls = [np.zeros(len(own)) for own in words]
    tried = [(i, *part) for i, own in enumerate(words) for part in _parts(0, len(own), FIRST)]
    while tried:
        owners = [i for i, _, _ in tried]
        variants = [texts[i][: words[i][a][0]] + texts[i][words[i][b - 1][1] :] for i, a, b in tried]
        moved: dict[int, list[tuple[float, int, int]]] = {}
        for (i, a, b), fall in zip(tried, whole[owners] - log_odds(variants, owners), strict=True):
            moved.setdefault(i, []).append((float(fall), a, b))
            if b - a == 1:
                falls[i][a] = fall
        tried = []
        for i, groups in moved.items():
            for fall, a, b in sorted(groups, key=lambda group: -group[0])[:OPENED]:
                tried += [(i, *part) for part in _parts(a, b, BRANCHES)] if fall > 0 and b - a > 1 else []
    return falls


def _parts(start: int, end: int, count: int) -> list[Span]:
    """At most `count` parts of like size of the range from `start` to `end`."""
    size = max(1, -(-(end - start) // count))
    return [(a, min(a + size, end)) for a in range(start, end, size)]


# --- a classifier over one base ---------------------------------------------------------------------------------------


def gradient_times_input(learner: Any, texts: Sequence[str], classes: Sequence[int]) -> list[np.ndarray]:
    """Falls to first order: gradient × embedding of a word's tokens, in one pass forward and back for each text."""
    from captum.attr import LayerGradientXActivation  # loads slowly

    learner.module.eval()

    def log_odds(input_ids, others: dict[str, torch.Tensor], number: int) -> torch.Tensor:
        return _log_odds(learner.module(input_ids=input_ids, **others)["logits"], number)

    explainer = LayerGradientXActivation(log_odds, learner.model.get_input_embeddings())
    falls = []
    with reading(learner.model), torch.enable_grad():
        for text, number in zip(texts, classes, strict=True):
            inputs, offsets = _read(learner, text)
            ids = inputs.pop("input_ids")
            moved = explainer.attribute(ids, additional_forward_args=(inputs, number)).sum(-1)[0]
            falls.append(_over_words(text, offsets) @ moved.detach().float().cpu().numpy() / learner.temperature)
    return falls


@torch.inference_mode()
def head_evidence(learner: Any, texts: Sequence[str], classes: Sequence[int]) -> list[np.ndarray]:
    """Falls where the evidence head takes its maximum without a word's tokens: exact for the head, from one reading.

    For the class without evidence (`Classifier.absent`) no word speaks, so that its falls are 0 or less.
    """
    learner.module.eval()
    keeps = torch.arange(len(learner.task.labels)) != learner.module.absent

    def read(job: tuple[str, int]) -> np.ndarray:
        text, number = job
        inputs, offsets = _read(learner, text)
        mask, hints = inputs["attention_mask"], inputs.get("hints")
        scores = (
            learner.module.evidence(learner.module.states(inputs["input_ids"], mask), mask, hints)[0].double().cpu()
        )
        evidence = (scores - scores.max(0).values).exp()
        whole = evidence.sum(0)
        left = torch.maximum(whole - torch.tensor(_over_words(text, offsets)) @ evidence, LEAST_LEFT * whole)
        logits = torch.stack([whole, *left]).log().add(scores.max(0).values) * keeps
        odds = _log_odds(logits, number)
        return ((odds[0] - odds[1:]) / learner.temperature).numpy()

    with reading(learner.model):
        return list(over_batches(learner.model, read, zip(texts, classes, strict=True)))


def _read(learner: Any, text: str) -> tuple[dict[str, torch.Tensor], np.ndarray]:
    """A text as the classifier reads it: the inputs of one row, and (start, end) of every token, int array (tokens, 2)."""
    tokenizer, length = learner.tokenizer, learner.recipe.max_length
    encoded = encoding.read(tokenizer, text, truncation=True, max_length=length, return_offsets_mapping=True)
    ids = encoded["input_ids"] or [tokenizer.pad_token_id]
    inputs, hints = padded([ids], tokenizer.pad_token_id), learner.encoding.hints([text], cut=True)
    inputs |= {"hints": torch.tensor(hints, device=inputs["input_ids"].device)} if hints else {}
    return inputs, np.array(encoded["offset_mapping"] or [(0, 0)])


def _over_words(text: str, offsets: np.ndarray) -> np.ndarray:
    """Which tokens are of which word, float64 array (words, tokens)."""
    places = np.array(word_places(text)).reshape(-1, 2, 1)
    return ((offsets[:, 0] < places[:, 1]) & (places[:, 0] < offsets[:, 1])).astype(float)


def _log_odds(logits: torch.Tensor, number: int) -> torch.Tensor:
    """Log-odds of a class against all others, (rows,)."""
    others = torch.cat([logits[:, :number], logits[:, number + 1 :]], 1)
    return logits[:, number] - others.logsumexp(1)
