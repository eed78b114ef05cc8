"""Tables for people, in notebooks and in the self-contained HTML report; all text is escaped."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from numbers import Real
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from helpers import edits
from helpers.env import UserError
from helpers.files import write_text

TINY = (
    "The demo model is tiny (3.4 million parameters, trained on text written for this project): its figures show that "
    "the pipeline works, not what a large model can do."
)
CHANGED = """del { background: #f8c9c4; color: #5c120b } ins { background: #bfe6c8; color: #0d3b1a; text-decoration: none }
del, ins { border-radius: .2em; padding: 0 .1em }"""
MOST_GROUPS = 40  # that the page lists of a column
TEMPLATES = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True)
IDENTIFIER = re.compile(r"[a-z]+(_[a-z]+)+")  # a cell that is a machine name, not text of the data
FIGURE = re.compile(r"[−\d][−\d.,–() to%]*")  # a number, or one with its interval
LONG_TEXT = 60  # characters from which on a cell wraps anywhere
CLASS_NAMES: dict[str, str] = {}  # label → what people read, where a task says so
Format = int | str | Callable[[object], str]  # decimals of floats, a format string, or a function


def tiny(language: str) -> str:
    """What a page says of the embedded base where it writes texts of `language`."""
    if language in ("", "it"):
        return TINY
    return TINY + " It has read Italian only: what it writes in another language are no sentences, whatever the scores."


def name_classes(labels: Sequence[str], names: Sequence[str]) -> None:
    """Show the classes under these names, in the same order, from here on in this kernel; no names: as they are.

    Raises UserError where there is not one name for each class.
    """
    if names and len(names) != len(labels):
        raise UserError(f"Parameter label_names={list(names)!r} needs one for each of {list(labels)!r}.")
    CLASS_NAMES.clear()
    CLASS_NAMES.update(zip(labels, names, strict=False))


def plain_name(name: object) -> str:
    """A machine name in plain words: `not_inclusive` is *not inclusive*, `macro_f1` is *macro-F1*."""
    if str(name) in CLASS_NAMES:
        return CLASS_NAMES[str(name)]
    words = str(name).replace("macro_f1", "macro-F1").replace("_", " ")
    return re.sub(r"^f1\b", "F1", words)


def as_html(
    table: pd.DataFrame,
    empty: str = "None.",
    digits: int | dict[str, Format] | None = None,
    title: str = "",
    fold: str = "",
):
    """Show a table in a notebook cell: plain headings, numbers to the right, texts escaped and wrapped.

    The index is shown where it has a name. Strings that are `Markup`, as from `highlight_rows`, keep
    their markup. A table without rows is the sentence `empty`. `digits` are the decimals of all floats;
    or, by column, decimals, a format such as `"{:.0%}"`, or a function of the value. By default a float
    has three decimals up to 1, two below 10, one above. With `fold`, the table opens at a click on that text.
    """
    from IPython.display import HTML

    style = f"<style>td.text {{ white-space: pre-wrap; max-width: 40rem }} {CHANGED}</style>"
    return HTML(f"{'' if table.empty else style}{_tabulate(table, empty, digits, title, fold=fold)}")


def _tabulate(
    table: pd.DataFrame,
    empty: str = "None.",
    digits: int | dict[str, Format] | None = None,
    title: str = "",
    muted: Sequence[bool] | None = None,
    fold: str = "",
) -> Markup:
    """The table as HTML; rows that `muted` marks are pale; with `fold` it opens at a click on that text."""
    if table.empty:
        return Markup("<p>{}</p>").format(empty)
    if any(name is not None for name in table.index.names):
        table = table.reset_index(allow_duplicates=True)
    columns, cells = [], []
    for i, name in enumerate(table.columns):
        values = list(table.iloc[:, i])
        parts = name if isinstance(name, tuple) else (name,)
        heading = ", ".join(plain_name(part) for part in parts if part != "")
        numeric = all(_is_missing(v) or (isinstance(v, Real) and not isinstance(v, bool)) for v in values)
        columns.append({"heading": heading, "side": "right" if numeric else "left"})
        form = digits.get(name) if isinstance(digits, dict) else digits
        cells.append([_formatted(value, form) for value in values])
    rows = [list(zip(columns, row, map(_kind, row), strict=True)) for row in zip(*cells, strict=True)]
    rows = list(zip([False] * len(rows) if muted is None else muted, rows, strict=True))
    return Markup(TEMPLATES.get_template("table.html").render(columns=columns, rows=rows, title=title, fold=fold))


def with_intervals(table: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """The table with each value and its bounds in one cell, as in 0.81 (0.74–0.87).

    The bounds of a column `x` are `x_low` and `x_high`, or `x low` and `x high`; those named `low` and
    `high` belong to the column before them.
    """
    names, shown = list(table.columns), table.copy()
    for name in [n for n in names if re.search(r"(^|[_ ])low$", n)]:
        base = re.sub(r"[_ ]?low$", "", name) or names[names.index(name) - 1]
        bounds = name, re.sub("low$", "high", name)
        values = table[[base, *bounds]].to_numpy(float)
        shown[base] = pd.Series([interval(*row, digits) for row in values], index=table.index, dtype=object)
        shown = shown.drop(columns=[*bounds])
    return shown


def interval(value: float, low: float, high: float, digits: int = 3) -> str | None:
    """A value with its bounds, as in 0.81 (0.74–0.87), or alone where there are none; None without a value."""
    if np.isnan(value):
        return None
    # Minus signs, because a hyphen beside a dash cannot be read; and no zero that is negative.
    texts = [f"{round(v, digits) + 0.0:.{digits}f}".replace("-", "−") for v in (value, low, high)]
    if np.isnan(low):
        return texts[0]
    return f"{texts[0]} ({texts[1]}{' to ' if '−' in ''.join(texts) else '–'}{texts[2]})"


def _kind(cell: str) -> str:
    """The class of a cell: `text`, which wraps, `figure`, which does not, or none."""
    if isinstance(cell, Markup) or len(cell) > LONG_TEXT:
        return "text"
    return "figure" if FIGURE.fullmatch(cell) else ""


def _is_missing(value: object) -> bool:
    """Whether a cell has no value; a list is one."""
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))


def _formatted(value: object, form: Format | None) -> str:
    """The text of a value."""
    if isinstance(value, Markup):
        return value
    if _is_missing(value):
        return "–"
    if isinstance(form, str):
        return form.format(value)
    if callable(form):
        return form(value)
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, float):
        if form is None:
            form = 3 if abs(value) <= 1 else 2 if abs(value) < 10 else 1  # shares have three
        return f"{value:,.{form}f}"
    if isinstance(value, Real):
        return f"{value:,}"
    is_name = str(value) in CLASS_NAMES or IDENTIFIER.fullmatch(str(value))
    return plain_name(value) if is_name else str(value)


def highlight(text: str, spans: Sequence[Sequence[float]], tag: str = "mark") -> Markup:
    """The text escaped, with its character spans [start, end) in an HTML tag; overlaps are joined.

    Spans [start, end, weight], as an explanation has them, are the stronger coloured the nearer they are to the heaviest.
    """
    pieces, position = [], 0
    heaviest = max((span[2] for span in spans if len(span) > 2), default=0) or 1
    for start, end, *weight in sorted(map(tuple, spans)):
        start, end, colour = max(int(start), position), int(end), ""
        if weight:
            colour = Markup(' style="background: rgb(255 176 0 / {:.0%})"').format(max(0.25, weight[0] / heaviest))
        if start < end <= len(text):
            pieces += [text[position:start], Markup("<{0}{1}>{2}</{0}>").format(tag, colour, text[start:end])]
            position = end
    return Markup("").join([*pieces, text[position:]])  # which escapes what is not marked


def highlight_rows(rows: pd.DataFrame, spans: dict[str, Sequence[Sequence[int]]], tag: str = "mark") -> pd.DataFrame:
    """The rows with `text` highlighted at the spans of their `id`, for `as_html` and `write_report`."""
    marked = [highlight(text, spans.get(i, []), tag) for i, text in zip(rows["id"], rows["text"], strict=True)]
    # As objects: pandas would turn markup into plain text, which would be escaped again.
    return rows.assign(text=pd.Series(marked, index=rows.index, dtype=object))


def changes(source: str, output: str) -> Markup:
    """The output escaped, with dropped words of the source in <del> and inserted ones in <ins>.

    An output that shares less than two fifths with its source is shown without marks: nobody could
    read them.
    """
    # Blanks are tokens here, because what is shown must be the text to the last blank.
    old, new = (re.findall(r"\w+|\s+|[^\w\s]", text) for text in (source, output))
    codes = edits.opcodes(old, new)
    shared = sum(b - a for kind, a, b, _, _ in codes if kind == "equal")
    if shared * 2 < 0.4 * (len(old) + len(new)):
        return escape(output)
    pieces = []
    for kind, a, b, c, d in codes:
        dropped, inserted = "".join(old[a:b]), "".join(new[c:d])
        if kind in ("delete", "replace"):
            pieces.append(Markup("<del>{}</del>").format(dropped))
        if kind in ("insert", "replace"):
            inserted = Markup("<ins>{}</ins>").format(inserted)
        pieces.append(inserted)  # which is escaped below unless it is marked
    return Markup("").join(pieces)


def mark_changes(rows: pd.DataFrame, column: str = "output") -> pd.DataFrame:
    """The rows with `column` shown as changes to `text`, for `as_html` and `write_report`."""
    marked = [changes(text, output) for text, output in zip(rows["text"], rows[column], strict=True)]
    return rows.assign(**{column: pd.Series(marked, index=rows.index, dtype=object)})


def section(
    heading: str,
    note: str = "",
    table: pd.DataFrame | None = None,
    pictures: Sequence[Path] = (),
    points: Sequence[str] = (),
    muted: Sequence[bool] | None = None,
    fold: str = "",
) -> dict:
    """A part of the page: a note, sentences as points, a table with the rows `muted` in grey, pictures (PNG files).

    With `fold`, the table opens at a click on that text.
    """
    table = None if table is not None and table.empty else table
    return {
        "heading": heading,
        "note": note,
        "table": table,
        "pictures": [path for path in pictures if path.exists()],
        "points": points,
        "muted": muted,
        "fold": fold,
    }


def filled(sections: list[dict]) -> list[dict]:
    """The sections that have something to show: sentences, a table or a picture."""
    return [part for part in sections if part["table"] is not None or part["pictures"] or part["points"]]


def group_section(name: str, table: pd.DataFrame, smallest: int, pictures: Sequence[Path] = ()) -> dict:
    """The section on a group column: its groups, those under `smallest` rows last and grey, at most MOST_GROUPS."""
    few = table["count"] < smallest
    table = table.assign(group=[f"{g} (too few rows)" if f else g for g, f in zip(table.group, few, strict=True)])
    table = table.iloc[few.argsort(kind="stable")]
    note = "Worst first, with 95 % intervals."
    if few.any():
        note += f" Groups under {smallest} rows, in grey, are too small to be compared."
    if len(table) > MOST_GROUPS:
        note += f" {len(table) - MOST_GROUPS} more groups are in by_group.csv."
    shown = with_intervals(table.dropna(axis=1, how="all"), 2)[:MOST_GROUPS]
    muted = [*few.sort_values(kind="stable")[:MOST_GROUPS]]
    return section(f"Scores by {plain_name(name)}", note, shown, pictures, muted=muted)


def write_report(path: Path, title: str, lead: str, sections: list[dict], footer: str) -> Path:
    """Write the report as one HTML file, pictures inside, from parts that `section` makes."""
    words = {"title": title, "lead": lead, "footer": footer, "changed": Markup(CHANGED)}
    page = TEMPLATES.get_template("report.html").render(
        words, sections=filled(sections), tabulate=_tabulate, encode=base64.b64encode, readable=_readable_width
    )
    return write_text(path, page)


def _readable_width(png: bytes) -> int:
    """The pixels of a page that a picture needs: half of its own, which at 150 to the inch makes ten points ten pixels."""
    return int.from_bytes(png[16:20]) // 2  # its first chunk begins with the width


def confidence_name(confidence: float) -> str:
    """A confidence as people read it: no detector is certain."""
    return "above 99 %" if confidence > 0.99 else f"{100 * confidence:.0f} %"


def write_answers(
    path: Path, parts: Sequence[tuple[Sequence[str], pd.DataFrame, Sequence]], detector: str, total: int
) -> Path:
    """Write a page of answered texts, with filters by answer, words and confidence.

    Parameters
    ----------
    path : Path
    parts : sequence of (texts, answers, spans)
        The index of `answers` says what the page calls each row, its columns are `answer` (missing without one) and `confidence`;
        `spans` are for each text the (start, end, …) that moved its answer, the strongest first.
    detector : str
        What the page says has answered.
    total : int
        The number of texts that were answered; the page says where it has not all of them.
    """
    names = list(pd.concat([answers["answer"] for _, answers, _ in parts]).dropna().unique()) if parts else []
    rows = []
    for texts, answers, spans in parts:
        for text, name, answer, confidence, own in zip(
            texts, answers.index, answers["answer"], answers["confidence"], spans, strict=True
        ):
            places = [(int(span[0]), int(span[1])) for span in own]  # the strongest first
            known = answer in names
            rows.append(
                {
                    "row": name,
                    "text": highlight(text, own),
                    "answer": f"{plain_name(answer)}, {confidence_name(confidence)}" if known else "no text to answer",
                    "number": names.index(answer) + 1 if known else 0,
                    "confidence": round(100 * confidence, 1) if known else 0,
                    "words": ", ".join(f"“{' '.join(text[start:end].split())}”" for start, end in places),
                }
            )
    lead = f"{total:,} texts, answered by {detector}."
    if total > len(rows):
        lead += f" This page has the first {len(rows):,} of them, the table has all."
    page = TEMPLATES.get_template("answers.html").render(lead=lead, rows=rows, answers=list(map(plain_name, names)))
    return write_text(path, page)
