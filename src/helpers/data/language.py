"""The language of texts, by py3langid (naive Bayes over byte n-grams), and the languages that a model's card names."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

import yaml

from helpers import env
from helpers.data import embedded
from helpers.files import open_regular, read_yaml
from helpers.text import quoted

SAMPLE = 200  # texts that are looked at
SHORTEST = 20  # letters from which a text shows its language
UNLIKELY = 0.01  # probability under which a text is not in a language
LONGEST_CARD = 1_000_000  # characters


@cache
def language_identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def main_language(texts: Sequence[str]) -> str:
    """ISO 639-1 code of the language of most of the texts, by a sample; '' where none has most."""
    readable = [text for text in texts if sum(map(str.isalpha, text)) >= SHORTEST]
    sample = random.Random(0).sample(readable, min(SAMPLE, len(readable)))
    try:
        counts = Counter(language_identifier().classify(text)[0] for text in sample)
    except OSError:  # it unpacks its model into the folder for temporary files, which may be full: a remark less
        return ""
    language, count = counts.most_common(1)[0] if counts else ("", 0)
    return language if count > len(sample) / 2 else ""


def card_languages(model: str) -> list[str]:
    """The languages in the front matter of a model folder's README.md; none where no card on this machine says."""
    folder = embedded.DATA / model.removeprefix(embedded.PREFIX) if model.startswith(embedded.PREFIX) else None
    card = (folder or env.resolve(model)) / "README.md"
    try:
        with open(card, encoding="utf-8", opener=open_regular) as stream:
            opening, front, *_ = stream.read(LONGEST_CARD).split("---\n", 2)
        facts = {} if opening.strip() else read_yaml(front)
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return []
    languages = facts.get("language") if isinstance(facts, dict) else None
    # YAML 1.1 reads the code of Norwegian as a truth value.
    entries = [
        "no" if entry is False else entry for entry in (languages if isinstance(languages, list) else [languages])
    ]
    return [entry.lower() for entry in entries if isinstance(entry, str)]


def surely_other(text: str, languages: Collection[str]) -> str:
    """The language of one text, where it is hardly one of these (ISO 639-1); '' where it may be, or is too short to say."""
    if sum(map(str.isalpha, text)) < SHORTEST or not languages:
        return ""
    shares = dict(language_identifier().rank(text))
    likeliest = max(shares, key=shares.__getitem__)
    return likeliest if max(shares.get(language, 0.0) for language in languages) < UNLIKELY else ""


def language_remark(texts: Sequence[str], model: str, outcome: str = "it can hardly learn from them") -> str:
    """A sentence where the card of a model names languages and most of the texts are in another; '' otherwise.

    `outcome` is what follows from it for the model.
    """
    languages = card_languages(model)
    codes = {language.replace("_", "-").partition("-")[0] for language in languages}
    main = main_language(texts) if languages else ""
    if not main or main in codes or codes & {"multilingual", "mul"}:
        return ""
    named = ", ".join(quoted(language, 20) for language in languages[:5])
    reader = f"the card of model {quoted(model)} names only {named}"
    return f"Most texts are in language {main!r}, but {reader}: {outcome}; take a model for {main!r}."
