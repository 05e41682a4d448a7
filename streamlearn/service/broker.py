"""The broker that the configuration names: how it is reached, and the topics that have to be there. Without torch."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from streamlearn.config.settings import Settings
from streamlearn.stream.kafka.admin import Admin
from streamlearn.stream.kafka.client import KafkaSettings
from streamlearn.stream.kafka.embedded import EmbeddedBroker

log = logging.getLogger(__name__)

JOURNAL = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}


@contextmanager
def reach(settings: Settings) -> Iterator[str]:
    """Yield the broker's address, with the topics in order: an embedded broker is started, missing topics are made.

    Raises:
        ConfigError: the topic of events, or of labels, does not exist; names the nearest one.
        BrokerError: the broker does not answer.
    """
    kafka = settings.root.kafka
    topics = kafka.topics
    names = (topics.predictions, topics.dead_letters)
    if kafka.bootstrap_servers == "embedded":
        with EmbeddedBroker() as broker:
            broker.ensure_topics((*topics.inputs, *names, topics.journal))
            log.info("embedded broker on %s: it forgets everything at the end", broker.bootstrap_servers)
            yield broker.bootstrap_servers
        return
    admin = Admin(client_settings(settings, kafka.bootstrap_servers))
    partitions, *_ = [admin.partitions_of(name) for name in topics.inputs]
    if kafka.create_topics:
        made = [*admin.ensure(names, partitions), *admin.ensure([topics.journal], 1, JOURNAL)]
        if made:
            log.info("created %s", ", ".join(made))
    else:
        for name in (*names, topics.journal):
            admin.partitions_of(name)
    yield kafka.bootstrap_servers


def client_settings(settings: Settings, bootstrap_servers: str) -> KafkaSettings:
    """Return the part of the configuration that reaches the broker."""
    kafka = settings.root.kafka
    return KafkaSettings(
        bootstrap_servers,
        client=kafka.client,
        group=kafka.group_id,
        transactional_id=f"streamlearn.{settings.root.name}",
        start=kafka.start,
        connect_timeout=settings.root.limits.connect_seconds,
    )
