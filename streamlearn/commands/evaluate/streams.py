"""Labelled files, and the orders in which they become streams."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from streamlearn.core.errors import ConfigError
from streamlearn.core.target import Target
from streamlearn.model.tasks.base import Task
from streamlearn.stream.decoders import EventDecoder
from streamlearn.stream.fields import Fields, extractor
from streamlearn.stream.files import is_csv, numbered, opened
from streamlearn.stream.transport import Record

AS_IS, CLASS_INCREMENTAL, IID = "as-is", "class-incremental", "iid"
ORDERS = (AS_IS, CLASS_INCREMENTAL, IID)
GROUPS = 10
TOLD = 3  # of the lines that are refused


class Row(NamedTuple):
    """One line of a file. `label` is what its label means, such as the name of a class; None where it has none. `text`
    is None where the service would refuse the line."""

    id: str
    value: bytes
    text: str | None
    label: Target | None


class Labelled(NamedTuple):
    """A file that was read.

    `labels` are the different classes, sorted as the file has them: numbers by value, strings by character; none where
    the task has no classes. `refused` counts lines that the service would refuse, by reason, and `told` says of the
    first ones where and why.
    """

    file: str
    rows: list[Row]
    labels: list[str]
    refused: Counter[str]
    told: Sequence[str] = ()

    @property
    def unlabelled(self) -> int:
        """The number of rows that the service would take, and that have no label."""
        return sum(row.label is None and row.text is not None for row in self.rows)


class Stream(NamedTuple):
    """Rows in the order in which they come, cut into the groups of classes that come one after the other."""

    order: str
    parts: list[list[Row]]

    @property
    def size(self) -> int:
        """The number of rows."""
        return sum(map(len, self.parts))


def read(file: str, fields: Fields, task: Task, *, max_bytes: int) -> Labelled:
    """Read a labelled file: JSON lines or CSV, with or without gzip. Rows are named by folder, file and line.

    Raises:
        ConfigError: it cannot be read, or nothing in it has a label.
    """
    with opened(file) as stream:
        found = list(numbered(stream, as_csv=is_csv(file)))
    values = [value for _, value in found]
    if not values:
        raise ConfigError("the file is empty", where=file, mend="give a file with one event a line")
    path = Path("stdin" if file == "-" else file).absolute()
    stem = f"{path.parent.name}-{path.name.split('.')[0]}"
    lines = [Record(stem, 0, at, f"{stem}-{at}".encode(), value, (), 0) for at, value in enumerate(values)]
    # The service's own decoder: what it refuses here becomes a dead letter there.
    targets = task.targets(len(lines))
    decoded = EventDecoder(fields, targets, max_bytes=max_bytes).decode(lines)
    events = {event.source.offset: event for event in decoded.events}
    rows = [
        Row(
            f"{stem}-{at}",
            value,
            event.text if event else None,
            event.label if event else None,
        )
        for at, (value, event) in enumerate(zip(values, map(events.get, range(len(values))), strict=True))
    ]
    labelled = [at for at, row in enumerate(rows) if row.label is not None]
    if not labelled:
        mend = _mend(values, fields, targets.wanted)
        raise ConfigError(_unlabelled(values, decoded.dead_letters, fields), where=file, mend=mend)
    labels = _sorted(_raw_label(lines[at], fields) for at in labelled) if task.classes else []
    told = [f"line {found[each.record.offset][0]}: {each.detail}" for each in decoded.dead_letters[:TOLD]]
    return Labelled(file, rows, labels, Counter(letter.reason for letter in decoded.dead_letters), told)


def ordered(labelled: Labelled, order: str, *, groups: int | None, seed: int) -> Stream:
    """Put the rows into an order; the same seed gives the same one on every machine.

    class-incremental: the labels are permuted by the seed and cut into groups of equal size, which come one after the
    other with their rows shuffled; rows without a label come last. iid: one shuffle. as-is: as they stand.

    Raises:
        ConfigError: there are more groups than labels, or no classes at all.
    """
    rng = random.Random(seed)
    rows, labels = list(labelled.rows), list(labelled.labels)
    if order == IID:
        rng.shuffle(rows)
    if order != CLASS_INCREMENTAL:
        return Stream(order, [rows])
    if not labels:
        raise ConfigError(
            "only classes can come one group after the other, and the task has none",
            where="--order class-incremental",
            mend="take --order as-is or --order iid",
        )
    count = min(GROUPS, len(labels)) if groups is None else groups
    if count > len(labels):
        raise ConfigError(
            f"{count} groups are more than the {len(labels)} labels in {labelled.file}",
            where="--groups",
            mend=f"take at most {len(labels)}",
        )
    rng.shuffle(labels)
    group_of: dict[Target, int] = {label: at * count // len(labels) for at, label in enumerate(labels)}
    parts = [[row for row in rows if row.label is not None and group_of[row.label] == each] for each in range(count)]
    for part in parts:
        rng.shuffle(part)
    parts[-1] += [row for row in rows if row.label is None]
    return Stream(order, parts)


def limited(stream: Stream, most: int | None) -> Stream:
    """Keep the first `most` rows of a stream."""
    if most is None:
        return stream
    parts: list[list[Row]] = []
    for part in stream.parts:
        if most > 0:
            parts.append(part[:most])
            most -= len(part)
    return stream._replace(parts=parts)


def late_labels(stream: Stream) -> list[Target]:
    """Return the labels that come for the first time in the second half of a stream."""
    rows = list(chain.from_iterable(stream.parts))
    half = len(rows) // 2
    early = set(labels_of(rows[:half]))
    return [label for label in labels_of(rows[half:]) if label not in early]


def labels_of(rows: Iterable[Row]) -> list[Target]:
    """Return the different labels of some rows, in the order in which they come."""
    return list(dict.fromkeys(row.label for row in rows if row.label is not None))


def _raw_label(record: Record, fields: Fields) -> Any:  # noqa: ANN401 - a string or an integer
    extract, payload = extractor(fields), orjson.loads(record.value or b"")
    return (payload if extract is None else extract(payload, record))["label"]


def _sorted(raw: Iterable[Any]) -> list[str]:
    found = set(raw)
    try:
        in_order = sorted(found)
    except TypeError:  # strings and numbers
        in_order = sorted(found, key=str)
    return list(dict.fromkeys(map(str, in_order)))


def _unlabelled(values: Sequence[bytes], dead: Sequence[Any], fields: Fields) -> str:
    if len(dead) == len(values):
        return f"none of its {len(values):,} lines can be taken, the first because: {dead[0].detail}"
    return f"no line has a label: there is no {fields.label!r}"


def _mend(values: Sequence[bytes], fields: Fields, wanted: str) -> str:
    try:
        first = orjson.loads(values[0])
    except orjson.JSONDecodeError:
        first = None
    if not isinstance(first, dict):
        return 'give JSON lines such as {"text": "...", "label": "..."}, or a CSV with a header'
    if {fields.text, fields.label} <= first.keys():
        return f"{fields.text!r} and {fields.label!r} are there: give each line a text, and as its label {wanted}"
    have = ", ".join(map(str, list(first)[:8]))
    return (
        f"the first line has {have}; name the right ones with --set fields.text={fields.text} "
        f"and --set fields.label={fields.label}"
    )
