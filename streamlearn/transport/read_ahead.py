"""Reads the next records while something else is waited for."""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

from streamlearn.errors import StreamlearnError
from streamlearn.transport.base import Record, Source, TopicPartition


class ReadAhead:
    """A source that holds what `look_ahead` has read until it is polled; until then it does not count as read.

    Records come in the same order as without it.

    Args:
        source: what is read.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._held: list[Record] = []  # other threads ask for it too: a new list with every change

    def look_ahead(self, max_records: int) -> None:
        """Hold up to `max_records` that are there now; what fails is told by the next poll."""
        if (room := max_records - len(self._held)) > 0:
            with suppress(StreamlearnError):
                self._held = [*self._held, *self._source.poll(room, 0.0)]

    def poll(self, max_records: int, timeout: float) -> list[Record]:
        """See `Source`."""
        if not self._held:
            return self._source.poll(max_records, timeout)
        records, self._held = self._held[:max_records], self._held[max_records:]
        if len(records) < max_records:  # more may have come since
            with suppress(StreamlearnError):
                records += self._source.poll(max_records - len(records), 0.0)
        return records

    def positions(self) -> dict[TopicPartition, int]:
        """See `Source`."""
        first = {TopicPartition(*record[:2]): record.offset for record in reversed(self._held)}
        return {**self._source.positions(), **first}

    def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """See `Source`."""
        self._held = [record for record in self._held if record[:2] not in positions]
        self._source.seek(positions)

    def bounds(self) -> dict[TopicPartition, tuple[int, int]]:
        """See `Source`."""
        return self._source.bounds()

    def committed(self) -> dict[TopicPartition, int]:
        """See `Source`."""
        return self._source.committed()

    def lag(self) -> dict[TopicPartition, int]:
        """See `Source`."""
        held = Counter(record[:2] for record in self._held)
        return {tp: lag + held[tp] for tp, lag in self._source.lag().items()}

    def stalled(self) -> set[TopicPartition]:
        """See `Source`."""
        return self._source.stalled()

    def at_end(self) -> bool:
        """See `Source`."""
        return not self._held and self._source.at_end()

    def close(self) -> None:
        """Leave the log."""
        self._source.close()
