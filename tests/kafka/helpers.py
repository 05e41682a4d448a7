"""What the tests of whole processes share: a configuration, a process that is watched, and readers of topics."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import yaml
from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient

T = TypeVar("T")

COMMAND = (sys.executable, "-m", "streamlearn")
PATIENCE = 150.0  # seconds: a process that starts on a busy machine needs a minute for its imports
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # a tiny model gains nothing from more

# Records that a producer can send and no learner can take, each with the reason. The last is above RECORD_BYTES.
RECORD_BYTES = 2_000
BAD: Sequence[tuple[str, bytes]] = (
    ("invalid-json", b'{"id": "bad-1", "text": '),
    ("invalid-json", b"\xef\xbb\xbf" + b'{"id": "bad-2", "text": "w1"}'),
    ("encoding", b'{"id": "bad-3", "text": "caf\xe9"}'),
    ("encoding", b'\x00\x00\x00\x00\x01{"id": "bad-4"}'),
    ("schema", b'["bad-5", "w1"]'),
    ("schema", b'{"id": "bad-6", "text": "w1", "time": "yesterday"}'),
    ("missing-input", b'{"id": "bad-7", "label": "a"}'),
    ("missing-input", b'{"id": "bad-8", "text": "  "}'),
    ("label-type", b'{"id": "bad-9", "text": "w1", "label": ["a"]}'),
    ("label-type", b'{"id": "bad-10", "text": "w1", "label": 1.5}'),
    ("too-large", b'{"id": "bad-11", "text": "' + b"w1 " * RECORD_BYTES + b'"}'),
)


class Read(NamedTuple):
    """A record as it stands in a topic."""

    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes | None]
    partition: int
    offset: int


class Process:
    """A command of ours that runs beside the test: what it says goes to files, and it is gone when the block ends."""

    def __init__(self, folder: Path, *arguments: str | Path, environment: Mapping[str, str] = ONE_THREAD) -> None:
        self._folder = folder / f"process-{time.monotonic_ns()}"
        self._folder.mkdir(parents=True)
        with (self._folder / "out").open("wb") as out, (self._folder / "err").open("wb") as err:
            self.popen = subprocess.Popen(
                [*COMMAND, *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                env={**os.environ, **environment},
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.popen.kill()
        self.popen.wait()
        if self.popen.stdin is not None:
            self.popen.stdin.close()

    @property
    def out(self) -> str:
        return (self._folder / "out").read_text()

    @property
    def err(self) -> str:
        return (self._folder / "err").read_text()

    def says(self, pattern: str, seconds: float = PATIENCE) -> re.Match[str]:
        """Wait until standard error matches."""

        def look() -> re.Match[str] | None:
            found = re.search(pattern, self.err)
            assert found or self.popen.poll() is None, f"ended with {self.popen.returncode}\n{self.err}"
            return found

        return until(look, seconds, lambda: f"never said {pattern!r}\n{self.err}")

    def types(self, *lines: str) -> None:
        """Write lines to standard input, as a hand at the keyboard would."""
        assert self.popen.stdin is not None
        self.popen.stdin.write("".join(f"{line}\n" for line in lines).encode())
        self.popen.stdin.flush()

    def ends(self, seconds: float = PATIENCE) -> int:
        """Wait for the end, and return the exit code."""
        return self.popen.wait(seconds)

    def summary(self, seconds: float = PATIENCE) -> dict[str, Any]:
        """Wait for the end in order, and return what `--json` printed."""
        assert self.ends(seconds) == 0, self.err
        summary: dict[str, Any] = json.loads(self.out)
        return summary


def until(look: Callable[[], T | None], seconds: float, complaint: Callable[[], str] = str) -> T:
    """Look until there is something."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.05)
    return found


def call(
    *arguments: str | Path, stdin: bytes = b"", seconds: float = PATIENCE, environment: Mapping[str, str] = ONE_THREAD
) -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        timeout=seconds,
        check=False,
        env={**os.environ, **environment},
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def configuration(
    folder: Path, *, name: str, address: str, events: str, model: Path | str, **sections: Mapping[str, Any]
) -> Path:
    """Write a configuration with its state in `folder` and metrics on a free port; `sections` go over it."""
    settings: dict[str, Any] = {
        "name": name,
        "kafka": {"bootstrap_servers": address, "topics": {"events": events}},
        "model": {"name": str(model)},
        "task": {"name": "sequence-classification"},
        "snapshots": {"path": str(folder / "state")},
        "metrics": {"port": 0},
    }
    for section, values in sections.items():
        settings[section] = {**settings.get(section, {}), **values}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def lines(numbers: Iterable[int], labels: Sequence[str] = ("a", "b", "c"), *, stem: str = "e") -> list[bytes]:
    """Return labelled events of words that the tiny model knows."""
    return [
        json.dumps({"id": f"{stem}{i}", "text": f"w{i % 50} w{i % 7}", "label": labels[i % len(labels)]}).encode()
        for i in numbers
    ]


def produce(folder: Path, address: str, topic: str, records: Iterable[bytes], *options: str) -> None:
    """Send lines with `streamlearn produce`."""
    path = folder / f"{topic}-{time.monotonic_ns()}.jsonl"
    path.write_bytes(b"".join(record + b"\n" for record in records))
    done = call("produce", path, "--topic", topic, "--bootstrap-servers", address, *options)
    assert done.returncode == 0, done.stderr


def read(address: str, topic: str, seconds: float = 60) -> list[Read]:
    """Return all committed records of a topic, up to what is its end now."""
    consumer = Consumer(
        {
            "bootstrap.servers": address,
            "group.id": "reads-without-a-group",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "logger": _Silent(),
        }
    )
    found: list[Read] = []
    try:
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        bounds = {n: consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=30) for n in partitions}
        left = {n: end for n, (first, end) in bounds.items() if first < end}
        consumer.assign([TopicPartition(topic, n, bounds[n][0]) for n in left])
        deadline = time.monotonic() + seconds
        while left:
            assert time.monotonic() < deadline, f"no end of {topic} in sight"
            for message in consumer.consume(1000, 0.1):
                at = message.partition() or 0, message.offset() or 0
                if (error := message.error()) is not None:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    left.pop(at[0], None)
                    continue
                if at[0] in left:
                    headers = dict(message.headers() or [])
                    found.append(Read(message.key(), message.value(), headers, *at))  # type: ignore[arg-type]
                    if at[1] + 1 >= left[at[0]]:
                        del left[at[0]]
    finally:
        consumer.close()
    return found


def predictions(address: str, topic: str) -> list[dict[str, Any]]:
    """Return what stands in a topic of predictions, which may not be there yet."""
    if topic not in AdminClient({"bootstrap.servers": address}).list_topics(timeout=30).topics:
        return []
    return [json.loads(record.value or b"") for record in read(address, topic)]


def reasons(records: Iterable[Read]) -> list[tuple[str, bytes | None]]:
    """Return of each dead letter the reason and the original bytes, sorted."""
    return sorted(((r.headers["streamlearn.reason"] or b"").decode(), r.value) for r in records)


class _Silent:
    """Takes librdkafka's log lines of a broker that is meant to be away."""

    def log(self, *_: object) -> None:
        pass
