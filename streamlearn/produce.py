"""`streamlearn produce`: a file's lines to a topic."""

import csv
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamlearn.errors import ConfigError
from streamlearn.transport.base import Message
from streamlearn.transport.kafka import KafkaSettings
from streamlearn.transport.kafka_admin import Admin
from streamlearn.transport.kafka_outlet import KafkaOutlet

CHUNK = 500


def produce(file: str, topic: str, bootstrap_servers: str, *, rate: float | None, key: str | None) -> None:
    """Send every line of the file, in order; `rate` bounds the records a second.

    A topic that does not exist is refused, also where the broker would create it: it is more often misspelt than new.

    Raises:
        ConfigError: the file cannot be read, or there is no such topic.
        BrokerError: the broker does not answer, or did not take a record.
    """
    settings = KafkaSettings(bootstrap_servers)
    Admin(settings).partitions_of(topic)
    outlet = KafkaOutlet(settings)
    sent = keyless = 0
    start = time.monotonic()
    try:
        with _open(file) as stream:
            total = None if file == "-" else sum(1 for line in stream if line.strip()) - (file.endswith(".csv"))
            if total is not None:
                stream.seek(0)
            messages = (Message(value, _key(value, key)) for value in _values(stream, as_csv=file.endswith(".csv")))
            size = CHUNK if rate is None and file != "-" else 1
            with _progress(total, topic) as advance:
                while chunk := list(islice(messages, size)):
                    outlet.send(topic, chunk)
                    sent += len(chunk)
                    keyless += sum(message.key is None for message in chunk)
                    advance(len(chunk))
                    if rate is not None:
                        time.sleep(max(0.0, start + sent / rate - time.monotonic()))
                    if size > 1 or file == "-":
                        outlet.commit({})
                outlet.commit({})
    finally:  # also after Ctrl-C: what was sent is sent
        outlet.close()
        seconds = time.monotonic() - start
        sys.stderr.write(f"sent {sent:,} records to {topic} in {seconds:.1f} s\n")
        if key is not None and keyless:
            sys.stderr.write(f"warning: {keyless:,} of them have no field {key!r}, and so no key\n")


@contextmanager
def _open(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        if sys.stdin.isatty():
            sys.stderr.write("one JSON event a line; Ctrl-D ends\n")
        yield sys.stdin.buffer
        return
    try:
        with Path(file).open("rb") as stream:
            yield stream
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}", where=file, mend="give the path of a file, or -"
        ) from error


def _values(stream: BinaryIO, *, as_csv: bool) -> Iterator[bytes]:
    if not as_csv:
        yield from (line.rstrip(b"\r\n") for line in stream if line.strip())
        return
    try:
        text = (line.decode("utf-8-sig" if i == 0 else "utf-8") for i, line in enumerate(stream))
        rows = csv.DictReader(text)
        if len(rows.fieldnames or ()) == 1 and any(mark in (rows.fieldnames or ("",))[0] for mark in ";\t"):
            raise ConfigError(
                f"the header is one column: {(rows.fieldnames or ('',))[0]!r}",
                where="CSV line 1",
                mend="separate the columns with commas, or save the file as JSON lines",
            )
        for row in rows:
            if None in row:
                raise ConfigError(
                    f"the row has more columns than the header ({len(rows.fieldnames or ())})",
                    where=f"CSV line {rows.line_num}",
                    mend="put a text that holds commas into double quotes",
                )
            yield orjson.dumps({field: value for field, value in row.items() if field and value not in (None, "")})
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8: {error}", where="CSV", mend="save the file as UTF-8") from error
    except csv.Error as error:
        raise ConfigError(
            f"is not CSV: {error}", where="CSV", mend="mend the file, or save it as JSON lines"
        ) from error


def _key(value: bytes, field: str | None) -> bytes | None:
    """Return the field's value as the record's key; none where the line has no such field or is not JSON."""
    if field is None:
        return None
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    key = found.get(field) if isinstance(found, dict) else None
    return None if key is None else str(key).encode()


@contextmanager
def _progress(total: int | None, topic: str) -> "Iterator[Callable[[int], None]]":
    console = Console(stderr=True)
    if not console.is_terminal or total is None:  # a bar would redraw the line that is typed on
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(topic, total=total)
        yield lambda n: bar.advance(task, n)
