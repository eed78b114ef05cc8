"""The auxiliary scorer R of active learning for generation: how well a text keeps the regulated attribute, 0 to 1.

Hassan et al. 2024 (arXiv 2410.13641). A scorer is a function from texts to float64 (texts,): 1 for a text that fully
complies (is inclusive, not toxic, kind), NaN where it has no answer. A text with 0.5 or more counts as compliant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field, create_model

from helpers import env
from helpers.data import tables
from helpers.env import UserError
from helpers.evaluation import baselines
from helpers.evaluation.generation import COMPLIES
from helpers.files import read_jsonl
from helpers.italian.addressees import WORKPLACE
from helpers.italian.cues import find_cues
from helpers.pipeline import STAGES
from helpers.run import Run
from helpers.synthesis import prompts
from helpers.synthesis.answers import check_complete
from helpers.task import Task

Scorer = Callable[[Sequence[str]], np.ndarray]
KINDS = ("lexicon", "pairs", "table:FILE", "detector:FOLDER", "judge")


def check_scorer(name: str, language: str) -> None:
    """Raise UserError on a scorer that is not on offer."""
    form, _, place = name.partition(":")
    if form not in [kind.partition(":")[0] for kind in KINDS] or (form in ("table", "detector")) != bool(place):
        raise UserError(f"Parameter scorer={name!r} is unknown: choose one of {', '.join(sorted(KINDS))}.")
    if form == "lexicon" and language != "it":
        raise UserError(f"Parameter scorer: the cue lexicon is Italian, the language is {language!r}: choose another.")


def lexicon_score(texts: Sequence[str], scope: str = WORKPLACE) -> np.ndarray:
    """exp(−n) for a text with n cues of the Italian lexicon: 1 without a cue, below one half from the first one on."""
    return np.exp(-np.array([len(find_cues(text, scope)) for text in texts], dtype=float))


def tfidf_scorer(rows: list[dict]) -> Scorer:
    """A scorer by TF-IDF and logistic regression, trained on rows with `text` and `complies` (true or false)."""
    task = Task("complies", ("no", "yes"), "yes", (" no", " yes"), "{text}")
    labelled = [{"text": r["text"], "label": "yes" if r["complies"] else "no"} for r in rows]
    if len({r["label"] for r in labelled}) < 2:
        raise UserError("The rows of the scorer are all of one kind: it needs texts that comply and texts that do not.")
    model = baselines.tfidf(task)
    model.fit(labelled)
    return lambda texts: model.predict_proba(texts)[:, 1]


def pair_sides(pairs: list[dict]) -> list[dict]:
    """Rows for `tfidf_scorer` from pairs: references comply; sources do not, unless they are a reference too."""
    complies = {pair["text"]: False for pair in pairs} | {text: True for pair in pairs for text in pair["references"]}
    return [{"text": text, "complies": value} for text, value in complies.items()]


def scorer_pairs(here: Run) -> list[dict]:
    """Pairs that the scorer of a run may learn from: those that 01 set aside for it, else the seed."""
    has_own_pairs = (here.folder.parent / STAGES["01"] / "scorer.jsonl").exists()
    return read_jsonl(here.earlier("01", "scorer.jsonl" if has_own_pairs else "seed.jsonl"))


def read_scored_table(path: str) -> list[dict]:
    """Rows of a table with the columns `text` and `complies` (1 or 0, true or false)."""
    table = tables.read_table(path, "text")
    if "complies" not in table.columns:
        raise UserError(f"{path} has no column 'complies': the scorer needs 1 or 0 for every text.")
    values = table["complies"].astype(str).str.strip().str.lower().str.removesuffix(".0")
    if len(wrong := table.index[~values.isin(["0", "1", "true", "false"])]):
        raise UserError(f"{path}, row {wrong[0]}: complies is {table.at[wrong[0], 'complies']!r}, not 1 or 0.")
    texts = table["text"].astype(str)
    return [{"text": text, "complies": value in ("1", "true")} for text, value in zip(texts, values, strict=True)]


def judge_scorer(judge: Any, attribute: str, language: str) -> Scorer:
    """The mark from 0 to 10 that a back-end of `endpoint` gives, divided by ten; NaN where its answer is no mark."""
    schema = create_model("Mark", mark=(int, Field(ge=0, le=10)))

    def score(texts: Sequence[str]) -> np.ndarray:
        replies = judge.ask([prompts.mark(text, attribute, language) for text in texts], schema)
        check_complete(((a.status, a.reason) for a in replies), "The judge", "a mark")
        return np.array([a.value["mark"] / 10 if a.status == "ok" else np.nan for a in replies])

    return score


def make_scorer(
    name: str,
    pairs: list[dict],
    language: str,
    attribute: str,
    load: Callable[[Path], Any],
    judge: Callable[[], Any],
    scope: str = WORKPLACE,
) -> Scorer:
    """Make the scorer of that name (see KINDS), which scores each text once.

    `pairs` have `text` and `references`; `attribute` is what a judge looks for, in the language of the texts; `load`
    opens the detector saved in a folder, `judge` gives a back-end; `scope` says whose forms the lexicon counts.
    """
    check_scorer(name, language)
    form, _, place = name.partition(":")
    if form == "lexicon":
        return remembering(partial(lexicon_score, scope=scope))
    if form == "judge":
        return remembering(judge_scorer(judge(), attribute, language))
    if form == "detector":
        detector = load(env.resolve(place))
        positive = detector.task.labels.index(detector.task.positive)
        return remembering(lambda texts: 1 - detector.predict_proba(texts)[:, positive])
    return remembering(tfidf_scorer(pair_sides(pairs) if form == "pairs" else read_scored_table(place)))


def remembering(score: Scorer) -> Scorer:
    """`score` with a memory, since interim outputs recur from round to round; an empty text gets 0.

    An empty text breaks no attribute, but a learner that writes nothing has not kept it either.
    """
    scores: dict[str, float] = {}

    def score_once(texts: Sequence[str]) -> np.ndarray:
        scores.update((text, 0.0) for text in texts if not text.strip())
        new_texts = list(dict.fromkeys(text for text in texts if text not in scores))
        if new_texts:
            scores.update(zip(new_texts, np.asarray(score(new_texts), dtype=float).tolist(), strict=True))
        return np.array([scores[text] for text in texts], dtype=float)

    return score_once


def ranking_facts(done: dict, interim: pd.DataFrame) -> dict[str, float]:
    """What R could distinguish among the interim outputs (columns id, compliance) of a round (strategy, round, picks).

    `top score` counts the picks with the best score: R has nothing against them, so clusters and chance chose them.
    """
    chosen = interim.compliance[interim["id"].isin(done["picks"])]
    return {
        **{name: done[name] for name in ("strategy", "round")},
        "outputs": len(interim),
        "complies": float((interim.compliance >= COMPLIES).mean()),
        "different scores": interim.compliance.nunique(),
        "picks": len(chosen),
        "top score": int((chosen >= interim.compliance.max()).sum()),
    }


def describe_ranking(rounds: Sequence[dict], draft: str = "") -> str:
    """Say how many picks R chose, from the `ranking_facts` of all rounds.

    `draft` names the rules that write drafts, '' for none: with drafts that comply already, R has nothing to rank.
    """
    picks, top = (sum(facts[name] for facts in rounds) for name in ("picks", "top score"))
    if not picks:
        return "R ranked nothing in this run."
    sentence = f"R ranked {picks - top} of {picks} picks above other outputs"
    if top:
        sentence += f"; {top} had the top score, so clusters and chance chose them"
    if 2 * top <= picks:
        return f"{sentence}."
    sentence += ". This run says little about choosing by R."
    if draft:
        sentence += " The drafts by rule comply already: with -p draft '' the learner writes by itself."
    return sentence
