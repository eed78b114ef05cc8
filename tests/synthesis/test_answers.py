"""What a reply says once its reasoning and its courtesies are gone; nothing else of it is stored or trained on."""

import json
import time
from typing import Literal

import pytest
from pydantic import BaseModel, create_model

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
LABELLED = [
    f"Here's one way to put it:\n\n{SAID}",
    f"Ecco un modo per dirlo: {SAID}",
    f"Natürlich! Hier ist eine Umformulierung:\n{SAID}",
    f"Gerne, hier ist die überarbeitete Fassung:\n\n{SAID}",
    f"Hier ist der umformulierte Satz: „{SAID}“".replace("„", "«").replace("“", "»"),
    f"Sure, I can help with that.\n{SAID}",
    f"Certo, ti aiuto volentieri!\n\n{SAID}",
    f"Klar!\n{SAID}",
    f"Paraphrase: {SAID}",
    f"**Paraphrase:** {SAID}",
    f"**Paraphrased sentence:** {SAID}",
    f"**Paraphrase**: **{SAID}**",
    f"### Rewritten text\n\n{SAID}",
    f"**Rewritten version**\n{SAID}",
    f"Gender-neutral version: {SAID}",
    f"Paraphrase (passive): {SAID}",
    f"Parafrasi: {SAID}",
    f"La frase riformulata: {SAID}",
    f"**Versione neutra:** {SAID}",
    f"Riscrittura: «{SAID}»",
    f"Umformulierung: {SAID}",
    f"Umformulierter Satz: {SAID}",
    f"**Geschlechtsneutrale Fassung:**\n{SAID}",
    f"A: {SAID}",
    f"Assistant: {SAID}",
    f"Answer: {SAID}",
    f"Final answer: {SAID}",
    f"Assistente: {SAID}",
    f"Risposta: {SAID}",
    f"Antwort: {SAID}",
    f"Text:\n{SAID}",
    f"Assistant: Sure! Here is the paraphrase:\n```\n{SAID}\n```",
    f"Let me think: the clerk opened it.\n\nFinal answer: {SAID}",
    f"Devo riscrivere la frase.\n**Risposta finale:** {SAID}",
    f"Ich muss den Satz umformulieren.\nEndgültige Antwort: {SAID}",
    f"```\n{SAID}\n```",
    f"```text\n{SAID}\n```",
    f"Here is the text:\n```markdown\n{SAID}\n```",
    json.dumps({"text": SAID}),
    json.dumps({"rewritten_text": SAID}),
    json.dumps({"risposta": SAID}),
    f"{SAID}\n\nNote: I kept the meaning.",
    f"{SAID}\n\n**Note:** the original wording was masculine.",
    f"{SAID}\n\nExplanation: passive voice is used.",
    f"{SAID}\n\n**Changes made:**\n- passive voice\n- order",
    f"{SAID}\n\n(This keeps the meaning while changing the structure.)",
    f"{SAID} (Note: the meaning is the same.)",
    f"{SAID}\n\nThis version keeps the meaning of the sentence.",
    f"{SAID}\n\nI replaced two words by synonyms.\n\nI hope this helps!",
    f"{SAID}\n\nNota: ho mantenuto il significato.",
    f"{SAID}\n\nSpiegazione: ho usato la forma passiva.",
    f"{SAID}\n\nIn questa versione ho usato forme neutre.",
    f"{SAID}\n\n(Ho sostituito due parole con sinonimi.)",
    f"{SAID}\n\nHinweis: Die Bedeutung bleibt gleich.",
    f"{SAID}\n\nErklärung: Der Satz steht im Passiv.",
    f"{SAID}\n\nIch habe den Satzbau geändert.",
    f"{SAID}\n\nLass mich wissen, ob es passt.",
]
SEVERAL = [
    f"1. {SAID}\n2. At nine the clerk opened up.",
    f"1) {SAID}\n\n2) At nine the clerk opened up.",
    f"- {SAID}\n- At nine the clerk opened up.",
    f"Option 1: {SAID}\n\nOption 2: At nine …",
    f"**Option A:** {SAID}",
    f"Opzione 1: {SAID}\nOpzione 2: Alle nove …",
    f"Versione 1: {SAID}",
    f"Vorschlag 1: {SAID}\nVorschlag 2: Um neun …",
    f"{SAID}\n\nOr:\n\nAt nine the clerk opened up.",
    f"{SAID}\n\nOppure:\nAlle nove …",
    f"{SAID}\noder\nUm neun …",
    f"Result: {SAID}",
    f"Ergebnis: {SAID}",
]
UNTOLD = [
    f"Here are two versions:\n1. {SAID}\n2. At nine the clerk opened up.",
    f"Step 1: identify the meaning.\nStep 2: rewrite.\n\n{SAID}",
    f'We need to paraphrase. The sentence: the clerk … So answer: "{SAID}"',
    f"Okay, the user wants other words.\n\n{SAID}",
    f"Let me think about it.\n\n{SAID}",
    f"L'utente vuole una parafrasi.\n\n{SAID}",
    f"Passo 1: analizzo la frase.\n{SAID}",
    f"Der Nutzer möchte eine Umformulierung.\n{SAID}",
    f"Ich muss den Satz umformulieren.\n{SAID}",
    f"Here's my take:\n{SAID}",
    f"Ecco la mia proposta:\n{SAID}",
    f"Hier ist mein Vorschlag:\n{SAID}",
    f"Sure, this should do:\n{SAID}",
    f"{SAID}\n```python\nprint()\n```",
    '<tool_call>{"a": 1}</tool_call>',
    '<function_call>rewrite("x")</function_call>',
    '{"a": 1}',
    '{"thought": "Reword it."}',
    json.dumps({"text": SAID, "note": "short"}),
]


@pytest.mark.parametrize("reply", WITH_REASONING + WITH_COURTESY + LABELLED)
def test_only_the_answer_is_left_of_a_reply(reply):
    answer = assess(PROMPT, Reply(reply))
    assert (answer.status, answer.text) == ("ok", SAID)


@pytest.mark.parametrize("reply", WITHOUT_END)
def test_reasoning_without_an_answer_is_invalid(reply):
    answer = assess(PROMPT, Reply(reply))
    assert (answer.status, answer.reason) == ("invalid", "it is reasoning without an answer")


@pytest.mark.parametrize("reply", SEVERAL + UNTOLD)
def test_a_reply_that_cannot_be_told_is_invalid(reply):
    answer = assess(PROMPT, Reply(reply))
    assert answer.status == "invalid" and ("several versions" in answer.reason) == (reply in SEVERAL)


@pytest.mark.parametrize(
    "text",
    [
        "Note: applications close on 10 May.",
        "We are hiring.\n\nNote: bring your CV and references.",
        "We are hiring.\nChanges: none expected.\nMotivation: high.",
        "We are hiring (no phone calls).\n\n(Women and men welcome.)",
        "Great pay.\nApply now.",
        "Okay salary, long hours: no thanks.",
        "Sure, blame the women again.\nThey always do: it is easy.",
        "Her answer: no.",
        "Response time: two days.",
        "Translation office seeks clerk: apply today.",
        "Rewriting history: a talk for all.",
        "Options: full time or part time.",
        "Version control: Git. Languages: Python.",
        "We need to talk: the women of this office deserve more.",
        "Let me be clear: nobody was asked.",
        "First, we need a clerk: apply by Friday.",
        "Step 1: send your CV. Step 2: come to an interview.",
        "I made a mistake.\n\nI changed jobs last year: it helped.",
        "Two jobs:\n1. clerk\n2. cook",
        "Duties:\n- till\n- stock",
        "Annuncio: cercasi commessa per negozio in centro.",
        "Annuncio di lavoro: cercasi commessa.",
        "Esempio: chi lavora di notte guadagna di più.",
        "A: tutti i colleghi del negozio",
        "Nota: l'offerta è rivolta a tutti i generi.",
        "Cerchiamo una persona.\n\nNota: la ricerca è rivolta a candidati maschili e femminili.",
        "Orario: 9-17.\nMotivazione: alta.\nModifiche: possibili.",
        "Certo che sì: le donne guidano meglio.",
        "Perfetto inglese richiesto.\nSede: Milano.",
        "Risposta rapida: chiamateci.",
        "Traduzioni: cercasi persona con ottimo tedesco.",
        "Testo della legge: articolo 3.",
        "Dobbiamo assumere due persone: una per la cassa, una per il banco.",
        "Oppure no: decidi tu.",
        "Ecco perché: le donne guadagnano meno.",
        "Ecco la nostra proposta: contratto a tempo indeterminato.",
        "Passo 1: invia il curriculum. Passo 2: colloquio.",
        "Ho cambiato lavoro: ora sto meglio.",
        "Hinweis: Bewerbungen bis 10. Mai.",
        "Wir suchen Personal.\n\nHinweis: Bitte nur online bewerben.",
        "Klar strukturierte Arbeit.\nGute Bezahlung: 20 Euro.",
        "Sicher fahren: Kurse für alle.",
        "Gerne auch im Quereinstieg.\nBewerbung an: jobs@example.org",
        "Hier die Aufgaben: Kasse und Reinigung.",
        "Hier unser Angebot: 20 Euro die Stunde.",
        "Antwort auf die Frage: nein.",
        "Übersetzungen: Deutsch und Italienisch.",
        "Ich muss sagen: das ist unfair.",
        "Der Nutzer entscheidet: kaufen oder mieten.",
        "Oder auch nicht: wer weiß.",
        "1. FC Köln sucht eine Aushilfe: Bewerbung bis Mai.",
        "Neue Stelle: Aushilfe (m/w/d) in Köln.",
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
    answer = assess(PROMPT, Reply(text))
    assert (answer.status, answer.text) == ("ok", text)


def test_a_courtesy_of_the_source_itself_is_kept():
    source = "Sure! Here is the ad: we look for a clerk."
    assert assess(f"Reword.\n\nText:\n{source}", Reply(source)).text == source


@pytest.mark.parametrize(
    "source",
    [
        "1. Till\n2. Stock",
        "- Till\n- Stock",
        "Answer: we call back.",
        "Assistente: cercasi.",
        "Text: 555 0100",
        "Option 1: full time. Option 2: part time.",
        "We hire.\n\nExplanation: we grow.",
        "Ecco la mia proposta:\nvieni a lavorare da noi.",
        "Ergebnis: 2:1",
    ],
)
def test_labels_and_lists_of_the_source_itself_are_kept(source):
    answer = assess(f"Reword.\n\nText:\n{source}", Reply(source))
    assert (answer.status, answer.text) == ("ok", source)


def test_the_labels_of_the_examples_in_a_prompt_are_not_those_of_the_source():
    prompt = f"Reword.\n\nExamples:\nText: Anna\nAnswer: Bea\n\nText:\n{SAID}"
    assert assess(prompt, Reply("Answer: At nine it was opened.")).text == "At nine it was opened."


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


@pytest.mark.parametrize(
    "label", ["biased (masculine forms)", "toxic (rephrased)", "Answer: yes", "[reasoning]", "</think>"]
)
def test_a_label_is_the_tasks_to_the_letter(label):
    schema = create_model("Verdict", label=(Literal["biased", label], ...))
    assert assess(PROMPT, Reply(json.dumps({"label": label})), schema).value == {"label": label}
    assert assess(PROMPT, Reply("Sure! Here it is:\n" + json.dumps({"label": "biased"})), schema).value == {
        "label": "biased"
    }


@pytest.mark.parametrize("reply", [*WITH_REASONING, *WITHOUT_END, *WITH_COURTESY, *LABELLED, *SEVERAL, *UNTOLD])
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


@pytest.mark.parametrize(
    "reply",
    [
        "x" + "\n\nNote: a" * 5000,
        " \n" * 20_000 + "x",
        "x" + "(" * 30_000,
        "reasoning:\n" + "\n**" * 10_000,
        "Sure! " * 9000,
    ],
    ids=["notes", "blanks", "brackets", "bold", "assent"],
)
def test_a_reply_of_one_sign_over_and_over_takes_no_time(reply):
    started = time.monotonic()
    assess(PROMPT, Reply(reply))
    assert time.monotonic() - started < 5  # a quarter of a second at most on a machine of its own
