"""Writes to Kafka, with the positions of the source: in one transaction, or flushed before them."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NoReturn, Protocol

import confluent_kafka as ck
from confluent_kafka import KafkaError, KafkaException

from streamlearn.core.errors import BrokerError, StreamlearnError, TransactionAbortedError
from streamlearn.core.watchdog import Watchdog
from streamlearn.stream.kafka.admin import Admin
from streamlearn.stream.kafka.client import KafkaSettings, Watch, common, connect, create, translate
from streamlearn.stream.transport import Message, TopicPartition

_OVERHEAD = 512  # bytes that a batch and its one record take beside key, value and headers; generous
_SLICE = 1.0  # seconds after which a call on a transaction comes back, done or not
_WATCHDOG = Watchdog(20 * _SLICE)  # and after which it never will
_MESSAGE_BYTES = 1_000_000  # librdkafka's default of message.max.bytes
_ENDED = {KafkaError._STATE, KafkaError._FATAL}  # noqa: SLF001 - the transaction is over, the reason comes elsewhere
_PURGED = {KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT}  # noqa: SLF001

_DEFAULTS: Mapping[str, Any] = {
    "acks": "all",
    "enable.idempotence": True,
    "linger.ms": 1,  # so long it takes to hand over a batch, which then goes out at once; a commit waits for none
    "partitioner": "murmur2_random",  # as Java clients do, so that a key's records meet in one partition
    "topic.metadata.propagation.max.ms": 5000,  # a topic that does not exist is told after this, not after 30 s
    # A commit asks again until the coordinator has ended the last one: with the default of 100 ms it takes 103 ms.
    "retry.backoff.ms": 5,
    "retry.backoff.max.ms": 20,
}


class Group(Protocol):
    """Whose offsets a commit stores: `KafkaSource` is one."""

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Store the offsets; the answer need not be waited for."""
        ...

    def group_metadata(self) -> Any:  # noqa: ANN401 - an opaque object of confluent-kafka
        """Return what a transaction needs in order to store them."""
        ...


class KafkaOutlet:
    """A sink with its transaction: exactly-once with a transactional id, at-least-once without.

    Args:
        settings: the cluster, and the transactional id. Creating the outlet fences and aborts an earlier holder of it.
        group: whose offsets `commit` stores; without one it takes no positions.
        topics: where it will write. A topic that takes smaller messages than a batch has makes the batches smaller.
        commit_timeout: seconds after which a commit that was not confirmed is an error.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        group: Group | None = None,
        *,
        topics: Sequence[str] = (),
        commit_timeout: float = 60.0,
    ) -> None:
        self._settings, self.group, self._commit_timeout = settings, group, commit_timeout
        self._watch = Watch(settings, "writing")
        self._failed: list[tuple[KafkaError, str]] = []
        self._open = False
        self._fatal: StreamlearnError | None = None  # fenced, or of unknown outcome: this producer is done
        self._client_bytes = int(settings.client.get("message.max.bytes", _MESSAGE_BYTES))
        self._limits = self._ask_limits(topics)
        config = {**_DEFAULTS, **common(settings, self._watch), "delivery.report.only.error": True}
        # librdkafka does not split a batch that the broker finds too large: it fails every message of it.
        config.setdefault("batch.size", min([_MESSAGE_BYTES, *self._limits.values()]))
        if settings.transactional_id is not None:
            config["transactional.id"] = settings.transactional_id
        self._config = {**config, "on_delivery": self._delivered}
        self._unended = False  # the coordinator knew of nothing to abort
        self._start()

    def _start(self) -> None:
        self._producer = create(ck.Producer, self._config, self._settings)
        connect(self._producer, self._settings, self._watch)
        if self.transactional:
            self._insist(self._producer.init_transactions, "taking over the transactional id")

    def begin(self) -> None:
        """Open a transaction."""
        if self._fatal is not None:
            raise self._fatal
        self._failed.clear()
        if self.transactional:
            try:
                self._producer.begin_transaction()
            except KafkaException as error:
                raise translate(error.args[0], "beginning a transaction", self._settings) from None
        self._open = True

    def send(self, topic: str, messages: Sequence[Message]) -> None:
        """Queue the messages. They count once `commit` has returned.

        Raises:
            StreamlearnError: a message is larger than `message.max.bytes`.
            BrokerError: the queue is full, and the brokers take nothing.
        """
        produce = self._producer.produce
        for value, key, headers in messages:
            deadline: float | None = None
            while True:  # a full queue is waited for, so that the order stays
                try:
                    if headers:
                        produce(topic, value, key, headers=list(headers))
                    else:
                        produce(topic, value, key)
                except BufferError:
                    deadline = deadline or time.monotonic() + self._commit_timeout
                    self._wait_for_room(deadline)
                except KafkaException as error:
                    self._refuse(error.args[0], topic)
                else:
                    break
        self._serve(0)

    def commit(self, positions: Mapping[TopicPartition, int]) -> None:
        """Make everything sent since `begin` durable, with the group's positions; without transactions these follow.

        Raises:
            FencedError: another producer with the same transactional id took over.
            TransactionAbortedError: nothing of it counts; seek back and take the batch again.
            StreamlearnError: a message is too large for its topic.
            BrokerError: the outcome is a failure, or is not known.
        """
        if self.transactional:
            self._commit_transaction(positions)
        else:
            self.flush(self._commit_timeout)
            if self.group is not None:
                self.group.commit(positions)
        self._open = False
        self._watch.answered()

    def flush(self, timeout: float) -> None:
        """Wait so many seconds until the broker has all that was sent; without a transaction it counts then.

        Raises:
            StreamlearnError: a message is too large for its topic.
            BrokerError: it has not.
        """
        deadline = time.monotonic() + timeout
        while len(self._producer):  # in slices, since signals reach Python only between them
            self._serve(min(0.2, timeout), flush=True)
            if time.monotonic() >= deadline:
                raise self._undelivered(timeout)
        self._raise_failed()

    def abort(self) -> None:
        """Drop what was sent since `begin`; without a transactional id, what has not left yet."""
        if self.transactional and self._open:
            self._open = False
            self._insist(self._abort_transaction, "aborting a transaction")
            if self._unended:
                self._unended = False
                self._start()
        elif not self.transactional:
            self._producer.purge(in_flight=False)
            self._serve(0)
        self._failed.clear()
        self._open = False

    def _abort_transaction(self, timeout: float) -> None:
        """Abort; or note that there was nothing to abort, which librdkafka takes for fatal.

        The request that adds the first partition is refused and repeated while the transaction before is still being
        ended. An abort that overtakes it finds no transaction. Nothing was written then, and a new producer, whose
        epoch is a higher one, sees to it that nothing will be.
        """
        try:
            self._producer.abort_transaction(timeout)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.INVALID_TXN_STATE:
                raise
            self._unended = True

    def max_bytes(self, topic: str) -> int:
        """Return how many bytes of key, value and headers together the topic takes in one message."""
        if topic not in self._limits:
            self._limits.update(self._ask_limits([topic]))
        return min(self._client_bytes, self._limits[topic]) - _OVERHEAD

    def close(self) -> None:
        """Release the producer without committing."""
        if self._open and self.transactional:
            with suppress(StreamlearnError):  # the broker aborts it at its timeout as well
                self.abort()
        # Not Producer.close: it flushes first, which waits for a broker that may be away.
        with suppress(KafkaException):
            self._producer.purge()
            self._producer.poll(0)

    @property
    def transactional(self) -> bool:
        """Whether what is committed together becomes visible together."""
        return self._settings.transactional_id is not None

    # Sending

    def _refuse(self, error: KafkaError, topic: str) -> NoReturn:
        """Raise what librdkafka has against a message."""
        if self.transactional and error.code() in _ENDED:
            self._serve(0)  # raises what ended it, if that was fatal
            self.abort()
            raise TransactionAbortedError(
                self._settings.hide(error.str()), where="writing", mend="restart; the batch will be taken again"
            )
        raise translate(error, f"the topic '{topic}'", self._settings)

    def _wait_for_room(self, deadline: float) -> None:
        self._serve(0.05)
        if time.monotonic() >= deadline:
            raise self._undelivered(self._commit_timeout)

    def _serve(self, timeout: float, *, flush: bool = False) -> None:
        """Let librdkafka call back, and raise what makes going on useless."""
        try:
            (self._producer.flush if flush else self._producer.poll)(timeout)
        except KafkaException as error:  # a fatal one, such as to be fenced
            raise translate(error.args[0], "writing", self._settings) from None
        self._watch.check()

    def _delivered(self, error: KafkaError | None, message: ck.Message) -> None:
        if error is not None and error.code() not in _PURGED:
            self._failed.append((error, message.topic() or ""))

    # Committing

    def _undelivered(self, timeout: float) -> BrokerError:
        return BrokerError(
            f"{len(self._producer)} messages were not taken within {timeout:g} s",
            where=self._settings.bootstrap_servers,
            mend="check that every partition of the output topics has a leader and enough replicas in sync",
        )

    def _raise_failed(self) -> None:
        if self._failed:
            failed, self._failed = self._failed, []
            error, topic = failed[0]
            result = translate(error, f"the topic '{topic}'", self._settings)
            result.what = f"{len(failed)} messages were not delivered: {result.what}"
            raise result

    def _commit_transaction(self, positions: Mapping[TopicPartition, int]) -> None:
        if positions and self.group is not None:
            group = self.group.group_metadata()
            offsets = [ck.TopicPartition(tp.topic, tp.partition, offset) for tp, offset in positions.items()]
            self._insist(
                lambda timeout: self._producer.send_offsets_to_transaction(offsets, group, timeout),
                "adding the positions to a transaction",
            )
        self._insist(self._producer.commit_transaction, "committing a transaction")
        self._raise_failed()

    def _insist(self, call: Any, doing: str) -> None:  # noqa: ANN401 - a bound method of confluent-kafka
        """Call until it is done: in slices, as a call that timed out goes on where it is called again.

        A slice that never comes back, which happens when a broker dies at the wrong moment, ends the process.
        """
        deadline = time.monotonic() + self._commit_timeout
        while True:
            try:
                with _WATCHDOG(doing):
                    call(_SLICE)
            except KafkaException as error:
                with suppress(KafkaException):  # serves the callbacks; a fatal error is raised here once more
                    self._producer.poll(0)
                self._watch.check()
                reason: KafkaError = error.args[0]
                if not reason.retriable() or time.monotonic() >= deadline:
                    self._give_up(reason, doing)
            else:
                return

    def _give_up(self, reason: KafkaError, doing: str) -> NoReturn:
        if not reason.txn_requires_abort():
            self._open = False  # there is nothing left that an abort could reach
            self._fatal = translate(reason, doing, self._settings)
            raise self._fatal from None
        failed = self._failed.copy()
        with suppress(StreamlearnError):  # the next `init_transactions` aborts it as well
            self.abort()
        self._failed = failed
        self._raise_failed()
        told = translate(reason, doing, self._settings)
        if not isinstance(told, BrokerError):  # no right, a group in use: trying again would not help
            raise told from None
        raise TransactionAbortedError(
            self._settings.hide(reason.str()), where=doing, mend="restart; the batch will be taken again"
        ) from None

    def _ask_limits(self, topics: Sequence[str]) -> dict[str, int]:
        if not topics:
            return {}
        admin = Admin(self._settings)
        try:
            return {t: int(admin.config(t).get("max.message.bytes", _MESSAGE_BYTES)) for t in topics}
        finally:
            admin.close()
