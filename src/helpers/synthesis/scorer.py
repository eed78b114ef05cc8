"""The auxiliary scorer of active learning for generation: how well a text keeps the regulated attribute, 0 to 1.

The R of Hassan et al. 2024 (arXiv 2410.13641). A scorer is a function from texts to float64 (n,), 1 for a text that wholly
complies (inclusive, not toxic, kind), NaN where it has no answer. From one half on a text counts as compliant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from helpers.italian import gender
from helpers.run import STAGES, Run
from helpers.synthesis import prompts
from helpers.task import Task

Scorer = Callable[[Sequence[str]], np.ndarray]
KINDS = ("lexicon", "pairs", "table:FILE", "detector:FOLDER", "judge")


def check_scorer(name: str, language: str) -> None:
    """Raises UserError on a scorer that is not on offer."""
    form, _, place = name.partition(":")
    if form not in [kind.partition(":")[0] for kind in KINDS] or (form in ("table", "detector")) != bool(place):
        raise UserError(f"Parameter scorer={name!r} is unknown: choose one of {', '.join(KINDS)}.")
    if form == "lexicon" and language != "it":
        raise UserError(f"Parameter scorer: the cue lexicon is Italian, the language is {language!r}: choose another.")


def lexicon_score(texts: Sequence[str]) -> np.ndarray:
    """exp(−cues) of the Italian cue lexicon: 1 without a cue, below one half with one, lower with each more."""
    return np.exp(-np.array([len(gender.cues(t)) for t in texts], dtype=float))


def tfidf_scorer(rows: list[dict]) -> Scorer:
    """TF-IDF with logistic regression trained on rows with `text` and `complies` (true or false)."""
    task = Task("complies", ("no", "yes"), "yes", (" no", " yes"), "{text}")
    labelled = [{"text": r["text"], "label": "yes" if r["complies"] else "no"} for r in rows]
    if len({r["label"] for r in labelled}) < 2:
        raise UserError("The scorer's rows are all of one kind: it needs texts that comply and texts that do not.")
    model = baselines.tfidf(task)
    model.fit(labelled)
    return lambda texts: model.predict_proba(texts)[:, 1]


def pair_sides(pairs: list[dict]) -> list[dict]:
    """The two sides of pairs as rows for `tfidf`: references comply, sources do not, but for those that were to be left alone."""
    good = {text: True for r in pairs for text in r["references"]}
    return [{"text": t, "complies": c} for t, c in ({r["text"]: False for r in pairs} | good).items()]


def scorer_pairs(here: Run) -> list[dict]:
    """Pairs that the scorer of a run may learn from: those that 01 set aside for it, else the seed; an input of the stage."""
    set_aside = here.folder.parent / STAGES["01"] / "scorer.jsonl"
    return read_jsonl(here.earlier("01", "scorer.jsonl" if set_aside.exists() else "seed.jsonl"))


def read_scored_table(path: str) -> list[dict]:
    """Rows of a file with the columns `text` and `complies` (1 or 0, true or false)."""
    rows = tables.read_table(path, "text")
    if "complies" not in rows.columns:
        raise UserError(f"{path} has no column 'complies': the scorer needs 1 or 0 for every text.")
    said = rows["complies"].astype(str).str.strip().str.lower().str.removesuffix(".0")
    if len(odd := np.flatnonzero(~said.isin(["0", "1", "true", "false"]))):
        raise UserError(f"{path}, row {odd[0] + 2}: complies is {rows['complies'].iloc[odd[0]]!r}, not 1 or 0.")
    return [{"text": t, "complies": c in ("1", "true")} for t, c in zip(rows["text"].astype(str), said, strict=True)]


def detector_scorer(learner: Any) -> Scorer:
    """One minus the probability of the positive class of a trained detector of this suite."""
    positive = learner.task.labels.index(learner.task.positive)
    return lambda texts: 1 - learner.predict_proba(texts)[:, positive]


def judge_scorer(judge: Any, attribute: str, language: str) -> Scorer:
    """The mark, 0 to 10, that a back-end of `teacher` gives, divided by ten; NaN where its answer is no mark.

    Raises UserError when texts are left without an answer: a budget that is used up.
    """
    schema = create_model("Mark", mark=(int, Field(ge=0, le=10)))

    def score(texts: Sequence[str]) -> np.ndarray:
        given = judge.ask([prompts.mark(text, attribute, language) for text in texts], schema)
        if lost := [a.reason for a in given if a.status == "failed"]:
            raise UserError(f"The judge left {len(lost)} of {len(texts)} texts without a mark: {lost[0]}.")
        return np.array([a.value["mark"] / 10 if a.status == "ok" else np.nan for a in given])

    return score


def make_scorer(
    name: str, pairs: list[dict], language: str, attribute: str, load: Callable[[Path], Any], judge: Callable[[], Any]
) -> Scorer:
    """The scorer of that name, one of KINDS; each text is scored once.

    `pairs` have text and references; `load` opens a saved detector, `judge` a back-end of `teacher`, each only if asked for.
    """
    check_scorer(name, language)
    form, _, place = name.partition(":")
    makers = {
        "lexicon": lambda: lexicon_score,
        "pairs": lambda: tfidf_scorer(pair_sides(pairs)),
        "table": lambda: tfidf_scorer(read_scored_table(place)),
        "detector": lambda: detector_scorer(load(env.resolve(place))),
        "judge": lambda: judge_scorer(judge(), attribute, language),
    }
    return remembering(makers[form]())


def remembering(score: Scorer) -> Scorer:
    """`score` that remembers, for interim outputs repeat themselves from round to round; an empty text gets 0.

    Nothing in it breaks the attribute, but a learner that writes nothing has not kept it either.
    """
    known: dict[str, float] = {}

    def remembered(texts: Sequence[str]) -> np.ndarray:
        known.update((t, 0.0) for t in texts if not t.strip())
        new = list(dict.fromkeys(t for t in texts if t not in known))
        if new:
            known.update(zip(new, np.asarray(score(new), dtype=float).tolist(), strict=True))
        return np.array([known[t] for t in texts], dtype=float)

    return remembered


def ranking_facts(done: dict, interim: pd.DataFrame) -> dict[str, float]:
    """What R could tell apart among the interim outputs of a round that chose by it.

    `done` has strategy, round and picks, `interim` the columns id and compliance. `by lot` counts the picks with the top score:
    R had nothing against them, and clusters and chance chose them.
    """
    chosen = interim.compliance[interim["id"].isin(done["picks"])]
    return {
        "strategy": done["strategy"],
        "round": done["round"],
        "outputs": len(interim),
        "complies": float((interim.compliance >= COMPLIES).mean()),
        "different scores": interim.compliance.nunique(),
        "picks": len(chosen),
        "by lot": int((chosen >= interim.compliance.max()).sum()),
    }


def describe_ranking(ranked: Sequence[dict], draft: str = "") -> str:
    """Rows of `to_rank` in words: how many picks were R's choice; with a `draft`, what takes its place away."""
    picks, lot = (sum(r[name] for r in ranked) for name in ("picks", "by lot"))
    if not picks:
        return "R ranked nothing in this run."
    said = f"R told {picks - lot} of {picks} picks from the outputs that it likes best."
    if 2 * lot <= picks:
        return said
    why = " The drafts by rule comply already: with -p draft '' the learner writes by itself." if draft else ""
    return f"{said} The rest were drawn by lot: this run says little about choosing by R.{why}"
