"""What connects a service with the broker and with its own past."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from streamlearn.config import fingerprint
from streamlearn.config.settings import Settings
from streamlearn.config.upgrades import as_begun
from streamlearn.core.errors import BrokerError, FencedError, StreamlearnError
from streamlearn.durability.journal import Writer
from streamlearn.durability.journal_reader import JournalLog
from streamlearn.durability.recovery_plan import Plan, plan
from streamlearn.durability.snapshots import Snapshots
from streamlearn.service.broker import client_settings
from streamlearn.service.loop import Service
from streamlearn.service.recovery import Recovery
from streamlearn.service.snapshot_keeper import SnapshotKeeper
from streamlearn.service.warm_start import WarmStart
from streamlearn.stream.kafka.admin import Admin
from streamlearn.stream.kafka.client import KafkaSettings
from streamlearn.stream.kafka.outlet import KafkaOutlet
from streamlearn.stream.kafka.source import KafkaSource
from streamlearn.stream.labelled_files import WarmFile
from streamlearn.stream.transport import Source, TopicPartition

log = logging.getLogger(__name__)


@dataclass
class Connections:
    """A service's ends: where its records come from, where they go, and its past.

    `recovery` is None where there is no past: the embedded broker forgets everything. `warm` is what a learner without
    a past begins with.
    """

    settings: Settings
    source: KafkaSource
    outlet: KafkaOutlet
    recovery: Recovery | None
    warm: WarmStart
    retention: Mapping[str, float]

    def restore(self, service: Service) -> bool:
        """Bring the service to where the last one stopped, and let it write snapshots from now on.

        Returns whether that came to its end: a service that is told to stop meanwhile has nothing to write down.

        Raises:
            StreamlearnError: what is needed is gone, and `recovery.accept_loss` is off.
        """
        if self.recovery is None:
            log.warning("the embedded broker forgets everything, so nothing that is learned is kept either")
            return True
        if not self.recovery.run(service):
            return False
        now = service.clock()
        keeper = SnapshotKeeper(
            self.recovery.snapshots,
            self.recovery.open_journal,
            service.state,
            service.publisher,
            service.stages,
            every_seconds=self.settings.root.snapshots.every_seconds,
            made_by=made_by(self.settings, service),
            retention=self.retention,
            named=self.recovery.found.names,
            age=max(0.0, now - self.recovery.found.saved_at(now)),
            timer=service.timer,
        )
        service.keep(keeper)
        if self.recovery.lost:  # accepted once, and settled by a snapshot that needs nothing of what is gone
            keeper.save(now)
        return True

    def warm_up(self, service: Service) -> bool:
        """Let a service at the beginning of its life do its warm start; return as `restore` does."""
        return self.warm.begin(service)

    @contextmanager
    def fenced_or_not(self) -> Iterator[None]:
        """Tell a takeover from a transaction that the broker gave up, which librdkafka does not tell apart.

        Raises:
            FencedError: another learner has written to the journal.
            BrokerError: nobody has: a restart may go on.
        """
        try:
            yield
        except FencedError:
            if self.recovery is None:
                raise
            writer = self.recovery.found.writer
            with self.recovery.open_journal() as journal_log:
                last = journal_log.last()
            newest = -1 if last is None else last.record.incarnation
            if newest > writer.incarnation or (newest == writer.incarnation and writer.start is None):
                raise  # before its own start is written, a record of this number is another one's
            raise BrokerError(
                "the broker gave up this learner's transaction, and no other learner took over",
                where=self.settings.root.kafka.bootstrap_servers,
                mend="restart; if it comes again, raise `transaction.timeout.ms` in kafka.client",
            ) from None


def made_by(settings: Settings, service: Service) -> dict[str, Any]:
    """Return what a snapshot tells of the learner that wrote it; no secret is among it."""
    return {
        "name": settings.root.name,
        "snapshots": settings.root.snapshots.model_dump(include={"keep", "every_seconds"}),
        **fingerprint.machinery(service.learner.model.device),
        "configuration": fingerprint.configuration(settings.root),
    }


@contextmanager
def connected(settings: Settings, bootstrap_servers: str) -> Iterator[Connections]:
    """Connect with the broker.

    1. The outlet comes first: with transactions it locks an earlier learner out, and what that one left open is void.
    2. Read where the journal ends; a default that the learner began with stays its own.
    3. Read the inputs from there.

    Raises:
        StreamlearnError: the journal, or the records that come next, are not there any more.
    """
    root = settings.root
    topics, snapshots = root.kafka.topics, Snapshots(root.snapshots.path, keep=root.snapshots.keep)
    client = client_settings(settings, bootstrap_servers)
    admin = Admin(client)
    exactly_once = root.kafka.delivery == "exactly-once" and not admin.embedded
    if not exactly_once:
        log.warning("at-least-once: a crash publishes the predictions of one batch again, and loses nothing")
        client = replace(client, transactional_id=None)
    outlet = KafkaOutlet(client, topics=(topics.predictions, topics.dead_letters, topics.journal))  # 1
    source: KafkaSource | None = None
    try:
        found = Plan()
        if not admin.embedded:
            with open_journal(client, topics.journal) as journal_log:  # 2
                found = plan(journal_log, root.snapshots.keep)
            if not found.positions:
                found.writer = _first_writer(snapshots, topics.journal, accept_loss=root.recovery.accept_loss)
                if root.warm_start is not None:
                    WarmFile(root.warm_start)  # what is not there is told before the model is loaded
            if found.last_start is not None:
                settings = as_begun(settings, found.last_start.configuration)
        inputs = [] if admin.embedded else [admin.describe(name) for name in topics.inputs]
        topic_ids = {each.name: each.id for each in inputs}
        retention = {each.name: float(each.config.get("retention.ms", -1)) / 1000 for each in inputs}
        gone = found.gone(topic_ids, accept_loss=root.recovery.accept_loss)
        source = KafkaSource(  # 3
            client if not found.positions else replace(client, start="earliest"),
            topics.inputs,
            positions={tp: offset for tp, offset in found.positions.items() if tp.topic not in gone},
            committed=not found.positions,
            stall_seconds=root.limits.stalled_seconds,
            accept_loss=root.recovery.accept_loss,
        )
        outlet.group = source
        if found.positions:
            _compare(source.committed(), found.positions)
        warm = WarmStart(root.warm_start)
        recovery = Recovery(
            found,
            snapshots,
            lambda: open_journal(client, topics.journal),
            lambda positions: open_inputs(client, topics.inputs, positions),
            warm=warm,
            topic_ids=topic_ids,
            accept_loss=root.recovery.accept_loss,
        )
        limited = {topic: seconds for topic, seconds in retention.items() if seconds >= 0}
        yield Connections(settings, source, outlet, None if admin.embedded else recovery, warm, limited)
    finally:
        outlet.close()
        if source is not None:
            source.close()


def _first_writer(snapshots: Snapshots, topic: str, *, accept_loss: bool) -> Writer:
    """Return the writer of a journal that is empty.

    Raises:
        StreamlearnError: there are snapshots, so it was not always empty.
    """
    names = snapshots.names()
    if not names:
        return Writer()
    if not accept_loss:
        raise StreamlearnError(
            f"the journal is empty, though there is {names[-1]}: without the journal nobody knows what that holds",
            where=f"the topic '{topic}'",
            mend="name the journal's own topic as kafka.topics.journal; to begin anew give the learner a new `name`, "
            "or set `recovery.accept_loss: true`",
        )
    return Writer(incarnation=int(names[-1].split("-")[1]) + 1)


def _compare(committed: Mapping[TopicPartition, int], positions: Mapping[TopicPartition, int]) -> None:
    """Report that somebody moved the group: it is for lag tools, and would repeat what was learned."""
    behind = sorted(tp for tp, offset in positions.items() if committed.get(tp, -1) < offset)
    for tp in behind[:1]:
        log.warning(
            "the group's offset of %s is %s, the journal's is %d: it was reset, or expired; the journal decides%s",
            tp,
            committed.get(tp, "gone"),
            positions[tp],
            f" (and so for {len(behind) - 1} more)" if behind[1:] else "",
        )


@contextmanager
def open_journal(client: KafkaSettings, topic: str) -> Iterator[JournalLog]:
    """Open the journal for reading, without a group."""
    source = KafkaSource(replace(client, start="earliest"), [topic], committed=False)
    try:
        yield JournalLog(source, topic)
    finally:
        source.close()


@contextmanager
def open_inputs(
    client: KafkaSettings, topics: Sequence[str], positions: Mapping[TopicPartition, int]
) -> Iterator[Source]:
    """Open the input topics for reading at these positions, without a group; the rest at its beginning."""
    # What is gone is found out by whoever reads: it may be that nothing of it is needed.
    known = {tp: offset for tp, offset in positions.items() if tp.topic in topics}
    source = KafkaSource(replace(client, start="earliest"), topics, positions=known, committed=False, accept_loss=True)
    try:
        yield source
    finally:
        source.close()
