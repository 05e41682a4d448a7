"""`streamlearn produce`: a file's lines to a topic."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamlearn.core.errors import StreamlearnError
from streamlearn.stream.files import is_csv, opened, records
from streamlearn.stream.kafka.admin import Admin
from streamlearn.stream.kafka.client import KafkaSettings
from streamlearn.stream.kafka.outlet import KafkaOutlet
from streamlearn.stream.transport import Message

CHUNK = 500  # records that wait for the broker's word at most
EVERY = 1.0  # seconds that they wait for it
PARTING = 3.0  # seconds that a run which ends early gives what is on its way


def produce(file: str, topic: str, bootstrap_servers: str, *, rate: float | None, key: str | None) -> None:
    """Send every line of the file, in order; `rate` bounds the records a second.

    A topic that does not exist is refused, also where the broker would create it: it is more often misspelt than new.

    Raises:
        ConfigError: the file cannot be read, or there is no such topic.
        BrokerError: the broker does not answer, or did not take a record.
    """
    settings = KafkaSettings(bootstrap_servers)
    Admin(settings).partitions_of(topic)
    sender = Sender(KafkaOutlet(settings), topic)
    keyless = 0
    start = due = time.monotonic()
    try:
        with opened(file) as stream:
            total = None
            if file != "-" and Path(file).is_file():  # a pipe can be read once
                total = sum(1 for line in stream if line.strip()) - is_csv(file)
                stream.seek(0)
            with _progress(total, topic) as advance:
                for value in records(stream, as_csv=is_csv(file)):
                    message = Message(value, _key(value, key))
                    sender.send(message)
                    keyless += message.key is None
                    turn = 0.0 if rate is None else start + sender.handed / rate  # of the next one
                    if sender.handed - sender.sent >= CHUNK or max(turn, time.monotonic()) >= due:
                        advance(sender.confirm())
                        due = time.monotonic() + EVERY
                    if rate is not None:
                        time.sleep(max(0.0, turn - time.monotonic()))
                advance(sender.confirm())
    finally:  # also after Ctrl-C: what was sent is sent
        try:
            sender.close()
        finally:
            seconds = time.monotonic() - start
            sys.stderr.write(f"sent {sender.sent:,} records to {topic} in {seconds:.1f} s\n")
            if open_ := sender.handed - sender.sent:
                sys.stderr.write(f"warning: of {open_:,} more it is not known whether they arrived\n")
            if key is not None and keyless:
                sys.stderr.write(f"warning: {keyless:,} of them have no field {key!r}, and so no key\n")


class Sender:
    """Hands records to an outlet without transactions, and counts those that the broker has.

    Args:
        outlet: is closed with this.
        topic: where to.
    """

    def __init__(self, outlet: KafkaOutlet, topic: str) -> None:
        self._outlet, self._topic = outlet, topic
        self.handed = self.sent = 0
        self._failed = False  # which records were lost is not known, so no later word of the broker's counts

    def send(self, message: Message) -> None:
        """Hand over a record.

        Raises:
            StreamlearnError: it is too large.
            BrokerError: the broker takes nothing.
        """
        self._outlet.send(self._topic, [message])
        self.handed += 1

    def confirm(self) -> int:
        """Wait until the broker has all that was handed over; return how many records are new among it.

        Raises:
            StreamlearnError: it does not take a record.
            BrokerError: it does not answer.
        """
        try:
            self._outlet.commit({})
        except StreamlearnError:
            self._failed = True
            raise
        return self._count()

    def close(self) -> None:
        """Let what is on its way arrive, for a short while; what is queued then is dropped."""
        try:
            if not self._failed and self.sent < self.handed:
                with suppress(StreamlearnError):
                    self._outlet.flush(PARTING)
                    self._count()
        finally:
            self._outlet.close()

    def _count(self) -> int:
        new, self.sent = self.handed - self.sent, self.handed
        return new


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
