"""`streamlearn produce`: a file's lines to a topic."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamlearn.stream.files import is_csv, opened, records
from streamlearn.stream.kafka.admin import Admin
from streamlearn.stream.kafka.client import KafkaSettings
from streamlearn.stream.kafka.outlet import KafkaOutlet
from streamlearn.stream.transport import Message

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
        with opened(file) as stream:
            total = None if file == "-" else sum(1 for line in stream if line.strip()) - is_csv(file)
            if total is not None:
                stream.seek(0)
            messages = (Message(value, _key(value, key)) for value in records(stream, as_csv=is_csv(file)))
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
