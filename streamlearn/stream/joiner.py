"""The join: which label belongs to which event, whichever comes first and whatever comes twice.

Pure: no I/O, no clock, no randomness. `now` is the journal's, so whoever takes the same batches again joins the same.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, Final, cast

import torch

from streamlearn.core.arrays import arrays, tensors
from streamlearn.core.batch import IntArray, Sample
from streamlearn.core.target import Judge, Target
from streamlearn.stream.config import JoinerConfig
from streamlearn.stream.events import Event, Forget, Label
from streamlearn.stream.join import OUTCOMES, Early, Join, Letter
from streamlearn.stream.packed_texts import pack_texts, unpack_texts
from streamlearn.stream.pending import Joined, Pending, Served

_id, _label, _own = (itemgetter(Event._fields.index(name)) for name in ("id", "label", "has_own_id"))
_sample_of = attrgetter("sample")
UNKNOWN: Final = object()  # nothing is remembered of the id


class Joiner:
    """Joins events and labels by id, in any order, up to `ttl` and `capacity`; each label has exactly one outcome.

    An id is remembered for the next `window` ids at least, and for twice as many at most: with the label that it has,
    or as one that waits for none any more. An event of such an id, or of one that waits, is a duplicate: it is not
    predicted, and a label that it brings is taken like one from the labels topic.

    Args:
        config: the bounds.
        judge: of the task.
        vocabulary_size: of the tokenizer.
        waits: whether labels may come later than their events; without, an event brings its label or has none.
    """

    def __init__(self, config: JoinerConfig, judge: Judge, *, vocabulary_size: int, waits: bool) -> None:
        self.config, self.waits = config, waits
        self.judge, self.pending = judge, Pending(judge, vocabulary_size)
        self.early: OrderedDict[str, Early] = OrderedDict()
        # Two generations, the younger first: forgetting costs nothing but a swap now and then.
        self._known: dict[str, Target | None] = {}
        self._older: dict[str, Target | None] = {}
        self._now = 0.0

    def first(self, events: Sequence[Event | Forget]) -> list[int]:
        """Number the events that come for the first time; -1 stands for those that came before, and for what asks that
        an id is forgotten: an event of that id after it comes for the first time."""
        if set(map(type, events)) <= {Event}:
            if not (self.config.window or self.waits):
                return list(range(len(events)))
            ids = list(map(_id, events)) if all(map(_own, events)) else [_id(each) for each in events if _own(each)]
            places = (self._known.keys(), self._older.keys(), self.pending.ids)
            if len(set(ids)) == len(ids) and all(not each or each.isdisjoint(ids) for each in places):
                return list(range(len(events)))
        here: dict[str, bool] = {}  # whether the id came in this batch, or was forgotten
        rows, row = [], 0
        for event in events:
            if isinstance(event, Forget):
                here[event.id], again = False, True
            elif not event.has_own_id:  # though an event may have another's place as its id
                again = False
            else:
                again = here.get(event.id, self._came_before(event))
                here[event.id] = again or bool(self.config.window) or (self.waits and event.label is None)
            rows.append(-1 if again else row)
            row += not again
        return rows

    def join(
        self,
        events: Sequence[Event | Forget],
        rows: Sequence[int],
        served: Served,
        labels: Sequence[Label | Forget],
        now: float,
    ) -> Join:
        """Take in a batch: its events in their order, and then its labels; ids are forgotten where that is asked.

        1. What has waited too long leaves.
        2. Each event meets the label that waits for it, or waits for one.
        3. Each label meets its event, or waits for it.

        Args:
            events: those that were answered, and duplicates; between them what is to be forgotten.
            rows: where each stands in `served`; -1 for the others.
            served: what was said of the events.
            labels: from the labels topic, and between them what is to be forgotten.
            now: seconds since 1970; a clock that is set back stands still here.
        """
        self._now = max(now, self._now)
        join = Join()
        self._expire(join)  # 1
        if events:
            self._take(join, events, rows, served)  # 2
        for kind, some in groupby(labels, type):  # 3
            if kind is Forget:
                for each in some:
                    self._forget(join, each.id)
            else:
                ids, names, _, times = zip(*some, strict=True)
                self._take_labels(join, ids, names, times)
        if not self.config.window:
            self._known, self._older = {}, {}
        elif len(self._known) >= self.config.window:
            self._known, self._older = {}, self._known
        return join

    def state_dict(self) -> dict[str, Any]:
        """Return all that waits and all that is remembered, in columns."""
        return {
            "now": self._now,
            "known": self._pack(self._known),
            "older": self._pack(self._older),
            "early": self._pack({key: each.label for key, each in self.early.items()}),
            "early_at": torch.tensor([each.at for each in self.early.values()], dtype=torch.float64),
            "pending": self.pending.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what another had; what no longer fits leaves with the next batch."""
        self._now = float(state["now"])
        self._known, self._older = self._unpack(state["known"]), self._unpack(state["older"])
        early = zip(self._unpack(state["early"]).items(), state["early_at"].tolist(), strict=True)
        self.early = OrderedDict((key, Early(label, at)) for (key, label), at in early if label is not None)
        self.pending.load_state_dict(state["pending"])

    def _take(self, join: Join, events: Sequence[Event | Forget], rows: Sequence[int], served: Served) -> None:
        new = [event for event, row in zip(events, rows, strict=True) if row >= 0 and type(event) is Event]
        if not (self.waits or len(self.pending) or self.early) and len(new) == len(events):
            self._plain(join, new, served)
            return
        places = (row for row in rows if row >= 0)
        waits = [
            (event, row) for event, row in zip(new, places, strict=True) if event.has_own_id and event.label is None
        ]
        packed = iter(self.pending.pack([event for event, _ in waits], [row for _, row in waits], served, self._now))
        for event, row in zip(events, rows, strict=True):
            if isinstance(event, Forget):
                self._forget(join, event.id)
            elif row < 0:
                join.duplicates += 1
                if event.label is None:
                    join.letters.append(Letter.AGAIN)
                else:
                    self._take_labels(join, [event.id], [event.label], [event.received])
                    join.letters[-1] = join.letters[-1].upper()
            elif not event.has_own_id or (event.label is not None and event.id not in self.early):
                self._plain(join, [event], served, row)
            else:
                join.letters.append(self._came(join, event, served.tokens[row], row, packed))

    def _plain(self, join: Join, events: Sequence[Event], served: Served, row: int = 0) -> None:
        """Take events that bring their label or get none, for which nothing waits; `row` is the first one's."""
        labels = list(map(_label, events))
        if labels.count(None) == len(labels):
            join.letters += Letter.UNLABELLED * len(labels)
        else:
            for at, (event, label) in enumerate(zip(events, labels, strict=True), row):
                if label is not None:
                    join.hand_out(Sample(event.id, served.tokens[at], label), at)
                join.letters.append(Letter.UNLABELLED if label is None else Letter.LEARNED)
        if not (self.config.window or self.waits):
            return
        if all(map(_own, events)):
            self._known.update(zip(map(_id, events), labels, strict=True))
        else:
            self._known.update((event.id, event.label) for event in events if event.has_own_id)

    def _came(self, join: Join, event: Event, tokens: IntArray, row: int, packed: Iterator[bytes]) -> str:
        """Take an event that waits for a label, or that a label waits for."""
        early, label = self.early.pop(event.id, None), event.label
        if label is not None and early is not None:  # its own label counts as the first
            join.outcomes["duplicate" if early.label == label else "correction"] += 1
            join.hand_out(Sample(event.id, tokens, early.label), row)
            self._known[event.id] = early.label
            return Letter.LEARNED
        waiting = next(packed)
        if early is not None:
            join.places.append(len(join.letters))
            self._join(join, [event.id], [waiting], [early.label])
            return Letter.LEARNED
        self._known[event.id] = None
        if self.waits:
            self.pending.add(event.id, waiting)
            self._crowd(join)
        return Letter.UNLABELLED

    def _take_labels(self, join: Join, ids: Sequence[str], labels: Sequence[Target], times: Sequence[float]) -> None:
        """Take labels that did not come with their events.

        Those for which an event waits go first, all at once: none of them depends on the others, and an id's first
        label takes what waits.
        """
        start = len(join.letters)
        waiting: Sequence[bytes | None] = self.pending.pop(ids)
        places: Sequence[int] = range(start, start + len(ids))
        join.letters += Letter.LEARNED * len(ids)
        others: list[tuple[str, Target, int]] = []
        if None in waiting:
            rows = list(zip(ids, waiting, labels, times, places, strict=True))
            others = [(event_id, label, place) for event_id, each, label, _, place in rows if each is None]
            kept = [row for row in rows if row[1] is not None]
            ids, waiting, labels, times, places = zip(*kept, strict=True) if kept else ((),) * 5
        if ids:
            join.places += places
            joined = self._join(join, ids, cast("list[bytes]", waiting), labels)
            join.delays += [
                time - each.time if time > each.time > 0 else 0.0 for each, time in zip(joined, times, strict=True)
            ]
        for event_id, label, place in others:
            join.letters[place] = self._unmatched(join, event_id, label)

    def _unmatched(self, join: Join, event_id: str, label: Target) -> str:
        """Take a label for which no event waits, and return its letter."""
        known = self._look(event_id)
        if known is UNKNOWN:
            early = self.early.get(event_id)
            if early is None:
                self.early[event_id] = Early(label, self._now)
                if len(self.early) > self.config.capacity:
                    self.early.popitem(last=False)
                    join.outcomes["orphan"] += 1
                return Letter.WAITS
            known = early.label
            self.early[event_id] = early._replace(label=label)
        elif known is not None:
            self._known[event_id] = label
        letter = Letter.EXPIRED if known is None else Letter.SAME if known == label else Letter.CORRECTION
        if letter == Letter.CORRECTION and event_id not in self.early:
            join.correct(event_id, label)
        join.outcomes[OUTCOMES[letter]] += 1
        return letter

    def _join(self, join: Join, ids: Sequence[str], waiting: Sequence[bytes], labels: Sequence[Target]) -> list[Joined]:
        """Hand out events that waited, with their labels."""
        joined = self.pending.unpack(ids, waiting, labels)
        join.samples += map(_sample_of, joined)
        join.late += joined
        self._known.update(zip(ids, labels, strict=True))
        return joined

    def _forget(self, join: Join, event_id: str) -> None:
        """Let go of all that is known of an id; a label of it that was not handed out to be learned is `forgotten`."""
        early = self.early.pop(event_id, None)
        if gone := join.withdraw(event_id) + (early is not None):
            join.outcomes["forgotten"] += gone
        self.pending.pop([event_id])
        self._known.pop(event_id, None)
        self._older.pop(event_id, None)
        join.forgotten.append(event_id)
        join.letters.append(Letter.FORGET)

    def _came_before(self, event: Event) -> bool:
        return event.id in self.pending or self._look(event.id) is not UNKNOWN

    def _look(self, event_id: str) -> object:
        """Return the label that an id has, None where it has none, `UNKNOWN` where the id is not remembered."""
        found = self._known.get(event_id, UNKNOWN)
        return self._older.get(event_id, UNKNOWN) if found is UNKNOWN else found

    def _expire(self, join: Join) -> None:
        """Let go of what has waited too long; the oldest come first."""
        before = self._now - self.config.ttl
        while len(self.pending) and self.pending.since() < before:
            self._known[self.pending.oldest()] = None
            join.expired["ttl"] += 1
        while self.early and next(iter(self.early.values())).at < before:
            self.early.popitem(last=False)
            join.outcomes["orphan"] += 1
        self._crowd(join)

    def _crowd(self, join: Join) -> None:
        """Let the oldest go where more wait than `capacity`."""
        while len(self.pending) > self.config.capacity:
            self._known[self.pending.oldest()] = None
            join.expired["capacity"] += 1

    def _pack(self, labels: Mapping[str, Target | None]) -> dict[str, Any]:
        packed = self.judge.targets_packed(list(labels.values()))
        return {"ids": tensors(pack_texts(labels)), **tensors(packed)}

    def _unpack(self, state: Mapping[str, Any]) -> dict[str, Target | None]:
        return dict(zip(unpack_texts(state["ids"]), self.judge.targets_unpacked(arrays(state)), strict=True))
