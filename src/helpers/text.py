"""How a text is stored, and how two texts are compared."""

from __future__ import annotations

import re
import unicodedata


def clean(text: str) -> str:
    """The text in Unicode NFC, with `\\n` line ends and without outer blanks; nothing else changes."""
    text = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot be saved
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def normalise(text: str) -> str:
    """The case-folded words of the text, by which exact duplicates are found; the text itself if it has no word."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())) or text
