"""The life of the process: which phase it is in, how far it came, and what a restart would need."""

import threading
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from streamlearn.stream.transport import Range, Record, TopicPartition, offsets, places


class Phase(StrEnum):
    """What the process is doing. A value is the word that users see on the status page."""

    STARTING = "starting"
    RECOVERING = "recovering"  # batches of the past are learned again
    WARMING = "warming up"  # the file of the warm start is read and learned
    LIVE = "live"
    STOPPING = "stopping"


class Progress(NamedTuple):
    """How much of a known amount is done: batches that are learned again, or rows of the warm start."""

    done: int
    total: int


class Warmed(NamedTuple):
    """How much of the warm start was learned: the file by its digest, the next row, and how many it has."""

    sha256: str
    next: int
    rows: int


class Lifecycle:
    """Where the process stands. The loop, recovery and the warm start tell it what they do; everybody else reads.

        starting -> recovering -> starting -> warming up -> starting -> live -> stopping

    Phases that there is nothing to do in are left out, and a signal ends any of them.

    Args:
        positions: the next offset of each partition.
        stop: when set, the process ends as soon as nothing is lost by it.
    """

    def __init__(self, positions: Mapping[TopicPartition, int], stop: threading.Event | None = None) -> None:
        self.stop = stop or threading.Event()
        self.positions = dict(positions)  # the next offset of each partition that is not in a committed batch
        self.needed: dict[TopicPartition, int] = {}  # the time (ms) of the first record that no snapshot holds
        self.progress: Progress | None = None  # batches, while the past is applied again
        self.warming: Progress | None = None  # rows, while the warm start is learned and their number is known
        self.warmed: Warmed | None = None  # None: it began without a warm start, or did not begin yet
        self.purging = False  # an id was forgotten that older snapshots may hold
        self.disagreements = 0  # batches that came out otherwise when they were applied again
        self.started_at = self.turned_at = time.monotonic()
        self._phase = Phase.STARTING

    @property
    def phase(self) -> Phase:
        """What the process is doing."""
        return Phase.STOPPING if self.stop.is_set() else self._phase

    @property
    def live(self) -> bool:
        """Whether predictions flow."""
        return self.phase is Phase.LIVE

    def recover(self, batches: int) -> None:
        """So many batches of the past are to be applied again: until then every count is too low."""
        self._phase, self.progress = Phase.RECOVERING, Progress(0, batches)

    def recovered(self, batches: int) -> None:
        """So many of them are done."""
        assert self.progress is not None
        self.progress = self.progress._replace(done=batches)

    def catch_up(self) -> None:
        """Nothing of the past is left to be applied again."""
        self._phase, self.progress = Phase.STARTING, None

    def warm_up(self) -> None:
        """The warm start begins; how many rows it has is not known yet."""
        self._phase = Phase.WARMING

    def learn_rows(self, done: Warmed) -> None:
        """The warm start came so far."""
        self.warming = Progress(done.next, done.rows)

    def learned(self, part: Warmed) -> None:
        """The warm start was learned up to here, now or by an earlier process."""
        self.warmed = part

    def end_warm_up(self) -> None:
        """The warm start came to its end, or was stopped."""
        self._phase, self.warming = Phase.STARTING, None

    def go_live(self) -> None:
        """Predictions flow from now on."""
        self._phase = Phase.LIVE

    def end(self) -> None:
        """No more records are taken."""
        self._phase = Phase.STOPPING

    def disagree(self) -> bool:
        """A part of the past came out otherwise than the journal has it; return whether it is the first one."""
        self.disagreements += 1
        return self.disagreements == 1

    def turn(self) -> None:
        """Something got done: /healthz looks at how long ago that was."""
        self.turned_at = time.monotonic()

    def take(self, ranges: Sequence[Range], records: Sequence[Record]) -> None:
        """A batch was committed: no record of it is taken again, and a restart needs them until a snapshot is named.

        Of a batch of the past some records may be lost: `records` are what came.
        """
        at = 0
        for each in ranges:
            self.positions[each.topic_partition] = each.next
            if at < len(records):
                self.needed.setdefault(each.topic_partition, records[at].timestamp)
            at += each.count

    def stand_at(self, positions: Mapping[TopicPartition, int]) -> None:
        """Go on from these positions."""
        self.positions = dict(positions)

    def save(self) -> None:
        """A snapshot is named: a restart needs nothing that came before."""
        self.needed.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return what outlives the process, as JSON values."""
        return {
            "purging": self.purging,
            "warmed": None if self.warmed is None else list(self.warmed),
            "positions": [list(place) for place in places(self.positions)],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the life of another process."""
        self.purging = state["purging"]
        self.warmed = None if state["warmed"] is None else Warmed(*state["warmed"])
        self.positions.update(offsets(state["positions"]))
