"""Records decoded: of the events topic into events, of the labels topic into labels.

Every record becomes exactly one of three things: an `Event` or a `Label`; a `Forget`, which asks that an id is
forgotten; or a `DeadLetter`, which says why it cannot be taken. Nothing here raises for what a record holds. What a
label means is the task's to say, through `Targets` (of classes: `model/tasks/classes.py`). No clock, no I/O.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import repeat
from operator import itemgetter
from typing import Any, Generic, NamedTuple, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from streamlearn.core.describe import shown
from streamlearn.core.refusal import Refusal
from streamlearn.core.target import Target, Targets
from streamlearn.core.tuples import unchecked
from streamlearn.stream.dead_letters import DeadLetter, parsed
from streamlearn.stream.events import Event, Forget, Label
from streamlearn.stream.fields import KEY, Fields, extractor, missing
from streamlearn.stream.payloads import MAX_ID, MAX_SLICE, MAX_SLICES, EventPayload, LabelPayload
from streamlearn.stream.transport import Place, Record

MILLISECONDS_FROM = 2e10  # seconds up to the year 2603, milliseconds from August 1970
LAST_SECOND = 253_402_300_799  # of the year 9999
WANTED: Mapping[str, str] = {
    "id": f"a string of 1 to {MAX_ID} characters, or an integer",
    "text": "a string",
    "time": "ISO 8601, or seconds or milliseconds since 1970",
    "slices": f"an object of at most {MAX_SLICES} names with a string, number, true or false for each",
}
AFTER_LABEL = ("time", "slices")  # parts of a payload that are judged after its label

_event_payload: TypeAdapter[EventPayload] = TypeAdapter(EventPayload)
_event_payloads: TypeAdapter[list[EventPayload]] = TypeAdapter(list[EventPayload])
_label_payload: TypeAdapter[LabelPayload] = TypeAdapter(LabelPayload)
_label_payloads: TypeAdapter[list[LabelPayload]] = TypeAdapter(list[LabelPayload])
_times: TypeAdapter[datetime] = TypeAdapter(datetime)
_place_of = itemgetter(0, 1, 2)
_place = unchecked(Place)
_event = unchecked(Event)

P = TypeVar("P", EventPayload, LabelPayload)


class DecodedEvents(NamedTuple):
    """A batch of records: every one is an event, a dead letter, or asks that an id is forgotten."""

    events: list[Event]
    dead_letters: list[DeadLetter]
    forgets: Sequence[Forget] = ()


class DecodedLabels(NamedTuple):
    """A batch of records: every one is a label, asks that an id is forgotten, or is a dead letter."""

    labels: list[Label | Forget]
    dead_letters: list[DeadLetter]


class _Decoder(Generic[P]):
    """What both have: a whole batch is parsed and checked at once, and its records are judged one by one where anything
    is wrong in it.

    Args:
        fields: where the parts stand in the payload.
        targets: what labels mean, and those that were admitted so far.
        max_bytes: the largest value that is taken.
    """

    noun: str
    one: TypeAdapter[P]
    many: TypeAdapter[list[P]]

    def __init__(self, fields: Fields, targets: Targets, *, max_bytes: int = 262_144) -> None:
        self.fields, self.targets, self.max_bytes = fields, targets, max_bytes
        self._extract = extractor(fields)

    def _at_once(self, records: Sequence[Record]) -> list[P] | None:
        """Return the checked payloads of a batch; None where anything is wrong in it: judging finds it again."""
        loads, extract = orjson.loads, self._extract
        try:
            values = [record.value or b"" for record in records]
            if max(map(len, values), default=0) > self.max_bytes:
                return None
            payloads = [loads(value) for value in values]
            if extract is not None:
                payloads = [extract(payload, record) for payload, record in zip(payloads, records, strict=True)]
            return self.many.validate_python(payloads)
        except (orjson.JSONDecodeError, ValidationError, Refusal):
            return None

    def _given(self, record: Record) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the parts of a record that count, under our names, and the whole payload as the user wrote it."""
        whole = parsed(record.value, self.max_bytes, self.noun)
        return (whole if self._extract is None else self._extract(whole, record)), whole

    def _checked(self, value: object) -> Target:
        return self.targets.checked(value, str(self.fields.label))

    def _admit(self, value: object) -> None:
        """Let the label be known, or raise the refusal that says why not, by the user's own path."""
        self.targets.admitted(self._checked(value), str(self.fields.label))

    def _when(self, given: Sequence[str | float | None], received: Sequence[float]) -> Sequence[float]:
        """Return seconds since 1970: what `_seconds` reads, and without a time when the record was received."""
        if all(time is None for time in given):
            return received
        parse = datetime.fromisoformat
        try:  # nearly all are of the first form, where Z is a time zone
            return [
                parse(time).timestamp() if type(time) is str and time[4:5] == "-" and time[-1:] == "Z"
                else other if time is None else self._seconds(time)
                for time, other in zip(given, received, strict=True)
            ]  # fmt: skip
        except ValueError:  # finds the one that is none, and refuses it
            return [other if time is None else self._seconds(time) for time, other in zip(given, received, strict=True)]

    def _validated(self, given: dict[str, Any], whole: dict[str, Any]) -> P:
        """Return the payload, or raise the refusal that explains the first thing that is wrong with it."""
        try:
            return self.one.validate_python(given)
        except ValidationError as error:
            part, *inner = error.errors(include_url=False, include_input=False, include_context=False)[0]["loc"]
        if part in AFTER_LABEL and given.get("label") is not None:
            self._checked(given["label"])
        raise self._explained(str(part), inner, given, whole)

    def _explained(
        self, part: str, inner: Sequence[int | str], given: dict[str, Any], whole: dict[str, Any]
    ) -> Refusal:
        """Say what is wrong with a part, by the user's own paths; `inner` is where in it."""
        path, value = getattr(self.fields, part), given.get(part)
        if part == "text" and value is None:
            return Refusal("missing-input", missing(whole, path))
        if part == "id" and path == KEY:
            size = len(value or "")
            return Refusal("schema", f"the record's key has {size} characters; as an id it has 1 to {MAX_ID}")
        if part == "slices" and isinstance(value, dict) and len(value) <= MAX_SLICES:
            name = str(inner[0])
            if inner[1:] == ["[key]"]:
                return Refusal("schema", f"a name in {path!r} has {len(name)} characters; it has 1 to {MAX_SLICE}")
            path = path[name] if isinstance(path, dict) else f"{path}.{name}"
            return Refusal("schema", f"{path!r} is {shown(value[name])}; a slice is a string, number, true or false")
        found = "an empty string" if value == "" else shown(value)
        if isinstance(value, float) and value.is_integer() and abs(value) >= 2**63:
            found = "an integer of more than 64 bits"
        return Refusal("schema", f"{path!r} is {found}; it should be {WANTED[part]}")

    def _seconds(self, time: str | float) -> float:
        """Return seconds since 1970, or raise the refusal that says why this is no time."""
        try:
            if isinstance(time, str):
                # `fromisoformat` would read a long number as a date without dashes.
                moment = datetime.fromisoformat(time) if time[4:5] == "-" else _times.validate_python(time)
                return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except ValueError:
            pass
        else:
            seconds = time if abs(time) < MILLISECONDS_FROM else time / 1000
            if abs(seconds) <= LAST_SECOND:
                return float(seconds)
        raise Refusal("schema", f"{self.fields.time!r} is {shown(time)}; it should be {WANTED['time']}")


class EventDecoder(_Decoder[EventPayload]):
    """Turns records of the events topic into events."""

    noun, one, many = "an event", _event_payload, _event_payloads

    def decode(self, records: Sequence[Record]) -> DecodedEvents:
        """Return the batch's events and dead letters, each in the order of the records."""
        payloads = self._at_once(records)
        if payloads is not None:
            try:
                return DecodedEvents(self._events(records, payloads), [])
            except Refusal:
                pass  # judging finds it again, and explains it
        good: list[Record] = []
        judged: list[EventPayload] = []
        dead: list[DeadLetter] = []
        forgets: list[Forget] = []
        for record in records:
            try:
                if record.value is None and self.fields.id == KEY:
                    forgets.append(forget(record))
                    continue
                judged.append(self._judge(record))
                good.append(record)
            except Refusal as refusal:
                dead.append(DeadLetter(record, refusal.reason, refusal.detail))
        return DecodedEvents(self._events(good, judged), dead, forgets)

    def state_dict(self) -> dict[str, Any]:
        """Return what was admitted so far."""
        return self.targets.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know what `state_dict` returned, and nothing else."""
        self.targets.load_state_dict(state)

    def _checked(self, value: object) -> Target:
        try:
            return super()._checked(value)
        except Refusal as refusal:
            raise Refusal(refusal.reason, f"{refusal.detail}; leave it out where there is none") from None

    def _judge(self, record: Record) -> EventPayload:
        """Return the payload that `_events` will take, or raise the refusal that explains what is wrong with it.

        The label is admitted last: what is refused for another reason makes none known.
        """
        payload = self._validated(*self._given(record))
        label = payload.get("label")
        if label is not None:
            self._checked(label)
        self._check_texts([payload["text"]])
        if (time := payload.get("time")) is not None:
            self._seconds(time)
        if label is not None:
            self._admit(label)
        return payload

    def _events(self, records: Sequence[Record], payloads: Sequence[EventPayload]) -> list[Event]:
        """Make events of checked payloads, column by column, which is quicker than row by row.

        Two records with {"id": "a", "text": "x", "label": "l"} and {"text": "y"} become the columns
        ids ["a", "topic:0:1"], texts ["x", "y"], labels ["l", None], ..., flags [True, False], and the events are
        their rows. Labels come last: what is refused for another reason makes none known.
        """
        texts = [payload["text"] for payload in payloads]
        self._check_texts(texts)
        places = list(map(_place, map(_place_of, records)))
        own = [payload.get("id") for payload in payloads]
        ids: list[Any] = own
        flags: Iterable[bool] = repeat(True)
        if set(map(type, own)) != {str}:
            ids = ["{}:{}:{}".format(*place) if i is None else str(i) for i, place in zip(own, places, strict=True)]
            flags = [i is not None for i in own]
        received = [record.timestamp / 1000 for record in records]
        times = self._when([payload.get("time") for payload in payloads], received)
        slices = [_slices(found) if (found := payload.get("slices")) else {} for payload in payloads]
        labels = self.targets.taken([payload.get("label") for payload in payloads])
        return list(map(_event, zip(ids, texts, labels, times, slices, places, received, flags, strict=False)))

    def _check_texts(self, texts: Sequence[str]) -> None:
        if not all(map(str.strip, texts)):
            raise Refusal("missing-input", f"{self.fields.text!r} is blank; there is nothing to predict from")


class LabelDecoder(_Decoder[LabelPayload]):
    """Turns records of the labels topic into labels. It shares `targets` with the decoder of events."""

    noun, one, many = "a label", _label_payload, _label_payloads

    def decode(self, records: Sequence[Record]) -> DecodedLabels:
        """Return the batch's labels, with what is to be forgotten among them, and its dead letters, both in the order
        of the records."""
        payloads = self._at_once(records)
        if payloads is not None:
            try:
                return DecodedLabels([*self._labels(records, payloads)], [])
            except Refusal:
                pass  # judging finds it again, and explains it
        labels: list[Label | Forget] = []
        dead: list[DeadLetter] = []
        for record in records:
            try:
                labels += [forget(record)] if record.value is None else self._labels([record], [self._judge(record)])
            except Refusal as refusal:
                dead.append(DeadLetter(record, refusal.reason, refusal.detail))
        return DecodedLabels(labels, dead)

    def _judge(self, record: Record) -> LabelPayload:
        """Return the payload, or raise the refusal that explains what is wrong with it."""
        given, whole = self._given(record)
        if given.get("id") is None:
            raise Refusal("schema", f"there is no {self.fields.id!r}; a label names the id of its event")
        if given.get("label") is None:
            raise Refusal("label-type", f"there is no {self.fields.label!r}, or it is null")
        payload = self._validated(given, whole)
        self._checked(payload["label"])
        if (time := payload.get("time")) is not None:
            self._seconds(time)
        self._admit(payload["label"])
        return payload

    def _labels(self, records: Sequence[Record], payloads: Sequence[LabelPayload]) -> list[Label]:
        """Make labels of checked payloads, column by column; one that is null is left to judging, which explains it.

        Labels come last: what is refused for another reason makes none known.
        """
        given = [payload["label"] for payload in payloads]
        if None in given:
            raise Refusal("label-type", "a label is null")
        ids = [str(payload["id"]) for payload in payloads]
        received = [record.timestamp / 1000 for record in records]
        times = self._when([payload.get("time") for payload in payloads], received)
        labels = self.targets.taken(given)
        return list(map(Label, ids, labels, map(_place, map(_place_of, records)), times))


def forget(record: Record) -> Forget:
    """Return what a record without a value asks for, or raise the refusal that says why it cannot be done."""
    if record.key is None:
        raise Refusal("schema", "a record without a value asks to forget the id that is its key, and it has no key")
    try:
        key = record.key.decode()
    except UnicodeDecodeError as error:
        raise Refusal("schema", f"the id to forget is the record's key, which is not UTF-8 at {error.start}") from None
    if not 1 <= len(key) <= MAX_ID:
        raise Refusal("schema", f"the id to forget has {len(key)} characters; an id has 1 to {MAX_ID}")
    return Forget(key, record.place)


def _slices(found: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: (value if isinstance(value, str) else orjson.dumps(value).decode())[:MAX_SLICE]
        for name, value in found.items()
        if value is not None
    }
