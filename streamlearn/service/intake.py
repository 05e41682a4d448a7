"""The intake: what a batch's records hold, which events are new, and which label belongs to which event."""

from bisect import bisect_left
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple, cast

from streamlearn.core.batch import Sample
from streamlearn.service.measures import ProbeSplit
from streamlearn.serving.crash_isolation import KILLED
from streamlearn.serving.predictor import Reply
from streamlearn.stream.dead_letters import DeadLetter
from streamlearn.stream.dead_letters import crashed as dead
from streamlearn.stream.decoders import DecodedEvents, DecodedLabels, EventDecoder, LabelDecoder
from streamlearn.stream.events import Event, Forget, Label, Prediction
from streamlearn.stream.join import Join, Letter
from streamlearn.stream.joiner import Joiner
from streamlearn.stream.pending import Served
from streamlearn.stream.transport import Place, Record


class Decoded(NamedTuple):
    """A batch that was decoded.

    Args:
        records: all of it.
        of_events: how many of them are of the events topic, good or bad.
        events: the good ones, and between them what is to be forgotten.
        rows: numbers the events that come for the first time; -1 stands for the others.
        labels: the good records of the labels topic, and between them what is to be forgotten.
        dead_letters: the bad ones of both.
        killers: labels, and events that came again, among those: the process did not survive them.
    """

    records: Sequence[Record]
    of_events: int
    events: Sequence[Event | Forget]
    rows: list[int]
    labels: Sequence[Label | Forget]
    dead_letters: Sequence[DeadLetter]
    killers: Sequence[Place]

    @property
    def new(self) -> list[Event]:
        """The events that are to be answered."""
        if not self.rows or self.rows[-1] == len(self.rows) - 1:
            return cast("list[Event]", self.events)  # none of them has the row -1
        return [event for event, row in zip(self.events, self.rows, strict=True) if row >= 0 and type(event) is Event]


class Prepared(NamedTuple):
    """A batch that was decoded, predicted and joined. Nothing of it counts yet."""

    came: Decoded
    events: Sequence[Event]  # that were answered
    predictions: Sequence[Prediction]
    reply: Reply
    dead_letters: Sequence[DeadLetter]
    join: Join
    seen: ProbeSplit
    crashed: tuple[Place, ...] | None  # see `journal.Batch`

    @property
    def unlabelled(self) -> list[tuple[int, Sample]]:
        """The events that no label has come for, in order, each with the number of samples to be learned before it.

        Of the events a, b, c and d, where b and d brought labels that are learned and c one that makes a probe of it,
        a comes before any sample: [(0, a)]. Did c bring none, it would come after b's: [(0, a), (1, c)].
        """
        join, came, found = self.join, self.came, []
        row_of = {event.source: row for row, event in enumerate(self.events)}
        learned = {sample.id for sample in self.seen.samples}
        places = [place for place, sample in zip(join.places, join.samples, strict=True) if sample.id in learned]
        passed = {sample.id for sample in join.samples}.union(join.forgotten)
        place = 0
        for event, number in zip(came.events, came.rows, strict=True):
            row = row_of.get(event.source)
            if number >= 0 and row is None:  # it has no letter: the model could not take it
                continue
            if row is not None and event.id not in passed:
                found.append((bisect_left(places, place), Sample(event.id, self.reply.tokens[row], "")))
            place += 1
        return found

    @property
    def taken(self) -> str:
        """What becomes of each record, as the journal has it: see `journal.Batch`."""
        came = self.came
        if not self.dead_letters:
            return self.seen.letters
        letters: dict[tuple[Any, ...], str] = dict.fromkeys((record[:3] for record in came.records), Letter.DEAD)
        gone = {each.record[:3] for each in self.dead_letters}
        places = [each.source for part in (came.events, came.labels) for each in part if each.source not in gone]
        letters.update(zip(places, self.seen.letters, strict=True))
        return "".join(letters.values())


class Intake:
    """Decodes a batch and joins it. `decode` changes nothing but which labels are known; `join` changes what waits.

    Both come before the batch is committed, since its journal record says what became of each record. Where the commit
    fails the process ends, and with it what was changed.

    Args:
        decoder: of events.
        joiner: of events and labels.
        labels: the topic that labels come from, where there is one.
    """

    def __init__(self, decoder: EventDecoder, joiner: Joiner, labels: str | None) -> None:
        self.decoder, self.joiner, self._topic = decoder, joiner, labels
        self._labels = LabelDecoder(decoder.fields, decoder.targets, max_bytes=decoder.max_bytes)

    def decode(self, records: Sequence[Record], crashed: Collection[Place] | None = None) -> Decoded:
        """Decode the records, and say which events are new.

        Of those that are in `crashed`, what is no new event is left out; new events are not tried by whoever answers.
        """
        own = records if self._topic is None else [record for record in records if record.topic != self._topic]
        late = [] if self._topic is None else [record for record in records if record.topic == self._topic]
        decoded = self.decoder.decode(own)
        events = _merged(decoded)
        rows = self.joiner.first(events)
        killers: list[Record] = []
        if crashed:
            again = {event.source for event, row in zip(events, rows, strict=True) if row < 0}
            killers = [
                each for each in records if each[:3] in crashed and (each.topic == self._topic or each[:3] in again)
            ]
            gone = {record[:3] for record in killers}
            late = [record for record in late if record[:3] not in gone]
            kept = [at for at, event in enumerate(events) if event.source not in gone]
            events, rows = [events[at] for at in kept], [rows[at] for at in kept]
        labels = self._labels.decode(late) if late else DecodedLabels([], [])
        return Decoded(
            records,
            len(own),
            events,
            rows,
            labels.labels,
            [*decoded.dead_letters, *labels.dead_letters, *(dead(record, KILLED) for record in killers)],
            [record.place for record in killers],
        )

    def join(self, came: Decoded, answered: Sequence[Event], reply: Reply, now: float) -> Join:
        """Join the events and labels of a batch with each other, and with what waits.

        Args:
            came: the batch.
            answered: its new events, but for those that the model could not take.
            reply: what the model replied to them.
            now: the batch's.
        """
        events, rows = came.events, came.rows
        if len(answered) < len(rows) - rows.count(-1):
            there = {event.source: row for row, event in enumerate(answered)}
            kept = [at for at, event in enumerate(events) if rows[at] < 0 or event.source in there]
            events, rows = [events[at] for at in kept], [there.get(events[at].source, -1) for at in kept]
        return self.joiner.join(events, rows, Served(reply.tokens, reply.answer), came.labels, now)


def _merged(decoded: DecodedEvents) -> Sequence[Event | Forget]:
    """Return the events and what is to be forgotten, in the order of their records."""
    if not decoded.forgets:
        return decoded.events
    return sorted([*decoded.events, *decoded.forgets], key=lambda each: each.source)
