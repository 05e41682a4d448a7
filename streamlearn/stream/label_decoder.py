"""Labels that come apart from their events: what stands in the labels topic, decoded.

Every record becomes exactly one of three things: a `Label`, which is joined with its event; where it has no value, a
`Forget`, for the id that is its key; or a `DeadLetter`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
from pydantic import TypeAdapter, ValidationError

from streamlearn.stream.dead_letters import DeadLetter, Refusal, parsed, shown
from streamlearn.stream.events import EventDecoder, Forget, Label, Place, forget
from streamlearn.stream.payloads import MAX_ID, LabelPayload
from streamlearn.stream.transport import Record

_payload: TypeAdapter[LabelPayload] = TypeAdapter(LabelPayload)
_payloads: TypeAdapter[list[LabelPayload]] = TypeAdapter(list[LabelPayload])
_WANTED = {
    "id": f"a string of 1 to {MAX_ID} characters, or an integer",
    "label": f"a string of 1 to {MAX_ID} characters, or an integer",
    "time": "ISO 8601, or seconds or milliseconds since 1970",
}


class DecodedLabels(NamedTuple):
    """A batch of records: every one is a label, asks that an id is forgotten, or is a dead letter."""

    labels: list[Label | Forget]
    dead_letters: list[DeadLetter]


class LabelDecoder:
    """Turns records into labels or dead letters.

    Args:
        events: whose fields, limits and known labels count here too.
    """

    def __init__(self, events: EventDecoder) -> None:
        self._events = events

    def decode(self, records: Sequence[Record]) -> DecodedLabels:
        """Return the batch's labels, with what is to be forgotten among them, and its dead letters, both in the order
        of the records.

        The whole batch is parsed and checked at once. If anything is wrong in it, its records are judged one by one.
        """
        loads, extract = orjson.loads, self._events.extract
        try:
            values = [record.value or b"" for record in records]
            if max(map(len, values), default=0) <= self._events.max_bytes:
                payloads = [loads(value) for value in values]
                if extract is not None:
                    payloads = [extract(payload, record) for payload, record in zip(payloads, records, strict=True)]
                return DecodedLabels([*self._labels(records, _payloads.validate_python(payloads))], [])
        except (orjson.JSONDecodeError, ValidationError, Refusal):
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
        events = self._events
        whole = parsed(record.value, events.max_bytes, "a label")
        given = whole if events.extract is None else events.extract(whole, record)
        if given.get("id") is None:
            raise Refusal("schema", f"there is no {events.fields.id!r}; a label names the id of its event")
        if given.get("label") is None:
            raise Refusal("label-type", f"there is no {events.fields.label!r}, or it is null")
        try:
            return _payload.validate_python(given)
        except ValidationError as error:
            raise self._explained(error, given) from None

    def _labels(self, records: Sequence[Record], payloads: Sequence[LabelPayload]) -> list[Label]:
        """Make labels of checked payloads; times come first: what is refused for its time adds no label."""
        seconds, admitted = self._events.seconds, self._events.admitted
        times = [
            record.timestamp / 1000 if (time := payload.get("time")) is None else seconds(time)
            for record, payload in zip(records, payloads, strict=True)
        ]
        return [
            Label(str(payload["id"]), admitted(str(payload["label"])), Place(*record[:3]), time)
            for record, payload, time in zip(records, payloads, times, strict=True)
        ]

    def _explained(self, error: ValidationError, payload: dict[str, Any]) -> Refusal:
        """Say what the first error of a payload means, by the user's own paths."""
        part = str(error.errors(include_url=False, include_input=False, include_context=False)[0]["loc"][0])
        given = payload[part]
        found = "an empty string" if given == "" else shown(given)
        if isinstance(given, float) and given.is_integer() and abs(given) >= 2**63:
            found = "an integer of more than 64 bits"
        detail = f"{getattr(self._events.fields, part)!r} is {found}; it should be {_WANTED[part]}"
        return Refusal("label-type" if part == "label" else "schema", detail)
