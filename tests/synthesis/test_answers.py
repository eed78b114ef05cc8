"""What a reply says once its reasoning and its courtesies are gone; nothing else of it is stored or trained on."""

import json
import time

import pytest
from pydantic import BaseModel

from helpers.synthesis import targets
from helpers.synthesis.answers import Reply, assess, final_words
from helpers.synthesis.endpoint import Local
from helpers.synthesis.methods import rewrites
from helpers.task import Task

SAID = "The shop was opened by the clerk at nine."
PROMPT = "Rewrite the following text in other words.\n\nText:\nAt nine the clerk opened the shop."
WITH_REASONING = [
    f"Okay, the user wants other words.\n</think>\n\n{SAID}",
    f"<think>Okay, short.</think>\n\n{SAID}",
    f"<think>One.</think>Two?<think>Three.</think>{SAID}",
    f"<thinking>Let me reword this.</thinking>{SAID}",
    f"<Reasoning>\nReword.\n</Reasoning>\n{SAID}",
    f"[THINK]Reword.[/THINK]{SAID}",
    f"◁think▷Reword.◁/think▷{SAID}",
    f"<seed:think>Reword.</seed:think>{SAID}",
    f"<|begin_of_thought|>Reword.<|end_of_thought|>{SAID}",
    f"<|channel|>analysis<|message|>We reword.<|end|><|start|>assistant<|channel|>final<|message|>{SAID}<|return|>",
    f"analysisWe reword.assistantfinal{SAID}",
    f"{SAID}<|im_end|>",
    f'<think lang="it">Reword.</think>{SAID}',
    f"<think >Reword.</think >\n{SAID}",
    f"Thought: I reword it.\nAnswer: {SAID}",
    f"**Reasoning:** I reword it.\n\n**Answer:** {SAID}",
    f"Ragionamento: la riscrivo.\nRisposta: {SAID}",
    f"<think>Reword.</think><answer>{SAID}</answer>",
    f"<output>\n{SAID}\n</output>",
]
WITHOUT_END = [
    "<think>Okay, the user wants other words.",
    f'<think lang="it">draft\n{SAID}',
    f"<think/>draft {SAID}",
    f"&lt;think&gt;draft&lt;/think&gt; {SAID}",
    f"＜think＞draft＜/think＞ {SAID}",
    f"<inner_monologue>draft</inner_monologue>{SAID}",
    f"<plan>draft</plan>{SAID}",
    f"<unused94>thought{SAID}<unused95>",
    f"```think\ndraft\n```\n{SAID}",
    "Reasoning: it is a masculine form.",
    "<thinking>Okay",
    "[THINK]Okay",
    f"{SAID}\n<think>Is it good?",
    "Okay.</think>",
    "<|channel|>analysis<|message|>We need to paraphrase.",
    "<|channel>thought\nWe need to paraphrase.",
]
WITH_COURTESY = [
    f'Sure! Here is a paraphrase:\n\n"{SAID}"',
    f"Sure! Here's the rewritten ad: {SAID}",
    f"Here's the rewritten ad:\n{SAID}",
    f"Here is the text in other words:\n\n**{SAID}**".replace("**", ""),
    f"Certo! Ecco il testo riscritto:\n\n{SAID}",
    f"Certo, ecco una versione riformulata: «{SAID}»",
    f"Ecco l'annuncio riscritto:\n{SAID}",
    f"Di seguito la versione neutra:\n\n{SAID}",
    f"Rewritten text:\n{SAID}",
    f"**Testo riscritto:**\n{SAID}",
    f"Of course!\n\n{SAID}",
    f"Certainly! {SAID}",
    f"<think>Hm.</think>Sure, I can help with that.\n\nHere is the sentence:\n\n{SAID}\n\nLet me know if you need more!",
    f"{SAID}\n\nFammi sapere se vuoi altre versioni.",
]


@pytest.mark.parametrize("reply", WITH_REASONING + WITH_COURTESY)
def test_only_the_answer_is_left_of_a_reply(reply):
    answer = assess(PROMPT, Reply(reply))
    assert (answer.status, answer.text) == ("ok", SAID)


@pytest.mark.parametrize("reply", WITHOUT_END)
def test_reasoning_without_an_answer_is_invalid(reply):
    answer = assess(PROMPT, Reply(reply))
    assert (answer.status, answer.reason) == ("invalid", "it is reasoning without an answer")


@pytest.mark.parametrize(
    "text",
    [
        "Ecco le mansioni: cassa, rifornimento degli scaffali, pulizia.",
        "Certo di trovare la persona giusta, il negozio assume a tempo indeterminato.",
        "Here are the requirements: a driving licence and two years of work.",
        "Sure, blame the women again.",
        "Cerchiamo una persona per la cassa.\nSe hai esperienza, scrivici.",
        "Offriamo: contratto a tempo indeterminato.\nRisposta entro il 10 maggio.",
        'Il cartello dice: "Cercasi commessa".',
        "Sviluppo in C++: std::vector<int> e List<String>, stipendio < 40.000 e > 30.000 euro.",
    ],
)
def test_a_text_that_only_resembles_a_courtesy_stays_whole(text):
    assert assess(PROMPT, Reply(text)).text == text


def test_a_courtesy_of_the_source_itself_is_kept():
    source = "Sure! Here is the ad: we look for a clerk."
    assert assess(f"Reword.\n\nText:\n{source}", Reply(source)).text == source


N = 100_000


@pytest.mark.parametrize(
    "reply",
    [
        "x ‹" + " " * N + "! y",
        "x <" + " " * N + "! y",
        "x <a" + " " * N + "! y",
        "< /" + " / " * N + "! y",
        "&lt;" * N + "y",
        "Thoughts:\nx" + "*" * N + "y",
        "Thoughts:\nx" + "\n" * N + "y",
        "Thoughts:" + "\nanswer" * N + "y",
        "Thoughts:\nanswer" + " " * N + "y",
        "x" + "\n" * N + "y",
        "x" + " \n" * N + "y",
        "x" + "\nlet me know" * N + "\ny",
        "x\nse vuoi " + "a " * N + "\ny",
        "Sure! " * N + "y",
        "Sure" + " " * N + "y",
        "Sure" + "!" * 60 + " " * N + "y",
        "Here is the " + "text " * 10 + ":" + "*" * N + "y",
        "Sure " * 10 + "here is the " + "text " * 10 + ":" + "*" * N + "y",
        "#" * N + "text:" + "*" * N + "y",
        "Sure!\n" + '"' + '" "' * N,
        "<a>" + "</a> " * N + "y",
        " " * N + "x",
        "< " * N + "think",
        "<" + "a" * N + " think",
        "<|" * N,
        "analysis " + "assistantfina " * N,
        "<|channel|>final " * N,
        "</s>" * N + "y",
        "</s>" + " " * N + "y",
    ],
    ids=lambda reply: ascii(reply[:14] + "…" + reply[-2:]),
)
def test_a_long_reply_is_read_in_time_proportional_to_it(reply):
    start = time.process_time()
    final_words(reply, PROMPT)
    assert time.process_time() - start < 3


class Written(BaseModel):
    text: str
    label: str = ""


def test_fields_of_a_schema_hold_no_reasoning_either():
    reply = Reply(json.dumps({"text": f"<think>Hm.</think>Sure! Here is the text:\n{SAID}", "label": "</think> ok"}))
    assert assess(PROMPT, reply, Written).value == {"text": SAID, "label": "ok"}
    thoughts = Reply('I might say {"text": "no"}\n</think>' + json.dumps({"text": SAID}))
    assert assess(PROMPT, thoughts, Written).value["text"] == SAID
    assert assess(PROMPT, Reply(json.dumps({"text": "<think>Hm."})), Written).status == "invalid"


@pytest.mark.parametrize("reply", [*WITH_REASONING, *WITHOUT_END, *WITH_COURTESY])
def test_no_reasoning_becomes_a_training_row_or_a_target(reply):
    task = Task("t", ("no", "yes"), "yes", (" no", " yes"), "{text}\n")
    record = {"id": "a", "text": "At nine the clerk opened the shop.", "label": "yes"}
    brief = {"text": "", "labels": {}, "columns": {}}
    rows, _ = rewrites(Local(lambda prompts: [reply] * len(prompts)), "paraphrase", [record], task, brief, "en")
    assert {row["text"] for row in rows} <= {SAID}

    def score(texts):
        return [1.0] * len(texts)

    proposals = targets.propose(
        Local(lambda prompts: [reply] * len(prompts)), [record], lambda text: f"Reword: {text}", score, "en", 0.0
    )
    assert {p["proposal"] for p in proposals} <= {SAID, ""}


def test_the_panel_offers_no_reasoning_of_the_own_writer(tmp_path):
    (tmp_path / "round_0.jsonl").write_text(
        json.dumps({"id": "a", "output": f"<think>Hm.</think>\n{SAID}"})
        + "\n"
        + json.dumps({"id": "b", "output": "<think>Hm."})
        + "\n"
    )
    records, _ = targets.panel_records([{"id": "a", "text": "A"}, {"id": "b", "text": "B"}], {}, tmp_path)
    assert (records["a"]["proposal"], records["b"]["proposal"]) == (SAID, "B")
