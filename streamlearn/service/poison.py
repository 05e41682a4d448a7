"""The search for a record that kills the process: no exception tells of it, only starts that do not live long.

The journal tells of it: `durability/recovery_plan.py` counts starts that died early, and what was tried last.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping

from streamlearn.stream.transport import Place, Record, TopicPartition

log = logging.getLogger(__name__)

ALONE = 8  # polls that are taken one record at a time once the last starts died early


class PoisonSearch:
    """Takes records one by one for a while, each after the journal was told of it: what the process dies of is what the
    journal tells of last.

    A poll brings the records a, b and c, and b kills:

        a is told of, taken, committed
        b is told of; the process dies, and its successor too
        the third is given b as its suspect: b becomes a dead letter, and c is taken
    """

    def __init__(self) -> None:
        self.suspect: Place | None = None  # killed the process twice, and is not tried again
        self._alone = 0  # so many polls are still taken one record at a time
        self._held: deque[Record] = deque()  # what such a poll brought, and was not taken yet

    @property
    def held(self) -> int:
        """How many records were polled, and wait for those before them."""
        return len(self._held)

    @property
    def on(self) -> bool:
        """Whether records are taken one by one."""
        return self._alone > 0

    def begin(self, deaths: int, suspect: Place | None) -> None:
        """Search, since so many starts did not live long."""
        self._alone, self.suspect = ALONE, suspect
        log.error("%d starts did not live long: records are taken one by one, to find one that kills", deaths)

    def take(self, poll: Callable[[], list[Record]]) -> list[Record]:
        """Return what comes next: all that `poll` brings, or one record of it while the search is on."""
        if self._held:
            return [self._held.popleft()]
        records = poll()
        if not self.on:
            return records
        self._held.extend(records[1:])
        return records[:1]

    def given_up(self, record: Record, tell: Callable[[Place], None]) -> list[Place] | None:
        """Return what is not to be tried: the suspect. Of any other record the journal is told first.

        None where nothing is searched for.
        """
        if not self.on:
            return None
        place = record.place
        if place == self.suspect:
            where = place.topic_partition, place.offset
            log.error("%s offset %d has killed the process time and again: it is a dead letter now", *where)
            return [place]
        tell(place)
        return None

    def positions(
        self, polled: Mapping[TopicPartition, int], taken: Mapping[TopicPartition, int], record: Record
    ) -> dict[TopicPartition, int]:
        """Return the positions to commit with a record that is taken alone: what is held here was not taken.

        Args:
            polled: where the source stands.
            taken: the next offset of each partition that is not in a committed batch.
            record: what is committed.
        """
        first: dict[TopicPartition, int] = {}  # a partition may have appeared with what is held
        for each in self._held:
            first.setdefault(each.topic_partition, each.offset)
        return {**polled, **first, **taken, record.topic_partition: record.offset + 1}

    def survive(self, record: Record) -> None:
        """The process outlived this record; once it outlived those of enough polls the search is over."""
        if record.place == self.suspect:
            self.suspect = None
        if not self._held:
            self._alone = max(self._alone - 1, 1 if self.suspect else 0)
