"""May a model's label stand in for a person's? Its agreement with annotators, beside theirs with each other on the same texts.

Annotations are annotator → label for each text (`annotations` of a record); texts with fewer than two annotators count
nowhere. Intervals are percentile bootstraps over texts; texts made from one source, which `clusters` names, are drawn together.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from helpers.text import plural

LARGEST = 5_000_000  # texts × classes² that are compared: some 200 MB
FEWEST_PACES = 10  # timed labels from which on their median is a pace
MAJORITY = "right by the majority of the others"
MEASURES = (MAJORITY, "macro-F1 by that majority", "Krippendorff's α", "Cohen's κ")


COLUMNS = [
    "measure",
    *(f"{who}{end}" for who in ("people", "model", "difference") for end in ("", "_low", "_high")),
    "texts",
]
DISAGREEMENTS = ["texts", "count", "model_differs", "low", "high", "people_differ"]
VERDICTS = {
    "equivalent": "it is as good as another annotator",
    "better": "it is better than another annotator",
    "at least as good": "it is at least as good as another annotator",
    "worse": "it is not as good as another annotator",
    "not shown": "it is not shown to be as good as another annotator",
}


def opinion_counts(annotations: Sequence[dict[str, str]], labels: Sequence[str]) -> np.ndarray:
    """How many annotators gave each text each label, an int array (texts, labels)."""
    counts = np.zeros((len(annotations), len(labels)), int)
    for row, given in zip(counts, annotations, strict=True):
        for label in given.values():
            row[list(labels).index(label)] += 1
    return counts


@dataclass(frozen=True)
class Comparison:
    """Each of MEASURES for people and for the model, with their bootstrap draws.

    `values` is a float array (measures, 2), `draws` one (draws, measures, 2): people first, then the model. `texts` are
    those with two annotators or more, `judged` those of them where the others of some annotator have a majority.
    """

    values: np.ndarray
    draws: np.ndarray
    texts: int
    judged: int

    def table(self) -> pd.DataFrame:
        """One row a measure: people, model and difference (model minus people), each with its 95 % interval."""
        rows = []
        for place, measure in enumerate(MEASURES):
            row: dict[str, object] = {"measure": measure}
            values, draws = self.values[place], self.draws[:, place]
            for who, value, drawn in (
                ("people", values[0], draws[:, 0]),
                ("model", values[1], draws[:, 1]),
                ("difference", values[1] - values[0], draws[:, 1] - draws[:, 0]),
            ):
                low, high = np.nanquantile(drawn, [0.025, 0.975]) if not np.isnan(drawn).all() else (np.nan, np.nan)
                row |= {who: value, f"{who}_low": low, f"{who}_high": high}
            rows.append(row | {"texts": self.judged if place < 2 else self.texts})
        return pd.DataFrame(rows, columns=COLUMNS)

    def sentence(self, margin: float) -> str:
        """Whether the model is as good as another annotator, give or take `margin`, and the figures that say so."""
        people, model = (f"{100 * share:.1f} %" for share in self.values[0])
        found = self.equivalence(margin)
        gap, low, high = (f"{100 * found[name]:+.1f}".replace("-", "−") for name in ("difference", "low", "high"))
        against = f"Held against the majority of the other annotators of a text ({plural(self.judged, 'text')})"
        tests = "two one-sided tests" if found["verdict"] in ("equivalent", "not shown") else "one-sided test"
        verdict = f"{VERDICTS[found['verdict']]} ({tests}, p {_p_value(found['p'])})"
        return (
            f"{against}, the model is right in {model} of the cases and a person in {people}, a difference of {gap} points "
            f"(90 % interval {low} to {high}). With a margin of {100 * margin:g} points, {verdict}."
        )

    def equivalence(self, margin: float) -> dict[str, object]:
        """Two one-sided tests (Schuirmann 1987) of MAJORITY: is the model within `margin` of another annotator?

        The dict has difference, low and high (of the 90 % interval, by which the tests at 5 % decide), verdict and p, that of
        the test, or of the worse of the two, that decides: `equivalent`, `better` and `worse` (beyond the margin), `at least
        as good` (the interval passes the upper margin alone) or `not shown`. However alike the answers are, among n texts a
        share of 1 − 0.05^(1/n) may differ unseen, and the interval has at least this width on either side.
        """
        difference = float(self.values[0, 1] - self.values[0, 0])
        draws = self.draws[:, 0, 1] - self.draws[:, 0, 0]
        draws = draws[~np.isnan(draws)]  # in some of few texts nobody is judged
        if len(draws) < len(self.draws) / 2:
            return {"difference": difference, "low": -1.0, "high": 1.0, "p": 1.0, "verdict": "not shown"}
        low, high = np.quantile(draws, [0.05, 0.95])
        unseen = 1 - 0.05 ** (1 / self.judged)
        low, high = min(low, difference - unseen), max(high, difference + unseen)

        def p_of(passes: np.ndarray, distance: float) -> float:
            return float(max((passes.sum() + 1) / (len(draws) + 1), (1 - min(1, max(0, distance))) ** self.judged))

        below = p_of(draws <= -margin, difference + margin)
        above = p_of(draws >= margin, margin - difference)
        if -margin < low and high < margin:
            verdict, p = "equivalent", max(below, above)
        elif low >= margin:
            verdict, p = "better", p_of(draws <= margin, difference - margin)
        elif low > -margin:
            verdict, p = "at least as good", below
        elif high <= -margin:
            verdict, p = "worse", p_of(draws >= -margin, -margin - difference)
        else:
            verdict, p = "not shown", max(below, above)
        return {"difference": difference, "low": float(low), "high": float(high), "p": p, "verdict": verdict}


def compare(
    counts: np.ndarray, answers: np.ndarray, clusters: Sequence | None = None, draws: int = 1000, seed: int = 0
) -> Comparison | None:
    """Set a model beside annotators; None where no text has two annotators of whom one judges the other, or where texts ×
    classes² pass LARGEST.

    *By the majority of the others*: each annotator of a text in turn is held against the label that most of the others gave
    it, and so is the model in that annotator's place; where the others are split evenly, nobody is judged. α and κ of the
    model are those of pairs of its label and a person's; those of people, of pairs of two persons on one text. Every label
    counts once.

    Parameters
    ----------
    counts : int array (texts, labels)
        From `opinion_counts`.
    answers : int array (texts,)
        The model's labels, as places among the labels.
    clusters : of the texts
    draws, seed : of the bootstrap
    """
    names = np.arange(len(counts)) if clusters is None else np.asarray(clusters)
    shared = counts.sum(1) >= 2
    counts, answers, names = counts[shared], answers[shared], names[shared]
    if len(counts) * counts.shape[1] ** 2 > LARGEST:
        return None
    sums, is_judged = _sums(counts, answers)
    if not is_judged.any():
        return None
    _, cluster = np.unique(names, return_inverse=True)
    grouped = np.zeros((cluster.max() + 1, sums.shape[1]))
    np.add.at(grouped, cluster, sums)
    times = np.random.default_rng(seed).multinomial(len(grouped), np.full(len(grouped), 1 / len(grouped)), draws)
    values = _measures(grouped.sum(0)[None], counts.shape[1])[0]
    return Comparison(values, _measures(times @ grouped, counts.shape[1]), len(counts), int(is_judged.sum()))


def _sums(counts: np.ndarray, answers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the measures are made of, summed over any texts: (texts, parts); and which texts judge somebody.

    The parts: tables (answer × majority of the others) of people and of the model, tables (label × label) of pairs of people
    and of model and person, disagreeing pairs and labels by class of people, and of the model with people.
    """
    texts, classes = counts.shape
    people, model = np.zeros((texts, classes, classes)), np.zeros((texts, classes, classes))
    rows = np.arange(texts)
    for given in range(classes):
        rest = counts.copy()
        rest[:, given] -= 1
        most = rest.max(1)
        counts_once = (counts[:, given] > 0) & ((rest == most[:, None]).sum(1) == 1)
        weight = np.where(counts_once, counts[:, given], 0)
        majority = rest.argmax(1)
        people[rows, given, majority] += weight
        model[rows, answers, majority] += weight
    size = counts.sum(1)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(classes, dtype=int)
    pairs = pairs / (size - 1)[:, None, None]
    with_model = np.eye(classes)[answers][:, :, None] * counts[:, None, :]
    apart = (size**2 - (counts**2).sum(1)) / 2 / (size - 1)
    apart_model = size - counts[rows, answers]
    margin_model = counts + size[:, None] * np.eye(classes)[answers]
    flat = [part.reshape(texts, classes**2) for part in (people, model, pairs, with_model)]
    parts = [*flat, apart[:, None], counts, apart_model[:, None], margin_model]
    return np.hstack(parts), people.any((1, 2))


def _measures(sums: np.ndarray, classes: int) -> np.ndarray:
    """MEASURES for people and the model (samples, measures, 2) from sums over texts (samples, parts)."""
    square = classes**2
    people, model, pairs, with_model = (
        sums[:, i * square : (i + 1) * square].reshape(-1, classes, classes) for i in range(4)
    )
    apart, rest = sums[:, 4 * square], sums[:, 4 * square + 1 :]
    margin, apart_model, margin_model = rest[:, :classes], rest[:, classes], rest[:, classes + 1 :]
    columns = [
        (_accuracies(people), _accuracies(model)),
        (_macro_f1s(people), _macro_f1s(model)),
        (_alphas(apart, margin), _alphas(apart_model, margin_model)),
        (_kappas(pairs), _kappas(with_model)),
    ]
    return np.stack([np.stack(pair, -1) for pair in columns], 1)


def _accuracies(tables: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.trace(tables, axis1=1, axis2=2) / tables.sum((1, 2))


def _macro_f1s(tables: np.ndarray) -> np.ndarray:
    hits, total = np.diagonal(tables, axis1=1, axis2=2), tables.sum(1) + tables.sum(2)
    with np.errstate(invalid="ignore"):
        return (2 * hits / np.maximum(total, 1e-12)).sum(1) / (total > 0).sum(1)


def _alphas(apart: np.ndarray, margin: np.ndarray) -> np.ndarray:
    """Nominal α (Krippendorff 2011) from disagreeing pairs (samples,) and labels by class (samples, classes)."""
    total = margin.sum(1)
    by_chance = (total**2 - (margin**2).sum(1)) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(by_chance > 0, 1 - apart * (total - 1) / by_chance, np.nan)


def _kappas(tables: np.ndarray) -> np.ndarray:
    """κ (Cohen 1960) of tables (samples, classes, classes)."""
    total = tables.sum((1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        equal = np.trace(tables, axis1=1, axis2=2) / total
        by_chance = (tables.sum(1) * tables.sum(2)).sum(1) / total**2
        return np.where(by_chance < 1, (equal - by_chance) / (1 - by_chance), np.nan)


def _p_value(p: float) -> str:
    return "< .001" if p < 0.001 else f"= {p:.3f}".replace("0.", ".", 1)


def disagreements(
    counts: np.ndarray, answers: np.ndarray, groups: dict[str, Sequence[str]], smallest: int = 10
) -> pd.DataFrame:
    """How often the model differs from the majority of people, where people agree and where not, and by group.

    Of the texts with two annotators or more and one label that most of them gave. Columns DISAGREEMENTS: which texts, how
    many, the share where the model differs with Wilson's 95 % interval, the share where people differ among themselves.
    First all texts, those people agree on, those they differ on; then the groups of at least `smallest` texts, the one
    where the model differs most first.
    """
    from scipy.stats import binomtest  # slow to import

    most = counts.max(1)
    is_settled = (counts.sum(1) >= 2) & ((counts == most[:, None]).sum(1) == 1)
    differs, disputed = answers != counts.argmax(1), (counts > 0).sum(1) > 1

    def row(name: str, of: np.ndarray) -> tuple:
        of = of & is_settled
        count = int(of.sum())
        low, high = binomtest(int(differs[of].sum()), count).proportion_ci(method="wilson")
        return name, count, differs[of].mean(), low, high, disputed[of].mean()

    everything = np.ones(len(counts), bool)
    overall = [("all", everything), ("people agree", ~disputed), ("people differ", disputed)]
    rows = [row(name, of) for name, of in overall if (of & is_settled).any()]
    members = []
    for column, names in groups.items():
        for name in dict.fromkeys(names):
            of = np.array([own == name for own in names])
            if (of & is_settled).sum() >= max(1, smallest):
                members.append(row(f"{column}: {name or '(none)'}", of))
    rows += sorted(members, key=lambda group: -group[2])
    return pd.DataFrame(rows, columns=DISAGREEMENTS)


def clearest(counts: np.ndarray, answers: np.ndarray, confidence: np.ndarray, most: int) -> np.ndarray:
    """Places of at most `most` texts on which two annotators or more agree and the model does not, the surest first."""
    people = counts.max(1)
    of = (people >= 2) & (people == counts.sum(1)) & (answers != counts.argmax(1))
    places = np.flatnonzero(of)
    return places[np.argsort(-confidence[places], kind="stable")][:most]


def votes(counts: np.ndarray, labels: Sequence[str]) -> str:
    """What people said of one text, as in *offensive 3 · maybe 1*."""
    order = [i for i in np.argsort(-counts, kind="stable") if counts[i]]
    return " · ".join(f"{labels[i]} {counts[i]}" for i in order)


def seconds_a_label(events: Iterable[dict]) -> float:
    """Median seconds of the labels that people gave in a panel; 0 where fewer than FEWEST_PACES were timed."""
    seconds = [row["seconds"] for row in events if row["event"] == "label" and row.get("seconds", 0) > 0]
    return float(statistics.median(seconds)) if len(seconds) >= FEWEST_PACES else 0.0
