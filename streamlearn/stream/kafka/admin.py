"""Looks at a Kafka cluster and creates what is missing: for the start of the service, `doctor` and `produce`."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any, NamedTuple, TypeVar

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs forget to export these
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from streamlearn.core.errors import BrokerError, StreamlearnError
from streamlearn.stream.kafka.client import KafkaSettings, Watch, common, connect, create, missing, translate

T = TypeVar("T")

_MOCK = "mockCluster"  # how librdkafka's own broker calls its cluster: it has no controller to ask


class TopicInfo(NamedTuple):
    """What the cluster tells of a topic. `id` and `config` are empty where the broker or our rights do not say."""

    name: str
    id: str
    partitions: int
    replicas: int
    config: Mapping[str, str]


class Admin:
    """Asks and changes what a cluster holds; each answer is waited for at most `connect_timeout` seconds.

    Args:
        settings: the cluster.

    Raises:
        BrokerError: no broker answers.
        ConfigError: the broker refuses us.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings, self._watch = settings, Watch(settings, "asking")
        self._client = create(AdminClient, common(settings, self._watch), settings)
        # librdkafka's embedded broker creates a topic when it is asked for, and knows nothing else of administration.
        self.embedded = str(connect(self._client, settings, self._watch).cluster_id or "").startswith(_MOCK)

    def topics(self) -> dict[str, int]:
        """Return the number of partitions of each topic that we may see."""
        known = connect(self._client, self._settings, self._watch).topics
        return {name: len(topic.partitions) for name, topic in known.items()}

    def partitions_of(self, topic: str) -> int:
        """Return the number of partitions.

        Raises:
            ConfigError: there is no such topic.
        """
        known = self.topics()
        if topic not in known:
            raise missing([topic], known, self._settings)
        return known[topic]

    def ensure(self, topics: Sequence[str], partitions: int, config: Mapping[str, str] | None = None) -> list[str]:
        """Create those of the topics that are missing, and return their names; the others stay as they are.

        How many replicas each partition has is left to the broker.

        Args:
            topics: the names.
            partitions: of each topic that is created.
            config: the settings of each topic that is created, such as `{"cleanup.policy": "compact"}`.

        Raises:
            ConfigError: we have no right to create topics, or the cluster does not take these settings.
        """
        absent = [topic for topic in topics if topic not in self.topics()]
        if not absent:
            return []
        if self.embedded:
            for topic in absent:
                self._client.list_topics(topic, timeout=self._settings.connect_timeout)
        else:
            wanted = [NewTopic(t, partitions, config=dict(config or {})) for t in absent]
            for topic, future in self._ask(lambda: self._client.create_topics(wanted)).items():
                try:
                    self._answer(future, f"creating the topic '{topic}'")
                except _ExistsError:
                    continue  # another process was quicker
        self._wait_for(absent)
        return absent

    def describe(self, topic: str) -> TopicInfo:
        """Return what the cluster tells of a topic.

        Raises:
            ConfigError: there is no such topic.
        """
        known = connect(self._client, self._settings, self._watch).topics
        if topic not in known:
            raise missing([topic], known, self._settings)
        partitions = known[topic].partitions
        replicas = min((len(partition.replicas) for partition in partitions.values()), default=0)
        return TopicInfo(topic, self._id(topic), len(partitions), replicas, self.config(topic))

    def config(self, topic: str) -> dict[str, str]:
        """Return a topic's settings with the broker's defaults; empty where we may not look."""
        if self.embedded:
            return {}
        resource = ConfigResource(ResourceType.TOPIC, topic)
        try:
            (future,) = self._ask(lambda: self._client.describe_configs([resource])).values()
            entries = self._answer(future, f"the settings of the topic '{topic}'")
        except StreamlearnError:
            return {}
        return {name: entry.value for name, entry in entries.items() if entry.value is not None}

    def close(self) -> None:
        """Let go of the cluster."""
        del self._client

    def _id(self, topic: str) -> str:
        if self.embedded:
            return ""
        try:
            (future,) = self._ask(lambda: self._client.describe_topics(ck.TopicCollection([topic]))).values()
            return str(self._answer(future, topic).topic_id)
        except StreamlearnError:
            return ""  # brokers before 2.8 have no ids, and some users may not ask

    def _ask(self, ask: Callable[[], dict[Any, Future[Any]]]) -> dict[Any, Future[Any]]:
        try:
            return ask()
        except KafkaException as error:
            raise translate(error.args[0], self._settings.bootstrap_servers, self._settings) from None

    def _answer(self, future: "Future[T]", where: str) -> T:
        try:
            return future.result(self._settings.connect_timeout)
        except FutureTimeoutError:
            raise BrokerError("no answer", where=where, mend="look at the broker's log") from None
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                raise _ExistsError(where) from None
            raise translate(error.args[0], where, self._settings) from None

    def _wait_for(self, topics: Sequence[str]) -> None:
        """Wait until the brokers know the topics: one that was just created may be unknown for a moment."""
        deadline = time.monotonic() + self._settings.connect_timeout
        while not all(self.topics().get(topic) for topic in topics):
            if time.monotonic() >= deadline:
                raise BrokerError(
                    f"the topics {', '.join(topics)} were created and do not show",
                    where=self._settings.bootstrap_servers,
                    mend="restart; if it comes again, look at the broker's log",
                )
            time.sleep(0.05)


class _ExistsError(StreamlearnError):
    """The topic was there already."""
