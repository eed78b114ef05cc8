"""How good written texts are: compliance, meaning, fluency and diversity, over all rows and by group.

`judged` gives a row a text; everything else is worked out from that table, so a figure can be traced to the texts behind it.
`score` is any function from texts to float (n,), 1 where the text complies with the regulated attribute (R of Hassan et al. 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from sklearn.preprocessing import normalize

from helpers.env import UserError
from helpers.evaluation import textstats
from helpers.italian import check
from helpers.text import normalise

Score = Callable[[Sequence[str]], np.ndarray]
FIGURES = ("compliance", "strict", "chrF", "BLEU", "edit F1", "exact match", "copied", "similarity", "perplexity")
FIGURES += ("distinct-2", "self-BLEU", "MTLD")  # in the order in which a page shows them
PARTS = ["inclusive", "untouched", "agreement"]  # what `strict` consists of, see `checks`
LOWER_IS_BETTER = ("perplexity", "self-BLEU", "empty")
INTERVALS = ("compliance", "strict", "chrF", "exact match", "similarity")


# --- a row a text ----------------------------------------------------------------------------------------------------


def judge_outputs(
    rows: Sequence[dict],
    outputs: Sequence[str],
    score: Score,
    embed: Score | None = None,
    nll: Score | None = None,
    checks: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """One row a text: id, text, output, references, and what each of the judges says of the output.

    `embed` gives vectors (n, d) for the cosine of output and source, `nll` the mean negative log-likelihood of a token (nats) under
    a model that did not write the texts; `checks` are boolean columns of one's own. Columns whose judge is not given are absent.
    Raises UserError when a row has no output of its own.
    """
    if len(rows) != len(outputs):
        raise UserError(f"{len(outputs)} outputs for {len(rows)} rows: write one for every row.")
    texts, outputs = [r["text"] for r in rows], list(outputs)
    references = [r.get("references") or [r["target"]] for r in rows]
    counts = [textstats.edit_counts(*row) for row in zip(texts, outputs, references, strict=True)]
    scores = np.asarray(score(outputs), float)
    table = pd.DataFrame(
        {
            "id": [r["id"] for r in rows],
            "text": texts,
            "output": outputs,
            "references": references,
            "score": scores,
            "compliance": (scores >= COMPLIES) & np.array([bool(o.strip()) for o in outputs], bool),
            "chrF": textstats.chrf(outputs, references),
            "exact match": [o in r for o, r in zip(outputs, references, strict=True)],
            "copied": [normalise(o) == normalise(t) for o, t in zip(outputs, texts, strict=True)],
            "empty": [not o.strip() for o in outputs],
        }
    )
    table[["edits right", "edits made", "edits wanted"]] = np.array(counts, int).reshape(-1, 3)
    if embed is not None:
        table["similarity"] = (normalize(embed(texts)) * normalize(embed(outputs))).sum(1)
    if nll is not None:
        table["nll"] = np.asarray(nll(outputs), float)
    return table if checks is None else table.join(checks.reset_index(drop=True))


def output_records(table: pd.DataFrame, rows: Sequence[dict], groups: Sequence[str]) -> list[dict]:
    """The outputs as they are saved: id, text, output, references, the group columns, and under `checks` all else of `judged`."""
    fixed = ["id", "text", "output", "references"]
    saved = []
    for row, found in zip(rows, table.astype(object).to_dict("records"), strict=True):
        checks = {k: round(v, 4) if isinstance(v, float) else v for k, v in found.items() if k not in fixed}
        saved.append({k: found[k] for k in fixed} | {g: row[g] for g in groups} | {"checks": checks})
    return saved


def run_checks(name: str, rows: Sequence[dict], outputs: Sequence[str]) -> pd.DataFrame | None:
    """Boolean columns of the check `name`: strict (all of the others), inclusive, untouched, agreement for `italian`, None for ''.

    Of several references the one that an output fits best counts, see `rewriting.check`. Raises UserError on another name.
    """
    if name not in ("", "italian"):
        raise UserError(f"Parameter check={name!r} must be italian, or '' for tasks other than Italian rewriting.")
    if not name:
        return None
    columns, found = ["compliant", "inclusive", "untouched", "agreement"], []
    for row, output in zip(rows, outputs, strict=True):
        said = [check.check(row["text"], output, r) for r in row.get("references") or [row["target"]]]
        found.append(max(said, key=lambda one: sum(one[c] for c in columns)))
    return pd.DataFrame(found, columns=columns, dtype=bool).rename(columns={"compliant": "strict"})


# --- figures of a set ------------------------------------------------------------------------------------------------


def figures(table: pd.DataFrame, diversity: bool = True) -> dict[str, float]:
    """Every figure of a table of `judged`: shares and means of its columns, BLEU, edit F1, perplexity, and diversity.

    `chrF` is the mean of the rows'; `perplexity` is exp of the mean of `nll`. Diversity is that of the outputs and depends on their
    number: compare it between systems on the same rows, not between groups of different size.
    """
    means = ["compliance", "score", "chrF", "exact match", "copied", "empty", "similarity"]
    means += [c for c in table.columns if table[c].dtype == bool and c not in means]
    out = {"count": len(table)} | {c: float(table[c].mean()) for c in means if c in table}
    out["BLEU"] = textstats.overlap(list(table.output), list(table.references))["BLEU"]
    right, made, wanted = (int(table[f"edits {c}"].sum()) for c in ("right", "made", "wanted"))
    out["edit F1"] = 2 * right / (made + wanted) if made + wanted else float("nan")
    if "nll" in table:
        out["perplexity"] = float(np.exp(table.nll.mean()))
    if diversity:
        words = list(table.output)
        out |= {f"distinct-{n}": textstats.distinct_n(words, n) for n in (1, 2)}
        out |= {"self-BLEU": textstats.self_bleu(words), "MTLD": textstats.mtld(words)}
    return out


def bounds(values: np.ndarray, draws: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of `values` (n,) over rows; NaN without a row."""
    values = np.asarray(values, float)
    if not len(values):
        return float("nan"), float("nan")
    drawn = np.random.default_rng(seed).integers(0, len(values), (draws, len(values)))
    low, high = np.quantile(values[drawn].mean(1), [0.025, 0.975])
    return float(low), float(high)


def headline_scores(table: pd.DataFrame, draws: int = 300) -> dict[str, float]:
    """The share of a table of `judged` that complies, and its mean chrF, with _low and _high of their 95 % bootstrap intervals."""
    found = {}
    for name in ("compliance", "chrF"):
        low, high = bounds(table[name].to_numpy(), draws)
        found |= {name: float(table[name].mean()), f"{name}_low": low, f"{name}_high": high}
    return found


def compare_systems(tables: dict[str, pd.DataFrame], draws: int = 1000) -> pd.DataFrame:
    """One row a system, with every figure and 95 % bootstrap intervals over rows where a figure is a mean."""
    rows = []
    for name, table in tables.items():
        row = {"system": name} | figures(table)
        for column in (c for c in INTERVALS if c in table):
            low, high = bounds(table[column].to_numpy(), draws)
            row |= {f"{column} low": low, f"{column} high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def paired_differences(ours: pd.DataFrame, theirs: pd.DataFrame, draws: int = 1000) -> pd.DataFrame:
    """`ours` minus `theirs` on the same rows, a row a figure: difference with its 95 % paired bootstrap interval."""
    if list(ours["id"]) != list(theirs["id"]):
        raise UserError("Two systems can be compared in pairs only on the same rows in the same order.")
    rows = []
    for column in (c for c in INTERVALS if c in ours and c in theirs):
        gap = ours[column].to_numpy(float) - theirs[column].to_numpy(float)
        low, high = bounds(gap, draws)
        rows.append({"figure": column, "difference": gap.mean(), "low": low, "high": high})
    return pd.DataFrame(rows)


# --- by group --------------------------------------------------------------------------------------------------------


def group_table(table: pd.DataFrame, groups: Sequence[str], smallest: int = 10) -> pd.DataFrame:
    """The figures of every group, the lowest compliance first.

    Diversity depends on the number of texts, so it is over as many as the smallest group of at least `smallest` rows has, NaN for
    groups below: distinct-2 and MTLD over its number of words, self-BLEU over its number of texts (mean of five draws).
    """
    names = pd.Series([g or "(none)" for g in groups], index=table.index)
    parts = dict(tuple(table.groupby(names, sort=False)))
    large = [name for name, part in parts.items() if len(part) >= smallest]
    words = min((sum(len(normalise(o).split()) for o in parts[name].output) for name in large), default=0)
    texts = min((len(parts[name]) for name in large), default=0)
    rows = []
    for name, part in parts.items():
        written = list(part.output) if name in large else []
        alike = [textstats.self_bleu(written, texts, draw) for draw in range(5)]
        diversity = {"distinct-2": textstats.distinct_n(written, 2, words), "self-BLEU": float(np.mean(alike))}
        rows.append(
            {"group": name}
            | figures(part, diversity=False)
            | diversity
            | {"MTLD": textstats.mtld(written, tokens=words)}
        )
    table = pd.DataFrame(rows)
    kept = ["group", "count", *[c for c in (*FIGURES, *PARTS) if c in table and c != "copied"]]  # a copy may be right
    return table[kept].sort_values("compliance", kind="stable").reset_index(drop=True)


def group_spread(table: pd.DataFrame, smallest: int = 10) -> pd.DataFrame:
    """Of a table of `by_group`, a row a figure: spread (highest minus lowest), worst group with its value, groups compared.

    Groups of fewer than `smallest` rows are not compared; a figure that fewer than two groups have has no row.
    """
    kept, rows = table[table["count"] >= smallest], []
    for column in (c for c in (*FIGURES, *PARTS) if c in table):
        values = kept[column].dropna()
        if len(values) < 2:
            continue
        worst = values.idxmax() if column in LOWER_IS_BETTER else values.idxmin()
        alike = values.max() == values.min()
        rows.append(
            {
                "figure": column,
                "spread": float(values.max() - values.min()),
                "worst group": "(all alike)" if alike else str(kept.group[worst]),
                "its value": float(values[worst]),
                "groups": len(values),
            }
        )
    return pd.DataFrame(rows, columns=["figure", "spread", "worst group", "its value", "groups"])


def readable_table(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that a page shows of a table of `judged`: yes and no for its verdicts, the first reference."""
    verdicts = [c for c in ("compliance", "strict") if c in table]
    shown = table.assign(reference=table.references.str[0], chrF=table.chrF.round(1))
    shown[verdicts] = shown[verdicts].astype(bool).replace({True: "yes", False: "no"}).astype(object)
    return shown[["text", "output", "reference", *verdicts, "chrF"]]


def worst_outputs(table: pd.DataFrame, count: int = 10) -> pd.DataFrame:
    """The `count` rows that fare worst: those that do not comply first, then the lowest chrF."""
    order = table.assign(fails=~table.compliance.astype(bool)).sort_values(
        ["fails", "chrF"], ascending=[False, True], kind="stable"
    )
    return order.head(count).drop(columns="fails")


# --- what a system must beat -----------------------------------------------------------------------------------------


def nearest_targets(texts: Sequence[str], training: Sequence[dict], embed: Score) -> list[str]:
    """For every text the target of the training row whose source is nearest in `embed` (cosine)."""
    if not training:
        raise UserError("The nearest training target needs training rows: run 03 first.")
    ours, theirs = normalize(embed(list(texts))), normalize(embed([r["text"] for r in training]))
    return [training[i]["target"] for i in (ours @ theirs.T).argmax(1)]


COMPLIES = 0.5  # a text with at least this score keeps the attribute
