"""Synthetic rows: labels that follow the wording, cells that are thin, prompts, and teachers that fail."""

import json
from functools import partial

import pytest
import yaml

from helpers.data import embedded
from helpers.data.embedded import JOB_ADS
from helpers.env import UserError
from helpers.fairness.counterfactuals import variants
from helpers.italian.cues import find_cues
from helpers.italian.lexicon import occupations
from helpers.synthesis import brief, embedded_writer, endpoint, prompts
from helpers.synthesis.budget import Budget
from helpers.synthesis.methods import (
    back_translations,
    check_methods,
    counterfactuals,
    few_shot,
    rewrites,
)
from helpers.task import Task
from tests.endpoints import Proxy, completion

TASK = Task("italian_jobs", ("inclusive", "not_inclusive"), "not_inclusive", ("a", "b"), "{text}", ("sector",))
FORMS = Task("t", ("inclusive", "not_inclusive"), "not_inclusive", ("a", "b"), "{text}", ("sector", "gender_form"))
BRIEF = brief.read_brief("embedded:italian_jobs/brief.yaml", TASK)
ADS = [f"Cerchiamo una persona per il banco numero {i}, con orario a turni e contratto stabile." for i in range(6)]


def record(text, label="not_inclusive", **more):
    return {"id": text, "text": text, "label": label, "sector": "logistica", **more}


# --- by rule ---------------------------------------------------------------------------------------------------------


def test_swaps_keep_the_label_and_rewordings_take_the_other():
    rows = counterfactuals([record("Il candidato sarà assunto subito.")], TASK, "it")
    assert [(r["method"], r["text"], r["label"]) for r in rows] == [
        ("swap", "La candidata sarà assunta subito.", "not_inclusive"),
        ("double_form", "Il/la candidato/a sarà assunto/a subito.", "inclusive"),
        ("schwa", "Lə candidatə sarà assuntə subito.", "inclusive"),
        ("neutral_form", "La persona candidata sarà assunta subito.", "inclusive"),
    ]
    assert all(r["parent_id"] == "Il candidato sarà assunto subito." and r["sector"] == "logistica" for r in rows)
    assert {(r["source"], r["writer"]) for r in rows} == {("counterfactual", "rules")}


def test_an_inclusive_row_is_put_into_each_gender():
    rows = counterfactuals([record("Il/la candidato/a sarà assunto/a.", "inclusive")], TASK, "it")
    assert [(r["method"], r["text"], r["label"]) for r in rows] == [
        ("one_gender", "La candidata sarà assunta.", "not_inclusive"),
        ("one_gender", "Il candidato sarà assunto.", "not_inclusive"),
    ]


def test_only_the_methods_named_are_used_and_the_gender_form_follows():
    parent = record("Il candidato sarà assunto.", gender_form="masculine")
    rows = counterfactuals([parent], FORMS, "it", ["swap", "schwa"])
    assert [(r["method"], r["gender_form"]) for r in rows] == [("swap", "feminine"), ("schwa", "symbol")]


def test_a_text_without_people_has_no_variant():
    assert counterfactuals([record("Contratto a termine di sei mesi.", "inclusive")], TASK, "it") == []
    assert variants("Any text", "") == []
    assert [r["text"] for r in counterfactuals([record("He is here.")], TASK, "en")] == ["She is here."]


@pytest.mark.parametrize(
    ("methods", "writer", "data_path", "sentence"),
    [
        (["magic"], "embedded", JOB_ADS, "'magic' is none of back_translation"),
        (["swap"], "oracle", JOB_ADS, "teacher='oracle' must be"),
        (["few_shot"], "embedded", "my.csv", "embedded data only"),
        (["paraphrase"], "embedded", JOB_ADS, "paraphrase needs a language model"),
    ],
)
def test_methods_that_cannot_be_followed(methods, writer, data_path, sentence):
    with pytest.raises(UserError, match=sentence):
        check_methods(methods, writer, data_path)


# --- thin cells and the brief ----------------------------------------------------------------------------------------


def test_thin_cells_come_rarest_first():
    rows = [record(str(i), sector=s) for i, s in enumerate(["a"] * 6 + ["b"] * 2)]
    pool = [{"text": "x", "sector": s} for s in "abbcc"]
    table = brief.thin_cells(rows[:6], "sector", TASK.labels, pool)
    assert set(table.sector) == {"a", "b", "c"} and table.missing.tolist() == [1] * 5
    table = brief.thin_cells(rows, "sector", TASK.labels)
    assert {(r["label"], r["sector"]): r["missing"] for r in table.to_dict("records")} == {
        ("inclusive", "a"): 2, ("inclusive", "b"): 2,
    }  # fmt: skip
    (row,) = brief.thin_cells([*rows, record("x", "inclusive")], "", TASK.labels).to_dict("records")
    assert (row["label"], row["count"], row["missing"]) == ("inclusive", 1, 4)


def test_the_plan_takes_what_is_seen_least_and_keeps_to_what_fits():
    rows = [record(str(i), sector=s) for i, s in enumerate(["logistica"] * 8 + ["legale"] * 2)]
    table = brief.thin_cells(rows, "sector", TASK.labels)
    seen = ["Cerchiamo un addetto al magazzino."] * 3
    requests = brief.plan_requests(table, BRIEF, seen, limit=40, seed=1)
    assert len(requests) == table.missing.sum() and all(list(w)[:2] == ["label", "sector"] for w in requests)
    sectors = {o["lemma"]: o["sector"] for o in occupations()}
    assert all(sectors[w["occupation"]] == w["sector"] for w in requests)
    assert "addetto al magazzino" not in {w["occupation"] for w in requests}
    unseen = {r["occupation"] for r in embedded.gold() if not r["occupation_seen"]}
    assert not {w["occupation"] for w in requests} & unseen
    assert {w["category"] for w in requests if w["label"] == "inclusive"} <= {"inclusive", "lawful_exception"}
    assert {w["register"] for w in requests} == {"third", "second", "shop", "social"}  # public: another sector's
    assert brief.plan_requests(table, BRIEF, seen, limit=3, seed=1) == requests[:3]
    assert brief.plan_requests(table.iloc[:0], BRIEF, seen, limit=3) == []


def test_options_are_counted_by_name_and_by_length():
    forms = {"cuoco": ["cuoco", "cuoca", "cuoco/a"], "aiuto cuoco": ["aiuto cuoco"]}
    options = [{"value": value, "forms": names} for value, names in forms.items()]
    counts = brief.count_options(options, ["Una cuoca e un cuoco/a.", "Aiuto cuoco", "cuocono"])
    assert counts == {"cuoco": 1, "aiuto cuoco": 1}
    lengths = [{"value": "short", "words": [1, 2]}, {"value": "long", "words": [3, 9]}]
    assert brief.count_options(lengths, ["uno due", "uno due tre", "uno"]) == {"short": 2, "long": 1}


def test_a_brief_that_does_not_fit_is_one_sentence(tmp_path):
    (tmp_path / "b.yaml").write_text(yaml.safe_dump({"text": "un tweet", "labels": {"x": "y"}, "columns": {}}))
    for path, sentence in ((tmp_path / "b.yaml", "what each of inclusive"), (tmp_path / "none.yaml", "cannot be read")):
        with pytest.raises(UserError, match=sentence):
            brief.read_brief(str(path), TASK)
    assert brief.read_brief("", TASK)["columns"] == {}


WHOLE = {"text": "x", "labels": {"inclusive": "a", "not_inclusive": "b"}, "columns": {}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("text: x\ncolumns: {}\n", "labels: Field required"),
        ("labels: {inclusive: a, not_inclusive: b}\ncolumns: {}\n", "text: Field required"),
        ("text: 2024-13-45\nlabels: {a: x}\ncolumns: {}\n", "month must be in 1..12"),
        (
            yaml.safe_dump(WHOLE | {"labels": {"inclusive": 1, "not_inclusive": "b"}}),
            "labels.inclusive: Input should be",
        ),
        (yaml.safe_dump(WHOLE | {"labels": 3}), "labels: Input should be"),
        (yaml.safe_dump(WHOLE | {"columns": {"c": [1]}}), "columns.c: Input should be"),
        (
            yaml.safe_dump(WHOLE | {"columns": {"c": {"options": [{"value": "v", "words": 3}]}}}),
            "words: Input should be",
        ),
        (yaml.safe_dump(WHOLE | {"columns": {"c": {"options": [{"value": "v", "forms": [1]}]}}}), "forms.0: Input"),
        (yaml.safe_dump(WHOLE | {"columns": {"c": {"options": [{"says": "v"}]}}}), "value: Field required"),
        (f"text: x\nlabels: {{a: x}}\ncolumns: {'[' * 5000}\n", "cannot be read"),
        ("text: &a x\nlabels: {inclusive: *a, not_inclusive: *a}\ncolumns: {}\n", "an alias"),
        ("[1]", "the file: Input should be"),
        ("", "the file: Input should be"),
        ("text: \ud800".encode("utf-8", "surrogatepass"), "cannot be read"),
    ],
    ids=range(14),
)
def test_a_damaged_brief_is_one_sentence(tmp_path, content, words):
    (tmp_path / "b.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(
        UserError, match=r"b\.yaml' cannot be read: it is a YAML file with text, labels and col"
    ) as error:
        brief.read_brief(str(tmp_path / "b.yaml"), TASK)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_the_brief_asks_for_what_the_embedded_generator_can_write():
    requests = brief.plan_requests(
        brief.thin_cells([record("x")], "sector", TASK.labels, [{"sector": o["sector"]} for o in occupations()]),
        BRIEF, [], 40,
    )  # fmt: skip
    texts = embedded_writer.write([prompts.few_shot(w, [], BRIEF, "it") for w in requests])
    assert sum(map(bool, texts)) >= 0.9 * len(texts) > 20


def test_the_italian_prompt_states_the_request_in_words_and_shows_examples():
    request = {"label": "not_inclusive", "sector": "legale", "register": "shop", "category": "age"}
    text = prompts.few_shot(request, ["Primo esempio."], BRIEF, "it")
    assert "- settore: legale" in text and "un limite di età" in text and "piccolo esercizio" in text
    assert "1. Primo esempio." in text and json.loads(text.rpartition(prompts.CONDITIONS)[2]) == request
    bare = prompts.few_shot({"label": "sexist"}, ["One."], brief.read_brief("", TASK), "en")
    assert "- label: sexist" in bare and "1. One." in bare and "Scrivi" not in bare


# --- by a teacher ----------------------------------------------------------------------------------------------------


def test_the_embedded_generator_fills_cells():
    requests = [{"label": label, "sector": "logistica", "length": "short"} for label in TASK.labels]
    writer = endpoint.Local(partial(embedded_writer.write, seed=3))
    rows, answers = few_shot(writer, requests, [record(t) for t in ADS], FORMS, BRIEF, "it")
    assert [a.status for a in answers] == ["ok", "ok"] and [r["label"] for r in rows] == list(TASK.labels)
    assert all(r["sector"] == "logistica" and r["gender_form"] and r["writer"] == "teacher" for r in rows)
    assert [bool(find_cues(r["text"])) for r in rows] == [False, True]


def writes(answer):
    """A local teacher that answers every prompt by `answer(source text)`."""
    return endpoint.Local(lambda asked: [answer(p.rpartition("\n")[2]) for p in asked])


def test_rewritings_keep_their_parent_and_propose_a_label():
    seed = [record(ADS[0]), record(ADS[1], "inclusive")]
    new = "Siamo alla ricerca di chi stia al banco, a turni, con un impiego sicuro."
    writer = writes(lambda source: new)
    (one, two), _ = rewrites(writer, "paraphrase", seed, TASK, BRIEF, "it")
    assert (one["label"], two["label"], one["method"]) == ("not_inclusive", "inclusive", "paraphrase")
    assert one["parent_id"] == ADS[0] and one["source"] == "synthetic"
    rows, _ = rewrites(writer, "hard_negative", seed, TASK, BRIEF, "it")
    assert [r["label"] for r in rows] == ["inclusive", "not_inclusive"]
    rows, _ = rewrites(writer, "neutral", seed, TASK, BRIEF, "it")
    assert [(r["parent_id"], r["label"]) for r in rows] == [(ADS[0], "inclusive")]


def test_a_copy_or_another_language_is_no_row():
    seed = [record(ADS[0])]
    copied, answers = rewrites(writes(lambda source: ADS[0]), "paraphrase", seed, TASK, BRIEF, "it")
    assert copied == [] and answers[0].reason == "it repeats a part of the prompt"
    english = writes(lambda source: "We are looking for someone to serve the customers")
    foreign, answers = rewrites(english, "paraphrase", seed, TASK, BRIEF, "it")
    assert foreign == [] and "'en'" in answers[0].reason


def test_a_back_translation_goes_through_english_and_loses_what_did_not_get_there():
    english = "We are looking for a person for the counter, with shifts and a permanent contract."
    back = "Si ricerca una figura per il banco, con turni e un contratto a tempo indeterminato."
    answer = lambda source: {ADS[0]: english, english: back}.get(source, "")  # noqa: E731
    rows, answers = back_translations(writes(answer), [record(t) for t in ADS[:2]], TASK, "it")
    assert [(r["text"], r["parent_id"]) for r in rows] == [(back, ADS[0])]
    assert sorted(a.status for a in answers) == ["invalid", "ok"]


@pytest.fixture
def connect(monkeypatch, tmp_path):
    def make(url: str, **settings) -> endpoint.Endpoint:
        for name, value in (("BASE_URL", url), ("MODEL", "m"), ("API_KEY", "sk-test")):
            monkeypatch.setenv(f"TEACHER_{name}", value)
        quick = {"retries": 1, "concurrency": 1, "store": tmp_path}
        return endpoint.Endpoint(**quick | settings)

    return make


def ad(number):
    return completion(json.dumps({"text": f"Si cerca chi guidi il muletto nel reparto {number}, anche di notte."}))


def test_an_endpoint_that_falls_silent_keeps_what_it_wrote_and_goes_on(connect):
    requests = [{"label": "inclusive", "sector": "logistica", "length": s} for s in ("short", "middle", "long")]
    ask = partial(
        few_shot, requests=requests, seed_rows=[record(t) for t in ADS], task=TASK, brief=BRIEF, language="it"
    )
    fault = (401, {}, {"error": {"message": "no"}})
    sentence = r"rejects the key.*1 of 3 prompts are answered and kept: run again"
    with Proxy(lambda number, _: ad(0) if number == 0 else fault) as server, pytest.raises(UserError, match=sentence):
        ask(connect(server.url))
    with Proxy(lambda number, body: ad(number + 1)) as server:
        rows, answers = ask(connect(server.url))
        assert len(server.asked) == 2 and [r["text"] for r in rows] == [json.loads(a.text)["text"] for a in answers]
        assert len({r["text"] for r in rows}) == 3 and rows[0]["text"].endswith("reparto 0, anche di notte.")


def test_an_exhausted_budget_and_a_refusal_leave_no_row_behind(connect):
    requests = [{"label": "inclusive", "sector": "logistica", "length": s} for s in ("short", "middle", "long")]
    refusal = completion("Mi dispiace, non posso aiutarti.")
    with Proxy(lambda number, body: refusal if number == 0 else ad(number)) as server:
        writer = connect(server.url, budget=Budget(tokens=6000), max_tokens=256)
        rows, answers = few_shot(writer, requests, [record(t) for t in ADS], TASK, BRIEF, "it")
    assert answers[0].status == "refused" and len(rows) == sum(a.status == "ok" for a in answers) < 3
