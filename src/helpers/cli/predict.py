"""`ambo predict`: a trained detector put to work on a file of texts."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import pandas as pd
import typer

from helpers import env, files, outputs, pipeline
from helpers.cli.notebook import interruptible
from helpers.data import embedded, tables
from helpers.data.batched import changed, column_name
from helpers.data.language import SAMPLE, language_remark
from helpers.env import UserError, short_path
from helpers.evaluation import runs
from helpers.manifest import read_facts
from helpers.text import plural, quoted, say

if TYPE_CHECKING:
    import pyarrow as pa

TEXT = "text"  # the column of texts where nothing names one
MOST_ANSWERS, MOST_CHARACTERS = 2000, 4_000_000  # texts that a page shows, and their length together


def predict(
    file: Annotated[
        str, typer.Argument(help="a .csv, .tsv, .jsonl or .parquet file, a folder of .txt files, or - for lines")
    ],
    task: Annotated[str, typer.Option(help="task of the run; without it that of the latest detector")] = "",
    run_id: Annotated[str, typer.Option(help="name of the run; without it the latest that finished 03")] = "",
    text_column: Annotated[
        str, typer.Option(help="column with the texts; without it that of the run's own data, else `text`")
    ] = "",
    out: Annotated[str, typer.Option(help="a .csv, .tsv, .jsonl or .parquet file; default: in the run's folder")] = "",
    html: Annotated[str, typer.Option(help="an HTML page of the answers, with filters, to write as well")] = "",
    explain: Annotated[bool, typer.Option("--explain", help="add the words that moved each answer")] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="in a .csv, no apostrophe before what looks like a formula")
    ] = False,
) -> None:
    """Answer every text of a file with a trained detector: each row again, with answer, confidence and probabilities."""
    check_places(file, out, html)
    with interruptible("what is answered is kept, and the same command goes on from there"):
        answer_file(file, task, run_id, text_column, out, html, explain, raw)


def check_places(file: str, out: str, html: str) -> None:
    """Raise UserError where a path is none, or what is written would take the place of something else."""
    for path in (file, out, html):
        if path.encode("utf-8", "replace").decode() != path:
            raise UserError(f"{path!a} is not valid UTF-8: rename it.")
    if file != "-":
        env.refuse_other_folder(file)
    is_read, is_table = "the file that is read", "the table of --out"
    for written, other, what in ((out, file, is_read), (html, file, is_read), (html, out, is_table)):
        if written and other and env.resolve(written).resolve() == env.resolve(other).resolve():
            raise UserError(f"{written} is {what}: name another one to write.")
    for option, written in (("--out", out), ("--html", html)):
        if written:
            outputs.refuse_loss(env.resolve(written), option)
            refuse_place(written)
    if out:
        tables.check_suffix(out)
    if html and Path(html).suffix.lower() not in (".html", ".htm"):  # so that it is no table, nor a text that is read
        raise UserError(f"{html} ends in {Path(html).suffix!r}: a page ends in .html.")


def refuse_place(path: str) -> None:
    """Raise UserError where no file can be written at a path, before a text is read."""
    place = env.resolve(path)
    try:
        if place.is_dir():
            raise UserError(f"{path} is a folder: name the file to write, as in {Path(path) / 'answers.csv'}.")
        home = next(parent for parent in place.parents if parent.exists())  # folders below it are made
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        remedy = "name a place in a folder that takes files"
        raise UserError(f"{path} cannot be written ({error.strerror}): {remedy}.") from error


def answer_file(
    file: str, task: str, run_id: str, text_column: str, out: str, html: str, explain: bool, raw: bool
) -> None:
    """What `predict` does, once its words are checked."""
    latest = runs.require_detector(task, run_id)
    folder = outputs.run_folder(latest.task, latest.run) / "predictions"
    is_table = file != "-" and not env.resolve(file).is_dir()
    named, column = text_column, text_column or (own_column(latest) if is_table else TEXT)
    source = lines_source(column, folder) if file == "-" else open_texts(file, column, named or TEXT)
    column = column if column_name(source, column) in source.columns else TEXT
    reading = Reading(source, column, out)
    for remark in [*reading.remarks, *(f"note: {remark}" for remark in runs.due_remarks(latest))]:
        say(remark, file=sys.stderr)
    advice = runs.verdict(latest)
    from helpers.core import detector as core  # loads torch: not before the mistakes above are found
    from helpers.evaluation import report

    detector = core.load_detector(latest.adapter)
    own_id = first_parameters(latest).get("id_column")
    added = [*detector.columns, *(["words"] if explain else [])]
    tables.refuse_columns(reading.source, added, file)
    for written in filter(None, (out, html)):
        if not env.resolve(written).parent.exists():
            say(f"Folder {Path(written).parent} is new.", file=sys.stderr)
    if is_table and not named:
        say(f"The texts are read from column {quoted(column)}; --text-column names another.", file=sys.stderr)
    if remark := language_remark(reading.sample, detector.learner.recipe.model, "its answers mean little"):
        say(remark, file=sys.stderr)
    to_output, explained = file == "-" and not out, reading.rows if explain else reading.shown if html else 0
    facts = {"source": file, "rows": reading.rows, "texts": reading.digest}
    counts, long, marked, page = Counter(), 0, 0, []
    with detector.predict_recorded(reading.texts, facts, folder, explained) as (following, place):
        target = env.resolve(out) if out else place.with_suffix(".csv")
        schema, holder = reading.schema_with(added), str(place.resolve())
        is_guarded = not raw and (to_output or target.suffix.lower() in (".csv", ".tsv"))
        with printing(raw) if to_output else tables.writing(target, raw, schema, holder) as write:
            for table, texts in reading.batches(exact=reading.schema is not None):
                answers, spans = following(len(texts))
                answers = rounded(answers).set_axis(table.index)
                if explain:
                    answers["words"] = core.spanned_words(texts, spans)
                write(table.join(answers))
                counts.update(answers["answer"].fillna(""))
                long += detector.count_long(texts)
                marked += tables.count_guarded(table) if is_guarded else 0
                if html and (left := reading.shown - sum(len(part) for _, part, _ in page)) > 0:
                    page.append((texts[:left], answers[:left].set_axis(own_names(table, own_id)[:left]), spans[:left]))
        if long:
            say(f"Long, and read in several windows: {long:,} of {plural(reading.rows, 'text')}.", file=sys.stderr)
        if not to_output:
            with to_output_or_sentence():
                say(f"{plural(reading.rows, 'row')} → {short_path(target)}: {answer_counts(counts)}")
        if marked:
            rest = "that a spreadsheet would run as a formula got an apostrophe before it (--raw: none)"
            with to_output_or_sentence():
                say(f"{plural(marked, 'cell')} {rest}.", file=sys.stderr if to_output else None)
        if advice:
            say(advice, file=sys.stderr)
        if html:
            report.name_classes(*runs.class_names(outputs.run_folder(latest.task, latest.run)))
            who = f"the detector of run {latest.run}, task {latest.task}"
            written = report.write_answers(env.resolve(html), page, who, reading.rows)
            say(f"Page       {short_path(written)}", file=sys.stderr if to_output else None)


def own_column(latest: runs.Detector) -> str:
    """The column of the texts in the data of a detector's run."""
    column = first_parameters(latest).get("text_column")
    return column if column and isinstance(column, str) else TEXT


def first_parameters(latest: runs.Detector) -> dict[str, Any]:
    """The parameters of 01 in a detector's run; {} where they cannot be read."""
    first = read_facts(outputs.run_folder(latest.task, latest.run) / pipeline.STAGES["01"] / "manifest.json")
    parameters = first.get("parameters")
    return parameters if isinstance(parameters, dict) else {}


def own_names(table: pd.DataFrame, column: Any) -> list[str]:
    """What a page calls each row: by the column with ids of the person's own, as in the run's data, else by its number."""
    if isinstance(column, str) and column in table:
        return [f"{column} {value}" for value in table[column]]
    return [f"row {number}" for number in table.index]


def rounded(answers: pd.DataFrame) -> pd.DataFrame:
    """Answers with four decimals, which is more than is known of any; a row keeps all where they would hide its answer."""
    shares = answers.filter(regex="^p_")
    few = shares.round(4)
    is_tied = few.eq(few.max(axis=1), axis=0).sum(axis=1) > 1
    return answers.assign(
        **few.mask(is_tied, shares, axis=0),
        confidence=answers["confidence"].round(4).mask(is_tied, answers["confidence"]),
    )


class Reading:
    """A source that is read in several passes, and what the first one, over all of it, says.

    Attributes
    ----------
    rows, shown : int
        The number of rows, and of those that a page of answers shows.
    digest : str
        Of all texts.
    sample : list of strings
        The beginnings of SAMPLE texts drawn from all.
    remarks : list of strings
    schema : pyarrow.Schema, optional
        Types of the columns, where a .parquet is to be written.
    """

    def __init__(self, source: tables.Source, column: str, out: str):
        self.source, self.column, self.remarks, self.digest, self.schema = source, column, [], "", None
        self.rows = self.shown = length = 0
        self.sample, drawn = [], random.Random(0)
        is_parquet, schemas = Path(out).suffix.lower() == ".parquet", set()
        for table, texts in self.batches(self.remarks, is_parquet):
            if is_parquet:
                self.schema = tables.join_schema(self.schema, table, Path(out))
                schemas.add(self.schema)
            for number, text in enumerate(texts, self.rows):  # reservoir sampling, so that none is held
                place = number if number < SAMPLE else drawn.randrange(number + 1)
                if place < SAMPLE:
                    self.sample[place : place + 1] = [text[:1000]]
            self.rows += len(texts)
            for text in texts if length < MOST_CHARACTERS else []:
                self.shown += self.shown < MOST_ANSWERS and length < MOST_CHARACTERS
                length += len(text)
        if len(schemas) > 1:  # the first rows may not fit what the last ones ask for
            for table, _ in self.batches(exact=True):
                tables.arrow_table(table, Path(out), self.schema)

    def batches(
        self, remarks: list[str] | None = None, exact: bool = False
    ) -> Iterator[tuple[pd.DataFrame, list[str]]]:
        """Yield rows and their texts; raises UserError where the texts are no longer those of the first pass."""
        seen = hashlib.sha256()
        for table in self.source.batches(remarks, exact):
            texts = tables.clean_texts(table, self.column)
            seen.update("".join(f"{text}\0" for text in texts).encode())
            yield table, texts
        if self.digest not in ("", seen.hexdigest()):
            raise changed(self.source.where)
        self.digest = seen.hexdigest()

    def texts(self) -> Iterator[list[str]]:
        return (texts for _, texts in self.batches())

    def schema_with(self, added: list[str]) -> pa.Schema | None:
        """The types of the columns and of those of the answers, None without a `schema`."""
        import pyarrow as pa

        schema = self.schema
        for name in added if schema else []:
            schema = schema.append(
                pa.field(name, pa.string() if name in ("answer", "kinds", "words") else pa.float64())
            )
        return schema


def open_texts(file: str, text_column: str, instead: str = "") -> tables.Source:
    """The table of a file or folder, with the texts in one of two columns; raises UserError in the words of this command."""
    place = env.resolve(file)
    if not file.startswith((embedded.PREFIX, "hf:")) and not place.exists():
        remedy = "check the path, or give - to read lines from standard input"
        raise UserError(f"{file} is not a file or folder (looked for {place}): {remedy}.")
    try:
        return tables.open_table(file, text_column, instead)
    except UserError as error:  # which speaks to `ambo run`
        raise UserError(str(error).replace("set text_column to", "set --text-column to")) from None


def lines_source(text_column: str, folder: Path) -> tables.Source:
    """The lines of standard input, kept in a file without a name in `folder`; raises UserError where they are not text."""
    number = 0
    try:
        outputs.make_folder(folder)
        kept = tempfile.TemporaryFile("w+", encoding="utf-8", errors="surrogatepass", newline="\n", dir=folder)  # noqa: SIM115
        for line in sys.stdin:
            kept.write(line)
            number += 1
        kept.flush()
    except UnicodeDecodeError as error:
        line = number + 1 + error.object[: error.start].count(b"\n")
        remedy = "convert it, for example with `iconv -f WINDOWS-1252 -t UTF-8`, or give the file itself"
        raise UserError(f"Standard input, line {line}: not {error.encoding.upper()}; {remedy}.") from error
    except OSError as error:
        reason = f"Standard input could not be kept in {folder} ({error.strerror})"
        raise UserError(f"{reason}: free space or permission is missing there.") from error

    def lines() -> Iterator[str]:
        kept.seek(0)
        return iter(kept)

    return tables.open_lines(lines, text_column)


@contextlib.contextmanager
def printing(raw: bool) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Yield a function that prints the next rows of a table; cells that look like a formula as they are, if `raw`."""
    headers = iter([True])

    def write(table: pd.DataFrame) -> None:
        with to_output_or_sentence():
            print_lines(table if raw else tables.spreadsheet_safe(table), next(headers, False))

    yield write
    with to_output_or_sentence():
        sys.stdout.flush()


@contextlib.contextmanager
def to_output_or_sentence() -> Iterator[None]:
    """Turn what standard output refuses into a UserError."""
    try:
        yield
    except OSError as error:
        with contextlib.suppress(OSError, ValueError):  # Python would write what is left there once more when it ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        reason = f"Standard output could not be written ({error.strerror})"
        raise UserError(f"{reason}: free space there, or name a file with --out.") from error


def print_lines(table: pd.DataFrame, has_header: bool = True) -> None:
    """The table on standard output: for a terminal, or as it is for another program."""
    if sys.stdout.isatty():
        say(table.to_csv(index=False, header=has_header).rstrip("\n"))
    else:
        files.write_delimited(sys.stdout, table, has_header=has_header)


def answer_counts(counts: Counter) -> str:
    """How often each answer was given, and how many texts have none, which is ''."""
    given = ", ".join(f"{name} {count:,}" for name, count in counts.most_common() if name)
    return given + (f"; {counts['']:,} without a text" if counts[""] else "")
