"""A server that is broken or hostile, over a real connection: what it can cost, how long it can hold, what it can leak."""

import base64
import codecs
import contextlib
import html
import json
import logging
import time
import tracemalloc
import urllib.parse
import warnings
import zlib
from typing import Literal

import numpy as np
import pytest
from pydantic import create_model

from helpers import files
from helpers.env import UserError
from helpers.labels import log
from helpers.masking import MASK, make_mask, without_secrets
from helpers.synthesis import annotator, answers, endpoint, targets
from helpers.synthesis.answers import Reply, assess
from helpers.synthesis.budget import Budget
from helpers.task import Task
from tests.endpoints import Proxy, completion

KEY = "sk-Secret/of+this=test_0123456789"
TEXT = "Cerchiamo una persona che si occupi della cassa e del rifornimento degli scaffali, con orario a turni."


@pytest.fixture
def connect(monkeypatch):
    """An Endpoint on an address, with retries that come at once."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)

    def make(url: str, key: str = KEY, **settings) -> endpoint.Endpoint:
        for name, value in (("BASE_URL", url), ("MODEL", "m"), ("API_KEY", key)):
            monkeypatch.setenv(f"TEACHER_{name}", value)
        return endpoint.Endpoint(**{"timeout": 20.0, "retries": 1, "concurrency": 1, "max_tokens": 30} | settings)

    return make


def always(what):
    return lambda number, body: what


def with_message(message) -> dict:
    return completion("") | {"choices": [{"index": 0, "finish_reason": "stop", "message": message}]}


# --- what is no answer ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        [
            {"type": "text", "text": TEXT[:30]},
            {"type": "image_url", "image_url": {}},
            {"type": "text", "text": TEXT[30:]},
        ],
        [TEXT],
        [None, 7, {"text": None}, {"type": "text", "text": TEXT}],
    ],
)
def test_the_text_parts_of_a_list_are_the_text(connect, content):
    with Proxy(always(with_message({"role": "assistant", "content": content}))) as proxy:
        (answer,) = connect(proxy.url).ask(["a"])
    assert (answer.status, answer.text, answer.completion_tokens) == ("ok", TEXT, 10)


MALFORMED = {
    "content is a number": with_message({"content": 7}),
    "content is zero": with_message({"content": 0}),
    "content is an object": with_message({"content": {"text": TEXT}}),
    "refusal is a number": with_message({"content": TEXT, "refusal": 3}),
    "message is a text": with_message(TEXT),
    "no message": completion(TEXT) | {"choices": [{"index": 0}]},
    "choices is an object": completion(TEXT) | {"choices": {"0": {}}},
    "choices is a text": completion(TEXT) | {"choices": TEXT},
    "choices is empty": completion(TEXT) | {"choices": []},
    "choices has nulls": completion(TEXT) | {"choices": [None]},
    "choices is null": completion(TEXT) | {"choices": None},
    "a list": [completion(TEXT)],
    "a number": 7,
    "null": None,
    "nothing": b"",
    "latin-1": json.dumps(completion("perché"), ensure_ascii=False).encode("latin-1"),
    "bytes": bytes(range(256)),
    "deeply nested": b"[" * 200_000,
    "a long number": b'{"choices": ' + b"9" * 10_000 + b"}",
    "a page": "page",
    "brotli": (200, {"content-encoding": "br"}, completion(TEXT)),
    "no gzip": (200, {"content-encoding": "gzip"}, completion(TEXT)),
    "no content": (204, {}, b""),
}


@pytest.mark.parametrize("what", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_reply_fails_is_charged_its_bound_and_asked_again_later(connect, tmp_path, what):
    plan = lambda number, body: what if body["messages"][0]["content"] == "bad" else completion(TEXT)  # noqa: E731
    with Proxy(plan) as proxy:
        used = connect(proxy.url, store=tmp_path)
        results = used.ask(["good", "bad"])
    assert [a.status for a in results] == ["ok", "failed"]
    assert results[1].reason == f"the endpoint {used.host} sent something that is no chat completion"
    bad = [size for size, prompt in zip(proxy.sizes, proxy.asked, strict=True) if prompt == "bad"]
    assert len(bad) == 2 and (used.budget.spent_prompt, used.budget.spent_completion) == (10 + sum(bad), 10 + 60)
    with Proxy(always(completion(TEXT))) as proxy:
        assert [a.status for a in connect(proxy.url, store=tmp_path).ask(["good", "bad"])] == ["ok", "ok"]
        assert proxy.asked == ["bad"]


@pytest.mark.parametrize("status", [101, 300, 304, 418, 451, 599, 999])
def test_any_status_ends_in_a_sentence(connect, status):
    answer = (status, {"location": "http://["}, b"\x1b[31m\xff\xfe<p>")
    sentence = "0 of 1 prompts are answered"
    with Proxy(always(answer)) as proxy, pytest.raises(UserError, match=sentence) as raised:
        connect(proxy.url).ask(["a"])
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_other_encodings_of_unicode_are_read(connect, encoding):
    body = json.dumps(completion("perché no"), ensure_ascii=False).encode(encoding)
    with Proxy(always(body)) as proxy:
        assert connect(proxy.url).ask(["a"])[0].text == "perché no"


def test_a_reply_of_braces_does_not_hang():
    start = time.monotonic()
    assert assess("", Reply("{" * 2_000_000), create_model("Any", text=(str, ...))).status == "invalid"
    assert time.monotonic() - start < 10  # a quadratic search takes hours


def test_the_repair_prompt_of_an_endless_answer_is_short():
    answer = assess("", Reply("x" * 2_000_000, cut=True))
    assert len(answers.repair_prompt("a", answer)) < answers.MOST_SHOWN + 300


# --- what it can cost -------------------------------------------------------------------------------------------------

INCREDIBLE = {
    "a text": "20",
    "a list": [10, 10],
    "missing": None,
    "numbers as text": {"prompt_tokens": "10", "completion_tokens": "10"},
    "negative prompt": {"prompt_tokens": -(10**6), "completion_tokens": 10},
    "negative completion": {"prompt_tokens": 10, "completion_tokens": -(10**6)},
    "floats": {"prompt_tokens": 10.5, "completion_tokens": 10.5},
    "NaN": {"prompt_tokens": float("nan"), "completion_tokens": float("nan")},
    "infinity": {"prompt_tokens": 10, "completion_tokens": float("inf")},
    "booleans": {"prompt_tokens": True, "completion_tokens": True},
    "beyond any context": {"prompt_tokens": 10, "completion_tokens": 10**12},
    "nothing for the prompt": {"prompt_tokens": 0, "completion_tokens": 10},
    "nothing for the text": {"prompt_tokens": 10, "completion_tokens": 0},
    "one for a long text": {"prompt_tokens": 10, "completion_tokens": 1},
    "one for a long prompt": {"prompt_tokens": 1, "completion_tokens": 10},
    "no completion": {"prompt_tokens": 10},
}


@pytest.mark.parametrize("usage", INCREDIBLE.values(), ids=INCREDIBLE)
def test_tokens_that_are_not_credible_cost_what_was_reserved(connect, usage):
    with Proxy(always(completion(TEXT) | {"usage": usage})) as proxy:
        used = connect(proxy.url)
        (answer,) = used.ask(["domanda " * 40])
    bound = (proxy.sizes[0], 30)
    assert (used.budget.spent_prompt, used.budget.spent_completion) == bound
    assert (answer.prompt_tokens, answer.completion_tokens) == bound


def test_a_text_longer_than_what_was_reserved_costs_what_it_must_have(connect):
    with Proxy(always(completion("parola " * 1000, usage={}))) as proxy:
        used = connect(proxy.url)
        used.ask(["a"])
    assert used.budget.spent_completion == -(-len("parola " * 1000) // endpoint.BYTES_PER_TOKEN)


def test_no_server_lifts_the_budget(connect):
    usages = list(INCREDIBLE.values())
    with Proxy(lambda number, body: completion(TEXT) | {"usage": usages[number % len(usages)]}) as proxy:
        used = connect(proxy.url, budget=Budget(tokens=4000), concurrency=4)
        results = used.ask([f"domanda {i} " * 40 for i in range(40)])
    reserved = [size + 30 for size in proxy.sizes]
    assert sum(reserved) == used.budget.spent_prompt + used.budget.spent_completion <= 4000
    assert {a.reason for a in results if a.status == "failed"} == {used.budget.exhausted()}


def test_tokens_spent_never_become_fewer():
    budget = Budget(tokens=100)
    budget.settle((0, 0), (-50, -50))
    assert (budget.spent_prompt, budget.spent_completion) == (0, 0)


NO_REPLIES = ["", '{"text": ', "[]", "7", "[" * 100_000, '{"other": 1}', '{"text": 7}']
NO_REPLIES += ['{"text": "x", "prompt_tokens": -5}', '{"text": "x", "prompt_tokens": true}']
NO_REPLIES += ['{"text": "x", "completion_tokens": NaN}', '{"text": "x", "cut": "no"}']


@pytest.mark.parametrize("content", NO_REPLIES)
def test_a_torn_or_foreign_reply_in_the_store_is_left_out_with_a_sentence(connect, tmp_path, content):
    with Proxy(always(completion(TEXT))) as proxy:
        connect(proxy.url, store=tmp_path).ask(["a"])
        (file,) = tmp_path.rglob("*.json")
        file.write_text(content)
        again = connect(proxy.url, store=tmp_path)
        with pytest.warns(UserWarning, match=rf"{file.name}: not a readable reply, left out"):
            (answer,) = again.ask(["a"])
    assert answer.text == TEXT and len(proxy.asked) == 2 and again.budget.spent_completion == 10


def test_events_without_a_teachers_tokens_cost_nothing(tmp_path):
    tokens = [[10, 5], None, [-100, 5], ["1", 2], [1], [True, 1], 7]
    events = [{"event": "label", "id": str(i), "label": "x", "tokens": t} for i, t in enumerate(tokens)]
    log.append_all(tmp_path, annotator.NAME, [*events, {"event": "skip", "id": "9"}])
    assert annotator.tokens_used(tmp_path) == (10, 5)


# --- how long it can hold, and how much it can send -------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
DRIPS = {
    "in the headers": (HEAD, b"x-slow: 1\r\n"),
    "in one header": (HEAD + b"x-slow: ", b"x"),
    "in the body": (HEAD + b"content-length: 1000000\r\n\r\n{", b" "),
    "in a body without a length": (HEAD + b"connection: close\r\n\r\n{", b" "),
    "in chunks": (HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "in an error": (b"HTTP/1.1 503 Busy\r\ncontent-length: 1000000\r\n\r\n", b" "),
}


@pytest.mark.parametrize(("head", "drop"), DRIPS.values(), ids=DRIPS)
def test_a_server_that_drips_for_ever_is_left_when_the_time_is_over(connect, head, drop):
    seconds = []

    def drip(stream):
        start = time.monotonic()
        with contextlib.suppress(OSError):
            stream.write(head)
            while time.monotonic() - start < 20:
                stream.write(drop)
                time.sleep(0.05)
        seconds.append(time.monotonic() - start)

    with Proxy(always(drip)) as proxy, pytest.raises(UserError, match=r"did not answer within 0\.6 s"):
        connect(proxy.url, timeout=0.6, retries=0).ask(["a"])
    while not seconds:
        time.sleep(0.05)
    assert len(proxy.asked) == 1 and seconds[0] < 5  # it would go on for twenty


def test_the_bytes_that_are_read_are_bounded(connect):
    sent = []

    def flood(stream):
        with contextlib.suppress(OSError):
            stream.write(HEAD + b"connection: close\r\n\r\n")
            for _ in range(1000):
                sent.append(stream.write(b" " * 2**20))

    with Proxy(always(flood)) as proxy, pytest.raises(UserError, match="no chat completion"):
        connect(proxy.url, retries=0).ask(["a"])
    assert sum(sent) < 50 * 2**20  # what was read, and what fits into the buffers of the connection


def test_a_small_body_that_grows_to_gigabytes_is_not_unpacked(connect):
    packer = zlib.compressobj(wbits=31)
    body = b"".join(packer.compress(b" " * 2**20) for _ in range(400)) + packer.flush()
    tracemalloc.start()
    answer = (200, {"content-encoding": "gzip"}, body)
    with Proxy(always(answer)) as proxy, contextlib.suppress(UserError):
        connect(proxy.url, retries=0).ask(["a"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * 2**20


def test_compressed_replies_are_read(connect):
    packer = zlib.compressobj(wbits=31)
    body = packer.compress(json.dumps(completion(TEXT)).encode()) + packer.flush()
    with Proxy(always((200, {"content-encoding": "gzip"}, body))) as proxy:
        assert connect(proxy.url).ask(["a"])[0].text == TEXT


@pytest.mark.parametrize(
    "pause",
    ["soon", "-5", "", "nan", "Thu, 01 Jan 1970 00:00:00 GMT", "Thu, 99 Foo 99999 00:00:00 GMT", "0x10", "\xff"],
)
def test_a_pause_that_makes_no_sense_is_no_pause(connect, pause):
    plan = lambda number, body: (429, {"retry-after": pause}, {}) if number == 0 else completion(TEXT)  # noqa: E731
    with Proxy(plan) as proxy:
        assert connect(proxy.url).ask(["a"])[0].status == "ok"
    assert proxy.times[1] - proxy.times[0] < 5


@pytest.mark.parametrize("pause", ["1e300", "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_pause_of_ages_ends_in_one_sentence(connect, pause):
    answer = (503, {"retry-after": pause}, {})
    with Proxy(always(answer)) as proxy, pytest.raises(UserError, match="asks for a pause") as raised:
        connect(proxy.url).ask(["a"])
    assert len(proxy.asked) == 1 and len(str(raised.value)) < 300


# --- addresses --------------------------------------------------------------------------------------------------------


NO_ADDRESSES = ["http://", "http://[::1", "http://host:99999/v1", "http://host:0/v1", "http://host:x/v1"]
NO_ADDRESSES += ["http://ho st/v1", "http://host/v 1", "http://host/\tv1", "http://host\x07/v1", "http://host\n.org/v1"]
NO_ADDRESSES += ["file:///etc/passwd", "ftp://host/v1", "host", "//host/v1", "http:///v1", "http://evil\\@host/v1"]
NO_ADDRESSES += ["http://a..b/v1", f"http://{'a' * 64}/v1", "http://☃.example", "http://user:pass-word@/v1"]
NO_ADDRESSES += ["http://user:pass-word@host:99999/v1", "http://host/v1?key=pass-word", "http://host/v1#pass-word"]
NO_ADDRESSES += ["http://user:pass/word@host/v1"]


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_a_malformed_address_is_one_sentence_at_construction(connect, address):
    with pytest.raises(UserError, match=r"TEACHER_BASE_URL is no address: it should look like \S+\.$") as raised:
        connect(address)
    assert "pass" not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("http://bücher.example/v1", "xn--bcher-kva.example"),
        ("http://xn--bcher-kva.example/v1", "xn--bcher-kva.example"),
        ("http://[::1]:8000/v1", "[::1]:8000"),
        ("https://user:pass-word@Host.example:8443/v1", "host.example:8443"),
    ],
)
def test_addresses_that_work_show_their_host_alone(connect, address, host):
    used = connect(address)
    assert used.facts()["host"] == host and "pass-word" not in repr(vars(used))


@pytest.mark.parametrize("key", ["sk-è", "sk two", "sk\ttwo", "sk\x7f"])
def test_characters_that_no_key_has(connect, key):
    with pytest.raises(UserError, match="TEACHER_API_KEY contains characters that no key has"):
        connect("http://127.0.0.1:1/v1", key=key)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(connect, status):
    with Proxy(always(completion(TEXT))) as other:
        answer = (status, {"location": f"{other.url}/chat/completions?key={KEY}"}, {})
        sentence = rf"redirects to {other.url}.*\({status}\).*set TEACHER_BASE_URL"
        with Proxy(always(answer)) as proxy, pytest.raises(UserError, match=sentence) as raised:
            connect(proxy.url).ask(["a"])
    assert other.asked == [] and len(proxy.asked) == 1 and KEY not in str(raised.value)


# --- what it can leak -------------------------------------------------------------------------------------------------


def json_escaped(text: str) -> str:
    return "".join(f"\\u{ord(c):04x}" for c in text)


def percent(text: str) -> str:
    return "".join(f"%{ord(c):02x}" for c in text)


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


SPELLINGS = {
    "plain": KEY,
    "upper case": KEY.upper(),
    "lower case": KEY.lower(),
    "quoted": urllib.parse.quote(KEY, safe=""),
    "quoted wholly": percent(KEY),
    "quoted twice": urllib.parse.quote(urllib.parse.quote(KEY, safe=""), safe=""),
    "quoted partly": percent(KEY[:7]) + KEY[7:],
    "JSON": json.dumps(KEY)[1:-1].replace("/", "\\/"),
    "escaped": json_escaped(KEY),
    "escaped twice": json_escaped(KEY).replace("\\", "\\\\"),
    "zero width between": "\u200b".join(KEY),
    "blanks between": " ".join(KEY),
    "HTML": "".join(f"&#{ord(c)};" for c in KEY),
    "HTML in hex": "".join(f"&#x{ord(c):X};" for c in KEY),
    "base64": in_base64(KEY),
    "three invisible between": "\u200b\u2061\ufe0f".join(KEY),
    "full width": "".join(chr(ord(c) + 0xFEE0) for c in KEY),
    "octal": "".join(f"\\{ord(c):03o}" for c in KEY),
    "braces": "".join(f"\\u{{{ord(c):x}}}" for c in KEY),
    "quoted-printable": "".join(f"={ord(c):02X}" for c in KEY),
    "HTML without its end": "".join(f"&#{ord(c)}" for c in KEY),
    "HTML by name": KEY.replace("_", "&lowbar;").replace("/", "&sol;"),
    "HTML of HTML": "".join(f"&amp;#{ord(c)};" for c in KEY),
    "base64 of UTF-16": base64.b64encode(KEY.encode("utf-16")).decode(),
    "all but its end": KEY[:-3],
    "its first half": KEY[: len(KEY) // 2 + 1],
    "numbers": ",".join(str(byte) for byte in KEY.encode()),
    "a list of numbers": str(list(KEY.encode())),
    "bytes with dashes": KEY.encode().hex("-").upper(),
    "a list of bytes": ", ".join(f"0x{byte:02x}" for byte in KEY.encode()),
    "bytes of UTF-16": KEY.encode("utf-16-le").hex(),
    "bytes of UTF-16, the other order": KEY.encode("utf-16-be").hex(" "),
    "base64 of base64": in_base64(in_base64(KEY)),
    "base64 of base64 of user and key": in_base64(in_base64(f"u:{KEY}")),
    "one sign between": "_".join(KEY),
    "two signs between": "-/".join(KEY),
    "a sign and a blank between": ", ".join(KEY),
    "backwards": KEY[::-1],
    "rot13": codecs.encode(KEY, "rot13"),
    "base85": base64.b85encode(KEY.encode()).decode(),
    "base85 of user and key": base64.b85encode(f"user1:{KEY}".encode()).decode(),
    "ascii85": base64.a85encode(KEY.encode(), adobe=True).decode(),
    "ascii85 of a header": base64.a85encode(f"Bearer {KEY}".encode()).decode(),
    "base32": base64.b32encode(KEY.encode()).decode(),
    "base32 of user and key": base64.b32encode(f"me:{KEY}".encode()).decode(),
    "mail in short lines": "=\n".join(KEY[i : i + 4] for i in range(0, len(KEY), 4)),
    "hexadecimal": KEY.encode().hex(),
    "bytes with colons": KEY.encode().hex(":"),
    "escaped bytes": "".join(f"\\x{byte:02x}" for byte in KEY.encode()),
    "base64 of user and key": in_base64(f"user:{KEY}"),
    "base64 of ambo and key": in_base64(f"ambo:{KEY}"),
    "base64 of a header": in_base64(f"Bearer {KEY}"),
    "base64 in lower case": in_base64(f"user:{KEY}").lower(),
    "base64 for addresses": base64.urlsafe_b64encode(f"u:{KEY}".encode()).decode(),
    "base64, quoted": urllib.parse.quote(in_base64(f"user:{KEY}"), safe=""),
}


def leaks(text: str, spelling: str) -> bool:
    """Whether eight characters of the key in a row, or twelve of a spelling, stand in a text."""
    runs = [s[i : i + n] for s, n in ((spelling, 12), (KEY, 8)) for i in range(len(s) - n + 1)]
    return any(run.lower() in text.lower() for run in runs)


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_the_key_is_masked_in_every_spelling_and_place(connect, tmp_path, caplog, spelling):
    caplog.set_level(logging.INFO)
    shown = []
    half = [
        {"type": "text", "text": f"La chiave: {spelling[:9]}"},
        {"type": "text", "text": f"{spelling[9:]} e basta."},
    ]
    echoes = [
        completion(f"La chiave: {spelling} e basta."),
        with_message({"content": half}),
        completion(None, refusal=f"No: {spelling}"),
        completion(json.dumps({"text": f"La chiave: {spelling}"})),
        (400, {}, {"error": {"message": f"No: {spelling}", "code": spelling}}),
        (400, {}, {"error": {"message": f"content_filter: {spelling}", "code": "content_filter"}}),
        (400, {}, spelling.encode()),
        (503, {"retry-after": f"9999 {spelling}"}, {}),
        (302, {"location": f"http://other/{spelling}"}, {}),
    ]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for echo in echoes:
            with Proxy(always(echo)) as proxy:
                used = connect(proxy.url, store=tmp_path, retries=0)
                try:
                    shown += map(repr, used.ask([f"a {len(shown)}"]))
                except UserError as error:
                    shown.append(str(error))
            shown.append(json.dumps(used.facts()) + repr(used))
    stored = [f.read_text() for f in tmp_path.rglob("*.json")]
    assert len(stored) == 5 and len(shown) == 2 * len(echoes) and sum(MASK in text for text in stored) == 5
    for text in [*shown, *stored, caplog.text, *(str(w.message) for w in told)]:
        assert not leaks(text, spelling), text


def test_a_password_in_the_address_is_masked_too_and_reaches_no_log(connect, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    token = in_base64("ambo:pass-wörd9")
    with Proxy(always(completion(f"pass-wörd9 pass-w%C3%B6rd9 pass-w\\u00f6rd9 PASS-WÖRD9 {token}"))) as proxy:
        address = proxy.url.replace("//", "//ambo:pass-w%C3%B6rd9@")
        (answer,) = connect(address, store=tmp_path).ask(["a"])
        assert proxy.keys == [f"Basic {token}"]
    (file,) = tmp_path.rglob("*.json")
    assert answer.text == "… … … … …" and json.loads(file.read_text())["text"] == answer.text
    assert "pass" not in caplog.text.lower() and "127.0.0.1" in caplog.text


@pytest.mark.parametrize("key", ["", "none", "EMPTY", "ollama", "x", "abc"])
def test_a_placeholder_is_no_secret_and_harms_no_answer(connect, key):
    text = "none EMPTY ollama x abc"
    with Proxy(always(completion(text))) as proxy:
        assert connect(proxy.url, key=key).ask(["a"])[0].text == text


def test_a_short_secret_is_masked_where_it_stands_alone():
    mask = make_mask(["k3y9"])
    assert mask("The key k3y9, k3y95 and K3Y9.") == "The key …, k3y95 and …."
    assert make_mask(["evil"])("live") == "live"  # a short secret backwards is a word


def test_masking_a_long_text_takes_time_in_proportion():
    mask, seconds = make_mask([KEY]), []
    for n in (10_000, 80_000):
        start = time.process_time()
        texts = ["\\" * 3 * n, "%25" * n, KEY[:9] * (n // 3), "A" * 3 * n, "&#0" * n, "=3" * n, "\\u" * n]
        for text in [*texts, (KEY[: len(KEY) // 2 - 1] + "…") * (n // 6)]:
            assert mask(text) == text
        seconds.append(time.process_time() - start)
    assert seconds[1] < 30 * seconds[0]  # eight times the text; in quadratic time 64 times as long


@pytest.mark.parametrize("key", ["tok\\en12xyz", 'Pa\\ss"w<d9x', "user%2Fpw12"])
def test_a_key_with_signs_that_escape_is_masked_however_it_is_escaped(key):
    mask = make_mask([key])
    for spelled in (key, json.dumps(key)[1:-1], html.escape(key), urllib.parse.quote(key, safe="")):
        for text in (spelled, json.dumps(spelled)[1:-1]):
            assert mask(f"The key {text}.") == "The key …."


def test_what_only_resembles_a_spelling_is_not_masked():
    mask = make_mask([KEY, "mypassword1"])
    for text in (
        "[115, 107, 45, 12]",
        "5a-73-6b-10",
        "m, y, p, a",
        "1, 2, 3 | a, b, c, d, e, f, g, h, i, j",
    ):
        assert mask(text) == text


@pytest.mark.parametrize("name", ["HF_ENDPOINT", "HTTPS_PROXY", "http_proxy"])
def test_passwords_in_addresses_of_the_environment_are_masked(monkeypatch, name):
    monkeypatch.setenv(name, "http://user:s3cret%21passw0rd@127.0.0.1:3128")
    said = "Cannot access http://user:s3cret%21passw0rd@127.0.0.1:3128/api nor s3cret!passw0rd"
    assert without_secrets(said) == "Cannot access http://…@127.0.0.1:3128/api nor …"
    monkeypatch.setenv(name, "http://tokentoken9@127.0.0.1")
    assert without_secrets("at http://tokentoken9@127.0.0.1") == "at http://…@127.0.0.1"
    monkeypatch.setenv(name, "http://127.0.0.1")
    assert without_secrets("at http://127.0.0.1") == "at http://127.0.0.1"


def test_an_ordinary_word_in_a_short_key_is_not_masked():
    mask = make_mask(["mypassword1", "discriminazione1"])
    assert mask("mypassword1") == mask("discriminazione1") == "…"
    assert mask("The password of a password") == "The password of a password"


def test_proposals_and_label_logs_do_not_have_the_key(connect, tmp_path):
    rows = [{"id": str(i), "text": f"un annuncio {i}"} for i in range(3)]
    replies = [completion(f"La chiave è {KEY}."), completion(None, refusal=KEY), (400, {}, {"error": {"message": KEY}})]
    with Proxy(lambda number, body: replies[number % 3]) as proxy:
        back_end = connect(proxy.url, store=tmp_path / "store")
        score = lambda texts: np.ones(len(texts))  # noqa: E731
        proposals = targets.propose(back_end, rows, lambda text: text, score, "", 0.5)
    assert [p["status"] for p in proposals] == ["ok", "refused", "failed"]
    targets.record_proposals(tmp_path / "log", proposals)
    files.write_jsonl(tmp_path / "proposals.jsonl", proposals)
    with Proxy(lambda number, body: replies[number % 3]) as proxy:
        task = Task("t", ("good", "bad"), "bad", (" good", " bad"), "{text}")
        brief = {"text": "", "labels": {}, "columns": {}}
        back_end = connect(proxy.url, store=tmp_path / "store")
        teacher = annotator.TeacherAnnotator(back_end, task, brief, "", "en", (0, 0))
        with pytest.raises(UserError, match="left 1 of 3 texts without a label") as raised:
            teacher.annotate(tmp_path / "log2", rows)
    texts = [f.read_text() for f in tmp_path.rglob("*") if f.is_file()]
    assert len(texts) >= 6 and not any(KEY in text for text in [*texts, str(raised.value)])


# --- a function in this process ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (["x"], "1 texts among 1 values for 2 prompts"),
        (["x"] * 3, "3 texts among 3 values for 2 prompts"),
        ([], "0 texts among 0 values for 2 prompts"),
        (["x", None], "1 texts among 2 values for 2 prompts"),
        (["x", b"y"], "1 texts among 2 values for 2 prompts"),
        ("xy", "1 texts among 1 values for 2 prompts"),
        (None, "0 texts among 1 values for 2 prompts"),
    ],
)
def test_a_function_that_does_not_return_a_text_for_each_prompt(tmp_path, written, sentence):
    local = endpoint.Local(lambda prompts: written, "rules 1", tmp_path)
    with pytest.raises(
        UserError, match=rf"local back-end rules 1 returned {sentence}: it must return one text for each"
    ):
        local.ask(["a", "b"])
    assert list(tmp_path.rglob("*.json")) == []


def test_a_function_may_return_any_iterable_of_texts():
    assert [a.text for a in endpoint.Local(lambda prompts: (p.upper() for p in prompts)).ask(["a", "b"])] == ["A", "B"]
    schema = create_model("Verdict", label=(Literal["a", "b"], ...))
    assert (
        endpoint.Local(lambda prompts: np.array(['{"label": "a"}'] * len(prompts))).ask(["x"], schema)[0].status == "ok"
    )
