"""What a report says first: a few sentences in plain words, computed from its tables and no other number."""

from __future__ import annotations

import pandas as pd

from helpers.evaluation.report import interval, plain_name

RIVALS = {  # a model of 04 → what a sentence calls it
    "TF-IDF + LR, same rows": "TF-IDF with the same labels",
    "majority": "always giving the commonest answer",
    "cue lexicon": "the hand-made rules of the cue lexicon",
    "untuned base, zero-shot": "the untuned base",
    "frozen probe": "a linear probe on the frozen base",
    "edit tagger, same targets": "the edit tagger with the same targets",
    "rules of grammar": "the rules of grammar alone",
    "copy of the source": "leaving every text as it is",
    "untuned base": "the untuned base",
    "nearest training target": "the target of the most similar training text",
    "none for every text": "never naming a group",
}
MANY_FLIPS = 0.05  # from this share of changed answers on, a gender swap counts as a fault of its own
LONGEST = 60  # characters of a group's name in a sentence


def detector_verdict(
    headline: pd.DataFrame,
    lead: pd.DataFrame,
    further: pd.DataFrame,
    worst: pd.DataFrame,
    flips: pd.DataFrame,
    calibration: dict[str, float],
    odds: pd.DataFrame,
    language: str,
) -> list[str]:
    """How good a detector is, whom it fails, whether gender moves it, its calibration, and what follows for use.

    Parameters
    ----------
    headline, lead : of `detection.compare_models` and `leads`, the detector first
    further : `headline` on further test sets, with a column `set`
    worst : of `groups.worst_groups`
    flips : rows model, pairs, flip_rate, low, high, the detector first
    calibration : of `detection.calibration_summary`
    odds : of `detection.equalized_odds`
    language : the parameter, '' where no gender is swapped
    """
    ours, failed, standing = headline.iloc[0], _failed(worst), _standing(lead)
    score = _with_interval(ours.macro_f1, ours.low, ours.high)
    right = f"{_percent(ours.accuracy)} of its answers are right"
    points = [f"On {ours['count']:,} test rows the detector reaches a macro-F1 of {score}; {right}."]
    points += _beside(standing, headline.set_index("model").macro_f1, lead)
    points += _carried(further)
    points += [
        _whom(worst, failed, "answers right"),
        *_uneven(odds),
        _flipped(flips, language),
        _calibrated(calibration),
    ]
    limits = [f"let a person read the texts of “{_short(failed.iloc[0].worst_group)}”"] if len(failed) else []
    if len(flips) and flips.iloc[0].flip_rate >= MANY_FLIPS:
        limits.append("do not let the detector decide where a text names a gender")
    if calibration["calibration_error"] > calibration["by_chance"]:
        limits.append("do not read its confidence as a probability")
    return [*points, _use(standing, "detector", 1 - ours.accuracy, limits)]


def writer_verdict(
    systems: pd.DataFrame, lead: pd.DataFrame, left_alone: pd.DataFrame, worst: pd.DataFrame
) -> list[str]:
    """How good a writer is beside simpler systems, what it spoils, whom it serves worst, and what follows for use.

    Parameters
    ----------
    systems : of `generation.compare_systems`, the writer first
    lead : of `generation.paired_differences`, with a column `against`
    left_alone : the writer's judged outputs of the texts that should have stayed as they are
    worst : of `groups.worst_groups`
    """
    ours, measure = systems.iloc[0], "strict" if "strict" in systems else "compliance"
    words = {"strict": "strictly right", "compliance": "compliant, as R judges"}[measure]
    share = _share_with_interval(ours[measure], ours[f"{measure} low"], ours[f"{measure} high"])
    points = [f"{share} of {ours['count']:,} test texts come out {words}; chrF to the references is {ours.chrF:.1f}."]
    lead, failed = lead[lead.figure == measure], _failed(worst)
    standing = _standing(lead)
    points += _beside(standing, systems.set_index("system")[measure], lead)
    if len(left_alone):
        spoiled = 1 - left_alone["exact match"].mean()
        points.append(f"Of {len(left_alone):,} texts that needed no change it changes {_percent(spoiled)}.")
    points.append(_whom(worst, failed, f"{words.partition(',')[0]} outputs"))
    limits = [f"let a person check the texts of “{_short(failed.iloc[0].worst_group)}”"] if len(failed) else []
    return [*points, _use(standing, "writer", 1 - ours[measure], limits)]


# --- the sentences --------------------------------------------------------------------------------


def _with_interval(value: float, low: float, high: float) -> str:
    return interval(value, low, high).replace("(", "(95 % interval ")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _share_with_interval(value: float, low: float, high: float) -> str:
    return f"{_percent(value)} ({100 * low:.0f}–{_percent(high)})"


def _short(name: object) -> str:
    name = plain_name(name)
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def _standing(lead: pd.DataFrame) -> dict[str, list[str]]:
    """Rivals that are proven `behind`, proven `ahead`, or `level`: the interval of the difference has zero."""
    return {
        "behind": [*lead.against[lead.low > 0]],
        "level": [*lead.against[(lead.low <= 0) & (lead.high >= 0)]],
        "ahead": [*lead.against[lead.high < 0]],
    }


def _beside(standing: dict[str, list[str]], scores: pd.Series, lead: pd.DataFrame) -> list[str]:
    """One sentence for each way in which rivals stand to the model, those that win first."""
    texts = {name: f"{RIVALS.get(name, name)} ({scores[name]:.3f})" for name in lead.against}
    rows, sentences = lead.set_index("against"), []
    for name in standing["ahead"]:
        difference = interval(*rows.loc[name, ["difference", "low", "high"]])
        sentences.append(f"It loses to {texts[name]}: the difference is {difference}.")
    if standing["level"]:
        sentences.append(f"No difference is proven from {_listed([texts[n] for n in standing['level']])}.")
    if standing["behind"]:
        sentences.append(f"It is ahead of {_listed([texts[n] for n in standing['behind']])}.")
    return sentences


def _listed(texts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))


def _carried(further: pd.DataFrame) -> list[str]:
    """The detector on every further test set, with the best of the others."""
    sentences = []
    for name, part in further.groupby("set", sort=False) if len(further) else ():
        ours, best = part.iloc[0], part.iloc[1:].nlargest(1, "macro_f1").iloc[0]
        score = interval(ours.macro_f1, ours.low, ours.high)
        others = f"{best.macro_f1:.3f} with {RIVALS.get(best.model, best.model)}"
        sentences.append(f"On “{_short(name)}”, {ours['count']:,} further rows, it has {score}; {others}.")
    return sentences


def _failed(worst: pd.DataFrame) -> pd.DataFrame:
    """The groups that are served worse than the rest by more than chance, the worst first."""
    return worst[worst.high < 0].sort_values("difference")


def _whom(worst: pd.DataFrame, failed: pd.DataFrame, measure: str) -> str:
    """Whom the model fails most, where the interval supports it."""
    if worst.empty:
        return "Whom it fails is not known: no column of groups has two that are large enough to be compared."
    if failed.empty:
        return "No group is proven to fare worse than the rest; with so few rows in each, large gaps can hide."
    row = failed.iloc[0]
    group = f"“{_short(row.worst_group)}” ({plain_name(row.group_column)}, n = {row['count']:,})"
    return f"It fails {group} most: {_percent(row.share)} {measure}, {_percent(row.share_of_the_rest)} elsewhere."


def _uneven(odds: pd.DataFrame) -> list[str]:
    """The largest gap in error rates that is proven, if one is: equal accuracy can hide that errors differ in kind."""
    proven = odds[odds.low > 0].sort_values("difference", ascending=False)
    if proven.empty:
        return []
    row = proven.iloc[0]
    groups = f"“{_short(row.highest)}” than for “{_short(row.lowest)}” ({plain_name(row.group_column)})"
    gap = interval(row.difference, row.low, row.high)
    return [f"Its errors fall unevenly: the {plain_name(row.rate)} is higher for {groups}, by {gap}."]


def not_swapped(language: str) -> str:
    """Why no text has a gender-swapped version."""
    if language:
        return f"no text names a gender that the rules for language={language!r} can swap"
    return "language is not set; for Italian or English texts set it to it or en"


def _flipped(flips: pd.DataFrame, language: str) -> str:
    """How often the answer changes with the gender."""
    if flips.empty or not flips.iloc[0].pairs:
        return f"Whether gender moves its answers was not measured: {not_swapped(language)}."
    ours, *others = flips.itertuples()
    beside = "".join(f"; {RIVALS.get(row.model, row.model)}: {_percent(row.flip_rate)}" for row in others)
    share = _share_with_interval(ours.flip_rate, ours.low, ours.high)
    return f"Swapping the gender in a text changes its answer in {share} of {ours.pairs:,} pairs{beside}."


def _calibrated(facts: dict[str, float]) -> str:
    """Whether the confidence can be believed."""
    error, chance = f"{facts['calibration_error']:.3f}", f"{facts['by_chance']:.3f}"
    if facts["calibration_error"] <= facts["by_chance"]:
        return f"No miscalibration is proven: the expected error is {error}, and chance alone gives up to {chance}."
    side = "higher" if facts["mean_confidence"] > facts["accuracy"] else "lower"
    means = f"{_percent(facts['mean_confidence'])} on average, where {_percent(facts['accuracy'])} are right"
    return (
        f"It is not calibrated (expected error {error}, by chance up to {chance}): its confidence is {side}, {means}."
    )


def _use(standing: dict[str, list[str]], model: str, wrong: float, limits: list[str]) -> str:
    """What all this means for use; `wrong` is the share of its outputs that are not right."""
    useless = {"majority", "copy of the source", "none for every text"} & {*standing["level"], *standing["ahead"]}
    better = [name for name in standing["ahead"] if name not in useless]
    simpler = [name for name in standing["level"] if name not in ("untuned base, zero-shot", *useless)]
    if useless:
        return f"What follows: do not use this {model}; it is not proven better than {RIVALS[useless.pop()]}."
    if better:
        advice = f"for texts like these, prefer {_listed([RIVALS.get(n, n) for n in better])}"
    elif simpler:
        which = "all of them" if len(simpler) > 2 else "both" if len(simpler) > 1 else "which is"
        advice = f"nothing here speaks for it over {_listed([RIVALS.get(n, n) for n in simpler])}, {which} simpler"
    else:
        advice = f"it can make proposals to people; with {_percent(wrong)} of them wrong it should not decide alone"
    return f"What follows: {'; '.join([advice, *limits])}."
