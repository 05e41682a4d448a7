"""A broker inside this process, for trying things out: the mock cluster of librdkafka.

It listens on loopback, so `streamlearn produce` and `streamlearn tail` in another terminal work with it. It forgets
everything when it closes, keeps at most 5 MiB of each partition, and knows no transactions worth the name: at least
once is all that it can do.
"""

import logging
import time
from collections.abc import Iterable
from typing import Self

import confluent_kafka as ck

from streamlearn.errors import BrokerError

PARTITIONS = 4  # of every topic, by librdkafka's own choice


class EmbeddedBroker:
    """Runs while the block runs; `bootstrap_servers` is its address."""

    def __init__(self) -> None:
        self._client = ck.Producer(
            {"test.mock.num.brokers": 1, "logger": logging.getLogger("streamlearn.kafka.embedded")}
        )
        brokers = self._client.list_topics(timeout=10).brokers.values()
        self.bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)

    def create(self, topics: Iterable[str]) -> None:
        """Make the topics exist. The mock cluster creates a topic when it is asked about it.

        Raises:
            BrokerError: a topic did not appear.
        """
        for topic in topics:
            deadline = time.monotonic() + 10
            while not self._client.list_topics(topic, timeout=10).topics[topic].partitions:
                if time.monotonic() > deadline:
                    raise BrokerError(f"the embedded broker did not create '{topic}'", mend="start again")
                time.sleep(0.05)

    def close(self) -> None:
        """End the broker, and forget what it held."""
        self._client.flush(1)
        del self._client

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
