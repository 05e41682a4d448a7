"""What stands in the topics as JSON: the shape of each payload, which its published schema describes.

`EventPayload` is also what the decoder validates against. No torch, no clock, no I/O.
"""

from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, JsonValue, StringConstraints, WithJsonSchema, with_config
from typing_extensions import TypedDict  # pydantic asks for this one below Python 3.12

from streamlearn.core.refusal import Reason
from streamlearn.stream.dead_letters import PREFIX

MAX_ID = 256
MAX_SLICES = 8
MAX_SLICE = 64

Short = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID)]
Plain = str | int | float | bool | None

# Schemas say what the decoder checks by hand, because it is faster so. What a label may be is the task's to check; the
# schemas have the labels of `sequence-classification`.
_not_blank = Field(json_schema_extra={"minLength": 1, "pattern": r"\S"})
_label_schema = WithJsonSchema(
    {
        "anyOf": [
            {"type": "string", "minLength": 1, "maxLength": MAX_ID, "pattern": r"\S"},
            {"type": "integer"},
            {"type": "null"},
        ]
    }
)
_time_schema = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "null"}]})


def _user(title: str, description: str, examples: list[JsonValue]) -> ConfigDict:
    """Configure a payload that users write: nothing is coerced, other keys are welcome and ignored."""
    return ConfigDict(
        extra="ignore",
        strict=True,
        json_schema_extra={"title": title, "description": description, "examples": examples},
    )


def _own(title: str, description: str, examples: list[JsonValue]) -> ConfigDict:
    """Configure a payload that streamlearn writes."""
    return ConfigDict(json_schema_extra={"title": title, "description": description, "examples": examples})


@with_config(
    _user(
        "Event",
        "A record's value on the events topic. The names are the defaults of the section `fields` of the "
        "configuration, which takes dotted paths into a payload of another shape. Other keys are ignored.",
        [
            {"text": "I want my money back"},
            {"id": "e1", "text": "I want my money back", "label": "refund"},
            {
                "id": 17,
                "text": "The card does not work",
                "label": None,
                "time": "2026-01-01T00:00:00Z",
                "slices": {"region": "eu", "vip": True},
            },
        ],
    )
)
class EventPayload(TypedDict):
    """An event as users produce it."""

    id: NotRequired[
        Annotated[
            Short | int | None,
            Field(
                description="Names the event, so that a later label finds it. An integer counts as its digits. "
                "Without one the event is named topic:partition:offset, and late labels, removal of duplicates "
                "and forgetting are off."
            ),
        ]
    ]
    text: Annotated[str, _not_blank, Field(description="The text to predict from.")]
    label: NotRequired[
        Annotated[
            Any,
            _label_schema,
            Field(description="The right answer, where it is known already. An integer counts as its digits."),
        ]
    ]
    time: NotRequired[
        Annotated[
            str | int | float | None,
            _time_schema,
            Field(
                description="When it happened: ISO 8601 (UTC where it names no zone), or seconds or milliseconds "
                "since 1970. Without it the record's own timestamp counts."
            ),
        ]
    ]
    slices: NotRequired[
        Annotated[
            dict[Annotated[str, StringConstraints(min_length=1, max_length=MAX_SLICE)], Plain] | None,
            Field(
                max_length=MAX_SLICES,
                description=f"Names and values to compare figures by. A value is cut at {MAX_SLICE} characters.",
            ),
        ]
    ]


@with_config(
    _user(
        "Label",
        "A record's value on the labels topic: the right answer for an event. A second, different label for an id is a "
        "correction. The names are the defaults of the section `fields` of the configuration, as for events.",
        [{"id": "e1", "label": "refund"}, {"id": 17, "label": 3, "time": "2026-01-02T00:00:00Z"}],
    )
)
class LabelPayload(TypedDict):
    """A label that comes later than its event."""

    id: Annotated[Short | int, Field(description="The event's id.")]
    label: Annotated[
        Any,
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string", "minLength": 1, "maxLength": MAX_ID, "pattern": r"\S"},
                    {"type": "integer"},
                ]
            }
        ),
        Field(description="The right answer. An integer counts as its digits."),
    ]
    time: NotRequired[
        Annotated[
            str | int | float | None,
            _time_schema,
            Field(
                description="When it was given: ISO 8601 (UTC where it names no zone), or seconds or milliseconds "
                "since 1970. Without it the record's own timestamp counts."
            ),
        ]
    ]


class ScoredLabel(TypedDict):
    """A label and its probability."""

    label: str
    score: Annotated[float, Field(ge=0, le=1)]


class SourcePayload(TypedDict):
    """Where a record stands."""

    topic: str
    partition: int
    offset: int


@with_config(
    _own(
        "Prediction",
        "A record's value on the predictions topic; the record's key is the event's id. Readers should ignore keys "
        "that they do not know: later versions may add some.",
        [
            {
                "id": "e1",
                "label": "refund",
                "score": 0.912345,
                "top": [{"label": "refund", "score": 0.912345}, {"label": "card", "score": 0.051}],
                "abstained": False,
                "reason": None,
                "novelty": 0.412,
                "novel": False,
                "model_step": 12,
                "champion_step": 12,
                "source": {"topic": "support-tickets", "partition": 0, "offset": 41},
                "predicted_at": "2026-01-01T00:00:00.123Z",
            }
        ],
    )
)
class PredictionPayload(TypedDict):
    """A prediction as streamlearn writes it."""

    id: Annotated[str, Field(description="The event's id, or topic:partition:offset where it has none.")]
    label: Annotated[str | None, Field(description="The likeliest label; null if no label is known yet.")]
    score: Annotated[float | None, Field(ge=0, le=1, description="Its probability.")]
    top: Annotated[list[ScoredLabel], Field(description="The likeliest labels, best first (serving.top_k of them).")]
    abstained: Annotated[
        bool, Field(description="Whether this is no answer to act upon; label and scores are there all the same.")
    ]
    reason: Annotated[
        str | None,
        Field(
            description="Why it abstained: `no-known-label` (none is learned yet), `low-score` (the score is below "
            "serving.abstain_below). More reasons may come."
        ),
    ]
    novelty: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            description="The share of labelled events of known classes that were less unlike what is known than this "
            "one; null before 100 of them were learned.",
        ),
    ]
    novel: Annotated[
        bool,
        Field(
            description="Whether it is unlike every known class: only a share of serving.novel_share of their events "
            "is as strange."
        ),
    ]
    model_step: Annotated[int, Field(ge=0, description="Optimizer steps that the learning weights had taken.")]
    champion_step: Annotated[int, Field(ge=0, description="Optimizer steps that the served weights had taken.")]
    source: Annotated[SourcePayload, Field(description="The event's record.")]
    predicted_at: Annotated[
        str, Field(description="When, in UTC, to the millisecond.", json_schema_extra={"format": "date-time"})
    ]
    label_requested: NotRequired[
        Annotated[
            bool,
            Field(
                description="Whether a label for this event is worth its cost; only there where label_requests.budget "
                "is set."
            ),
        ]
    ]


@with_config(
    ConfigDict(
        alias_generator=PREFIX.__add__,
        json_schema_extra={
            "title": "Dead letter",
            "description": "The headers that streamlearn adds to a record on the dead-letters topic, as an object of "
            "strings. Key, value and the other headers are those of the record that could not be taken.",
            "examples": [
                {
                    "streamlearn.reason": "missing-input",
                    "streamlearn.detail": "there is no 'text'; the event has 'body', 'subject'; "
                    "set fields.text to where the text stands",
                    "streamlearn.topic": "support-tickets",
                    "streamlearn.partition": "0",
                    "streamlearn.offset": "41",
                }
            ],
        },
    )
)
class DeadLetterHeaders(TypedDict):
    """The headers of a dead letter."""

    reason: Annotated[Reason, Field(description="What is wrong, as one of a few words.")]
    detail: Annotated[str, Field(description="What is wrong and how to mend it, for people.")]
    topic: Annotated[str, Field(description="Where the record stands.")]
    partition: Annotated[str, Field(json_schema_extra={"pattern": "^[0-9]+$"})]
    offset: Annotated[str, Field(json_schema_extra={"pattern": "^[0-9]+$"})]
    truncated: NotRequired[
        Annotated[
            str,
            Field(
                description="Only there where the record was too large to be kept whole: value, then headers, then "
                "key were cut.",
                json_schema_extra={"const": "true"},
            ),
        ]
    ]
