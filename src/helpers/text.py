"""A text as it is kept, and as it is compared."""

from __future__ import annotations

import re
import unicodedata


def clean(text: str) -> str:
    """The text in Unicode NFC with `\\n` line ends and no outer blanks; nothing else is touched."""
    text = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate cannot be saved
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def normalise(text: str) -> str:
    """The text as compared for exact duplicates: case-folded, words only."""
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())) or text
