"""Prompts for teachers and judges, in the language of the texts (Italian; English for all others)."""

from __future__ import annotations

import json
from collections.abc import Sequence

CONDITIONS = "Condizioni: "  # opens the last line of a prompt, which states the conditions in JSON

ITALIAN = {
    "few_shot": "Scrivi {text}.\n\nIl testo deve corrispondere a questa descrizione:\n{wishes}\n",
    "default_text": "un testo dello stesso genere degli esempi",
    "label": "etichetta",
    "examples": "\nAlcuni testi con la stessa etichetta, da non copiare e da non parafrasare:\n{examples}\n",
    "new": (
        "\nScrivi un solo testo nuovo, diverso dagli esempi nel contenuto e nella costruzione delle frasi, in un italiano "
        "corretto e naturale. Non spiegare e non commentare."
    ),
    "paraphrase": (
        "Riscrivi il testo che segue con altre parole e un'altra costruzione delle frasi. Il senso, il registro, la lunghezza "
        "e il modo di nominare le persone (solo maschile, solo femminile, forme doppie, forme neutre) devono restare gli stessi. "
        "Rispondi solo con il testo riscritto.\n\nTesto:\n{source}"
    ),
    "neutral": (
        "Riscrivi il testo che segue in modo che non nomini il genere di nessuna persona: usa nomi collettivi o neutri (la "
        "persona, il personale, la clientela), relative con «chi», forme senza articolo né accordo. Non usare forme doppie, "
        "asterischi o schwa, e non cambiare nient'altro. Rispondi solo con il testo riscritto.\n\nTesto:\n{source}"
    ),
    "out": (
        "Traduci in inglese il testo che segue, per intero e con naturalezza. Dove l'italiano indica il genere di una persona, "
        "indicalo anche in inglese. Rispondi solo con la traduzione.\n\nTesto:\n{source}"
    ),
    "back": (
        "Traduci in italiano il testo che segue, per intero e con naturalezza. Dove l'inglese indica il genere di una persona, "
        "indicalo anche in italiano. Rispondi solo con la traduzione.\n\nTesto:\n{source}"
    ),
    "hard_negative": (
        "Il testo che segue ha l'etichetta «{label}»{meaning}. Cambialo il meno possibile, conservando quasi tutte le parole, "
        "in modo che la sua etichetta diventi «{other}»{other_meaning}. Il testo deve restare verosimile e corretto. "
        "Rispondi solo con il testo cambiato.\n\nTesto:\n{source}"
    ),
    "target": "{instruction}{guideline}{examples}\n\nRispondi solo con il testo richiesto, in {language}.\n\nTesto:\n{source}",
    "language": "italiano",
    "pairs": "\n\nEsempi:\n{examples}",
    "pair": "Testo: {text}\nRisposta: {target}",
    "mark": (
        "Quanto è vero quello che segue del testo più sotto? Il testo {attribute}.\n\nDai un voto intero da 0 (per niente) a 10 "
        "(del tutto).\n\nTesto:\n{source}"
    ),
    "judge": "{guideline}\n\nScegli l'etichetta del testo che segue tra queste:\n{labels}\n\nTesto:\n{source}",
}
ENGLISH = {
    "few_shot": "Write {text}.\n\nThe text must fit this description:\n{wishes}\n",
    "default_text": "a text of the same kind as the examples",
    "label": "label",
    "examples": "\nSome texts with the same label, to be neither copied nor paraphrased:\n{examples}\n",
    "new": (
        "\nWrite one new text that differs from the examples in content and in the build of its sentences, in the language of the "
        "examples. Neither explain nor comment."
    ),
    "paraphrase": (
        "Rewrite the following text in other words and with other sentences, in its own language. Meaning, register, length and "
        "the way people are named must stay the same. Answer with the rewritten text only.\n\nText:\n{source}"
    ),
    "neutral": (
        "Rewrite the following text, in its own language, so that it names no person's gender, and change nothing else. "
        "Answer with the rewritten text only.\n\nText:\n{source}"
    ),
    "out": "Translate the following text into French, completely. Answer with the translation only.\n\nText:\n{source}",
    "back": "Translate the following text into English, completely. Answer with the translation only.\n\nText:\n{source}",
    "hard_negative": (
        'The following text has the label "{label}"{meaning}. Change it as little as possible, keeping nearly all of its words, '
        'so that its label becomes "{other}"{other_meaning}. It must stay a plausible text in its own language. '
        "Answer with the changed text only.\n\nText:\n{source}"
    ),
    "target": "{instruction}{guideline}{examples}\n\nAnswer with the wanted text only, in {language}.\n\nText:\n{source}",
    "language": "the language of the text",
    "pairs": "\n\nExamples:\n{examples}",
    "pair": "Text: {text}\nAnswer: {target}",
    "mark": (
        "How true is the following of the text below? The text {attribute}.\n\nGive a whole number from 0 (not at all) to 10 "
        "(entirely).\n\nText:\n{source}"
    ),
    "judge": "{guideline}\n\nChoose the label of the following text among these:\n{labels}\n\nText:\n{source}",
}


def wording(language: str) -> dict[str, str]:
    """The templates for a language."""
    return ITALIAN if language == "it" else ENGLISH


def pivot(language: str) -> str:
    """The language that a back-translation goes through."""
    return "en" if language == "it" else "fr"


def few_shot(request: dict[str, str], examples: Sequence[str], brief: dict, language: str) -> str:
    """The prompt for one new text.

    Its last line states the request in JSON, for the embedded generator.

    Parameters
    ----------
    request : dict
        Column → value, as `brief.plan_requests` returns it.
    """
    words, wishes = wording(language), []
    for name, value in request.items():
        column = brief["columns"].get(name, {})
        title = column.get("name", name)
        meaning = next((o.get("says", "") for o in column.get("options", []) if o["value"] == value), value)
        if name == "label":
            title, meaning = words["label"], f"{value}{_after(': ', brief['labels'].get(value, ''))}"
        wishes.append(f"- {title}: {meaning}")
    parts = [words["few_shot"].format(text=brief["text"] or words["default_text"], wishes="\n".join(wishes))]
    if examples:
        numbered = "\n".join(f"{number}. {text}" for number, text in enumerate(examples, 1))
        parts.append(words["examples"].format(examples=numbered))
    parts += [words["new"], f"\n\n{CONDITIONS}{json.dumps(request, ensure_ascii=False)}"]
    return "".join(parts)


def rewriting(kind: str, source: str, language: str) -> str:
    """The prompt of a `paraphrase`, a `neutral` rewording, or one way of a back-translation (`out`, `back`)."""
    return wording(language)[kind].format(source=source)


def hard_negative(record: dict, other: str, brief: dict, language: str) -> str:
    """The prompt for a text with nearly the words of the record and the label `other`."""
    return wording(language)["hard_negative"].format(
        label=record["label"],
        meaning=_after(", ", brief["labels"].get(record["label"], "")),
        other=other,
        other_meaning=_after(", ", brief["labels"].get(other, "")),
        source=record["text"],
    )


def target(source: str, instruction: str, guideline: str, examples: Sequence[dict], language: str) -> str:
    """The prompt for the target of one source text; examples have text and target, and guideline may be empty."""
    words = wording(language)
    pairs = "\n\n".join(words["pair"].format(**row) for row in examples)
    return words["target"].format(
        instruction=instruction,
        guideline=f"\n\n{guideline.strip()}" if guideline else "",
        examples=words["pairs"].format(examples=pairs) if pairs else "",
        language=words["language"],
        source=source,
    )


def mark(text: str, attribute: str, language: str) -> str:
    """The prompt for a mark from 0 to 10 of how well a text keeps an attribute."""
    return wording(language)["mark"].format(attribute=attribute, source=text)


def judge(text: str, labels: Sequence[str], brief: dict, guideline: str, language: str) -> str:
    """The prompt for the label of a text."""
    options = "\n".join(f"- {label}{_after(': ', brief['labels'].get(label, ''))}" for label in labels)
    return wording(language)["judge"].format(guideline=guideline, labels=options, source=text).strip()


def _after(sign: str, text: str) -> str:
    """The text on one line after a sign; '' without a text."""
    return f"{sign}{' '.join(text.split())}" if text else ""
