"""The self-contained HTML report of an evaluation: one file, figures inside, every text escaped."""

from __future__ import annotations

import base64
import difflib
import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from helpers.files import write_text

TINY = (
    "The demo model is tiny (3.4 million parameters, trained on text written for this project): its figures show that "
    "the pipeline works, not what a large model can do."
)
CHANGED = """del { background: #f8c9c4; color: #5c120b } ins { background: #bfe6c8; color: #0d3b1a; text-decoration: none }
del, ins { border-radius: .2em; padding: 0 .1em }"""
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title><style>
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5b6675; --line: #d8dee6; --page: #fff; --mark: #ffe08a;
  --head: #f4f6f9 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ee; --soft: #9aa5b4; --line: #38414d; --page: #161b22; --mark: #7a5c00; --head: #1f2630 } }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 56rem; margin: 2rem auto; padding: 0 1rem }
h1 { line-height: 1.2 }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) }
p.note { color: var(--soft) }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .92rem; margin: .8rem 0 }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
th { background: var(--head) }
table.dense { font-size: .78rem } table.dense th, table.dense td { padding: .3rem .38rem }
td.n { text-align: right; font-variant-numeric: tabular-nums }
td.text { white-space: pre-wrap; overflow-wrap: anywhere; min-width: 10rem }
mark { background: var(--mark); color: inherit; border-radius: .2em }
{{ changed }}
img { max-width: 100%; background: #fff; border-radius: .4rem; padding: .4rem }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem }
</style></head><body>
<h1>{{ title }}</h1><p>{{ lead }}</p>
{% for section in sections if section.table is not none or section.pictures %}<h2>{{ section.heading }}</h2>
{% if section.note %}<p class="note">{{ section.note }}</p>{% endif %}
{% if section.table is not none %}<div class="wide">{{ table(section.table) }}</div>{% endif %}
{% for picture in section.pictures %}<p><img alt="{{ section.heading }}" src="{{ embed(picture) }}"></p>{% endfor %}
{% endfor %}<footer>{{ footer }}</footer></body></html>
"""


def tiny(language: str) -> str:
    """What a page says of the embedded base, for texts of `language` that it writes."""
    foreign = " It has read Italian only: what it writes in another language are no sentences, whatever they score."
    return TINY + foreign * (language not in ("", "it"))


def section(heading: str, note: str = "", table: pd.DataFrame | None = None, pictures: Sequence[Path] = ()) -> dict:
    """A part of the page; one with neither table nor pictures is left out."""
    return {"heading": heading, "note": note, "table": table, "pictures": pictures}


def write_report(path: Path, title: str, lead: str, sections: list[dict], footer: str) -> Path:
    """Render and save the page."""
    environment = jinja2.Environment(autoescape=True)
    environment.globals |= {"table": _table, "embed": _embed}
    return write_text(
        path,
        environment.from_string(PAGE).render(
            title=title, lead=lead, sections=sections, footer=footer, changed=Markup(CHANGED)
        ),
    )


def highlight(text: str, spans: Sequence[Sequence[int]]) -> Markup:
    """The text escaped, with the character spans in <mark>; overlapping spans are joined."""
    out, at = Markup(""), 0
    for start, end in sorted(map(tuple, spans)):
        start = max(start, at)
        if start < end <= len(text):
            out += escape(text[at:start]) + Markup("<mark>") + escape(text[start:end]) + Markup("</mark>")
            at = end
    return out + escape(text[at:])


def changes(source: str, output: str) -> Markup:
    """The output escaped, with what it drops from the source in <del> and what it puts in in <ins>, word by word.

    A text written anew, with under two fifths of its words from the source, stands as it is: no one could read the changes.
    """
    old, new = (re.findall(r"\w+|\s+|[^\w\s]", text) for text in (source, output))
    out, matcher = Markup(""), difflib.SequenceMatcher(None, old, new, autojunk=False)
    if matcher.ratio() < 0.4:
        return escape(output)
    for tag, a, b, c, d in matcher.get_opcodes():
        for words, name in (("".join(old[a:b]), "del"), ("".join(new[c:d]), "ins")):
            if tag == "equal":
                out += escape(words) if name == "ins" else Markup("")
            elif words:
                out += Markup(f"<{name}>") + escape(words) + Markup(f"</{name}>")
    return out


def mark_changes(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with `output` shown as changes to `text`, ready for `as_html` and `write`."""
    marked = [changes(text, output) for text, output in zip(rows["text"], rows["output"], strict=True)]
    return rows.assign(output=pd.Series(marked, index=rows.index, dtype=object))


def group_section(name: str, table: pd.DataFrame, smallest: int) -> dict:
    """The section on one group column: its groups of at least `smallest` rows, and how many smaller ones there are."""
    large = table[table["count"] >= smallest]
    rest = f" Smaller groups, under {smallest} rows, are in by_group.csv: {len(table) - len(large)}."
    note = "Worst first." + rest * (len(large) < len(table))
    return section(f"By {name.replace('_', ' ')}", note, large)


def as_html(table: pd.DataFrame, empty: str = "None."):
    """The table for a notebook cell, texts escaped and wrapped; `empty` stands for one without rows."""
    from IPython.display import HTML

    if table.empty:
        return HTML(f"<p>{escape(empty)}</p>")
    return HTML(f"<style>td.text {{ white-space: pre-wrap; max-width: 40rem }} {CHANGED}</style>{_table(table)}")


def highlight_rows(rows: pd.DataFrame, spans: dict[str, Sequence[Sequence[int]]]) -> pd.DataFrame:
    """The rows with `text` highlighted at the spans of their `id`, ready for `as_html` and `write`."""
    marked = [highlight(text, spans.get(i, [])) for i, text in zip(rows["id"], rows["text"], strict=True)]
    # As objects: pandas would turn markup into plain text, which is then escaped again.
    return rows.assign(text=pd.Series(marked, index=rows.index, dtype=object))


def _embed(picture: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()


def _table(table: pd.DataFrame) -> Markup:
    if table.empty:
        return Markup("<p>None.</p>")
    sides = ["right" if pd.api.types.is_numeric_dtype(kind) else "left" for kind in table.dtypes]
    head = Markup("").join(
        Markup('<th style="text-align: {}">{}</th>').format(side, _heading(str(c)))
        for side, c in zip(sides, table.columns, strict=True)
    )
    rows = [
        Markup("<tr>") + Markup("").join(map(_cell, row)) + Markup("</tr>") for row in table.itertuples(index=False)
    ]
    opening = Markup('<table class="dense">') if len(table.columns) > 9 else Markup("<table>")
    return opening + Markup("<tr>") + head + Markup("</tr>") + Markup("").join(rows) + Markup("</table>")


def _heading(column: str) -> str:
    return re.sub(r"^f1 ", "F1 ", column.replace("macro_f1", "macro-F1").replace("_", " "))


def _cell(value: object) -> Markup:
    if isinstance(value, float):
        digits = 3 if abs(value) <= 1 else 2 if abs(value) < 10 else 1  # shares have three
        return Markup('<td class="n">{}</td>').format("–" if pd.isna(value) else f"{value:,.{digits}f}")
    if isinstance(value, int):
        return Markup('<td class="n">{:,}</td>').format(value)
    long = isinstance(value, Markup) or len(str(value)) > 60
    # Inline, because JupyterLab's own style sheet aligns cells to the right.
    return Markup('<td{} style="text-align: left">{}</td>').format(Markup(' class="text"') if long else "", value)
