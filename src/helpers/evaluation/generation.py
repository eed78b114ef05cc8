"""How good written texts are: compliance, meaning, fluency and diversity, over all rows and by group.

`judge_outputs` gives one row per text, and every other function works on that table, so that each
figure can be traced to the texts behind it. `score` is any function from texts to float (texts,):
at least `COMPLIES` where a text complies with the regulated attribute (R of Hassan et al. 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from sklearn.preprocessing import normalize

from helpers.env import UserError
from helpers.evaluation import textstats
from helpers.evaluation.intervals import bootstrap_interval, mean_interval, wilson_interval
from helpers.evaluation.written_groups import score_groups
from helpers.italian import check
from helpers.parameters import check_value
from helpers.text import bare_words

Score = Callable[[Sequence[str]], np.ndarray]
COMPLIES = 0.5  # a text with at least this score complies
FIGURES = (
    "compliance",
    "strict",
    "group F1",
    "chrF",
    "BLEU",
    "edit F1",
    "exact match",
    "copied",
    "similarity",
    "perplexity",
)
FIGURES += ("distinct-2", "self-BLEU", "MTLD")  # in the order in which a page shows them
PARTS = ["inclusive", "untouched", "agreement"]  # the checks that `strict` combines, see `run_checks`
LOWER_IS_BETTER = ("perplexity", "self-BLEU", "empty")
INTERVALS = ("compliance", "strict", "group F1", "chrF", "exact match", "similarity")  # means over rows
HIGHEST = {
    "compliance": 1,
    "strict": 1,
    "group F1": 1,
    "chrF": 100,
    "exact match": 1,
}  # a copy has a similarity of 1 by its nature


def judge_outputs(
    rows: Sequence[dict],
    outputs: Sequence[str],
    score: Score,
    embed: Score | None = None,
    nll: Score | None = None,
    checks: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Judge the output written for each row: id, text, output, references and the verdicts.

    A judge that is not given has no column.

    Parameters
    ----------
    rows : records with `text`, and `target` or `references`
    score : texts → float (texts,)
        R, see the module.
    embed : texts → float (texts, dimensions), optional
        For the cosine similarity of output and source.
    nll : texts → float (texts,), optional
        Mean negative log-likelihood of a token, in nats, under a model that did not write the texts.
    checks : DataFrame of booleans, optional
        Further verdicts, such as those of `run_checks`.
    """
    if len(rows) != len(outputs):
        raise UserError(f"{len(outputs)} outputs for {len(rows)} rows: write one for every row.")
    texts, outputs = [r["text"] for r in rows], list(outputs)
    references = [r.get("references") or [r["target"]] for r in rows]
    counts = [textstats.edit_counts(*row) for row in zip(texts, outputs, references, strict=True)]
    scores, empty = np.asarray(score(outputs), float), np.array([not o.strip() for o in outputs], bool)
    columns = {
        "id": [r["id"] for r in rows],
        "text": texts,
        "output": outputs,
        "references": references,
        "score": scores,
        "compliance": (scores >= COMPLIES) & ~empty,  # an empty output has no cue, and is no rewriting
        "chrF": textstats.chrf(outputs, references),
        "exact match": [o in r for o, r in zip(outputs, references, strict=True)],
        "copied": [bare_words(o) == bare_words(t) for o, t in zip(outputs, texts, strict=True)],
        "empty": empty,
    }
    table = pd.DataFrame(columns)
    table[["edits right", "edits made", "edits wanted"]] = np.array(counts, int).reshape(-1, 3)
    if embed is not None:
        table["similarity"] = (normalize(embed(texts)) * normalize(embed(outputs))).sum(1)
    if nll is not None:
        table["nll"] = np.asarray(nll(outputs), float)
    return table if checks is None else table.join(checks)


def output_records(table: pd.DataFrame, rows: Sequence[dict], groups: Sequence[str]) -> list[dict]:
    """Judged outputs as records: text, output, references, groups, and verdicts under `checks`."""
    columns, records = ["id", "text", "output", "references"], []
    shown, verdicts = (part.to_dict("records") for part in (table[columns], table.drop(columns=columns)))
    for row, judged, values in zip(rows, shown, verdicts, strict=True):
        checks = {n: round(v, 4) if isinstance(v, float) else v for n, v in values.items()}
        records.append(judged | {g: row[g] for g in groups} | {"checks": checks})
    return records


def run_checks(name: str, rows: Sequence[dict], outputs: Sequence[str]) -> pd.DataFrame | None:
    """Check outputs against their references.

    `name` is `italian`, `groups`, or `''` for no check. By `italian` (word by word, see `helpers.italian.check`) the columns
    are `strict`, and what it requires: `inclusive`, `untouched` and `agreement`. By `groups` (see `written_groups`) they are
    `strict`, the same set of groups, and `group F1`. Of several references, the one that an output fits best counts.
    """
    check_value("check", name)
    if not name:
        return None
    if name == "groups":
        references = [row.get("references") or [row["target"]] for row in rows]
        return score_groups(outputs, references)[["exact", "group F1"]].rename(columns={"exact": "strict"})
    columns, verdicts = ["compliant", *PARTS], []
    for row, output in zip(rows, outputs, strict=True):
        candidates = [check.check(row["text"], output, r) for r in row.get("references") or [row["target"]]]
        verdicts.append(max(candidates, key=lambda verdict: sum(verdict[c] for c in columns)))
    return pd.DataFrame(verdicts, columns=columns, dtype=bool).rename(columns={"compliant": "strict"})


# --- figures of a set -----------------------------------------------------------------------------


def figures(table: pd.DataFrame, diversity: bool = True) -> dict[str, float]:
    """Means of the columns of judged outputs, BLEU and edit F1 of the set, exp(mean NLL) as `perplexity`.

    `diversity` adds distinct-n, self-BLEU and MTLD. They depend on the number of outputs: compare
    systems on the same rows, not groups of different size.
    """
    means = ["compliance", "score", "group F1", "chrF", "exact match", "copied", "empty", "similarity"]
    means += [c for c in table.columns if table[c].dtype == bool and c not in means]
    out = {"count": len(table)} | {c: float(table[c].mean()) for c in means if c in table}
    out["BLEU"] = textstats.bleu(table.output, table.references)
    right, made, needed = table[["edits right", "edits made", "edits wanted"]].sum()
    out["edit F1"] = float(2 * right / (made + needed)) if made + needed else float("nan")
    if "nll" in table:
        out["perplexity"] = float(np.exp(table.nll.mean()))
    if diversity:
        outputs = list(table.output)
        out |= {f"distinct-{n}": textstats.distinct_n(outputs, n) for n in (1, 2)}
        out |= {"self-BLEU": textstats.self_bleu(outputs), "MTLD": textstats.mtld(outputs)}
    return out


def _interval(table: pd.DataFrame, column: str, draws: int) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of one of INTERVALS."""
    values = table[column].to_numpy(float)
    if column not in HIGHEST:
        return bootstrap_interval(np.mean, values, draws=draws)
    return mean_interval(values, 0, HIGHEST[column], draws)


def headline_scores(table: pd.DataFrame) -> dict[str, float]:
    """Compliance and mean chrF, each with `_low` and `_high` of its 95 % bootstrap interval."""
    scores = {}
    for name in ("compliance", "chrF"):
        low, high = _interval(table, name, 300)
        scores |= {name: float(table[name].mean()), f"{name}_low": low, f"{name}_high": high}
    return scores


def compare_systems(tables: dict[str, pd.DataFrame], draws: int = 1000) -> pd.DataFrame:
    """One row per system with all figures, and 95 % bootstrap intervals of those that are means.

    `tables` maps a system's name to its judged outputs. The bounds are named as in `chrF low`.
    """
    rows = []
    for name, table in tables.items():
        row = {"system": name} | figures(table)
        for column in (c for c in INTERVALS if c in table):
            low, high = _interval(table, column, draws)
            row |= {f"{column} low": low, f"{column} high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def paired_differences(ours: pd.DataFrame, theirs: pd.DataFrame, draws: int = 1000) -> pd.DataFrame:
    """`ours` minus `theirs`, judged on the same rows, with 95 % paired bootstrap intervals."""
    if list(ours["id"]) != list(theirs["id"]):
        raise UserError("Two systems can be compared in pairs only on the same rows in the same order.")
    rows = []
    for column in (c for c in INTERVALS if c in ours and c in theirs):
        gap = ours[column].to_numpy(float) - theirs[column].to_numpy(float)
        reach = HIGHEST.get(column, 0)
        low, high = mean_interval(gap, -reach, reach, draws)
        rows.append({"figure": column, "difference": gap.mean(), "low": low, "high": high})
    return pd.DataFrame(rows)


# --- by group -------------------------------------------------------------------------------------


def group_table(table: pd.DataFrame, groups: Sequence[str], smallest: int = 10) -> pd.DataFrame:
    """The figures of every group, lowest compliance first.

    Diversity depends on the number of texts, so every group is measured at the size of the smallest
    one that has at least `smallest` rows: distinct-2 and MTLD over as many words, self-BLEU over as
    many texts (mean of five draws). Groups below `smallest` have NaN there, and `too_few`. The shares
    have Wilson's 95 % interval, chrF a bootstrapped one, as in `chrF_low`. `groups` has a name per row;
    an empty one reads "(none)".
    """
    names = pd.Series([g or "(none)" for g in groups], index=table.index)
    parts = dict(tuple(table.groupby(names, sort=False)))
    large = [name for name, part in parts.items() if len(part) >= smallest]
    words = min((len(textstats.all_words(parts[name].output)) for name in large), default=0)
    texts = min((len(parts[name]) for name in large), default=0)
    rows = []
    for name, part in parts.items():
        outputs = list(part.output) if name in large else []
        row = {"group": name} | figures(part, diversity=False)
        for column in (c for c in ("compliance", "strict") if c in part):
            row[f"{column}_low"], row[f"{column}_high"] = wilson_interval(part[column].to_numpy())
        row["chrF_low"], row["chrF_high"] = _interval(part, "chrF", 300)
        row["too_few"] = len(part) < smallest
        row["distinct-2"] = textstats.distinct_n(outputs, 2, words)
        row["self-BLEU"] = float(np.mean([textstats.self_bleu(outputs, texts, seed) for seed in range(5)]))
        row["MTLD"] = textstats.mtld(outputs, words)
        rows.append(row)
    table = pd.DataFrame(rows)
    columns = [c for c in (*FIGURES, *PARTS) if c in table and c != "copied"]  # a copy may be right
    columns = ["group", "count", *columns, *(c for c in table if c.endswith(("_low", "_high"))), "too_few"]
    return table[columns].sort_values(["too_few", "compliance"], kind="stable", ignore_index=True)


def group_spread(table: pd.DataFrame, smallest: int = 10) -> pd.DataFrame:
    """Highest minus lowest value of every figure over the groups with at least `smallest` rows.

    `table` is a `group_table`. A figure needs two groups; `groups` is the number of those compared.
    """
    large, rows = table[table["count"] >= smallest], []
    for column in (c for c in (*FIGURES, *PARTS) if c in table):
        values = large[column].dropna()
        if len(values) < 2:
            continue
        worst = values.idxmax() if column in LOWER_IS_BETTER else values.idxmin()
        spread = float(values.max() - values.min())
        name = str(large.group[worst]) if spread else "(all alike)"
        rows.append((column, spread, name, float(values[worst]), len(values)))
    return pd.DataFrame(rows, columns=["figure", "spread", "worst group", "its value", "groups"])


def readable_table(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of judged outputs that a page shows, with one reference."""
    verdicts = [c for c in ("compliance", "strict") if c in table]
    readable = table.assign(reference=[texts[0] for texts in table.references], chrF=table.chrF.round(1))
    return readable[["text", "output", "reference", *verdicts, "chrF"]]


def worst_outputs(table: pd.DataFrame, count: int = 10) -> pd.DataFrame:
    """The `count` worst of the judged outputs: those that do not comply first, then the lowest chrF."""
    return table.sort_values(["compliance", "chrF"], kind="stable").head(count)


def nearest_targets(texts: Sequence[str], training: Sequence[dict], embed: Score) -> list[str]:
    """For every text, the target of the training row with the nearest source (cosine of `embed`)."""
    if not training:
        raise UserError("The nearest training target needs training rows: run 03 first.")
    ours, theirs = normalize(embed(list(texts))), normalize(embed([r["text"] for r in training]))
    return [training[i]["target"] for i in (ours @ theirs.T).argmax(1)]
