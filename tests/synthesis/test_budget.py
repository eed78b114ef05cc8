"""The ledger of a budget: what a teacher has cost outlives restarts, kills, lost replies and a full disk."""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import env
from helpers.env import UserError
from helpers.synthesis import annotator, endpoint
from helpers.synthesis.budget import Budget, NotAnswered
from helpers.task import Task
from tests.endpoints import Proxy, completion

PROMPTS = [f"Scrivi l'annuncio numero {i} per un negozio di Parma." for i in range(12)]
TASK = Task("t", ("good", "bad"), "bad", (" good", " bad"), "{text}")


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setenv("AMBO_ROOT", str(tmp_path))
    for name, value in (("MODEL", "m"), ("API_KEY", "sk-of-this-test")):
        monkeypatch.setenv(f"TEACHER_{name}", value)


def spent(budget: Budget) -> tuple[int, int]:
    return budget.spent_prompt, budget.spent_completion


def start(folder: Path, url: str, monkeypatch, tokens: int, **settings) -> endpoint.Endpoint:
    """What a stage has after a restart: an endpoint with the budget of that stage."""
    monkeypatch.setenv("TEACHER_BASE_URL", url)
    budget = Budget.of_stage(tokens, folder / "store", folder / "outputs/t/r/03", "TEACHER")
    return endpoint.Endpoint(store=folder / "store", budget=budget, max_tokens=30, retries=1, timeout=5.0, **settings)


@pytest.mark.parametrize("fault", ["drop", "half"])
def test_lost_and_garbled_replies_are_paid_from_one_budget_over_all_starts(fault, tmp_path, monkeypatch):
    with Proxy(lambda number, body: fault) as proxy:
        for _ in range(4):
            with contextlib.suppress(UserError):  # where the budget ends it, the answers are failed
                start(tmp_path, proxy.url, monkeypatch, 2000).ask(PROMPTS)
    assert len(proxy.asked) > 5 and sum(proxy.sizes) + 30 * len(proxy.asked) <= 2000


def test_a_teacher_that_labels_keeps_to_its_budget_over_all_starts(tmp_path, monkeypatch):
    params = {"teacher_tokens": 20_000, "prompt_price": 0.0, "completion_price": 0.0}
    params |= {"brief": "", "guideline": "", "language": "it"}
    records = [{"id": f"r{i}", "text": f"Cercasi commesso numero {i}"} for i in range(30)]
    with Proxy(lambda number, body: {"choices": "lost"}) as proxy:
        monkeypatch.setenv("TEACHER_BASE_URL", proxy.url)
        for _ in range(4):
            teacher = annotator.TeacherAnnotator.from_params(params, TASK, tmp_path / "log")
            teacher.back_end._client = teacher.back_end._client.with_options(max_retries=1)
            with pytest.raises(UserError):
                teacher.annotate(tmp_path / "log", records)
    assert sum(proxy.sizes) + 512 * len(proxy.asked) <= 20_000


def test_prompts_that_are_not_asked_again_stay_paid_and_stored_replies_count_once(tmp_path, monkeypatch):
    with Proxy(lambda number, body: completion("un annuncio per tutte le persone")) as proxy:
        first = start(tmp_path, proxy.url, monkeypatch, 5000)
        first.ask(PROMPTS[:5])
        assert spent(first.budget) == (50, 50)
        second = start(tmp_path, proxy.url, monkeypatch, 5000)
        assert spent(second.budget) == (50, 50)
        second.ask(PROMPTS[3:7])
        assert spent(second.budget) == (70, 70) and second.from_store == 2 and len(proxy.asked) == 7
        other = Budget.of_stage(5000, tmp_path / "store", tmp_path / "outputs/t/other/03", "TEACHER")
        judge = Budget.of_stage(5000, tmp_path / "store", tmp_path / "outputs/t/r/03", "JUDGE")
        assert spent(other) == spent(judge) == (0, 0)


def test_a_killed_attempt_counts_with_its_upper_bound(tmp_path):
    ledger = tmp_path / "spent/a.jsonl"
    code = (
        "import os, signal, pathlib; from helpers.synthesis.budget import Budget\n"
        f"budget = Budget(1000, ledger=pathlib.Path({str(ledger)!r}))\n"
        "budget.reserve((300, 100)); budget.settle((300, 100), (20, 5)); budget.reserve((400, 100))\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    again = Budget(1000, ledger=ledger)
    assert spent(again) == (420, 105)
    with pytest.raises(NotAnswered, match="spent: 525"):
        again.reserve((400, 100))
    again.reserve((400, 50))


def test_a_line_cut_off_by_a_full_disk_spoils_no_other(tmp_path):
    ledger = tmp_path / "a.jsonl"
    Budget(1000, ledger=ledger).reserve((300, 100))
    with ledger.open("ab") as file:
        file.write(b'\n{"reserved": [20')
    with pytest.warns(UserWarning, match="1 unreadable lines"):
        second = Budget(1000, ledger=ledger)
    second.reserve((100, 100))
    with pytest.warns(UserWarning, match="1 unreadable lines"):
        assert spent(Budget(1000, ledger=ledger)) == (400, 200)


def test_without_a_ledger_nothing_is_sent(tmp_path, monkeypatch):
    (tmp_path / "store").write_text("a file where the folder should be")
    with Proxy(lambda number, body: completion("un annuncio")) as proxy:
        with pytest.raises(UserError, match="nothing is asked without it"):
            start(tmp_path, proxy.url, monkeypatch, 0).ask(PROMPTS[:2])
        assert not proxy.asked


def test_the_ledger_stands_beside_the_replies_under_a_name_that_leaves_no_folder(tmp_path):
    place = env.root() / "outputs/../../t/r/03"
    ledger = Budget.of_stage(0, tmp_path / "store", place, "TEACHER").ledger
    assert ledger.parent == tmp_path / "store/spent" and ".." not in ledger.name
