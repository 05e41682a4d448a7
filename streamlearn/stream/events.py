"""Events, labels and predictions: what stands in the topics, decoded and encoded.

Every record of the events topic becomes exactly one of two things: an `Event`, which is predicted, or a `DeadLetter`,
which says why it cannot be. Nothing here raises for what a record holds. No torch, no clock, no I/O.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import lru_cache, partial
from itertools import repeat
from operator import itemgetter
from typing import Any, NamedTuple

import orjson
from pydantic import TypeAdapter, ValidationError

from streamlearn.stream.dead_letters import (
    DeadLetter,
    Reason,
    Refusal,
    crashed,
    encode_dead_letter,
    parsed,
    shown,
)
from streamlearn.stream.fields import KEY, Fields, extractor, missing
from streamlearn.stream.payloads import MAX_ID, MAX_SLICE, MAX_SLICES, EventPayload, ScoredLabel
from streamlearn.stream.transport import Message, Record

__all__ = [  # with fields and dead letters: who decodes needs them
    "DeadLetter",
    "DecodedEvents",
    "Event",
    "EventDecoder",
    "Fields",
    "Forget",
    "Label",
    "Place",
    "Prediction",
    "Reason",
    "crashed",
    "encode_dead_letter",
    "encode_predictions",
]

MILLISECONDS_FROM = 2e10  # seconds up to the year 2603, milliseconds from August 1970
LAST_SECOND = 253_402_300_799  # of the year 9999


class Place(NamedTuple):
    """Where a record stands."""

    topic: str
    partition: int
    offset: int


class Event(NamedTuple):
    """One event, checked.

    Times are in seconds since 1970: `received` is the record's own timestamp, and `time` is when it happened, or
    `received` where the event does not say.
    """

    id: str
    text: str
    label: str | None
    time: float
    slices: Mapping[str, str]
    source: Place
    received: float
    has_own_id: bool


class Label(NamedTuple):
    """A label that came apart from its event; `time` is when it was given, or its record's, in seconds since 1970."""

    id: str
    label: str
    source: Place
    time: float


class Forget(NamedTuple):
    """Asks that an id is forgotten, wherever it is stored: a record with the id as its key, and no value."""

    id: str
    source: Place


class Prediction(NamedTuple):
    """What was said of an event.

    `top` holds the likeliest labels, best first. Scores are finite and are written as they are, so whoever makes a
    prediction rounds them: a float32 made a float has ten digits that say nothing. `novelty`, 0 to 1, is None while
    nobody knows what is usual; `novel` is whether it is too high for a class that is known. `label_requested` is None
    where no label is ever asked for.
    """

    id: str
    label: str | None
    score: float | None
    top: Sequence[ScoredLabel]
    abstained: bool
    reason: str | None
    model_step: int
    champion_step: int
    source: Place
    novelty: float | None = None
    novel: bool = False
    label_requested: bool | None = None


class DecodedEvents(NamedTuple):
    """A batch of records: every one is an event, a dead letter, or asks that an id is forgotten."""

    events: list[Event]
    dead_letters: list[DeadLetter]
    forgets: Sequence[Forget] = ()


_payload: TypeAdapter[EventPayload] = TypeAdapter(EventPayload)
_payloads: TypeAdapter[list[EventPayload]] = TypeAdapter(list[EventPayload])
_times: TypeAdapter[datetime] = TypeAdapter(datetime)
_place_of = itemgetter(0, 1, 2)
_place = partial(tuple.__new__, Place)  # skips NamedTuple's own constructor, which goes through Python
_event = partial(tuple.__new__, Event)
_message = partial(tuple.__new__, Message)


class EventDecoder:
    """Turns records into events or dead letters.

    It holds the labels seen so far, and no others: an open set grows up to `max_labels`. `labels.LabelDecoder` shares
    them.

    Args:
        fields: where the parts stand in the payload.
        labels: labels known beforehand.
        closed: refuse every other label.
        max_labels: different labels an open set may get to.
        max_bytes: the largest value that is taken.
    """

    def __init__(
        self,
        fields: Fields,
        *,
        labels: Iterable[str] = (),
        closed: bool = False,
        max_labels: int = 10_000,
        max_bytes: int = 262_144,
    ) -> None:
        self.fields, self.closed, self.max_labels, self.max_bytes = fields, closed, max_labels, max_bytes
        self._labels: set[str | None] = {None, *labels}
        self.extract = extractor(fields)
        self._nearest = lru_cache(1_000)(partial(_nearest, [*labels] if closed else []))

    def decode(self, records: Sequence[Record]) -> DecodedEvents:
        """Return the batch's events and dead letters, each in the order of the records.

        The whole batch is parsed and checked at once. If anything is wrong in it, its records are judged one by one.
        """
        loads, extract = orjson.loads, self.extract
        try:
            values = [record.value or b"" for record in records]
            if max(map(len, values), default=0) <= self.max_bytes:
                payloads = [loads(value) for value in values]
                if extract is not None:
                    payloads = [extract(payload, record) for payload, record in zip(payloads, records, strict=True)]
                return DecodedEvents(self._events(records, _payloads.validate_python(payloads)), [])
        except (orjson.JSONDecodeError, ValidationError, Refusal):
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
        """Return the labels seen so far."""
        return {"labels": sorted(label for label in self._labels if label is not None)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Know the labels that `state_dict` returned, and no others."""
        self._labels = {None, *state["labels"]}

    def _judge(self, record: Record) -> EventPayload:
        """Return the payload that `_events` will take, or raise the refusal that explains what is wrong with it."""
        whole = parsed(record.value, self.max_bytes, "an event")
        given = whole if self.extract is None else self.extract(whole, record)
        try:
            payload = _payload.validate_python(given)
        except ValidationError as error:
            raise self._explained(error, given, whole) from None
        self._check_texts([payload["text"]])
        if (time := payload.get("time")) is not None:
            self.seconds(time)
        if (label := payload.get("label")) is not None:
            self.admitted(str(label))
        return payload

    def _events(self, records: Sequence[Record], payloads: Sequence[EventPayload]) -> list[Event]:
        """Make events of checked payloads, column by column, which is quicker than row by row.

        Labels come last: what is refused for another reason adds none.
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
        times = received = [record.timestamp / 1000 for record in records]
        given = [payload.get("time") for payload in payloads]
        if any(time is not None for time in given):
            times = self._when(given, received)
        slices = [_slices(found) if (found := payload.get("slices")) else {} for payload in payloads]
        labels: list[Any] = [payload.get("label") for payload in payloads]
        if not self._labels.issuperset(labels):
            labels = [None if label is None else self.admitted(str(label)) for label in labels]
        return list(map(_event, zip(ids, texts, labels, times, slices, places, received, flags, strict=False)))

    def _when(self, given: Sequence[str | float | None], received: Sequence[float]) -> list[float]:
        """Return seconds since 1970: what `seconds` reads, and without a time when the record was received."""
        parse = datetime.fromisoformat
        try:  # nearly all are of the first form, where Z is a time zone
            return [
                parse(time).timestamp() if type(time) is str and time[4:5] == "-" and time[-1:] == "Z"
                else other if time is None else self.seconds(time)
                for time, other in zip(given, received, strict=True)
            ]  # fmt: skip
        except ValueError:  # finds the one that is none, and refuses it
            return [other if time is None else self.seconds(time) for time, other in zip(given, received, strict=True)]

    def _check_texts(self, texts: Sequence[str]) -> None:
        if not all(map(str.strip, texts)):
            raise Refusal("missing-input", f"{self.fields.text!r} is blank; there is nothing to predict from")

    def admitted(self, label: str) -> str:
        """Return the label, which is known from now on, or raise the refusal that says why it cannot be."""
        if label in self._labels:
            return label
        if label.isspace():
            raise Refusal("label-type", f"{self.fields.label!r} is blank; leave it out where there is no label")
        known = len(self._labels) - 1
        if self.closed:
            raise Refusal("unknown-label", f"{label!r} is not one of the {known} of task.labels{self._nearest(label)}")
        if known >= self.max_labels:
            raise Refusal("unknown-label", f"{label!r} would be more than limits.labels allows ({self.max_labels})")
        self._labels.add(label)
        return label

    def seconds(self, time: str | float) -> float:
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
        raise Refusal("schema", f"{self.fields.time!r} is {shown(time)}; it should be {_WANTED['time']}")

    def _explained(self, error: ValidationError, payload: dict[str, Any], whole: dict[str, Any]) -> Refusal:
        """Say what the first error of a payload means, by the user's own paths."""
        part, *inner = error.errors(include_url=False, include_input=False, include_context=False)[0]["loc"]
        path, given = getattr(self.fields, str(part)), payload.get(str(part))
        if part == "text" and given is None:
            return Refusal("missing-input", missing(whole, path))
        if part == "id" and path == KEY:
            size = len(given or "")
            return Refusal("schema", f"the record's key has {size} characters; as an id it has 1 to {MAX_ID}")
        if part == "slices" and isinstance(given, dict) and len(given) <= MAX_SLICES:
            name = str(inner[0])
            if inner[1:] == ["[key]"]:
                return Refusal("schema", f"a name in {path!r} has {len(name)} characters; it has 1 to {MAX_SLICE}")
            path = path[name] if isinstance(path, dict) else f"{path}.{name}"
            return Refusal("schema", f"{path!r} is {shown(given[name])}; a slice is a string, number, true or false")
        found = "an empty string" if given == "" else shown(given)
        if isinstance(given, float) and given.is_integer() and abs(given) >= 2**63:
            found = "an integer of more than 64 bits"
        reason: Reason = "label-type" if part == "label" else "schema"
        return Refusal(reason, f"{path!r} is {found}; it should be {_WANTED[str(part)]}")


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
    return Forget(key, _place(_place_of(record)))


_WANTED = {
    "id": f"a string of 1 to {MAX_ID} characters, or an integer",
    "text": "a string",
    "label": f"a string of 1 to {MAX_ID} characters, or an integer; leave it out where there is none",
    "time": "ISO 8601, or seconds or milliseconds since 1970",
    "slices": f"an object of at most {MAX_SLICES} names with a string, number, true or false for each",
}


def encode_predictions(predictions: Sequence[Prediction], now: float) -> list[Message]:
    """Encode a batch; `now` (seconds since 1970) is when it was predicted.

    One dictionary serves all, since filling one is quicker than making one.
    """
    at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    source: dict[str, Any] = dict.fromkeys(Place._fields)
    names = ("id", "label", "score", "top", "abstained", "reason", "novelty", "novel", "model_step", "champion_step")
    payload: dict[str, Any] = {**dict.fromkeys(names), "source": source, "predicted_at": at}
    messages: list[Message] = []
    for (
        payload["id"], payload["label"], payload["score"], payload["top"], payload["abstained"], payload["reason"],
        payload["model_step"], payload["champion_step"], place, payload["novelty"], payload["novel"], asked,
    ) in predictions:  # fmt: skip
        source["topic"], source["partition"], source["offset"] = place
        if asked is None:
            payload.pop("label_requested", None)
        else:
            payload["label_requested"] = asked
        messages.append(_message((orjson.dumps(payload), payload["id"].encode(), ())))
    return messages


def _slices(found: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: (value if isinstance(value, str) else orjson.dumps(value).decode())[:MAX_SLICE]
        for name, value in found.items()
        if value is not None
    }


def _nearest(labels: Sequence[str], label: str) -> str:
    near = get_close_matches(label, labels, 1)
    return f"; did you mean {near[0]!r}?" if near else ""
