"""The lines of a text file, in whatever encoding it is."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from helpers.data.batched import Places, listed
from helpers.env import UserError
from helpers.files import open_regular

MENDED = "helpers.mended"  # how bytes are read that are not UTF-8, where all others are
BAD = re.compile("[\udc80-\udcff]")  # a byte that is not UTF-8, as `surrogateescape` reads it


def decoded(file: Path, newline: str = "") -> tuple[Callable[[], Iterator[str]], list[str]]:
    """(function that yields the lines with their ends, without byte order marks; remarks).

    `newline` is as for `open`. Raises UserError naming the first line that cannot be read.
    """
    with open(file, "rb", opener=open_regular) as stream:
        encoding, errors = _utf16(stream.read(10_000)) or "utf-8", "strict"
    remedy = "save the file as UTF-8 (in Excel: “CSV UTF-8”)"
    remarks: list[str] = []
    if encoding != "utf-8":
        if line := _bad_line(file, encoding):
            raise UserError(f"{file}, line {line}: not {encoding}; {remedy} and try again.")
    elif bad := _bad_bytes(file, newline):
        lines, is_mostly_utf8 = bad
        line = lines.first[0]
        if is_mostly_utf8:
            errors = MENDED
            guess = f"line {listed(lines.first, 10)}: bytes that are not UTF-8, as all others are, were read as Windows-1252"
        else:
            encoding = "cp1252"
            guess = f"line {line}: not UTF-8, so the file was read as Windows-1252"
            if _bad_line(file, encoding):
                problem = f"{file}, line {line}: not UTF-8 nor Windows-1252"
                raise UserError(f"{problem}; {remedy} and try again.")
        remarks = [f"{file}, {guess}; if letters look wrong, {remedy} and try again."]

    def read() -> Iterator[str]:
        with open(file, encoding=encoding, errors=errors, newline=newline, opener=open_regular) as stream:
            for line in stream:
                yield line.removeprefix("\ufeff")  # every one of the files that were joined may have one

    return read, remarks


def _bad_line(file: Path, encoding: str) -> int:
    """The first line that is not in the encoding; 0 for none."""
    decoder, number = codecs.getincrementaldecoder(encoding)(), 0
    try:
        with open(file, "rb", opener=open_regular) as stream:
            for line in stream:
                number += 1
                decoder.decode(line)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return number
    return 0


def _bad_bytes(file: Path, newline: str) -> tuple[Places, bool] | None:
    """(lines with bytes that are not UTF-8, whether the file is UTF-8 for the most part); None where all of it is."""
    lines, bad, others, is_marked = Places(), 0, 0, False
    with open(file, encoding="utf-8", errors="surrogateescape", newline=newline, opener=open_regular) as stream:
        for number, line in enumerate(stream, 1):
            if not line.isascii():
                is_marked = is_marked or (number == 1 and line.startswith("\ufeff"))
                count = len(BAD.findall(line))
                bad, others = bad + count, others + len(re.findall("[^\x00-\x7f]", line))
                if count:
                    lines.add(number)
    return (lines, is_marked or 2 * bad < others) if bad else None


def _mend(error: UnicodeError) -> tuple[str, int]:
    """What stands for bytes that are not UTF-8: a letter of Windows-1252, or a sign for one of which the end is missing."""
    if cut := re.compile(rb"[\xe0-\xf4][\x80-\xbf]{1,2}").match(error.object, error.start):
        return "\ufffd", cut.end()
    return error.object[error.start : error.start + 1].decode("cp1252", "replace"), error.start + 1


codecs.register_error(MENDED, _mend)


def _utf16(content: bytes) -> str:
    """The encoding if it is UTF-16, by its mark or by zeros at every other place; '' otherwise."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    high, low = content[::2], content[1::2]
    if low.count(0) > 2 * len(low) / 3 and not high.count(0):
        return "utf-16-le"
    return "utf-16-be" if high.count(0) > 2 * len(high) / 3 and not low.count(0) else ""
