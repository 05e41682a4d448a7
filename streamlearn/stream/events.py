"""Events, labels and predictions: what stands in the topics. No torch, no clock, no I/O."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from streamlearn.core.target import Target
from streamlearn.core.tuples import unchecked
from streamlearn.stream.transport import Message, Place

_message = unchecked(Message)


class Event(NamedTuple):
    """One event, checked.

    Times are in seconds since 1970: `received` is the record's own timestamp, and `time` is when it happened, or
    `received` where the event does not say.
    """

    id: str
    text: str
    label: Target | None
    time: float
    slices: Mapping[str, str]
    source: Place
    received: float
    has_own_id: bool


class Label(NamedTuple):
    """A label that came apart from its event; `time` is when it was given, or its record's, in seconds since 1970."""

    id: str
    label: Target
    source: Place
    time: float


class Forget(NamedTuple):
    """Asks that an id is forgotten, wherever it is stored: a record with the id as its key, and no value."""

    id: str
    source: Place


class Prediction(NamedTuple):
    """What was said of an event.

    `said` has the task's own fields, as they are published: of `sequence-classification` label, score, and `top`, the
    likeliest labels. `label` is the group that the answer names first, and `score` how sure it is; None
    where the task, or this answer, has no such. Scores are finite and are written as they are, so whoever makes a
    prediction rounds them: a float32 made a float has ten digits that say nothing. `novelty`, 0 to 1, is None while
    nobody knows what is usual; `novel` is whether it is too high for a class that is known. `label_requested` is None
    where no label is ever asked for.
    """

    id: str
    label: str | None
    score: float | None
    said: Mapping[str, Any]
    abstained: bool
    reason: str | None
    model_step: int
    champion_step: int
    source: Place
    novelty: float | None = None
    novel: bool = False
    label_requested: bool | None = None


def encode_predictions(predictions: Sequence[Prediction], now: float) -> list[Message]:
    """Encode a batch; `now` (seconds since 1970) is when it was predicted.

    One dictionary serves all, since filling one is quicker than making one.
    """
    if not predictions:
        return []
    at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    source: dict[str, Any] = dict.fromkeys(Place._fields)
    names = ("id", *predictions[0].said, "abstained", "reason", "novelty", "novel", "model_step", "champion_step")
    payload: dict[str, Any] = {**dict.fromkeys(names), "source": source, "predicted_at": at}
    messages: list[Message] = []
    for (
        payload["id"], _, _, said, payload["abstained"], payload["reason"], payload["model_step"],
        payload["champion_step"], place, payload["novelty"], payload["novel"], asked,
    ) in predictions:  # fmt: skip
        payload.update(said)
        source["topic"], source["partition"], source["offset"] = place
        if asked is None:
            payload.pop("label_requested", None)
        else:
            payload["label_requested"] = asked
        messages.append(_message((orjson.dumps(payload), payload["id"].encode(), ())))
    return messages
