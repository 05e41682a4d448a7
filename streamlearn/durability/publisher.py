"""Makes a micro-batch count: what is published, its journal record and the positions, together or not at all."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from streamlearn.core.errors import StreamlearnError, TransactionAbortedError
from streamlearn.core.watchdog import Watchdog
from streamlearn.durability import failpoints, journal
from streamlearn.durability.journal import JournalRecord, Writer
from streamlearn.stream.transport import Message, Outlet, TopicPartition

log = logging.getLogger(__name__)

ATTEMPTS = 5  # at one batch, before the process leaves and starts afresh
HANGS = 240.0  # seconds; the steps of a commit, and what is done meanwhile, give up after 60 each, or are found sooner
R = TypeVar("R", bound=JournalRecord)
WATCHDOG = Watchdog(HANGS)  # one thread for the process
KEY = b"journal"  # all records in one partition, also where a broker made more of them


class Publisher:
    """Commits batches through an outlet, each with its record in the journal.

    With transactions everything of a batch becomes visible at once. Without them the order is the same: what is
    published is safe before the journal tells of it, so that a crash between the two repeats it and loses nothing.

    Args:
        outlet: where all of it goes.
        topic: the journal's.
        writer: numbers the records.
        watchdog: ends the process where a commit hangs.
    """

    def __init__(
        self, outlet: Outlet, topic: str, writer: Writer | None = None, watchdog: Watchdog | None = None
    ) -> None:
        self.outlet, self.topic = outlet, topic
        self.writer = writer or Writer()
        self.watchdog = watchdog or WATCHDOG
        self.commits: Counter[str] = Counter()

    def commit(
        self,
        record: R | Callable[[], R],
        messages: Mapping[str, Sequence[Message]] | None = None,
        positions: Mapping[TopicPartition, int] | None = None,
    ) -> R:
        """Publish the messages of each topic with a record and the positions; an aborted transaction is tried again.

        A function as `record` makes it while the messages are on their way, when there is time for more; for each
        attempt it is asked again. The record that was written is returned.

        Raises:
            FencedError: another learner took over.
            TransactionAbortedError: the log refused it time and again.
            BrokerError: it failed, or nobody knows.
        """
        attempt = 0
        while True:
            attempt += 1
            try:
                with self.watchdog("committing a batch"):
                    written = self._commit(record, messages or {}, positions or {})
            except TransactionAbortedError as error:
                self.commits["aborted"] += 1
                if attempt == ATTEMPTS:
                    raise
                log.warning("the batch was not committed (%s); trying it again", error.what)
            except StreamlearnError:
                self.commits["failed"] += 1
                with suppress(StreamlearnError), self.watchdog("aborting a transaction"):
                    self.outlet.abort()
                raise
            else:
                self.commits["committed"] += 1
                self.writer.wrote()
                failpoints.reach("committed")
                return written

    def _commit(
        self,
        record: R | Callable[[], R],
        messages: Mapping[str, Sequence[Message]],
        positions: Mapping[TopicPartition, int],
    ) -> R:
        outlet = self.outlet
        outlet.begin()
        for topic, some in messages.items():
            outlet.send(topic, some)
        entry = record() if callable(record) else record
        if not outlet.transactional and any(messages.values()):
            outlet.commit({})
            outlet.begin()
        outlet.send(self.topic, [Message(journal.encode(entry), KEY)])
        failpoints.reach("sent")
        outlet.commit(positions)
        return entry
