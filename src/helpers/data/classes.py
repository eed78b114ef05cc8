"""The classes of a user's table: spellings merged, gaps written as text, and what looks like no class at all."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from helpers.data.records import is_evaluation
from helpers.task import is_number
from helpers.text import name, normalise, plural, quoted

# How other programs write a missing value into a text file, whatever the case; and as Python and R write it alone, because
# `none` and `na` may be classes.
MISSING = {"nan", "null", "nat", "n/a", "#n/a", "<na>"}
MISSING_AS_WRITTEN = {"None", "NA"}
MANY = 20  # more classes than that are hardly meant
SHOWN = 10  # spellings or classes that a sentence lists


def clean_names(cells: Sequence[str], keep: Collection[str] = ()) -> tuple[list[str], Counter]:
    """(cells as cleaned names, counts of missing values written as text): '' where a value is missing.

    `keep` are names that are meant although they look like a missing value.
    """
    counts = Counter(cells)
    names = {cell: name(cell) for cell in counts}
    meant, spellings = set(map(_look, keep)), set(names.values())
    missing = Counter()
    for cell, count in counts.items():
        written, look = names[cell], _look(names[cell])
        is_missing = look in MISSING
        if written in MISSING_AS_WRITTEN:  # unless the column has another spelling of it, which then is a class
            is_missing = not any(_look(other) == look for other in spellings - {written})
        if is_missing and look not in meant:
            missing[written] += count
            names[cell] = ""
    return [names[cell] for cell in cells], missing


def without_missing(texts: Iterable[str]) -> tuple[list[str], Counter]:
    """(texts, '' in place of one that is nothing but a missing value written as text; counts of those)."""
    missing, kept = Counter(), []
    for text in texts:
        is_missing = text in MISSING_AS_WRITTEN or (len(text) < 5 and _look(text) in MISSING)
        missing.update([text] if is_missing else [])
        kept.append("" if is_missing else text)
    return kept, missing


def missing_remark(where: str, missing: Counter, can_be_classes: bool = False) -> str:
    """The sentence on missing values that stand as text in a column; '' where there are none."""
    if not missing:
        return ""
    values = ", ".join(f"{value!r} ({plural(count, 'row')})" for value, count in missing.most_common(SHOWN))
    is_doubtful = can_be_classes and MISSING_AS_WRITTEN & missing.keys()
    return f"{where} has {values}: read as missing{'; a class of that name is to be in labels' if is_doubtful else ''}."


def merge_look_alikes(
    cells: Sequence[str], names: Sequence[str], labels: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """(class of each cell, what was merged): names that differ in case, width or `1` and `1.0` are one class.

    A class is spelled as in the task's `labels`, otherwise as it stands most often. Where two of the `labels` look
    alike, they stay two. `cells` are the cells as they stand in the file, `names` their cleaned names.
    """
    counts = Counter(names)
    spellings: dict[str, list[str]] = defaultdict(list)  # the commonest first
    for spelling in [*labels, *(value for value, _ in counts.most_common() if value)]:
        if spelling not in spellings[key := _look(spelling)]:
            spellings[key].append(spelling)
    final = {"": ""}
    for alike in spellings.values():
        meant = [spelling for spelling in alike if spelling in labels]
        for spelling in alike:
            final[spelling] = spelling if spelling in meant or len(meant) > 1 else alike[0]
    written: dict[str, Counter] = defaultdict(Counter)
    for (cell, cleaned), count in Counter(zip(cells, names, strict=True)).items():
        if cleaned:
            written[final[cleaned]][cell] += count
    remarks = []
    for label, forms in written.items():
        others = [(form, count) for form, count in forms.most_common() if form != label]
        if others and (len(forms) > 1 or name(others[0][0]) != label):
            values = ", ".join(f"{quoted(form)} ({plural(count, 'row')})" for form, count in others[:SHOWN])
            remarks.append(f"{values}{', …' if len(others) > SHOWN else ''}: read as {quoted(label)}")
    return [final[value] for value in names], remarks


def _look(label: str) -> str:
    """What two spellings of one class have in common."""
    look = normalise(label)
    return re.sub(r"(?<=\d)\.0+$", "", look) if re.fullmatch(r"[+-]?\d+\.0+", look) else look


def by_threshold(values: Sequence[str], threshold: float, positive: str, negative: str) -> list[str]:
    """The positive class for numbers from the threshold on, the negative one below; '' where there is none.

    Raises ValueError with the position of the first value that is no number.
    """
    labels = []
    for position, value in enumerate(values):
        try:
            number = float(value.replace(",", ".")) if value else 0.0
        except ValueError:
            raise ValueError(position) from None
        labels.append((positive if number >= threshold else negative) if value else "")
    return labels


def suspicions(records: Iterable[dict], columns: Collection[str], meant: Collection[str] = ()) -> list[str]:
    """Sentences on classes that are hardly meant; `meant` are those that the task names, `columns` the table's."""
    splits: dict[str, Counter] = defaultdict(Counter)
    for record in records:
        if record.get("label"):
            splits[record["label"]][record["split"]] += 1
    counts = Counter({label: sum(own.values()) for label, own in splits.items()})
    numbers = [label for label in counts if is_number(label) and label not in meant]
    fractions = [label for label in numbers if not re.fullmatch(r"[+-]?\d+", label)]
    # A few whole numbers may be the names of classes; many are ratings or per cents.
    if fractions or len(numbers) > MANY:
        shown = fractions if len(numbers) <= MANY else numbers
        return [
            f"{len(shown)} of the {len(counts)} classes ({_some(shown)}) are numbers, not classes: set label_threshold."
        ]
    sentences = []
    if len(counts) > MANY and not meant:
        sentences.append(f"There are {len(counts)} classes ({_some(counts)}): is this the column with the label?")
    else:
        if lone := [label for label, count in counts.items() if count == 1]:
            sentences.append(f"{_class(lone)} with one row only: a slip of the pen?")
        far: dict[str, list[str]] = defaultdict(list)  # evaluation sets → classes that no other row has
        for label, own in splits.items():
            if label not in lone and all(map(is_evaluation, own)):
                far[" and ".join(sorted({split.partition("_")[0] for split in own}))].append(label)
        for sets, labels in far.items():
            sentences.append(f"{_class(labels)} in the {sets} rows only: nothing can be learned about it.")
    odd = [label for label in counts if label not in meant and (label == "-1" or label in columns)]
    if odd:
        sentences.append(f"{_class(odd)}, which looks like a gap or a header: correct the rows if it is none.")
    return sentences


def class_counts(records: Iterable[dict], names: Mapping[str, str]) -> str:
    """One line: the classes and their rows in each split, the commonest class first; '' where there is no label.

    `names` says what people read for a class; one without is shown as it is.
    """
    splits: dict[str, Counter] = defaultdict(Counter)
    for record in records:
        if record.get("label"):
            splits[record["split"]][record["label"]] += 1
    total = sum(splits.values(), Counter())
    shown = [label for label, _ in total.most_common(MANY)]
    parts = []
    for split, counts in splits.items():
        called = [(names.get(label, label), counts[label]) for label in shown]
        words = [f"{name if len(name) <= 40 else name[:39] + '…'} {count:,}" for name, count in called]
        parts.append(f"{split}: {', '.join(words)}{', …' if len(total) > len(shown) else ''}")
    return " · ".join(parts)


def _some(labels: Iterable[str]) -> str:
    labels = list(labels)
    return ", ".join(map(quoted, labels[:SHOWN])) + (", …" if len(labels) > SHOWN else "")


def _class(labels: Sequence[str]) -> str:
    return f"Class {quoted(labels[0])}" if len(labels) == 1 else f"Classes {_some(labels)}"
