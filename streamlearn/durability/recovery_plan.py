"""Where the last learner stopped, as the end of the journal tells it: before anything is loaded."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from streamlearn.core.errors import StreamlearnError
from streamlearn.durability import journal
from streamlearn.durability.journal import Pointer, Writer
from streamlearn.durability.journal_reader import Entry, JournalLog, valid
from streamlearn.stream.transport import Place, TopicPartition, offsets

DEATHS = 3  # starts in a row that did not live long, after which records are taken one by one
LIFE = 20  # batches; other partitions may get on while one holds a record that kills


@dataclass
class Plan:
    """What the journal's end tells, before anything is loaded.

    Args:
        writer: numbers the records of this start.
        positions: the next offset of each partition; empty where there is no journal yet.
        named: the records of the snapshots that count, newest first.
        last_start: the record of the start before this one.
        batches: how many batches came after the newest snapshot.
        deaths: starts in a row that did not live long.
        lived: batches since the last start.
        attempt: what was tried last, if nothing followed: a record, or a batch by its number.
        killers: how often a record or a batch was the last that was tried.
        warm: the last part of a warm start that the newest snapshot does not hold.
        discarded: the numbers of batches after the newest snapshot that are learned without their labels.
    """

    writer: Writer = field(default_factory=Writer)
    positions: dict[TopicPartition, int] = field(default_factory=dict)
    named: list[Entry] = field(default_factory=list)
    last_start: journal.Start | None = None
    batches: int = 0
    deaths: int = 0
    lived: int = 0
    attempt: Place | int | None = None
    killers: Counter[Place | int] = field(default_factory=Counter)
    warm: journal.Warm | None = None
    discarded: set[int] = field(default_factory=set)

    @property
    def short_lived(self) -> bool:
        """Whether the last starts died early: something may kill, and is searched for."""
        return self.deaths >= DEATHS or bool(self.killers)

    def saved_at(self, now: float) -> float:
        """Return the time of the last snapshot: a learner that dies early and often must not put it off for ever."""
        if self.named:
            return self.named[0].record.now
        return 0.0 if self.positions else now

    @property
    def suspect(self) -> Place | int | None:
        """What was the last that was tried when the process died, twice: a broker may be away once."""
        killer, times = next(iter(self.killers.most_common(1)), (None, 0))
        return killer if times > 1 else None

    @property
    def names(self) -> list[str]:
        """The names of the snapshots that count, oldest first."""
        return [each.record.name for each in reversed(self.named) if isinstance(each.record, journal.Snapshot)]

    def gone(self, topic_ids: Mapping[str, str], *, accept_loss: bool) -> set[str]:
        """Return the topics that were deleted and made anew since the last start.

        Raises:
            StreamlearnError: there is one, and losing what it held is not accepted.
        """
        before = self.last_start.topic_ids if self.last_start is not None else {}
        # An id that cannot be read, for want of a right or an answer, says nothing.
        gone = {topic for topic, known in before.items() if known and topic_ids.get(topic) not in (None, "", known)}
        for topic in sorted(gone) if not accept_loss else ():
            raise StreamlearnError(
                f"the topic was made anew: its id was {before[topic]}, and is {topic_ids[topic]}",
                where=f"the topic '{topic}'",
                mend="give the learner a new `name` to begin anew; or set `recovery.accept_loss: true` to keep what "
                "was learned, and read the new topic from its beginning",
            )
        return gone


def plan(journal_log: JournalLog, keep: int) -> Plan:
    """Read the end of the journal.

    1. Find the last record, and the snapshots that the records point back to.
    2. Read what came after the newest snapshot: positions, starts without progress.

    Raises:
        StreamlearnError: the journal is not what was written.
    """
    last = journal_log.last()  # 1
    if last is None:
        return Plan()
    pointer = last.record.last_snapshot
    if isinstance(last.record, journal.Snapshot):
        pointer = Pointer(at_seq=last.record.seq, journal_offset=last.offset)
    found = Plan(Writer(last.record.incarnation + 1, last.record.seq + 1, pointer))
    at = pointer
    while at is not None and len(found.named) < keep and at.journal_offset >= journal_log.begins:
        entry = next(journal_log.read(at.journal_offset), None)
        if entry is None or not isinstance(entry.record, journal.Snapshot) or entry.record.seq != at.at_seq:
            raise StreamlearnError(
                f"record {at.at_seq}, which named a snapshot, is not at offset {at.journal_offset} any more",
                where=str(journal_log.partition),
                mend="the journal needs cleanup.policy=delete, retention.ms=-1 and no other writer; "
                "`streamlearn doctor` looks at it; give the learner a new `name` to begin anew",
            )
        found.named.append(entry)
        at = entry.record.last_snapshot
    for entry in tail(journal_log, pointer):  # 2
        _follow(found, entry.record)
    _died(found)
    newest = found.named[0].record if found.named else None
    if found.last_start is None and isinstance(newest, journal.Snapshot):
        found.last_start = start_of(journal_log, newest)
    return found


def start_of(journal_log: JournalLog, snapshot: journal.Snapshot) -> journal.Start | None:
    """Return the start of the learner that wrote a snapshot; None where the journal does not have it any more."""
    if snapshot.start.journal_offset < journal_log.begins:
        return None
    record = next(journal_log.read(snapshot.start.journal_offset)).record
    return record if isinstance(record, journal.Start) else None


def tail(journal_log: JournalLog, pointer: Pointer | None) -> Iterator[Entry]:
    """Yield the records that count from a snapshot's on; from the journal's first record where there is none.

    Raises:
        StreamlearnError: the journal's beginning is gone, and no snapshot makes up for it.
    """
    if pointer is not None:
        yield from valid(journal_log.read(pointer.journal_offset), str(journal_log.partition))
        return
    for number, entry in enumerate(valid(journal_log.read(journal_log.begins), str(journal_log.partition))):
        if number == 0 and entry.record.seq > 0:
            raise StreamlearnError(
                f"the journal begins with record {entry.record.seq}: what it told before is gone, so what was learned "
                "then cannot be rebuilt",
                where=str(journal_log.partition),
                mend="put back a snapshot from a copy, or give the learner a new `name` to begin anew",
            )
        yield entry


def _died(found: Plan) -> None:
    """Note what the last process tried last."""
    if found.attempt is not None:
        found.killers[found.attempt] += 1
        found.attempt = None


def _follow(found: Plan, record: journal.JournalRecord) -> None:
    if isinstance(record, journal.Start):
        found.last_start = record
        found.deaths += 1
        found.lived = 0
        _died(found)
        found.positions |= offsets(record.positions)
    elif isinstance(record, journal.Attempt):
        found.attempt = record.place if record.batch is None else record.batch
    elif isinstance(record, journal.Discard):
        found.attempt, found.deaths = None, 0
        found.killers.pop(record.batch, None)
        found.discarded.add(record.batch)
    else:
        found.attempt = None
        if isinstance(record, journal.Warm):  # a batch of the file's rows
            found.lived, found.batches, found.warm = found.lived + 1, found.batches + 1, record
            found.killers = Counter({each: n for each, n in found.killers.items() if not isinstance(each, int)})
        elif isinstance(record, journal.Batch):
            found.lived += 1
            for each in list(found.killers):
                if isinstance(each, int) or any(
                    (r.topic, r.partition) == each[:2] and r.start <= each.offset < r.next for r in record.ranges
                ):
                    del found.killers[each]
            found.batches += 1
            found.positions |= {each.topic_partition: each.next for each in record.ranges}
        elif isinstance(record, journal.Snapshot):
            found.batches, found.deaths, found.warm = 0, 0, None
            found.discarded.clear()
            found.positions |= offsets(record.positions)
        if found.lived >= LIFE:
            found.deaths = 0
