"""Events, labels, predictions and dead letters: what stands in the topics, decoded and encoded.

Every record of the events topic becomes exactly one of two things: an `Event`, which is predicted, or a `DeadLetter`,
which says why it cannot be. Nothing here raises for what a record holds. No torch, no clock, no I/O.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple, NotRequired

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # pydantic asks for this one below Python 3.12

from streamlearn.transport.base import Message, Record

KEY = "$key"
MAX_ID = 256
Reason = Literal[
    "invalid-json", "encoding", "schema", "missing-input", "label-type", "unknown-label", "too-large", "crashed"
]


class Fields(BaseModel):
    """Where the parts of an event stand in the user's payload: dotted paths such as `ticket.body`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field("id", min_length=1, description="The event's id; $key takes the record's key.")
    text: str = Field("text", min_length=1, description="The text that is read.")
    label: str = Field("label", min_length=1, description="The label, where the event has one.")
    time: str = Field("time", min_length=1, description="When it happened: ISO 8601, or seconds since 1970.")
    slices: str = Field("slices", min_length=1, description="An object of names and values to compare figures by.")


class Place(NamedTuple):
    """Where a record stands."""

    topic: str
    partition: int
    offset: int


class Event(NamedTuple):
    """One event, checked. `time` is the event's own (seconds since 1970), or the record's where it gives none."""

    id: str
    text: str
    label: str | None
    time: float
    slices: dict[str, str]
    source: Place
    has_own_id: bool


class Prediction(NamedTuple):
    """What was said of an event: `top` holds label and score, likeliest first."""

    id: str
    label: str | None
    score: float | None
    top: Sequence[tuple[str, float]]
    abstained: bool
    reason: str | None
    model_step: int
    champion_step: int
    source: Place


class DeadLetter(NamedTuple):
    """A record that cannot be taken, with the reason and a sentence for the one who mends it."""

    record: Record
    reason: Reason
    detail: str


class Decoded(NamedTuple):
    """A batch of records: every one is an event or a dead letter."""

    events: list[Event]
    dead_letters: list[DeadLetter]


Short = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID)]


@with_config(ConfigDict(extra="ignore", strict=True))
class EventPayload(TypedDict):
    """An event as users produce it. Other keys are welcome and ignored."""

    id: NotRequired[
        Annotated[Short | int | None, Field(description="Names the event; without it: topic:partition:offset.")]
    ]
    text: Annotated[str, Field(description="The text to read.", examples=["I want my money back"])]
    label: NotRequired[
        Annotated[Short | int | None, Field(description="The right answer, if it is known.", examples=["refund"])]
    ]
    time: NotRequired[
        Annotated[
            datetime | None,
            Field(strict=False, description="When it happened: ISO 8601 (UTC if it names no zone), or Unix time."),
        ]
    ]
    slices: NotRequired[
        Annotated[
            dict[Annotated[str, StringConstraints(max_length=64)], str | int | float | bool | None] | None,
            Field(max_length=8, description="Names and values to compare figures by.", examples=[{"region": "eu"}]),
        ]
    ]


class ScoredLabel(TypedDict):
    """A label and its probability."""

    label: str
    score: float


class SourcePayload(TypedDict):
    """Where the event stands."""

    topic: str
    partition: int
    offset: int


class PredictionPayload(TypedDict):
    """A prediction as streamlearn writes it; the record's key is the event's id."""

    id: Annotated[str, Field(description="The event's id.")]
    label: Annotated[str | None, Field(description="The likeliest label; null if it abstained.")]
    score: Annotated[float | None, Field(description="Its probability, 0 to 1.")]
    top: Annotated[list[ScoredLabel], Field(description="The likeliest labels, best first (serving.top_k of them).")]
    abstained: Annotated[bool, Field(description="Whether no answer is given.")]
    reason: Annotated[Literal["no-known-label"] | None, Field(description="Why it abstained.")]
    model_step: Annotated[int, Field(description="Optimizer steps that the learning weights had taken.")]
    champion_step: Annotated[int, Field(description="Optimizer steps that the serving weights had taken.")]
    source: SourcePayload
    predicted_at: Annotated[str, Field(description="ISO 8601, UTC.")]


_payload: TypeAdapter[Any] = TypeAdapter(EventPayload)
_payloads: TypeAdapter[Any] = TypeAdapter(list[EventPayload])
_event = partial(tuple.__new__, Event)  # skips NamedTuple's own constructor, which goes through Python
_place = partial(tuple.__new__, Place)


class EventDecoder:
    """Turns records into events or dead letters.

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
        self._labels = set(labels)
        self._key_is_id = fields.id == KEY
        self._extract = _extractor(fields)

    def decode(self, records: Sequence[Record]) -> Decoded:
        """Return the batch's events and dead letters, each in the order of the records.

        The whole batch is parsed and validated at once; one bad record sends the batch through one by one.
        """
        try:
            assert not self._key_is_id
            if max([len(record.value) for record in records], default=0) > self.max_bytes:  # type: ignore[arg-type]
                return self._one_by_one(records)
            loads = orjson.loads
            payloads = [loads(record.value) for record in records]  # type: ignore[arg-type]
            if self._extract is not None:
                payloads = [self._extract(payload) for payload in payloads]
            checked = _payloads.validate_python(payloads)
            events = [self._event(record, payload) for record, payload in zip(records, checked, strict=True)]
        except (orjson.JSONDecodeError, ValidationError, _Refused, TypeError, AssertionError):
            return self._one_by_one(records)
        return Decoded(events, [])

    def _one_by_one(self, records: Sequence[Record]) -> Decoded:
        decoded = Decoded([], [])
        for record in records:
            try:
                decoded.events.append(self._judge(record))
            except _Refused as refusal:
                decoded.dead_letters.append(DeadLetter(record, refusal.reason, refusal.detail))
        return decoded

    def _judge(self, record: Record) -> Event:
        """Return the record's event, or raise the refusal that explains what is wrong with it."""
        value = record.value
        if not value:
            raise _Refused("invalid-json", "the record has no value; an event is a JSON object")
        if len(value) > self.max_bytes:
            raise _Refused("too-large", f"{len(value)} bytes; limits.record_bytes allows {self.max_bytes}")
        try:
            payload = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise _unparsable(value, error) from None
        if not isinstance(payload, dict):
            raise _Refused("schema", f"the value is {_kind(payload)}; an event is a JSON object")
        if self._extract is not None:
            payload = self._extract(payload)
        if self._key_is_id:
            payload = {**payload, "id": self._key(record)}
        try:
            return self._event(record, _payload.validate_python(payload))
        except ValidationError as error:
            raise self._explained(payload, error) from None

    def _event(self, record: Record, payload: dict[str, Any]) -> Event:
        text = payload["text"]
        if not text or text.isspace():
            raise _Refused("missing-input", f"{self.fields.text!r} is blank; there is nothing to predict from")
        label = payload.get("label")
        if label is not None:
            label = str(label)
            if label not in self._labels:
                self._admit(label)
        source = _place(record[:3])
        own = payload.get("id")
        time = payload.get("time")
        if time is None:
            seconds = record.timestamp / 1000
        else:
            seconds = (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
        slices = payload.get("slices")
        return _event(
            (
                "{}:{}:{}".format(*source) if own is None else str(own),
                text,
                label,
                seconds,
                {} if not slices else {name: str(value)[:64] for name, value in slices.items() if value is not None},
                source,
                own is not None,
            )
        )

    def _admit(self, label: str) -> None:
        if self.closed:
            near = get_close_matches(label, self._labels, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise _Refused("unknown-label", f"{label!r} is not one of the {len(self._labels)} of task.labels{hint}")
        if len(self._labels) >= self.max_labels:
            raise _Refused("unknown-label", f"{label!r} would be more than limits.labels allows ({self.max_labels})")
        self._labels.add(label)

    def _key(self, record: Record) -> str:
        if not record.key:
            raise _Refused("schema", "fields.id is $key, and the record has no key")
        try:
            return record.key.decode()
        except UnicodeDecodeError:
            raise _Refused("schema", "fields.id is $key, and the record's key is not UTF-8") from None

    def _explained(self, payload: dict[str, Any], error: ValidationError) -> "_Refused":
        detail = error.errors(include_url=False)[0]
        part = str(detail["loc"][0])
        name = getattr(self.fields, part)
        given = payload.get(part)
        if part == "text":
            if given is None:
                return _Refused("missing-input", f"there is no {name!r}; set fields.text to where the text stands")
            return _Refused("schema", f"{name!r} is {_kind(given)}; it should be a string")
        if part == "label":
            found = "an empty string" if given == "" else _kind(given)
            if isinstance(given, str) and given:
                found = f"a string of {len(given)} characters"
            return _Refused("label-type", f"{name!r} is {found}; it should be a string (1 to {MAX_ID}) or an integer")
        wanted = {
            "id": f"a string of 1 to {MAX_ID} characters, or an integer",
            "time": "ISO 8601, or seconds or milliseconds since 1970",
            "slices": "an object with at most 8 names (of 64 characters) and plain values",
        }[part]
        shown = repr(given) if isinstance(given, str | int | float) else _kind(given)
        return _Refused("schema", f"{name!r} is {shown[:80]}; it should be {wanted}")


class _Refused(Exception):  # noqa: N818 - never leaves this module
    """Carries the reason from where it is found to where the dead letter is made."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def crashed(record: Record, error: Exception) -> DeadLetter:
    """Return the dead letter of a record that the model cannot take."""
    lines = str(error).strip().splitlines() or [""]
    return DeadLetter(record, "crashed", f"the model failed on it: {type(error).__name__}: {lines[0][:200]}")


def encode_predictions(predictions: Sequence[Prediction], now: float) -> list[Message]:
    """Encode a batch; `now` (seconds since 1970) is when it was predicted."""
    at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    dumps = orjson.dumps
    return [
        Message(
            dumps(
                {
                    "id": event_id,
                    "label": label,
                    "score": score,
                    "top": [{"label": name, "score": value} for name, value in top],
                    "abstained": abstained,
                    "reason": reason,
                    "model_step": model_step,
                    "champion_step": champion_step,
                    "source": {"topic": source[0], "partition": source[1], "offset": source[2]},
                    "predicted_at": at,
                }
            ),
            event_id.encode(),
        )
        for event_id, label, score, top, abstained, reason, model_step, champion_step, source in predictions
    ]


def encode_dead_letter(dead: DeadLetter, max_bytes: int) -> Message:
    """Keep the original key, value and headers, and add why it is dead.

    What is larger than `max_bytes` in all is cut, and marked: first the value, then the original headers go, then the
    key is cut.
    """
    record = dead.record
    ours: list[tuple[str, bytes | None]] = [
        ("streamlearn.reason", dead.reason.encode()),
        ("streamlearn.detail", dead.detail[:500].encode()),
        ("streamlearn.topic", record.topic.encode()),
        ("streamlearn.partition", str(record.partition).encode()),
        ("streamlearn.offset", str(record.offset).encode()),
    ]
    headers = [*record.headers, *ours]
    if _size(record.key, record.value, headers) <= max_bytes:
        return Message(record.value, record.key, headers)
    ours.append(("streamlearn.truncated", b"true"))
    key, value = record.key, record.value
    headers = [*record.headers, *ours]
    if _size(key, None, headers) > max_bytes:
        headers = ours
    if _size(key, None, headers) > max_bytes and key is not None:
        key = key[: max(0, max_bytes - _size(None, None, headers))]
    if value is not None:
        value = value[: max(0, max_bytes - _size(key, None, headers))]
    return Message(value, key, headers)


def _size(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> int:
    """Return what a record takes on the wire at most: Kafka's own overhead is below 100 bytes, 20 for a header."""
    size = 100 + len(key or b"") + len(value or b"")
    return size + sum(20 + len(name.encode()) + len(content or b"") for name, content in headers)


def _extractor(fields: Fields) -> Callable[[Any], dict[str, Any]] | None:
    """Return what moves the user's fields to ours; None where they stand there already."""
    paths = [(part, path.split(".")) for part, path in fields if path != KEY]
    if all(path == [part] for part, path in paths):
        return None

    def extract(payload: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
        found = {}
        for part, path in paths:
            value = payload
            for key in path:
                value = value.get(key) if isinstance(value, dict) else None
            if value is not None:
                found[part] = value
        return found

    return extract


def _unparsable(value: bytes, error: orjson.JSONDecodeError) -> _Refused:
    try:
        value.decode()
    except UnicodeDecodeError as found:
        return _Refused("encoding", f"not UTF-8: byte {value[found.start]:#04x} at position {found.start}")
    return _Refused("invalid-json", f"not JSON: {error}")


def _kind(value: object) -> str:
    """Name a JSON value's kind, never the value: payloads do not belong into messages."""
    for kinds, name in (
        (type(None), "null"),
        (bool, "true or false"),
        (int | float, "a number"),
        (str, "a string"),
        (list, "a list"),
    ):
        if isinstance(value, kinds):
            return name
    return "an object"
