"""The configuration tree: what can be set, what it means, and what follows from `name`.

Rooms own their part (`learning/config.py`, `model/config.py`, ...), and families that of their components; this file
joins them. How the values are read from file, environment and command line is in `settings.py`.
"""

import copy
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field, model_validator

from streamlearn.core.logs import LogsConfig
from streamlearn.core.registry import ComponentSpec, Config
from streamlearn.evaluation.config import ProbesConfig
from streamlearn.evaluation.drift.family import SIGNALS
from streamlearn.learning.config import LearnerConfig
from streamlearn.learning.memory.family import MemoryConfig
from streamlearn.model.config import ModelConfig
from streamlearn.serving.config import LabelRequestsConfig
from streamlearn.stream.config import JoinerConfig
from streamlearn.stream.fields import Fields


class TopicsConfig(Config):
    """The topics; what is not set follows from `name`."""

    events: str = Field(description="Where events come from; yours.")
    labels: str | None = Field(
        None, description="Where labels come from that are later than their events; yours. Not set: in events alone."
    )
    predictions: str = Field("", description="Where predictions go. [NAME.predictions]")
    dead_letters: str = Field("", description="Where events that cannot be taken go. [NAME.dead-letters]")
    journal: str = Field(
        "", description="What was taken and learned, for restarts and audits; one partition. [NAME.journal]"
    )

    @property
    def inputs(self) -> list[str]:
        """The topics that are read, in the order in which a batch takes them."""
        return [self.events] if self.labels is None else [self.events, self.labels]


class KafkaConfig(Config):
    """The broker and the topics."""

    bootstrap_servers: str = Field(
        "localhost:9092",
        description="host:port, several with commas; `embedded` starts a broker inside this process, for a try only.",
    )
    topics: TopicsConfig
    start: Literal["earliest", "latest"] | datetime = Field(
        "earliest", description="Where a new group begins: earliest, latest, or a time such as 2026-01-31T00:00:00Z."
    )
    delivery: Literal["exactly-once", "at-least-once"] = Field(
        "exactly-once",
        description="exactly-once: a transaction for each batch. at-least-once: without transactions, a crash repeats "
        "the predictions in flight. Either loses nothing, and learns each label once.",
    )
    create_topics: bool = Field(
        True,
        description="Create the topics that streamlearn writes when they are missing, never events and labels.",
    )
    group_id: str = Field("", description="The consumer group that holds the position. [streamlearn.NAME]")
    client: dict[str, str | int | float | bool] = Field(
        {}, description="Passed to librdkafka as it is: TLS, SASL and the rest, such as security.protocol: SASL_SSL."
    )


class ServingConfig(Config):
    """How events are predicted."""

    top_k: int = Field(3, ge=1, le=100, description="Labels that a prediction names, likeliest first.")
    abstain_below: float = Field(
        0.0, ge=0, le=1, description="A prediction with a lower score abstains: `low-score`. 0: none does."
    )
    novel_share: float = Field(
        0.02,
        ge=0,
        le=1,
        description="Share of events of known classes that may be marked novel; a larger one finds more that are. 0 "
        "marks none.",
    )
    max_batch: int = Field(
        64, ge=1, le=10_000, description="Most events predicted together: what comes later waits for the next batch."
    )


class MetricsConfig(Config):
    """The HTTP server with /metrics, /healthz and /readyz."""

    enabled: bool = Field(True, description="Serve them at all.")
    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 lets other machines in.")
    port: int = Field(9464, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    window: int = Field(
        1000, ge=1, le=1_000_000, description="Labelled events that the prequential measures look back on."
    )
    max_labels: int = Field(
        200, ge=1, le=10_000, description="Labels that have metrics of their own; the rest is counted as `other`."
    )


class DriftConfig(Config):
    """Which detector watches which signal; `null` leaves one unwatched."""

    enabled: bool = Field(True, description="Watch anything at all.")
    error: ComponentSpec | None = Field(
        ComponentSpec(name="adwin"), description="Whether what was served was wrong (0 or 1), for each labelled event."
    )
    loss: ComponentSpec | None = Field(
        ComponentSpec(name="page-hinkley"), description="Negative log-probability of each label (nats)."
    )
    embedding: ComponentSpec | None = Field(
        ComponentSpec(name="mmd"), description="Mean word embedding of each text; needs no labels, as those below."
    )
    confidence: ComponentSpec | None = Field(
        ComponentSpec.model_validate({"name": "ks", "direction": "down"}),
        description="Score of the served prediction.",
    )
    label: ComponentSpec | None = Field(ComponentSpec(name="js"), description="The predicted label.")
    unknown_tokens: ComponentSpec | None = Field(
        ComponentSpec(name="adwin"), description="Share of a text's tokens that the tokenizer does not know."
    )
    novelty: ComponentSpec | None = Field(
        ComponentSpec(name="ks"), description="Cosine distance of a text from the nearest class."
    )

    def watched(self) -> dict[str, ComponentSpec]:
        """Return the detector of each signal that is watched."""
        found: dict[str, ComponentSpec | None] = {signal: getattr(self, signal) for signal in SIGNALS}
        return {signal: spec for signal, spec in found.items() if spec is not None}


class WebConfig(Config):
    """The status page."""

    show_payloads: bool = Field(False, description="Show the latest texts with predictions and labels on it.")


class SnapshotsConfig(Config):
    """Where streamlearn keeps its state, and how often it writes it down."""

    path: str = Field(
        "", description="A local folder, or a URL that fsspec knows, such as s3://bucket/support. [./state/NAME]"
    )
    every_seconds: float = Field(
        300, gt=0, description="A restart learns again what came since the last snapshot: less often is cheaper."
    )
    keep: int = Field(3, ge=1, le=1000, description="Snapshots that are kept; older ones are deleted.")
    purge_on_forget: bool = Field(
        False,
        description="When an id is forgotten, write a snapshot at once and delete all older ones, which may hold it. "
        "Else they go with time.",
    )


class RecoveryConfig(Config):
    """What a restart may do."""

    accept_loss: bool = Field(
        False,
        description="Go on where a part of what is needed is gone: what is left is learned, and the loss counted.",
    )


class LimitsConfig(Config):
    """What bounds memory and patience."""

    record_bytes: int = Field(262_144, ge=100, description="A larger event is a dead letter: too-large.")
    labels: int = Field(10_000, ge=2, description="Different labels; an event with one more is a dead letter.")
    read_ahead: int = Field(
        10_000,
        ge=0,
        le=10_000_000,
        description="Records that are read ahead of a backlog in several partitions, to take them by their time; 0 "
        "takes them as the broker gives them.",
    )
    connect_seconds: float = Field(10, gt=0, description="How long the broker may take to answer at start.")
    stalled_seconds: float = Field(60, gt=0, description="A partition that has records and gives none is read anew.")
    progress_seconds: float = Field(120, gt=0, description="/healthz fails when the loop made no turn for so long.")
    unknown_tokens: float = Field(
        0.2,
        gt=0,
        le=1,
        description="Share of tokens unknown to the tokenizer above which a warning names better models.",
    )


class Root(Config):
    """The whole configuration of one learner."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$",
        description="Names the learner; its group, topics and state folder follow from it.",
    )
    kafka: KafkaConfig
    fields: Fields = Field(Fields(), description="Where an event's parts stand in your payload.")
    model: ModelConfig
    warm_start: str | None = Field(
        None,
        min_length=1,
        description="A labelled file (JSON lines or CSV, also .gz; Arrow or Parquet), or a folder of them, that is "
        "learned before the first event.",
        examples=["./history.jsonl.gz"],
    )
    task: ComponentSpec = Field(description="What is predicted.")
    strategy: ComponentSpec = Field(
        ComponentSpec(name="dual"), description="How the new is learned without losing the old."
    )
    penalties: tuple[ComponentSpec, ...] = Field(
        (), description="Losses beside the strategy's that hold the model near what it was; a list, of any number."
    )
    memory: MemoryConfig = MemoryConfig()
    joiner: JoinerConfig = JoinerConfig()
    learner: LearnerConfig = LearnerConfig()
    probes: ProbesConfig = ProbesConfig()
    drift: DriftConfig = DriftConfig()
    serving: ServingConfig = ServingConfig()
    label_requests: LabelRequestsConfig = LabelRequestsConfig()
    snapshots: SnapshotsConfig
    recovery: RecoveryConfig = RecoveryConfig()
    metrics: MetricsConfig = MetricsConfig()
    web: WebConfig = WebConfig()
    logs: LogsConfig = LogsConfig()
    limits: LimitsConfig = LimitsConfig()
    seed: int = Field(0, ge=0, lt=2**63, description="Of every random stream.")

    @model_validator(mode="after")
    def _topics_differ(self) -> "Root":
        topics = self.kafka.topics
        names = [*topics.inputs, topics.predictions, topics.dead_letters, topics.journal]
        if len(set(names)) < len(names):
            raise ValueError(
                "kafka.topics: events, labels, predictions, dead_letters and journal must be different topics"
            )
        if topics.labels is not None and not self.joiner.window:
            raise ValueError("joiner.window: with kafka.topics.labels ids are remembered; set it to 1 or more")
        return self


def section(where: tuple[str, ...]) -> type[BaseModel] | None:
    """Return the section at a place of the tree; None where a value or a component stands there, or nothing."""
    model: type[BaseModel] = Root
    for key in where:
        kind = model.model_fields[key].annotation if key in model.model_fields else None
        if not isinstance(kind, type) or not issubclass(kind, BaseModel) or kind is ComponentSpec:
            return None
        model = kind
    return model


def opened(data: Mapping[str, Any], where: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a copy in which a section without a value (`learner:`, and its lines commented out) is an empty one."""
    found: dict[str, Any] = {}
    for key, value in data.items():
        place = (*where, key)
        if value is None and (section(place) or place == ("kafka", "client")):
            found[key] = {}
        else:
            inside = isinstance(value, Mapping) and section(place)
            found[key] = opened(value, place) if inside else copy.deepcopy(value)
    return found


def derive(data: Mapping[str, Any]) -> tuple[dict[str, Any], set[tuple[str, ...]]]:
    """Fill in what follows from `name`; return the filled copy and the paths that were filled."""
    filled = opened(data)
    name = filled.get("name")
    derived: set[tuple[str, ...]] = set()
    if not isinstance(name, str):
        return filled, derived
    for path, value in {
        ("kafka", "topics", "predictions"): f"{name}.predictions",
        ("kafka", "topics", "dead_letters"): f"{name}.dead-letters",
        ("kafka", "topics", "journal"): f"{name}.journal",
        ("kafka", "group_id"): f"streamlearn.{name}",
        ("snapshots", "path"): f"./state/{name}",
    }.items():
        section: Any = filled
        for key in path[:-1]:
            section = section.setdefault(key, {}) if isinstance(section, dict) else None
        if isinstance(section, dict) and path[-1] not in section:
            section[path[-1]] = value
            derived.add(path)
    return filled, derived
