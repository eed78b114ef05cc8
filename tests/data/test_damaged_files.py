"""Damaged files, made at random from sound ones with a fixed seed, end in records or in one sentence."""

import io
import json
import random
from collections import Counter

import pandas as pd
import pytest

from helpers.data import tables
from helpers.data.reading import read_table
from helpers.env import UserError
from tests.data.test_tables import PARAMS

ROWS = [
    {
        "text": f'text "{i}", é 😀\nmore',
        "label": "xy"[i % 2],
        "area": ["n", "s", None][i % 3],
        "split": "test",
        "key": i,
    }
    for i in range(12)
]
OPTIONS = {"group_columns": ["area"], "split_column": "split", "id_column": "key", "spans_column": "marks"}
FRAME = pd.DataFrame(ROWS).assign(marks=[json.dumps([[0, 4]])] * len(ROWS))
NASTY = [
    *(b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b'""', b"\t", b",", b";", b"\r", b"\n\n", b"\xe9", b"\x81"),
    *(b"sep=;\n", b"[", b"]", b"{", b"}", b"nan", b"NaN", b"Infinity", b"-1e999", b"\\ud800", b"null", b"1" * 5000),
    *(b'{"a": 1}', b"[1, 2]", b"[[0, 3]]", b"true", b"text,label,area,split,key,marks\n", "\u202e\u200b".encode()),
    *(b"[" * 3000, b'{"a":' * 3000, b" " * 50, b"\xf0\x9f\x98"),
]


def _sound_files() -> dict[str, list[bytes]]:
    """Suffix → contents of sound files."""
    nested = FRAME.assign(marks=[[{"start": 0, "end": 4}]] * len(ROWS), label=[["x"], ["y"]] * 6)
    parquet = []
    for frame in (FRAME, nested):
        frame.to_parquet(buffer := io.BytesIO())
        parquet.append(buffer.getvalue())
    lines = [json.dumps(row | {"marks": [[0, 4]]}) for row in ROWS]
    return {
        ".csv": [FRAME.to_csv(index=False).encode(), FRAME.to_csv(index=False, sep=";").encode("utf-16")],
        ".tsv": [
            FRAME.to_csv(index=False, sep="\t").encode(),
            FRAME.to_csv(index=False, sep="\t").encode("cp1252", "replace"),
        ],
        ".jsonl": ["\n".join(lines).encode(), "\r\n".join(lines).encode("utf-16-le")],
        ".parquet": parquet,
    }


SOUND = _sound_files()


def damaged(content: bytes, dice: random.Random) -> bytes:
    """The content with one to six changes: bytes replaced, cut, doubled, moved, or something nasty put in."""
    content = bytearray(content)
    for _ in range(dice.randint(1, 6)):
        place, length = dice.randrange(len(content) + 1), dice.choice([1, 2, 5, 40])
        kind = dice.randrange(6)
        if kind == 0 and content:
            content[place % len(content)] = dice.randrange(256)
        elif kind == 1:
            del content[place : place + length]
        elif kind == 2:
            content[place:place] = content[place : place + length]
        elif kind == 3:
            content[place:place] = dice.choice(NASTY)
        elif kind == 4:
            other = dice.randrange(len(content) + 1)
            content[place : place + length] = content[other : other + length]
        elif dice.random() < 0.2:
            del content[place:]
    return bytes(content)


@pytest.mark.parametrize("suffix", SOUND)
def test_a_damaged_file_gives_records_or_a_sentence(tmp_path, suffix):
    """500 files of each kind; the records can be saved as what they are."""
    dice, path, ends = random.Random(f"damaged {suffix}"), tmp_path / f"a{suffix}", Counter()
    for _ in range(500):
        path.write_bytes(damaged(dice.choice(SOUND[suffix]), dice))
        try:
            records = tables.to_records(read_table(str(path), "text"), PARAMS | OPTIONS)
        except UserError as error:
            sentence = str(error)
            assert "\n" not in sentence and len(sentence) < 1500, sentence
            sentence.encode()
            ends["sentence"] += 1
        else:
            json.dumps(records, ensure_ascii=False).encode()
            ends["records"] += 1
    assert min(ends["sentence"], ends["records"]) > 20, ends
