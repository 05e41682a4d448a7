"""Reads Kafka: every partition of some topics, committed records only, and never a silent jump.

The partitions are assigned by hand, without a group's rebalancing: one learner owns them all, and its journal, not
the group, decides where to begin. What runs out of the log before it was read, or changes under us, is an error that
says so. A broker that goes away is waited for.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import confluent_kafka as ck
import orjson
from confluent_kafka import KafkaError, KafkaException

from streamlearn.core.errors import BrokerError, StreamlearnError
from streamlearn.core.tuples import unchecked
from streamlearn.stream.kafka import offsets
from streamlearn.stream.kafka.client import (
    GONE,
    KafkaSettings,
    Watch,
    common,
    connect,
    create,
    logger,
    missing,
    translate,
)
from streamlearn.stream.transport import Record, Start, TopicPartition, by_partition, deleted, lost

_SLICE = 0.1  # seconds: signals reach Python only between two calls of `consume`
_LOST = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._LOG_TRUNCATION}  # noqa: SLF001
_PASSING = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._RESOLVE}  # noqa: SLF001

_record = unchecked(Record)

_DEFAULTS: Mapping[str, Any] = {
    "isolation.level": "read_committed",
    "fetch.wait.max.ms": 100,  # the end of a partition is told after two empty fetches, each of which waits this long
    "queued.min.messages": 10_000,  # one deep backlog must not hold back the records of other partitions for long
    "fetch.queue.backoff.ms": 20,  # a full local queue must not cost a second of rest
    "session.timeout.ms": 10_000,  # we join no group; this is how long a commit waits for a coordinator
}
_REQUIRED: Mapping[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "enable.partition.eof": True,
    "statistics.interval.ms": 1000,
}


class KafkaSource:
    """Reads all partitions of its topics, each in order of its offsets; only committed records.

    Args:
        settings: the cluster.
        topics: what to read.
        positions: where to begin; for the other partitions the group's committed offset counts, then `start`.
        stall_seconds: a partition that has records and gives none for so long is warned about and sought again.
        look_seconds: how often to look for new partitions.
        committed: begin at the group's offsets; off for a reader that only looks.
        accept_loss: begin at the nearest offset where the log no longer holds a position, instead of an error.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topics: Sequence[str],
        *,
        positions: Mapping[TopicPartition, int] | None = None,
        stall_seconds: float = 30.0,
        look_seconds: float = 5.0,
        committed: bool = True,
        accept_loss: bool = False,
    ) -> None:
        self._settings, self._topics, self._with_group = settings, list(topics), committed
        self._stall_seconds = stall_seconds
        self._watch = Watch(settings, "reading")
        self._positions: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._found: set[TopicPartition] = set()
        self._failure: StreamlearnError | None = None
        self._refused: StreamlearnError | None = None  # what the last answer to a commit was, if not a good one
        # Stalls are timed by a clock that runs only while polls find nothing more: records that wait in the local
        # queue behind others, or for the end of a long training step, are not stalled.
        self._polled, self._idle, self._short = time.monotonic(), 0.0, False
        self._moved: dict[TopicPartition, tuple[int, float]] = {}
        self._stalled: set[TopicPartition] = set()
        self._again: set[TopicPartition] = set()
        # New partitions show in the statistics once librdkafka has asked for metadata; deleted topics are told then.
        look = dict.fromkeys(
            ("topic.metadata.refresh.interval.ms", "topic.metadata.propagation.max.ms"), int(look_seconds * 1000)
        )
        config = {**_DEFAULTS, **look, **common(settings, self._watch), **_REQUIRED, "group.id": settings.group}
        self._consumer = create(
            ck.Consumer, {**config, "stats_cb": self._statistics, "on_commit": self._stored}, settings
        )
        try:
            self._begin(positions or {}, committed=committed, accept_loss=accept_loss)
        except BaseException:
            self._consumer.close()
            raise

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        """Return up to `max_records` that are there now; wait up to `timeout` seconds for the first one."""
        now = time.monotonic()
        if self._short:
            self._idle += min(now - self._polled, 1.0)
        self._polled = now
        deadline = now + timeout
        records = self._take(self._consumer.consume(max_records, 0))
        while not records and self._failure is None and (left := deadline - time.monotonic()) > 0:
            # `consume` waits until it has all that was asked for: wait for one, then take what came with it.
            messages = self._consumer.consume(1, min(_SLICE, left))
            if messages and max_records > 1:
                messages += self._consumer.consume(max_records - 1, 0)
            records = self._take(messages)
        self._short = len(records) < max_records
        self._look_around()
        if self._failure is not None and not records:
            raise self._failure
        return records  # which count as read, so that a failure waits for the next poll

    def positions(self) -> dict[TopicPartition, int]:
        """Return the next offset of each assigned partition; at a partition's end this is past the markers."""
        return dict(self._positions)

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """Read on from these offsets; the other partitions stay where they are."""
        # Consumer.seek fails for a partition that is not being fetched yet; assigning anew always works.
        self._positions.update(positions)
        self._failure = None
        self._assign()

    def bounds(self) -> dict[TopicPartition, tuple[int, int]]:
        """Ask for the first offset of each assigned partition, and for its last stable offset."""
        first, last = self._offsets(self._positions, offsets.FIRST), self._offsets(self._positions, offsets.LAST)
        return {tp: (first[tp], last[tp]) for tp in self._positions}

    def committed(self) -> dict[TopicPartition, int]:
        """Ask for the group's committed offsets; partitions without one are left out."""
        return offsets.committed(self._consumer, self._settings, self._positions)

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Store the group's offsets, for lag tools and for a start without a journal; the answer is not waited for.

        Raises:
            ConfigError: the group is not ours to commit for, as an earlier call has found out.
        """
        if self._refused is not None and not isinstance(self._refused, BrokerError):  # which the next one makes good
            raise self._refused
        if positions:
            offsets.commit(self._consumer, self._settings, positions)

    def group_metadata(self) -> Any:  # noqa: ANN401 - an opaque object of confluent-kafka
        """Return what a transaction needs in order to commit offsets for the group."""
        return self._consumer.consumer_group_metadata()

    def lag(self) -> dict[TopicPartition, int]:
        """Return how many offsets each partition holds beyond the source's position, as of a second ago."""
        return {tp: max(0, self._ends.get(tp, offset) - offset) for tp, offset in self._positions.items()}

    def stalled(self) -> set[TopicPartition]:
        """Return the partitions that have records and give none."""
        return set(self._stalled)

    def at_end(self) -> bool:
        """Ask whether every partition was read to its last stable offset; False where no broker answers."""
        if self._watch.away:
            return False
        try:
            ends = self._offsets(self._positions, offsets.LAST, timeout=1.0)
        except StreamlearnError:
            return False
        return all(self._positions[tp] >= end for tp, end in ends.items())

    def close(self) -> None:
        """Leave the cluster, once it has answered to all that was committed."""
        self._consumer.close()

    # Where to begin

    def _begin(self, positions: Mapping[TopicPartition, int], *, committed: bool, accept_loss: bool) -> None:
        """1. Find the partitions. 2. Choose the offsets. 3. See that the log still holds them. 4. Assign."""
        known = connect(self._consumer, self._settings, self._watch).topics
        partitions: list[TopicPartition] = []
        for topic in self._topics:
            if topic not in known or not known[topic].partitions:
                raise missing([topic], known, self._settings)
            partitions += [TopicPartition(topic, i) for i in sorted(known[topic].partitions)]

        stored = offsets.committed(self._consumer, self._settings, partitions) if committed else {}
        given = {**stored, **positions}
        first, last = self._offsets(partitions, offsets.FIRST), self._offsets(partitions, offsets.LAST)
        # A partition that its siblings' offsets do not name was added since: nothing of it was read.
        begun = {tp.topic for tp in given}
        fresh = [tp for tp in partitions if tp not in given and tp.topic not in begun]
        given = {**first, **self._start(fresh, self._settings.start, first, last), **given}
        self._positions = {tp: given[tp] for tp in partitions}

        for tp, offset in list(self._positions.items()):
            # A position comes from committed records, so even an open transaction ends at or past it.
            if not first[tp] <= offset <= last[tp]:
                if not accept_loss:
                    raise lost(tp, offset, first[tp], last[tp])
                self._positions[tp] = min(max(offset, first[tp]), last[tp])
        self._ends.update(last)
        self._assign()

    def _start(
        self,
        partitions: list[TopicPartition],
        start: Start,
        first: Mapping[TopicPartition, int],
        last: Mapping[TopicPartition, int],
    ) -> dict[TopicPartition, int]:
        if start == "earliest":
            return {tp: first[tp] for tp in partitions}
        if start == "latest":
            return {tp: last[tp] for tp in partitions}
        found = self._offsets(partitions, int(start.timestamp() * 1000))
        return {tp: last[tp] if found[tp] < 0 else found[tp] for tp in partitions}

    def _assign(self) -> None:
        self._consumer.assign([ck.TopicPartition(tp.topic, tp.partition, o) for tp, o in self._positions.items()])

    def _offsets(
        self, partitions: Collection[TopicPartition], timestamp: int, timeout: float | None = None
    ) -> dict[TopicPartition, int]:
        seconds = self._settings.connect_timeout if timeout is None else timeout
        return offsets.offsets_at(self._consumer, self._settings, partitions, timestamp, seconds)

    # What comes

    def _take(self, messages: list[ck.Message]) -> list[Record]:
        if not any(map(ck.Message.error, messages)):
            return self._convert(messages)
        records = self._convert([m for m in messages if m.error() is None])
        for message in messages:
            if (error := message.error()) is not None:
                self._heed(message, error)
        return records

    def _convert(self, messages: list[ck.Message]) -> list[Record]:
        kind = ck.Message  # its methods through `map`, which is quicker than calling them one by one
        columns: Iterable[Iterable[Any]] = (
            map(kind.topic, messages),
            map(kind.partition, messages),
            map(kind.offset, messages),
            map(kind.key, messages),
            map(kind.value, messages),
            [tuple(headers) if headers else () for headers in map(kind.headers, messages)],
            [timestamp for _, timestamp in map(kind.timestamp, messages)],
        )
        records = list(map(_record, zip(*columns, strict=True)))
        positions = self._positions
        parts = by_partition(records)
        for tp, part in parts.items():
            if part[0].offset < positions[tp]:
                raise lost(tp, positions[tp], 0, part[0].offset)
        positions.update({tp: part[-1].offset + 1 for tp, part in parts.items()})
        return records

    def _heed(self, message: ck.Message, error: KafkaError) -> None:
        code = error.code()
        if code in _PASSING:
            return  # librdkafka tries again, and told the watch
        topic, partition = message.topic(), message.partition()
        if code == KafkaError.GROUP_AUTHORIZATION_FAILED and not self._with_group:
            return  # librdkafka asks for the group's coordinator, whether we need one or not
        if topic is None or partition is None:
            self._failure = translate(error, self._settings.bootstrap_servers, self._settings)
            return
        tp = TopicPartition(topic, partition)
        if code == KafkaError._PARTITION_EOF:  # noqa: SLF001
            self._positions[tp] = max(self._positions[tp], message.offset() or 0)
        elif code in _LOST:
            self._failure = lost(tp, self._positions[tp], *self._bounds_of(tp))
        elif code in GONE:
            self._failure = deleted(tp, self._positions[tp])
        else:
            self._failure = translate(error, str(tp), self._settings)

    def _bounds_of(self, tp: TopicPartition) -> tuple[int, int]:
        try:
            return self._offsets([tp], offsets.FIRST)[tp], self._offsets([tp], offsets.LAST)[tp]
        except StreamlearnError:
            return 0, 0

    # What changes around us

    def _statistics(self, text: str) -> None:
        """Take librdkafka's statistics, once a second: ends, new partitions, brokers, stalls."""
        statistics = orjson.loads(text)
        # Bootstrap addresses and coordinators have negative ids; a broker that was never needed has no connects.
        used = [b["state"] for b in statistics["brokers"].values() if b["nodeid"] >= 0 and b["connects"] > 0]
        if used and all(state == "UP" for state in used):
            self._watch.answered()
        for topic in self._topics:
            for number, partition in statistics["topics"].get(topic, {"partitions": {}})["partitions"].items():
                tp = TopicPartition(topic, int(number))
                if tp not in self._positions:
                    if tp.partition >= 0:  # -1 stands for messages without a partition yet
                        self._found.add(tp)
                else:
                    if partition["ls_offset"] >= 0:  # of what was fetched so far
                        self._ends[tp] = partition["ls_offset"]
                    self._watch_over(tp)

    def _watch_over(self, tp: TopicPartition) -> None:
        offset = self._positions[tp]
        before, since = self._moved.get(tp, (-1, 0.0))
        if offset != before or self._ends.get(tp, 0) <= offset or self._watch.away:
            self._moved[tp] = offset, self._idle
            self._stalled.discard(tp)
        elif self._idle - since >= self._stall_seconds:
            if tp not in self._stalled:
                logger.warning(
                    "%s gives no record since %.0f s, though %d offsets wait at %d; asking again",
                    tp,
                    self._stall_seconds,
                    self._ends[tp] - offset,
                    offset,
                )
            self._stalled.add(tp)
            self._again.add(tp)
            self._moved[tp] = offset, self._idle

    def _stored(self, error: KafkaError | None, partitions: list[ck.TopicPartition]) -> None:
        """Take the answer to a commit; of answers against it the first one is told."""
        before, self._refused = self._refused, offsets.refusal(error, partitions, self._settings)
        if self._refused is not None and before is None:
            logger.warning("the group's offsets were not stored: %s", self._refused)

    def _look_around(self) -> None:
        """Act on what the callbacks of the last calls have told."""
        self._failure = self._failure or self._watch.verdict()
        if self._watch.doubtful:
            self._watch.doubtful = False
            self._see_that_topics_exist()
        if self._again:
            self._again.clear()
            self._assign()
        if self._found:
            # Whatever is new was empty when we last looked, so it is read from its first record.
            new, self._found = self._found, set()
            try:
                self._positions.update(self._offsets(new, offsets.FIRST, timeout=2.0))
            except BrokerError:
                return  # the statistics will name them again
            logger.info("reading new partitions: %s", ", ".join(map(str, sorted(new))))
            self._assign()

    def _see_that_topics_exist(self) -> None:
        """Tell a deleted topic from one that a broker in its first moments does not know yet."""
        for tp, offset in self._positions.items():
            try:
                found = self._consumer.list_topics(tp.topic, timeout=1.0).topics[tp.topic]
            except (KafkaException, KeyError):
                continue
            if found.error is not None and found.error.code() in GONE:
                self._failure = deleted(tp, offset)


def read(settings: KafkaSettings, topic: str, *, until_end: bool = False) -> Iterator[Record]:
    """Yield the committed records of a topic from `settings.start` on, as they come; no group is involved.

    Args:
        settings: the cluster.
        topic: what to read.
        until_end: stop at what is the end when it is reached; otherwise go on for ever.
    """
    source = KafkaSource(settings, [topic], committed=False)
    try:
        while True:
            records = source.poll(500, 0.2)
            yield from records
            if until_end and not records and source.at_end():
                return
    finally:
        source.close()
