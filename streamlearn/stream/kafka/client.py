"""What every Kafka client of ours shares: settings, log lines, the first contact, and errors that a user can mend."""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final, Protocol, TypeVar

from confluent_kafka import KafkaError, KafkaException

from streamlearn.core.errors import BrokerError, ConfigError, FencedError, StreamlearnError
from streamlearn.core.secrets import without
from streamlearn.stream.transport import Start

T = TypeVar("T")
logger = logging.getLogger("streamlearn.kafka")

# What we set because a promise hangs on it. A user who sets one of these in `kafka.client` is told, not overruled.
OWNED: Final = {
    "bootstrap.servers": "set `kafka.bootstrap_servers` instead",
    "group.id": "it follows from `name`",
    "transactional.id": "it follows from `name`; `kafka.delivery` turns transactions on and off",
    "enable.auto.commit": "offsets are committed with what was written",
    "enable.auto.offset.store": "offsets are committed with what was written",
    "auto.offset.reset": "a lost offset is an error, never a silent jump; `kafka.start` says where to begin",
    "enable.partition.eof": "the end of a partition is how a reader knows that only markers remain",
    "delivery.report.only.error": "a callback for each delivered message would cost more than sending it",
    "isolation.level": "what was aborted must not be read",
    "enable.idempotence": "a message that is sent again must not stand in the topic twice",
    "acks": "what one broker alone has may be lost",
    "statistics.interval.ms": "the lag and the watch over stalled partitions come from the statistics",
}

_REFUSED = {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError._SSL}  # noqa: SLF001
_FENCED = {
    KafkaError._FENCED,  # noqa: SLF001 - public constants with a private name
    KafkaError.PRODUCER_FENCED,
    KafkaError.INVALID_PRODUCER_EPOCH,
    KafkaError.FENCED_INSTANCE_ID,
}
_RIGHTS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "group",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "transactional id",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "cluster",
}
# Lines that come back as the error of a call, or through `Watch.error`.
_TOLD_ELSEWHERE = {"FAIL", "ERROR", "FATAL", "TXNERR", "ADDPARTS", "ADDOFFSETS", "TERMINATE"}
_PAUSE = 30.0  # seconds without an error after which the next one is a new outage; reconnects come within 10
_CREDENTIALS = "check `security.protocol`, `sasl.*` and `ssl.*` in `kafka.client`"
GONE = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}  # noqa: SLF001
_TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_MSG_SIZE}
_GROUP_IN_USE = {KafkaError.UNKNOWN_MEMBER_ID, KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS}


@dataclass(frozen=True)
class KafkaSettings:
    """How to reach a cluster, and as whom.

    Args:
        bootstrap_servers: `host:port`, several with commas between.
        client: passed to librdkafka as it is (TLS, SASL, tuning), over our defaults. Never printed.
        group: the consumer group whose offsets tell lag tools how far we are.
        transactional_id: exactly-once with one, at-least-once without.
        start: where a partition begins for which nobody committed an offset.
        connect_timeout: seconds to wait for the first answer.
    """

    bootstrap_servers: str
    client: Mapping[str, Any] = field(default_factory=dict, repr=False)
    group: str = "streamlearn"
    transactional_id: str | None = None
    start: Start = "earliest"
    connect_timeout: float = 10.0

    def __post_init__(self) -> None:
        for name in self.client:
            if name in OWNED:
                raise ConfigError(f"'{name}' cannot be set here", where="kafka.client", mend=OWNED[name])

    def hide(self, text: str) -> str:
        """Return the text without the secrets of `client`, whoever wrote them into it."""
        return without(text, self.client)


class _Pollable(Protocol):
    def list_topics(self, topic: str | None = ..., timeout: float = ...) -> Any: ...  # noqa: ANN401
    def poll(self, timeout: float = ...) -> object: ...


class Watch:
    """What librdkafka tells beside its results: log lines, and errors that belong to no call.

    A broker that is away makes librdkafka write several lines a second. Of these the first is logged, in words, and
    then one a minute; the rest goes to the debug level.
    """

    def __init__(self, settings: KafkaSettings, doing: str, *, every: float = 60.0) -> None:
        self._settings, self._doing, self._every = settings, doing, every
        self._told = -every
        self.away = False
        self.met = False  # a broker has answered once
        self.reason = ""  # the last error's own words
        self.doubtful = False  # a topic was not found, which may pass
        self.refused: str | None = None
        self._since = self._refused_at = 0.0
        self._last = -_PAUSE

    def log(self, level: int, template: str, *args: object) -> None:
        """Take a line of librdkafka's log: it calls this as it would a `logging.Logger`."""
        facility, text = str(args[0]) if args else "", self._settings.hide(template % args)
        if facility in _TOLD_ELSEWHERE:
            logger.debug("%s", text)
        elif not (facility == "CONFWARN" and "will be ignored by this" in text):
            # One `client` serves consumer and producer, so each would complain of the other's properties.
            logger.log(level, "%s", text)

    def error(self, error: KafkaError) -> None:
        """Take an error that belongs to no call; librdkafka goes on trying after each of them."""
        text = self._settings.hide(error.str())
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
            self.reason = text
        if error.code() in _REFUSED:
            if self.refused is None:
                self._refused_at = time.monotonic()
            self.refused = text
        if self.refused is not None and not self.met:
            return  # `connect` raises it
        if error.code() in GONE:
            self.doubtful = True
            return
        now = time.monotonic()
        if now - self._last > _PAUSE:
            self._since = now
        self.away, self._last = True, now
        # A single lost connection is often made again at once, so only what lasts is told.
        if error.code() == KafkaError._TRANSPORT and now - self._since < 2.0:  # noqa: SLF001
            return
        if now - self._told >= self._every:
            self._told = now
            logger.warning(
                "%s: a broker of %s %s; trying again (%s)",
                self._doing,
                self._settings.bootstrap_servers,
                "does not answer" if self.refused is None else "refuses us",
                self.reason or text,
            )

    def answered(self) -> None:
        """Note that a broker is there."""
        if self.away:
            logger.info("%s: the brokers of %s answer", self._doing, self._settings.bootstrap_servers)
        self.met, self.away, self.refused, self._told = True, False, None, -self._every

    def verdict(self, grace: float = 30.0) -> ConfigError | None:
        """Return an error where the brokers have refused us for `grace` seconds without a success between."""
        if self.refused is None or time.monotonic() - self._refused_at < grace:
            return None
        return ConfigError(
            f"the broker refuses the connection: {self.refused}",
            where=self._settings.bootstrap_servers,
            mend=_CREDENTIALS,
        )

    def check(self, grace: float = 30.0) -> None:
        """Raise the verdict where there is one."""
        if (error := self.verdict(grace)) is not None:
            raise error


def common(settings: KafkaSettings, watch: Watch) -> dict[str, Any]:
    """Return what all clients are created with, the user's settings included."""
    return {
        "error_cb": watch.error,
        "logger": watch,
        "reconnect.backoff.max.ms": 2000,  # the default of 10 s would lengthen every outage by half of it
        **settings.client,
        "bootstrap.servers": settings.bootstrap_servers,
    }


def create(factory: Callable[[dict[str, Any]], T], config: dict[str, Any], settings: KafkaSettings) -> T:
    """Create a client, or say which of the user's properties librdkafka does not take."""
    try:
        return factory(config)
    except KafkaException as error:
        raise ConfigError(
            settings.hide(error.args[0].str()),
            where="kafka.client",
            mend="the properties are those of librdkafka's CONFIGURATION.md",
        ) from None


def connect(client: _Pollable, settings: KafkaSettings, watch: Watch) -> Any:  # noqa: ANN401
    """Return the cluster's metadata: the first contact, which tells a wrong address or password within seconds.

    Raises:
        ConfigError: the broker is there and refuses us.
        BrokerError: nobody answers within `connect_timeout`.
    """
    deadline = time.monotonic() + settings.connect_timeout
    while True:
        try:
            metadata = client.list_topics(timeout=min(1.0, settings.connect_timeout))
        except KafkaException as error:
            with suppress(KafkaException):
                client.poll(0)  # serves the errors that say why
            watch.check(grace=0)
            if time.monotonic() >= deadline:
                reason = watch.reason or settings.hide(error.args[0].str())
                raise BrokerError(
                    f"no Kafka broker answers within {settings.connect_timeout:g} s ({reason})",
                    where=settings.bootstrap_servers,
                    mend="check that the broker runs, that the address is the one it listens on (from a container, "
                    "localhost is the container), and that `security.protocol` in `kafka.client` is the listener's",
                ) from None
        else:
            watch.answered()
            return metadata


def missing(topics: Sequence[str], known: Collection[str], settings: KafkaSettings) -> ConfigError:
    """Say which topics do not exist, which ones were perhaps meant, and how to create them."""
    there = [name for name in known if not name.startswith("__")]
    near = [each for name in topics for each in get_close_matches(name, there, n=1, cutoff=0.6)]
    hint = f"did you mean {_listed(near)}? Otherwise create" if near else "create"
    gone = f"the topic {_listed(topics)} does" if len(topics) == 1 else f"the topics {_listed(topics)} do"
    return ConfigError(
        f"{gone} not exist, or this user may not see what exists",
        where=settings.bootstrap_servers,
        mend=f"{hint} what is missing: `streamlearn doctor CONFIG --fix`, or `kafka-topics.sh --bootstrap-server "
        f"{settings.bootstrap_servers} --create --topic {topics[0]}`; or let this user Describe it",
    )


def _listed(names: Sequence[str]) -> str:
    return " and ".join(f"'{name}'" for name in names)


def translate(error: KafkaError, where: str, settings: KafkaSettings) -> StreamlearnError:
    """Return the error that a user can mend for one of librdkafka's."""
    code, text = error.code(), settings.hide(error.str())
    result: StreamlearnError
    if code in _FENCED:
        result = FencedError(
            f"another producer with the transactional id '{settings.transactional_id}' took over",
            mend="leave the work to it; do not restart this one",
        )
    elif code in _RIGHTS:
        result = ConfigError(
            f"the user has no right to this {_RIGHTS[code]} ({text})",
            mend="let the broker's administrator add an ACL: Read and Describe on inputs and the group "
            f"'{settings.group}', Write on outputs and the transactional id, Create where topics are to be made",
        )
    elif code in _REFUSED:
        result = ConfigError(f"the broker refuses the connection: {text}", mend=_CREDENTIALS)
    elif code in _GROUP_IN_USE:
        result = ConfigError(
            f"the group '{settings.group}' is in use by consumers that subscribe ({text})",
            mend="stop them, or give this learner another `name`",
        )
    elif code in GONE and code != KafkaError._UNKNOWN_PARTITION:  # noqa: SLF001 - librdkafka's own view, which may be old
        result = StreamlearnError(
            f"the topic or partition does not exist ({text})", mend="create it: `streamlearn doctor --fix`"
        )
    elif code in _TOO_LARGE:
        result = StreamlearnError(
            f"a message is larger than the topic takes ({text})",
            mend="raise the topic's `max.message.bytes` and `message.max.bytes` in `kafka.client`, or send less",
        )
    else:
        result = BrokerError(text, mend="restart; if it comes again, look at the broker's log")
    result.where = where
    return result
