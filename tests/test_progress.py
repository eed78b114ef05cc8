"""Bars: what they say, where they are shown, and that nested ones leave the outermost alone."""

import pytest

from helpers import env, progress
from helpers.progress import Bar, duration


@pytest.fixture
def clock(monkeypatch):
    """tqdm's clock, moved by hand."""
    now = [1000.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    return now


def run_bar(now, steps: int, seconds: float, loss=None) -> None:
    with Bar(steps, "training", "step") as bar:
        for _ in range(steps):
            now[0] += seconds
            bar.loss = loss
            bar.update()


def test_in_batch_a_long_cell_prints_a_line_now_and_then_and_a_short_one_none(monkeypatch, capsys, clock):
    monkeypatch.setattr(env, "frontend", lambda: "batch")
    run_bar(clock, 100, 0.1)
    assert capsys.readouterr().err == ""
    run_bar(clock, 100, 1.0, 0.25)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""  # outside a kernel it may hold the answers
    assert len(lines) == 3
    assert lines[0].startswith("training: 3") and lines[0].endswith("loss 0.250, about 70 s left")


def test_a_program_whose_errors_nobody_watches_is_batch(monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    assert env.frontend() == "batch"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert env.frontend() == "terminal"


def test_in_a_notebook_one_output_is_drawn_anew_and_emptied_at_the_end(monkeypatch, clock):
    from IPython.core import display_functions

    shown = []
    monkeypatch.setattr(env, "frontend", lambda: "notebook")
    handle = display_functions.DisplayHandle("bar")
    monkeypatch.setattr(handle, "update", lambda html: shown.append(html.data))
    monkeypatch.setattr("IPython.display.display", lambda html, **_: shown.append(html.data) or handle)
    run_bar(clock, 10, 1.0)
    assert shown[0].startswith('<progress value="') and shown[-1] == ""
    assert "of 10 steps, about" in shown[0]


def test_of_nested_bars_the_outermost_is_shown(monkeypatch, capsys, clock):
    monkeypatch.setattr(env, "frontend", lambda: "batch")
    with Bar(2, "training", "step"):
        run_bar(clock, 100, 1.0)
    assert capsys.readouterr().out == ""
    assert not progress.Bar.shown


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (89, "89 s"), (90, "2 min"), (3000, "50 min"), (9000, "2.5 h")]
)
def test_a_duration_is_in_the_unit_a_reader_would_use(seconds, text):
    assert duration(seconds) == text
