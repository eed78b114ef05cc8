"""Learning curves compared: areas, labels to a level, intervals, paired tests, and what 03 and the benchmark leave behind."""

import numpy as np
import pandas as pd
import pytest

from helpers import files
from helpers.data import embedded
from helpers.env import UserError
from helpers.evaluation import curves
from helpers.text import clean
from tests.project import ROOT, save_manifest

LABELS = [50, 100, 150, 200]


def table(seeds=10, lift=0.02, noise=0.01):
    """Random and a strategy that is better by `lift`; half of the noise is shared by both."""
    rows = []
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        luck = rng.normal(0, noise)
        for name, gain in (("random", 0), ("clever", lift)):
            for n, score in zip(LABELS, (0.5, 0.6, 0.65, 0.68), strict=True):
                value = score + luck + gain * (n > 50) + rng.normal(0, noise / 4)
                rows.append({"set": "s", "strategy": name, "seed": seed, "labels": n, "score": value})
    return pd.DataFrame(rows)


def test_area_is_the_mean_height():
    assert curves.area([0, 10], np.array([[0.2, 0.4], [0.5, 0.5]])) == pytest.approx([0.3, 0.5])
    assert curves.area([0, 10, 40], np.array([0.0, 1.0, 1.0])) == pytest.approx(35 / 40)


def test_labels_to_a_level_are_interpolated():
    scores = np.array([[0.5, 0.6, 0.7], [0.8, 0.7, 0.9], [0.1, 0.1, 0.1], [0.5, 0.4, 0.6]])
    assert curves.labels_to([100, 200, 300], scores, 0.65).tolist() == pytest.approx([250, 100, np.inf, np.inf])
    assert curves.labels_to([100, 200, 300], scores[3], 0.5) == 100  # the first time counts


def test_sign_flips_are_exact_for_few_seeds():
    assert curves.paired_p(np.full(10, 0.1)) == pytest.approx(2 / 1024)
    assert curves.paired_p(np.array([1.0, -1.0])) == 1
    rng = np.random.default_rng(0)
    assert curves.paired_p(rng.normal(1, 0.1, 40)) < 0.001
    false_alarms = np.mean([curves.paired_p(rng.normal(0, 1, 10)) < 0.05 for _ in range(200)])
    assert false_alarms < 0.09


def test_compare_finds_what_is_there():
    found = curves.compare(table(), "s", full=0.68).set_index("strategy")
    assert list(found.index) == ["clever", "random"]
    clever, random = found.loc["clever"], found.loc["random"]
    assert clever.gain == pytest.approx(0.02 * 125 / 150, abs=0.003) and clever.p < 0.01
    assert 0 < clever.gain_low < clever.gain < clever.gain_high
    assert random.gain == random.gain_low == 0 and random.p == 1 and random.ratio_95 == 1
    assert clever.to_95 < random.to_95 and clever.ratio_95 == pytest.approx(clever.to_95 / random.to_95)
    assert clever.to_95_low <= clever.to_95 <= clever.to_95_high
    none = curves.compare(table(lift=0.0), "s", full=0.68).set_index("strategy").loc["clever"]
    assert none.p > 0.05 and none.gain_low < 0 < none.gain_high


def test_the_baseline_may_go_on_for_longer():
    more = [{"set": "s", "strategy": "random", "seed": s, "labels": 400, "score": 0.9} for s in range(10)]
    long = pd.concat([table(noise=1e-9), pd.DataFrame(more)])
    found = curves.compare(long, "s", full=0.72).set_index("strategy")
    assert found.loc["random"].area == pytest.approx(
        curves.compare(table(noise=1e-9), "s", 0.72, upto=200).area.min(), abs=1e-6
    )
    assert found.loc["clever"].gain == pytest.approx(0.02 * 125 / 150, abs=1e-6)  # up to the labels that both have
    assert found.loc["random"].to_95 > 200 and found.loc["clever"].ratio_95 < 1


def test_a_level_never_reached_is_infinite():
    found = curves.compare(table(), "s", full=0.9).set_index("strategy").loc["clever"]
    assert np.isinf(found.to_98) and np.isinf(found.to_98_low) and "ratio_98" not in found


def test_mean_curve_has_the_interval_of_its_seeds():
    mean = curves.mean_curve(table()).set_index(["strategy", "labels"]).loc["clever", 200]
    own = table().query("strategy == 'clever' and labels == 200").score
    assert mean.score == pytest.approx(own.mean()) and mean.seeds == 10
    assert own.min() < mean.low < own.mean() < mean.high < own.max()


def test_mistakes_are_told_in_a_sentence():
    with pytest.raises(UserError, match="no curve of entropy"):
        curves.compare(table(), "s", 0.7, baseline="entropy")
    apart = table()
    apart.loc[apart.strategy == "clever", "seed"] += 100
    with pytest.raises(UserError, match="share no seed"):
        curves.compare(apart, "s", 0.7)
    with pytest.raises(UserError, match="need two rounds"):
        curves.compare(table(), "s", 0.7, upto=50)


def test_a_sentence_says_whether_it_is_luck():
    rows = curves.compare(table(), "s", 0.68)
    assert curves.describe_gain(rows.iloc[0]).endswith("against random on 10 seeds, p = 0.002: more than chance.")
    assert "one seed" in curves.describe_gain(curves.compare(table(1), "s", 0.68).iloc[0])
    assert curves.describe_gain(
        curves.compare(table(lift=0.0), "s", 0.68).query("strategy == 'clever'").iloc[0]
    ).endswith("it may be chance.")


def test_what_has_no_baseline_is_named_and_the_rest_compared():
    human = table(1).query("strategy == 'clever'").assign(set="human")
    apart = table(2).query("strategy == 'clever'").assign(strategy="late", seed=lambda t: t.seed + 50)
    both = pd.concat([table(2), apart, human])
    found, reasons = curves.compare_sets(both, {"s": 0.7, "human": 0.7})
    assert set(found.strategy) == {"clever", "random"} and set(found["set"]) == {"s"}
    assert "late shares no seed with random" in reasons["s"] and "no curve of random" in reasons["human"]
    none, reasons = curves.compare_sets(human, {"human": 0.7})
    assert none.empty and list(none.columns) == curves.COMPARED and len(reasons) == 1
    assert curves.compare_sets(table(2), {"s": 0.7})[1] == {}


def test_curves_are_drawn_with_and_without_a_comparison():
    more = [{"set": "s", "strategy": "random", "seed": s, "labels": 400, "score": 0.9} for s in range(2)]
    mean = curves.mean_curve(pd.concat([table(2), pd.DataFrame(more)]))
    comparison, _ = curves.compare_sets(table(2), {"s": 0.7})
    rows = curves.drawn_curves(mean, comparison, "random", 4)
    assert rows.strategy.unique().tolist() == ["random", "clever"] and rows.labels.max() == 200
    human = curves.mean_curve(table(1).query("strategy == 'clever'"))
    rows = curves.drawn_curves(human, comparison[:0], "random", 4)
    assert rows.strategy.unique().tolist() == ["clever"] and len(rows) == 4


def test_the_band_behind_a_run_of_the_demo_is_that_of_the_benchmark():
    committed = ROOT / "tests/benchmarks/results/active_learning_qlora_jobs_curves.csv"
    assert embedded.CURVES.read_bytes() == committed.read_bytes()
    band = curves.seed_band("bait", 300)
    scores = curves.from_csv(committed).query("strategy == 'bait' and labels == 300").score
    assert band.labels.tolist() == [50, 100, 150, 200, 250, 300] and band.seeds.eq(5).all()
    assert band.iloc[-1][["low", "high"]].tolist() == [scores.min(), scores.max()]
    assert (
        curves.seed_band("badge", 100).strategy.tolist() == ["random on labels alone"] * 2
    )  # which has no curve of its own
    sentence = curves.describe_band(band)
    assert f"{scores.min():.3f}–{scores.max():.3f}" in sentence and "one run is one draw" in sentence
    assert "begin at 50" in curves.describe_band(curves.seed_band("bait", 40))


def test_a_run_of_the_demo_is_known_by_its_rows(tmp_path):
    demo = {"learner": "qlora", "model": "embedded:italian_jobs/base_model"}
    path = tmp_path / "01_seed_curation" / "validation.jsonl"
    assert not curves.is_demo(demo, tmp_path)
    files.write_jsonl(path, [{"text": clean(r["text"])} for r in embedded.gold()[:9]])
    assert curves.is_demo(demo, tmp_path)
    for change in ({"learner": "probe"}, {"model": "own/model"}):
        assert not curves.is_demo(demo | change, tmp_path)
    files.write_jsonl(path, [{"text": "un testo"}])
    assert not curves.is_demo(demo, tmp_path)


def stage(folder, seed, scores, strategy="margin", learner="probe"):
    rounds = [
        {"strategy": name, "round": i, "labels": n, "macro_f1": s, "picks": ["x"], "seconds": 1.0, "tokens": 9}
        for name in (strategy, "random")
        for i, (n, s) in enumerate(zip((10, 20), scores if name == strategy else (scores[0], seed / 100), strict=True))
    ]
    files.write_jsonl(folder / "03_active_learning" / "rounds.jsonl", rounds)
    model = "embedded:some/model" if learner == "qlora" else "some/model"
    chosen = {"task": "t", "learner": learner, "model": model, "seed": seed}
    save_manifest(folder / "03_active_learning", parameters=chosen)
    return folder


def test_runs_are_read_and_grouped_by_what_they_share(tmp_path):
    folders = [stage(tmp_path / "a", 1, (0.5, 0.6)), stage(tmp_path / "b", 2, (0.5, 0.7))]
    folders += [
        stage(tmp_path / "c", 1, (0.5, 0.65), strategy="badge"),
        stage(tmp_path / "d", 1, (0.4, 0.5), learner="qlora"),
    ]
    found = curves.from_runs(folders)
    assert set(found["set"]) == {"t, probe, model", "t, qlora, embedded base"} and found.tokens.eq(9).all()
    counts = found[found["set"] == "t, probe, model"].groupby("strategy").seed.nunique()
    assert counts.to_dict() == {"badge": 1, "margin": 2, "random": 2}  # random beside margin and badge is the same run
    with pytest.raises(UserError, match="Run e has the seed and the strategy of run a"):
        curves.from_runs([*folders, stage(tmp_path / "e", 1, (0.5, 0.9))])
    longer = stage(tmp_path / "longer", 1, (0.5, 0.6))  # the same rounds as those of a, and one more
    rounds = files.read_jsonl(longer / "03_active_learning" / "rounds.jsonl")
    more = rounds[1] | {"round": 2, "labels": 30, "macro_f1": 0.8}
    files.write_jsonl(longer / "03_active_learning" / "rounds.jsonl", [*rounds, more])
    assert set(curves.from_runs([*folders[:2], longer]).run) >= {"a", "longer"}
    other = stage(tmp_path / "other", 1, (0.4, 0.5))
    rounds = files.read_jsonl(other / "03_active_learning" / "rounds.jsonl")
    moved = [r | {"labels": r["labels"] + 1} for r in rounds]  # no number of labels in common
    files.write_jsonl(other / "03_active_learning" / "rounds.jsonl", moved)
    with pytest.raises(UserError, match="has the seed and the strategy of run"):
        curves.from_runs([*folders, other])
    with pytest.raises(UserError, match="has no finished rounds"):
        curves.from_runs([tmp_path / "nothing"])


def test_a_model_trained_anew_on_the_same_labels_takes_the_place_of_its_round(tmp_path):
    folder = stage(tmp_path / "a", 1, (0.5, 0.6))
    rounds = files.read_jsonl(folder / "03_active_learning" / "rounds.jsonl")
    anew = rounds[1] | {"round": 2, "macro_f1": 0.8}  # a label was corrected, and no other added
    files.write_jsonl(folder / "03_active_learning" / "rounds.jsonl", [*rounds, anew])
    table = curves.from_runs([folder])
    assert table[table.strategy == "margin"].score.tolist() == [0.5, 0.8]
    found, _ = curves.compare_sets(table, {"t, probe, model": 0.8})
    assert found.set_index("strategy").loc["margin"].seeds == 1


def on_table(folder, table, seed, drawn, sizes=0):
    """A run whose 01 drew these validation rows from a table of this content."""
    first = folder / "01_seed_curation"
    files.write_jsonl(first / "validation.jsonl", [{"id": f"{table} {i}", "label": "x"} for i in drawn])
    parameters = {"data_path": f"{table}.csv", "test_size": sizes}
    save_manifest(first, parameters=parameters, inputs={f"{table}.csv": table, "GUIDELINE.md": "g"})
    return stage(folder, seed, (0.5, 0.6))


def test_runs_on_other_data_are_another_set(tmp_path):
    folders = [on_table(tmp_path / "a", "my", 1, (1, 2)), on_table(tmp_path / "b", "my", 2, (3, 4))]
    assert set(curves.from_runs(folders)["set"]) == {"t, probe, model"}  # another seed draws other rows of it
    folders.append(on_table(tmp_path / "c", "messy", 1, (1, 2)))
    found = curves.from_runs(folders)
    assert found.groupby("set").seed.nunique().to_dict() == {
        "t, probe, model, messy.csv": 1,
        "t, probe, model, my.csv": 2,
    }
    folders.append(on_table(tmp_path / "d", "my", 1, (5, 6), sizes=9))
    names = curves.data_names(folders)
    assert names[folders[0]] == names[folders[1]] != names[folders[3]] and names[folders[3]].startswith("my.csv ")


def test_the_same_rows_are_the_same_data_whatever_the_file(tmp_path):
    folders = [on_table(tmp_path / name, "my", seed, (1, 2)) for name, seed in (("a", 1), ("b", 2))]
    manifest = files.read_json(folders[1] / "01_seed_curation/manifest.json")
    save_manifest(
        folders[1] / "01_seed_curation", parameters={"data_path": "my.parquet"}, inputs={"my.parquet": "other"}
    )
    assert manifest and set(curves.data_names(folders).values()) == {""}


def writing(folder, seed, better):
    """A run of generation as 03 and 04 leave it: with `better` the strategy gains so much compliance in its second round."""
    rounds = [
        {"strategy": name, "round": i, "targets": 30 + 60 * i, "picks": ["x"], "seconds": 2.0, "tokens": 9}
        | {"compliance": 0.5 + gain * i, "compliance_low": 0.4, "compliance_high": 0.9}
        | {"chrF": 70.0 + i, "chrF_low": 60.0, "chrF_high": 80.0}
        for name, gain in (("hassan", better), ("random", 0.1))
        for i in range(2)
    ]
    files.write_jsonl(folder / "03_active_generation" / "rounds.jsonl", rounds)
    save_manifest(folder / "03_active_generation", parameters={"task": "w", "model": "a/b", "seed": seed})
    ends = pd.DataFrame({"system": ["writer", "copy of the source"], "compliance": [0.8, 0.2], "chrF": [75.0, 80.0]})
    files.write_csv(folder / "04_generation_evaluation" / "headline.csv", ends)
    return folder


def test_runs_of_generation_have_a_set_for_each_score(tmp_path):
    folders = [writing(tmp_path / "a", 1, 0.2), writing(tmp_path / "b", 2, 0.3)]
    found = curves.from_runs(folders)
    assert list(found["set"].unique()) == ["w, b: chrF", "w, b: compliance"]
    assert found.groupby("set").labels.max().tolist() == [90, 90]
    gain = curves.compare(found, "w, b: compliance", 0.8).set_index("strategy").loc["hassan"]
    assert (
        gain.gain == pytest.approx((0.1 + 0.2) / 2 / 2) and gain.seeds == 2
    )  # half of what the last round is above random
    assert curves.compare(found, "w, b: chrF", 71).gain.tolist() == [0, 0]
    mean = curves.mean_curve(found[found.seed == 1]).set_index(["set", "strategy", "labels"])
    assert mean.loc[("w, b: compliance", "hassan", 90), ["low", "high"]].tolist() == [0.4, 0.9]  # one seed: over rows
    ends = curves.final_scores([*folders, tmp_path])
    assert ends.loc["writer", ("compliance", "b")] == 0.8 and ends.shape == (2, 4)
    assert curves.final_scores([tmp_path]).empty


def test_the_curves_of_the_generation_benchmark_are_read(tmp_path):
    rows = [("s", "random", 0, "tagger", 30, 0.5, 70.0), ("s", "random", 0, "tagger", 60, 0.6, np.nan)]
    names = ["set", "strategy", "seed", "learner", "labels", "compliance", "chrF"]
    pd.DataFrame(rows, columns=names).to_csv(tmp_path / "g.csv", index=False)
    back = curves.from_csv(tmp_path / "g.csv")
    assert back.groupby("set").score.apply(list).to_dict() == {
        "s, tagger: chrF": [70],
        "s, tagger: compliance": [0.5, 0.6],
    }


def test_the_csv_of_the_benchmark_is_read_back(tmp_path):
    long = table(3)
    wide = long.pivot(index=["set", "strategy", "seed"], columns="labels", values="score").reset_index()
    wide.loc[wide.strategy == "clever", 200] = np.nan
    wide.to_csv(tmp_path / "c.csv", index=False)
    back = curves.from_csv(tmp_path / "c.csv")
    assert len(back) == len(long) - 3 and back.labels.dtype == int
    assert curves.compare(back, "s", 0.7).area.notna().all()
    (tmp_path / "d.csv").write_text("set,seed\n")
    with pytest.raises(UserError, match="no column strategy"):
        curves.from_csv(tmp_path / "d.csv")


@pytest.mark.parametrize(
    "content", ["[1]", '{"full": 3}', '{"best": {"t": 1}}', '{"full": {"other": 0.9}}', '{"full": {"t": "x"}}']
)
def test_a_file_of_other_scores_is_a_sentence(tmp_path, content):
    path = tmp_path / "full.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"parameter full_json. has no scores of these sets: it is to read like .*t"):
        curves.full_scores(path, ["t"])
    path.write_text('{"full": {"t": 0.9, "other": 0.5}}')
    assert curves.full_scores(path, ["t"]) == {"t": 0.9}
