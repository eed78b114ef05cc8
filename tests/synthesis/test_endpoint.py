"""Teachers: a real `transformers serve`, a proxy that spoils its answers, and the generators of this process."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import types
from functools import partial
from typing import Literal

import pytest
from pydantic import BaseModel

from helpers import env
from helpers.core.qlora import QLoRA
from helpers.core.recipe import EMBEDDED
from helpers.data import embedded
from helpers.env import UserError
from helpers.italian.cues import find_cues
from helpers.synthesis import answers, embedded_writer, endpoint
from helpers.synthesis.answers import Answer, Reply, assess, describe
from helpers.synthesis.budget import Budget, NotAnswered
from helpers.synthesis.prompts import CONDITIONS
from helpers.task import Task
from tests.core.recipes import recipe
from tests.endpoints import Proxy, completion, free_port, serving
from tests.project import ROOT

KEY = "sk-secret-of-this-test"
PROMPTS = [f"Scrivi l'annuncio numero {i} per un negozio di Parma." for i in range(12)]
AD = "Cerchiamo una persona che si occupi della cassa e del rifornimento degli scaffali, con orario a turni."


class Ad(BaseModel):
    text: str
    label: Literal["inclusive", "not_inclusive"]


@pytest.fixture
def connect(monkeypatch):
    """An Endpoint on an address, with retries that come at once."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)

    def make(url: str, model: str = "m", key: str = KEY, **settings) -> endpoint.Endpoint:
        for name, value in (("BASE_URL", url), ("MODEL", model), ("API_KEY", key)):
            monkeypatch.setenv(f"TEACHER_{name}", value)
        return endpoint.Endpoint(**{"timeout": 20.0, "retries": 3} | settings)

    return make


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    if not (importlib.util.find_spec("uvicorn") and importlib.util.find_spec("fastapi")):
        pytest.skip("transformers[serving] is not installed")
    with serving(tmp_path_factory.mktemp("serve")) as server:
        yield server


def always(text):
    return lambda number, body: completion(text)


# --- the real server -------------------------------------------------------------------------------------------------


def test_a_real_server_writes_and_a_second_run_is_free(served, connect, tmp_path):
    url, model = served
    prompts = ["Cerchiamo una persona per", "Il negozio di Parma cerca", "Cerchiamo una persona per"]
    with Proxy(lambda number, body: "pass", url) as proxy:
        first = connect(proxy.url, model, store=tmp_path, max_tokens=12, options={"seed": 3})
        results = first.ask(prompts)
        assert {a.status for a in results} <= {"ok", "invalid"} and any(a.text for a in results)
        assert all(a.prompt_tokens > 3 and 0 < a.completion_tokens <= 24 for a in results)
        assert first.budget.spent_completion == sum(a.completion_tokens for a in results)
        asked = len(proxy.asked)
        assert sorted(b["seed"] for b in proxy.bodies[:3]) == [3, 3, 4]  # the prompt asked twice is two draws
        again = connect(proxy.url, model, store=tmp_path, max_tokens=12, options={"seed": 3})
        assert again.ask(prompts) == results
        assert len(proxy.asked) == asked and again.requests == 0 and again.from_store == asked


def test_a_real_server_behind_faults(served, connect):
    faults = {0: (500, {}, {}), 1: "drop", 2: (429, {"retry-after": "0"}, {}), 3: "half", 4: "page", 5: (503, {}, {})}
    with Proxy(lambda number, body: faults.get(number, "pass"), served[0]) as proxy:
        results = connect(proxy.url, served[1], max_tokens=8, retries=8).ask(["Il negozio di Parma cerca", "Siamo"])
    assert [a.status for a in results if a.status == "failed"] == [] and len(proxy.asked) >= 6 + 2


def test_a_base_model_that_cannot_write_json_is_asked_twice_and_found_invalid(served, connect):
    with Proxy(lambda number, body: "pass", served[0]) as proxy:
        (answer,) = connect(proxy.url, served[1], max_tokens=8).ask(["Cerchiamo"], schema=Ad)
    assert answer.status == "invalid" and "length limit" in answer.reason and len(proxy.asked) == 2
    assert "This answer was not accepted" in proxy.asked[1] and answers.SCHEMA_LINE in proxy.asked[0]


def test_a_model_that_the_server_does_not_have(served, connect):
    url, _ = served
    with pytest.raises(UserError, match="0 of 1 prompts"):
        connect(url, "another-model").ask(["Cerchiamo"])


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [(500, {}, {"error": "x"}), (503, {}, {}), (429, {}, {}), "drop", "half", "page", {"choices": []}]
)
def test_a_passing_fault_is_retried(connect, fault):
    with Proxy(lambda number, body: fault if number < 2 else completion(AD)) as proxy:
        (answer,) = connect(proxy.url).ask(["a"])
    assert answer == Answer("ok", AD, prompt_tokens=10, completion_tokens=10) and len(proxy.asked) == 3


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ((500, {}, {}), "error 500"),
        ("drop", "dropped the connection"),
        ("half", "no chat completion"),
        ("page", "no chat completion"),
        ("hang", "did not answer within 0.3 s"),
    ],
)
def test_a_lasting_fault_ends_with_one_sentence_and_bounded_requests(connect, fault, sentence):
    with (
        Proxy(lambda number, body: fault) as proxy,
        pytest.raises(UserError, match=rf"{sentence}.*0 of 30 prompts are answered: run again") as raised,
    ):
        timeout = 0.3 if fault == "hang" else 20.0
        connect(proxy.url, timeout=timeout, retries=1, concurrency=2).ask([str(i) for i in range(30)])
    assert len(proxy.asked) <= 4 * 2  # three prompts in a row, and what was under way
    assert "\n" not in str(raised.value) and "Traceback" not in str(raised.value)


def test_one_prompt_that_always_fails_does_not_stop_the_others(connect):
    plan = lambda number, body: "hang" if body["messages"][0]["content"] == "3" else completion(AD)  # noqa: E731
    with Proxy(plan) as proxy:
        results = connect(proxy.url, timeout=1.0, retries=1, concurrency=2).ask([str(i) for i in range(8)])
    assert [a.status for a in results] == ["ok"] * 3 + ["failed"] + ["ok"] * 4
    assert "did not answer" in results[3].reason and proxy.asked.count("3") == 2


def test_a_pause_that_the_server_asks_for_is_kept(connect):
    with Proxy(lambda number, body: (429, {"retry-after": "0.4"}, {}) if number == 0 else completion(AD)) as proxy:
        assert connect(proxy.url).ask(["a"])[0].status == "ok"
    assert proxy.times[1] - proxy.times[0] >= 0.39


def test_a_server_that_asks_to_wait_an_hour_is_left_alone(connect):
    with (
        Proxy(lambda number, body: (429, {"retry-after": "3600"}, {})) as proxy,
        pytest.raises(UserError, match=r"asks for a pause \(status 429, Retry-After: 3600\)"),
    ):
        connect(proxy.url, concurrency=1).ask(PROMPTS)
    assert len(proxy.asked) == 1


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((401, {}, {"error": {"message": f"Incorrect API key provided: {KEY}"}}), "TEACHER_API_KEY"),
        ((403, {}, {"error": {"message": KEY}}), "rejects the key"),
        ((404, {}, {"error": {"message": "no model"}}), "TEACHER_MODEL"),
        ((402, {}, {"error": {"message": "pay"}}), "no credit"),
        ((429, {}, {"error": {"code": "insufficient_quota", "message": "x"}}), "no credit"),
        ((400, {}, {"error": {"message": f"too long for {KEY}"}}), "rejects the request"),
    ],
)
def test_a_hopeless_error_is_asked_once_and_never_shows_the_key(connect, answer, sentence, tmp_path):
    with Proxy(lambda number, body: answer) as proxy, pytest.raises(UserError, match=sentence) as raised:
        connect(proxy.url, store=tmp_path, concurrency=1).ask(PROMPTS[:1])
    assert len(proxy.asked) == 1 and proxy.keys == [f"Bearer {KEY}"]
    assert KEY not in str(raised.value) and list(tmp_path.iterdir()) == []


def test_an_endpoint_that_is_down(connect):
    with pytest.raises(UserError, match="cannot be reached: start it, or correct TEACHER_BASE_URL"):
        connect(f"http://127.0.0.1:{free_port()}/v1", retries=1, concurrency=2).ask(PROMPTS)


def test_an_error_that_ends_all_stops_the_retries_of_other_prompts(connect):
    def plan(number, body):
        if body["messages"][0]["content"] == "0":
            time.sleep(0.2)
            return 401, {}, {}
        return 503, {"retry-after": "0.6"}, {}

    with Proxy(plan) as proxy, pytest.raises(UserError, match="rejects the key"):
        connect(proxy.url, concurrency=4).ask(["0", "1", "2", "3"])
    assert len(proxy.asked) == 4


def test_a_wrong_key_half_way_keeps_what_was_answered(connect, tmp_path):
    with Proxy(lambda number, body: completion(AD) if number < 5 else (401, {}, {})) as proxy:
        with pytest.raises(UserError, match="5 of 12 prompts are answered and kept: run again"):
            connect(proxy.url, store=tmp_path, concurrency=1).ask(PROMPTS)
        assert len(proxy.asked) == 6
    with Proxy(always(AD)) as proxy:
        results = connect(proxy.url, store=tmp_path).ask(PROMPTS)
        assert [a.status for a in results] == ["ok"] * 12 and len(proxy.asked) == 7


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("BASE_URL", "", "TEACHER_BASE_URL is not set"),
        ("MODEL", "", "TEACHER_MODEL is not set"),
        ("BASE_URL", "127.0.0.1:8000", "no address"),
        ("API_KEY", "sk-è", "characters that no key has"),
    ],
)
def test_settings_that_cannot_work(connect, monkeypatch, name, value, sentence):
    connect("http://127.0.0.1:1/v1")
    monkeypatch.setenv(f"TEACHER_{name}", value)
    with pytest.raises(UserError, match=sentence):
        endpoint.Endpoint()


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "http://user:s3cretpassw0rd@127.0.0.1:x", "foo://127.0.0.1"])
def test_a_proxy_of_no_use_is_one_sentence(connect, monkeypatch, proxy):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy)
    with pytest.raises(UserError, match="PROXY is of no use") as error:
        connect("http://example.org/v1")
    assert "s3cret" not in str(error.value)


def test_the_key_stays_in_the_environment(connect, tmp_path):
    with Proxy(always(AD)) as proxy:
        url = proxy.url.replace("//", "//ambo:password@")
        used = connect(url, key=f" {KEY}\n", store=tmp_path)
        used.ask(["a"])
    shown = repr(used) + json.dumps(used.facts()) + "".join(f.read_text() for f in tmp_path.rglob("*.json"))
    assert KEY not in shown and "password" not in shown and f"127.0.0.1:{proxy.server.server_address[1]}" in shown


def test_keys_for_other_servers_are_not_sent(connect, monkeypatch):
    other = "sk-for-another-server"
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, other)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"X-Other-Key: {other}\nAuthorization: Bearer {other}")
    with Proxy(always(AD)) as proxy:
        connect(proxy.url, key="").ask(["a"])
    assert proxy.keys == ["Bearer none"] and other not in str(proxy.headers)
    names = {name for name in proxy.headers[0] if not name.startswith(endpoint.LIBRARYS_OWN)}
    assert names <= {*endpoint.SENT, "accept-encoding", "authorization"}


def test_two_endpoints_have_their_own_variables(connect, monkeypatch):
    connect("http://127.0.0.1:1/v1", "teacher-model")
    monkeypatch.setenv("JUDGE_BASE_URL", "http://127.0.0.1:2/v1")
    monkeypatch.setenv("JUDGE_MODEL", "judge-model")
    assert (endpoint.Endpoint().model, endpoint.Endpoint("JUDGE").model) == ("teacher-model", "judge-model")


def test_requests_run_at_the_same_time_within_the_limit(connect):
    def plan(number, body):
        time.sleep(0.05)
        return completion(body["messages"][0]["content"])

    with Proxy(plan) as proxy:
        results = connect(proxy.url, concurrency=3).ask(PROMPTS)
    assert [a.text for a in results] == PROMPTS  # in order
    assert 1 < proxy.most_at_once <= 3


# --- what counts as an answer ----------------------------------------------------------------------------------------


def test_a_structured_answer_is_repaired_once(connect):
    good = json.dumps({"text": AD, "label": "inclusive"})
    for replies, status in (([good], "ok"), (['{"text": "x"', good], "ok"), (["no", "no", good], "invalid")):
        with Proxy(lambda number, body, r=replies: completion(r[number])) as proxy:
            (answer,) = connect(proxy.url).ask(["a"], schema=Ad)
        assert answer.status == status and len(proxy.asked) == min(2, len(replies))
        assert answer.completion_tokens == 10 * len(proxy.asked)
        assert (answer.value == {"text": AD, "label": "inclusive"}) == (status == "ok")
        assert proxy.bodies[0]["response_format"]["json_schema"]["schema"]["required"] == ["text", "label"]


@pytest.mark.parametrize(
    "first", ["", "We are looking for a person who takes care of the till, in shifts.", PROMPTS[0]]
)
def test_an_answer_that_fails_a_check_is_repaired_once_too(connect, first):
    checks = [answers.language_check("it"), answers.not_copied]
    for second, status in ((AD, "ok"), (first, "invalid")):
        with Proxy(lambda number, body, s=second: completion(s if number else first)) as proxy:
            (answer,) = connect(proxy.url).ask(PROMPTS[:1], checks=checks)
        assert answer.status == status and len(proxy.asked) == 2


def test_an_option_that_the_server_does_not_know_is_left_out(connect):
    def plan(number, body):
        if "max_tokens" in body:
            return 400, {}, {"error": {"message": "max_tokens is not supported: use max_completion_tokens"}}
        if "response_format" in body:
            return 400, {}, {"error": {"message": "unknown field response_format"}}
        return completion(json.dumps({"text": AD, "label": "inclusive"}))

    with Proxy(plan) as proxy:
        used = connect(proxy.url, concurrency=1)
        assert [a.status for a in used.ask(["a", "b"], schema=Ad)] == ["ok", "ok"]
    assert len(proxy.asked) == 4 and proxy.bodies[3]["max_completion_tokens"] == 512


@pytest.mark.parametrize(
    "reply",
    [
        completion("Mi dispiace, ma non posso aiutarti con questa richiesta."),
        completion("I'm sorry, but I can't assist with that."),
        completion(None, refusal="I can't help with discriminatory ads."),
        completion("", finish="content_filter"),
        completion(json.dumps({"text": "Non posso scrivere annunci discriminatori.", "label": "not_inclusive"})),
        (400, {}, {"error": {"code": "content_filter", "message": "filtered"}}),
    ],
)
def test_refusals_are_kept_apart_and_not_asked_again(connect, reply, tmp_path):
    with Proxy(lambda number, body: reply) as proxy:
        for _ in range(2):
            (answer,) = connect(proxy.url, store=tmp_path).ask(["a"], schema=Ad)
            assert answer.status == "refused" and answer.value is None
    assert len(proxy.asked) == 1


@pytest.mark.parametrize(
    "text",
    [
        "Non possono candidarsi le persone senza patente.",
        "Mi dispiace perdere il treno: con noi lavori da casa.",
        "Cerchiamo una persona che dica: non posso fermarmi qui.",
        "I can lift 20 kg? Then apply.",
        "Come AI Engineer lavorerai in squadra.",
        "As an AI engineer you will train models.",
    ],
)
def test_wording_that_only_sounds_like_a_refusal(text):
    assert not answers.refuses(text) and assess("", Reply(text)).status == "ok"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(""), "empty"),
        (Reply("  \n "), "empty"),
        (Reply("<think>Che annuncio scrivo?"), "reasoning without an answer"),
        (Reply(AD[:40], cut=True), "cut off"),
        (Reply("We are looking for a person who takes care of the till, in shifts."), "language 'en', not 'it'"),
        (Reply("Un annuncio: " + PROMPTS[0]), ""),
        (Reply(PROMPTS[0]), "repeats"),
        (Reply("NUMERO 0 per un negozio di Parma!"), "repeats"),
    ],
)
def test_an_answer_that_will_not_do(reply, reason):
    answer = assess(PROMPTS[0], reply, checks=[answers.language_check("it"), answers.not_copied])
    assert reason in answer.reason
    assert (answer.status == "ok") == (reason == "")


def test_json_is_found_between_fences_and_thoughts():
    text = "<think>{}</think>Ecco:\n```json\n" + json.dumps({"text": AD, "label": "inclusive"}) + "\n```"
    assert assess("", Reply(text), Ad).value == {"text": AD, "label": "inclusive"}
    wrong = assess("", Reply(json.dumps({"text": AD, "label": "maybe"})), Ad)
    assert wrong.status == "invalid" and wrong.reason.startswith("label: Input should be 'inclusive'")


def test_the_language_check_knows_the_embedded_texts():
    check = answers.language_check("it")
    texts = [r["text"] for r in embedded.gold()]
    assert sum(check("", text) != "" for text in texts) == 0
    starts = [" ".join(text.split()[:4]) for text in texts]
    assert sum(check("", text) != "" for text in starts) <= 0.04 * len(starts)


def test_no_embedded_text_looks_like_a_refusal():
    assert [r["text"] for r in [*embedded.gold(), *embedded.pool_texts()] if answers.refuses(r["text"])] == []


@pytest.mark.parametrize(
    "text",
    [
        "As an AI language model, I do not write such ads.",
        "Come modello linguistico non scrivo annunci di questo tipo.",
        "In quanto intelligenza artificiale, preferisco di no.",
        "Sorry, I can’t comply.",
        "«Mi spiace, ma non sono in grado di farlo.»",
    ],
)
def test_wording_of_refusals(text):
    assert answers.refuses(text)


def test_describe_counts_and_names_the_commonest_reason():
    results = [Answer("ok", "x", prompt_tokens=1200, completion_tokens=5), Answer("refused", reason="r")]
    results += [Answer("invalid", reason="the answer is empty")] * 2 + [Answer("invalid", reason="other")]
    assert describe(results) == (
        "1 of 5 ok, 1 refused (r), 3 invalid (the answer is empty, 2 times); 1,200 prompt and 5 completion tokens"
    )


# --- the budget ------------------------------------------------------------------------------------------------------


def bound_of_a_request(connect, prompt, max_tokens):
    """The upper bound of the tokens that one request reserves."""
    with Proxy(always(AD)) as proxy:
        connect(proxy.url, max_tokens=max_tokens).ask([prompt])
    return proxy.sizes[0] + max_tokens


def test_the_budget_stops_before_it_is_exceeded_and_a_higher_one_goes_on(connect, tmp_path):
    # Six answers of 20 tokens each, and then room for the upper bound of a seventh, not of an eighth.
    limit = 20 * 6 + bound_of_a_request(connect, PROMPTS[0], 30)
    with Proxy(always(AD)) as proxy:
        first = connect(proxy.url, store=tmp_path, budget=Budget(tokens=limit), max_tokens=30, concurrency=3)
        results = first.ask(PROMPTS[:10])
        assert [a.status for a in results].count("ok") == len(proxy.asked) == 7
        assert {a.reason for a in results if a.status == "failed"} == {first.budget.exhausted()}
        assert "raise it and run again" in describe(results)
        second = connect(proxy.url, store=tmp_path, budget=Budget(tokens=limit), max_tokens=30)
        assert [a.status for a in second.ask(PROMPTS[:10])].count("ok") == 7  # no fresh budget for a new start
        assert len(proxy.asked) == 7 and second.budget.spent_completion == 70
        third = connect(proxy.url, store=tmp_path, budget=Budget(tokens=2 * limit), max_tokens=30)
        assert [a.status for a in third.ask(PROMPTS[:10])] == ["ok"] * 10
        assert len(proxy.asked) == len(set(proxy.asked)) == 10


@pytest.mark.parametrize("fault", ["drop", "half"])
def test_the_retries_of_the_client_stay_within_the_budget(connect, fault):
    budget = Budget(tokens=2 * bound_of_a_request(connect, "a", 30))
    with Proxy(lambda number, body: fault) as proxy:
        (answer,) = connect(proxy.url, budget=budget, max_tokens=30, retries=5).ask(["a"])
    assert answer.reason == budget.exhausted() and len(proxy.asked) == 2
    assert budget.spent_prompt + budget.spent_completion == budget.tokens  # the server may bill both attempts


def test_errors_and_servers_out_of_reach_cost_nothing_and_unreported_tokens_their_upper_bound(connect):
    with Proxy(lambda number, body: completion(AD, usage={})) as proxy:
        endpoint = connect(proxy.url, max_tokens=30)
        endpoint.ask(["a"])
    assert (endpoint.budget.spent_prompt, endpoint.budget.spent_completion) == (proxy.sizes[0], 30)
    with Proxy(lambda number, body: (500, {}, {}) if number == 0 else completion(AD)) as proxy:
        endpoint = connect(proxy.url)
        endpoint.ask(["a"])
    assert endpoint.budget.spent_prompt == 10
    endpoint = connect(f"http://127.0.0.1:{free_port()}/v1")
    with pytest.raises(UserError, match="cannot be reached"):
        endpoint.ask(["a"])
    assert (endpoint.requests, endpoint.budget.spent_prompt) == (4, 0)


def test_a_reservation_waits_for_those_under_way():
    budget = Budget(tokens=100)
    budget.reserve((40, 40))
    waiting = threading.Thread(target=budget.reserve, args=((30, 40),))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    budget.settle((40, 40), (10, 10))
    waiting.join(10)
    assert not waiting.is_alive()
    with pytest.raises(NotAnswered, match="budget of 100 tokens"):
        budget.reserve((80, 1))


def test_a_negative_budget_is_rejected():
    with pytest.raises(UserError, match="negative"):
        Budget(tokens=-1)


# --- going on --------------------------------------------------------------------------------------------------------

SCRIPT = """
import sys
from pathlib import Path
from helpers.synthesis import endpoint
results = endpoint.Endpoint(store=Path(sys.argv[1]), concurrency=4).ask([f"annuncio {i}" for i in range(40)])
print(sum(a.status == "ok" for a in results))
"""


def script(proxy, folder):
    own = {"TEACHER_BASE_URL": proxy.url, "TEACHER_MODEL": "m", "PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], env=os.environ | own, stdout=subprocess.PIPE)


def slowly(number, body):
    time.sleep(0.05)
    return completion(body["messages"][0]["content"])


def test_killed_in_the_middle_no_kept_answer_is_asked_again(tmp_path):
    with Proxy(slowly) as proxy:
        process = script(proxy, tmp_path)
        while len(proxy.delivered) < 12 and process.poll() is None:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        stored = {json.loads(f.read_text())["text"] for f in tmp_path.rglob("[0-9a-f]*.json")}
        before = len(proxy.asked)
        assert 8 <= len(stored) < 40
        out, _ = script(proxy, tmp_path).communicate(timeout=120)
        assert out.decode().strip() == "40"
        later = proxy.asked[before:]
        assert len(later) == 40 - len(stored) and not stored & set(later)
        assert before - len(stored) <= 4  # at most what was under way is asked twice


def test_two_processes_share_a_store(tmp_path):
    with Proxy(slowly) as proxy:
        both = [script(proxy, tmp_path) for _ in range(2)]
        assert [p.communicate(timeout=120)[0].decode().strip() for p in both] == ["40", "40"]
        files = [json.loads(f.read_text()) for f in tmp_path.rglob("*") if f.is_file()]
        assert sorted(f["text"] for f in files) == sorted(f"annuncio {i}" for i in range(40))


def test_what_a_request_is_known_by(connect, tmp_path):
    with Proxy(always(AD)) as proxy:
        ask = lambda prompt="a", schema=None, **s: connect(proxy.url, store=tmp_path, **s).ask([prompt], schema)  # noqa: E731
        ask()
        for other in ({"prompt": "b"}, {"model": "n"}, {"options": {"temperature": 0.5}}, {"max_tokens": 9}):
            before = len(proxy.asked)
            ask(**other)
            ask(**other)
            assert len(proxy.asked) == before + 1, other
        before = len(proxy.asked)
        ask(timeout=3.0, concurrency=2, key="another")
        assert len(proxy.asked) == before


def test_a_store_that_cannot_be_written_ends_with_one_sentence(connect, tmp_path):
    (tmp_path / "store").write_text("a file where the folder should be")
    with Proxy(always(AD)) as proxy, pytest.raises(UserError, match="could not be written"):
        connect(proxy.url, store=tmp_path / "store", concurrency=1).ask(PROMPTS)
    assert len(proxy.asked) == 1


def test_an_error_of_ours_stops_the_paying(connect):
    def check(prompt, answer):
        raise ZeroDivisionError

    with Proxy(always(AD)) as proxy, pytest.raises(ZeroDivisionError):
        connect(proxy.url, concurrency=2).ask(PROMPTS, checks=[check])
    assert len(proxy.asked) <= 4


# --- in this process -------------------------------------------------------------------------------------------------


def test_a_local_model_gets_one_repair_and_its_store(tmp_path):
    calls = []

    def generate(prompts):
        calls.append(list(prompts))
        return [AD if "not accepted" in p or p == "a" else "" for p in prompts]

    local = endpoint.Local(generate, "rules 1", tmp_path, batch=2)
    results = local.ask(["a", "b", "c"])
    assert [a.status for a in results] == ["ok"] * 3 and [len(c) for c in calls] == [2, 1, 2]
    assert endpoint.Local(generate, "rules 1", tmp_path).ask(["a", "b", "c"]) == results and len(calls) == 3
    endpoint.Local(generate, "rules 2", tmp_path).ask(["a"])
    assert len(calls) == 4


def test_a_local_chat_model_is_asked_in_its_template(tmp_path):
    """A copy of the embedded base whose tokenizer has a template: the model gets the turn, not the bare prompt."""
    shutil.copytree(embedded.FOLDER / "base_model", tmp_path / "chat")
    settings = tmp_path / "chat/tokenizer_config.json"
    template = (
        "{{ bos_token }}{% for m in messages %}Annuncio: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}La risorsa {% endif %}"
    )
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"chat_template": template}))
    task, prompts = Task("t", (), "", (), "{text}"), ["Cerchiamo una persona per il banco.", "Il negozio cerca"]
    chat = QLoRA(task, recipe(tmp_path / "chat", head="lm"))
    plain = QLoRA(task, recipe(EMBEDDED, head="lm"))
    results = endpoint.Local(partial(chat.generate, max_new_tokens=12)).ask(prompts)
    assert [a.status for a in results] == ["ok", "ok"]
    in_template = [f"Annuncio: {prompt}\nLa risorsa " for prompt in prompts]
    assert [a.text for a in results] == [text.strip() for text in plain.generate(in_template, 12)]
    assert [a.text for a in results] != [text.strip() for text in plain.generate(prompts, 12)]


def test_the_embedded_generator_answers_by_its_conditions():
    cell = {"label": "not_inclusive", "sector": "logistica"}
    line = CONDITIONS + json.dumps(cell)
    prompts = [f"Scrivi un annuncio.\n{line}", f"Scrivi un annuncio.\n{line}", "Scrivi un annuncio."]
    prompts += [f"Riscrivi.\n{CONDITIONS}" + json.dumps({"text": "Il candidato sarà assunto."})]
    results = endpoint.Local(embedded_writer.write).ask(prompts, checks=[answers.language_check("it")])
    assert [a.status for a in results] == ["ok", "ok", "invalid", "ok"]
    assert results[0].text != results[1].text and all(find_cues(a.text) for a in results[:2])
    assert results[2].reason == "the answer is empty" and results[3].text == "Il/la candidato/a sarà assunto/a."
    (row,) = endpoint.Local(embedded_writer.write).ask(prompts[:1], schema=Ad)
    assert row.value == {"text": results[0].text, "label": "not_inclusive"}
    assert embedded_writer.write([f"{CONDITIONS}{{broken", f'{CONDITIONS}{{"label": "no such"}}']) == ["", ""]


def test_secrets_come_from_the_environment_or_from_colab(monkeypatch):
    class NotThere(Exception):
        pass

    def get(name):
        if name != "TEACHER_API_KEY":
            raise NotThere
        return "from colab\n"

    store = types.SimpleNamespace(get=get, SecretNotFoundError=NotThere, NotebookAccessError=NotThere)
    monkeypatch.setitem(sys.modules, "google.colab", types.SimpleNamespace(userdata=store))
    monkeypatch.delenv("TEACHER_API_KEY", raising=False)
    assert (env.secret("TEACHER_API_KEY"), env.secret("TEACHER_MODEL_")) == ("from colab", "")
    monkeypatch.setenv("TEACHER_API_KEY", "from the environment")
    assert env.secret("TEACHER_API_KEY") == "from the environment"
