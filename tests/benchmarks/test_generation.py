"""The benchmark of selection for generation on a small budget: drawn, taken up again, reported."""

import sys

import pandas as pd
import pytest

from tests.benchmarks import generation


def test_a_benchmark_goes_on_where_it_was_cut_off_and_reports(tmp_path, monkeypatch, capsys):
    small = {"start": 30, "batch": 10, "rounds": 1, "candidates": 60}
    monkeypatch.setattr(generation, "BUDGETS", {"rewriting": small})
    monkeypatch.setattr(generation, "RESULTS", tmp_path)
    words = ["generation", "rewriting", "--work", str(tmp_path), "--seeds", "0", "--only", "random"]
    monkeypatch.setattr(sys, "argv", words)
    generation.main()
    first = (tmp_path / "curves.jsonl").read_text()
    monkeypatch.setattr(sys, "argv", [*words, "hassan", "--report"])
    generation.main()
    assert (tmp_path / "curves.jsonl").read_text().startswith(first) and "compliance" in capsys.readouterr().out
    curves = pd.read_csv(tmp_path / "generation_curves.csv")
    assert curves.groupby(["strategy", "seed"]).labels.apply(list).tolist() == [[30, 40]] * 2
    assert curves[curves.labels == 30].groupby("seed").chrF.nunique().tolist() == [1]  # the same start for all
    table = pd.read_csv(tmp_path / "generation.csv").set_index(["strategy", "measure"])
    gain = curves[curves.labels > 30].groupby(["strategy", "seed"]).chrF.mean().unstack("seed")
    assert table.loc[("hassan", "chrF"), "gain"] == pytest.approx(
        (gain.loc["hassan"] - gain.loc["random"]).mean(), abs=1e-3
    )
    assert table.loc[("random", "chrF"), ["gain", "low", "high"]].tolist() == [0, 0, 0]
