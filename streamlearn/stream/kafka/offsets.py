"""Asks a Kafka cluster for offsets, and stores a group's, through a consumer."""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeVar

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException

from streamlearn.core.errors import BrokerError, StreamlearnError
from streamlearn.stream.kafka.client import KafkaSettings, translate
from streamlearn.stream.transport import TopicPartition

T = TypeVar("T")

FIRST: Final = -2  # the timestamps by which Kafka means a partition's two ends
LAST: Final = -1

# What a cluster answers while a topic was just created, or a broker has just started.
_SETTLING = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.REPLICA_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError.FENCED_LEADER_EPOCH,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.UNSTABLE_OFFSET_COMMIT,
    KafkaError._TIMED_OUT,  # noqa: SLF001
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
}


def offsets_at(
    consumer: ck.Consumer,
    settings: KafkaSettings,
    partitions: Collection[TopicPartition],
    timestamp: int,
    timeout: float,
) -> dict[TopicPartition, int]:
    """Ask for the offset at a timestamp (milliseconds, or `FIRST` or `LAST`): one request to each broker.

    `LAST` is the last stable offset for a reader of committed records. Past a partition's last record it is -1.
    """
    asked = [ck.TopicPartition(tp.topic, tp.partition, timestamp) for tp in partitions]
    return _insist(
        lambda left: consumer.offsets_for_times(asked, timeout=left), "asking for offsets", settings, timeout
    )


def committed(
    consumer: ck.Consumer, settings: KafkaSettings, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, int]:
    """Ask for the group's committed offsets; partitions without one are left out."""
    asked = [ck.TopicPartition(tp.topic, tp.partition) for tp in partitions]
    where = f"the offsets of the group '{settings.group}'"

    def ask(left: float) -> list[ck.TopicPartition]:
        try:
            return consumer.committed(asked, timeout=min(1.0, left))
        except KafkaException as error:
            # Without a right to the group the call just times out, and the reason comes where records come. Before
            # anything is assigned no record can be lost by looking there.
            if error.args[0].code() == KafkaError._TIMED_OUT and not consumer.assignment():  # noqa: SLF001
                for message in consumer.consume(1, 0):
                    raise KafkaException(message.error()) from None
            raise

    found = _insist(ask, where, settings, settings.connect_timeout)
    return {tp: offset for tp, offset in found.items() if offset >= 0}


def commit(consumer: ck.Consumer, settings: KafkaSettings, positions: Mapping[TopicPartition, int]) -> None:
    """Ask for the group's offsets to be stored; the answer comes to the consumer's `on_commit`."""
    offsets = [ck.TopicPartition(tp.topic, tp.partition, offset) for tp, offset in positions.items()]
    try:
        consumer.commit(offsets=offsets, asynchronous=True)
    except KafkaException as error:
        raise translate(error.args[0], _committing(settings), settings) from None


def refusal(
    error: KafkaError | None, partitions: Collection[ck.TopicPartition], settings: KafkaSettings
) -> StreamlearnError | None:
    """Return what an answer to `commit` has against it: a `BrokerError` passes by itself, any other does not."""
    found = error or next((item.error for item in partitions if item.error is not None), None)
    if found is None:
        return None
    if found.code() in _SETTLING:
        return BrokerError(settings.hide(found.str()), where=_committing(settings))
    return translate(found, _committing(settings), settings)


def _committing(settings: KafkaSettings) -> str:
    return f"committing offsets of the group '{settings.group}'"


def _insist(
    call: Callable[[float], list[ck.TopicPartition]], where: str, settings: KafkaSettings, timeout: float
) -> dict[TopicPartition, int]:
    """Call until every partition has an answer, as long as what is in the way passes by itself."""
    deadline = time.monotonic() + timeout
    while True:
        error: KafkaError | None = None
        answer: list[ck.TopicPartition] = []
        place = where
        try:
            answer = call(max(0.1, deadline - time.monotonic()))
        except KafkaException as raised:
            error = raised.args[0]
        for item in answer:
            if item.error is not None:
                error, place = item.error, f"{where}, {item.topic}[{item.partition}]"
                break
        if error is None:
            return {TopicPartition(item.topic, item.partition): item.offset for item in answer}
        if error.code() not in _SETTLING or time.monotonic() >= deadline:
            raise translate(error, place, settings)
        time.sleep(0.05)
