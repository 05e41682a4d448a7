"""A broker inside this process, for the demo and for a first try: librdkafka's own, which needs neither Java nor disk.

Other processes reach it at `bootstrap_servers` as long as it runs. It speaks Kafka's protocol and keeps its promises
only in part (measured on librdkafka 2.16):

- It shows aborted records to readers of committed ones, does not store offsets sent to a transaction, and fences
  nobody. So it is for at-least-once, and `KafkaOutlet` without a transactional id.
- Each partition keeps its last 5 MiB: who reads slower than others write loses records, which is an error here.
- A topic appears when it is asked for, with 4 partitions; there is no other administration.
- It knows no timestamps to start from, and keeps a reader waiting for the whole of `fetch.wait.max.ms`.
"""

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, ClassVar, Self

import confluent_kafka as ck
from confluent_kafka import KafkaException

from streamlearn.core.errors import StreamlearnError
from streamlearn.stream.kafka.client import logger


class EmbeddedBroker:
    """A broker of this process, with a listener on the loopback interface; a context manager.

    Raises:
        StreamlearnError: it could not be started.
    """

    # What a source of ours needs in `KafkaSettings.client`, or each record comes up to 100 ms late.
    client: ClassVar[Mapping[str, Any]] = {"fetch.wait.max.ms": 10}

    def __init__(self) -> None:
        config = {
            "bootstrap.servers": "127.0.0.1",  # not used: the client connects to its own cluster
            "test.mock.num.brokers": 1,
            "log_level": 3,
            "logger": logger,
        }
        try:
            self._owner = ck.Producer(config)
            brokers = self._owner.list_topics(timeout=10).brokers.values()
        except KafkaException as error:
            raise StreamlearnError(
                f"the embedded broker does not start: {error.args[0].str()}",
                mend="give the address of a Kafka broker in `kafka.bootstrap_servers`",
            ) from None
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def ensure_topics(self, names: Iterable[str]) -> None:
        """Create the topics that are missing."""
        for name in names:
            self._owner.list_topics(name, timeout=10)

    def close(self) -> None:
        """Stop the broker; its records are gone."""
        self._owner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
