"""The predictions topic, read in step with a replay: what was published of a record, without holding the topic."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from streamlearn.durability.journal_reader import polled
from streamlearn.stream.payloads import PredictionPayload
from streamlearn.stream.transport import Place, Range, Record, Source, TopicPartition

AHEAD = 5_000  # predictions

# Of a prediction's keys, those that every task has; the others are what its task says.
COMMON = frozenset(PredictionPayload.__annotations__) - {"label", "score", "top"}


def said(values: Mapping[str, Any], step: int) -> bytes:
    """Return what a prediction says, as two of them are compared: the values of its task's own fields, and the model's
    step. Keys that every prediction has are passed over."""
    own = {name: value for name, value in values.items() if name not in COMMON}
    return orjson.dumps([step, own], option=orjson.OPT_SORT_KEYS)


class Published:
    """Finds what was published of each record, as long as the records come in the journal's order.

    Each partition of the topic has its predictions in that order, too: they are merged as sorted lists are. Of each
    partition a stretch is held, since a crash without transactions has the predictions of a batch published again,
    maybe several times: of those for the same record the last one counts. Here is a partition with two batches of two
    events, by the offset of the event; the second batch was published twice:

        e0 e1 e2 e3 e2 e3       the replay asks for e0 and e1, and leaves offset 2 behind
              e2 e3 e2 e3       the first e2 and e3 are superseded, and dropped
                    e2 e3       the replay asks for e2 and e3

    Args:
        source: reads the topic of predictions from its beginning, and nothing else.
        passed: the offsets at which the replay begins: what was published of records before them is left out.
        ahead: of each partition so many predictions are held at most, and half as many are looked at beyond the next
            one: three batches or more.
    """

    def __init__(self, source: Source, passed: Mapping[TopicPartition, int], *, ahead: int = AHEAD) -> None:
        self._source, self._passed, self._ahead = source, dict(passed), ahead
        bounds = source.bounds()
        self._ends = {tp: end for tp, (_, end) in bounds.items()}
        self.whole = not any(first for first, _ in bounds.values())  # whether retention took nothing yet
        self._said: dict[Place, tuple[int, bytes]] = {}  # the last one of each record, with its offset
        self._lines: dict[TopicPartition, deque[tuple[int, Place]]] = {tp: deque() for tp in bounds}
        self._skipped: dict[TopicPartition, int] = {}  # where to read on, of partitions that came faster than others

    @property
    def held(self) -> int:
        """How many predictions are in memory."""
        return sum(map(len, self._lines.values()))

    def pop(self, place: Place) -> bytes | None:
        """Return what was published of a record; None where nothing is found.

        Raises:
            BrokerError: the log does not answer.
        """
        if place not in self._said:
            self._fill()
        if place not in self._said and any(map(self._ended, self._lines)):  # a learner may have written more
            self._ends = {tp: end for tp, (_, end) in self._source.bounds().items()}
            self._fill()
        return self._said.pop(place, (0, None))[1]

    def leave(self, ranges: Iterable[Range]) -> None:
        """Leave the records of a batch behind, and read on."""
        self._passed.update({each.topic_partition: each.next for each in ranges})
        self._fill()

    def _fill(self) -> None:
        """Drop what is done with, and hold the next predictions of each partition that has few left."""
        for tp, line in self._lines.items():
            self._drop(line)
            while len(line) <= self._ahead // 2 and not self._ended(tp):
                self._read(tp, line)
                self._drop(line)

    def _drop(self, line: deque[tuple[int, Place]]) -> None:
        """Drop the first ones that nobody will ask for: superseded, popped, or left behind."""
        while line:
            number, place = line[0]
            last = self._said.get(place, (-1, None))[0]
            if last == number:
                if self._is_ahead(place):
                    return
                del self._said[place]
            line.popleft()

    def _read(self, tp: TopicPartition, line: deque[tuple[int, Place]]) -> None:
        if tp in self._skipped:
            self._source.seek({tp: self._skipped.pop(tp)})
        for records in polled(self._source, tp, self._ends[tp], self._ends[tp]):
            for record in records:
                self._hold(record)
            if len(line) >= self._ahead:
                return

    def _hold(self, record: Record) -> None:
        """Hold a prediction. Of a partition that is full nothing more is taken, until it is read again from here."""
        tp = record.topic_partition
        if tp in self._skipped or len(self._lines[tp]) >= self._ahead:
            self._skipped.setdefault(tp, record.offset)
            return
        value = orjson.loads(record.value or b"{}")
        source = value["source"]
        place = Place(source["topic"], source["partition"], source["offset"])
        if self._is_ahead(place):
            self._said[place] = record.offset, said(value, value["model_step"])
            self._lines[tp].append((record.offset, place))

    def _is_ahead(self, place: Place) -> bool:
        return place.offset >= self._passed.get(place.topic_partition, 0)

    def _ended(self, tp: TopicPartition) -> bool:
        return tp not in self._skipped and self._source.positions()[tp] >= self._ends[tp]
