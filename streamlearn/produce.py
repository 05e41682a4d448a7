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
from streamlearn.transport.kafka_outlet import KafkaOutlet

CHUNK = 500


def produce(file: str, topic: str, bootstrap_servers: str, *, rate: float | None, key: str | None) -> None:
    """Send every line of the file, in order; `rate` bounds the records a second.

    Raises:
        ConfigError: the file cannot be read.
        BrokerError: the broker does not answer, or did not take a record.
    """
    outlet = KafkaOutlet(KafkaSettings(bootstrap_servers))
    sent = 0
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
                    advance(len(chunk))
                    if rate is not None:
                        time.sleep(max(0.0, start + sent / rate - time.monotonic()))
                    if size > 1 or file == "-":
                        outlet.commit({})
                outlet.commit({})
    finally:
        outlet.close()
    seconds = time.monotonic() - start
    sys.stderr.write(f"sent {sent:,} records to {topic} in {seconds:.1f} s\n")


@contextmanager
def _open(file: str) -> Iterator[BinaryIO]:
    if file == "-":
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
        for row in csv.DictReader(text):
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
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(topic, total=total)
        yield lambda n: bar.advance(task, n)
