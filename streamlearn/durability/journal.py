"""The records of the journal: what was taken, decided and saved, so that learning can be done again exactly.

The journal is a topic of one partition. Its records in order, and the records of the input topics that they name,
determine the weights: see "Journalled learning" in ARCHITECTURE.md.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from streamlearn.core.errors import StreamlearnError
from streamlearn.stream.transport import Place, Range

FORMAT: Final = 1

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Pointer(_Frozen):
    """Points back to an earlier record of the journal."""

    at_seq: Count = Field(description="The record's sequence number.")
    journal_offset: Count = Field(description="The offset of that record.")


class Decision(_Frozen):
    """What was decided at a step. A replay obeys it, and counts where it would have decided otherwise."""

    name: str = Field(description="For example `promoted`, `rolled_back`, `drift`, `learning_rate`.")
    step: Count = Field(description="The learner's step at which it was taken.")
    values: dict[str, JsonValue] = Field({}, description="What belongs to it: a detector's name, the new rate.")


class _Common(_Frozen):
    format: Literal[1] = Field(
        FORMAT, description="The format of the record; an older streamlearn refuses a newer one."
    )
    seq: Count = Field(description="Counts the journal's records from 0, across incarnations.")
    incarnation: Count = Field(description="Counts the starts. Records of an older one after a newer start are void.")
    now: float = Field(description="Seconds since 1970: the only clock that learning sees.")
    last_snapshot: Pointer | None = Field(
        None, description="The record that named the last snapshot: where a reader begins."
    )
    outcomes: dict[str, Count] = Field(
        {}, description="What had become of all labels of the learner's life when this record was written, by outcome."
    )


class Start(_Common):
    """A learner begins, with everything but the records that its weights depend on."""

    kind: Literal["start"] = "start"
    configuration: dict[str, JsonValue] = Field(description="The part of the configuration that affects the state.")
    configuration_sha256: Sha256
    version: str = Field(description="The version of streamlearn.")
    torch: str = Field(description="The version of torch.")
    instruction_set: str = Field(description="For example `AVX512`: sums differ in their last bits with it.")
    threads: Annotated[int, Field(ge=1)]
    seed: int
    topic_ids: dict[str, str] = Field(description="The broker's own id of each input topic: a topic made anew differs.")
    positions: tuple[Place, ...] = Field(description="The next offset of each partition: topic, partition, offset.")


class Batch(_Common):
    """One micro-batch was predicted and published; learning from it comes after this record."""

    kind: Literal["batch"] = "batch"
    ranges: tuple[Range, ...] = Field(
        description="What was taken of each partition, in the order in which it is learned: topic, partition, first "
        "offset, next offset, number of records, SHA-256 of their offsets, keys and values."
    )
    model_step: Count = Field(description="Optimizer steps that the learning weights had taken before this batch.")
    champion_step: Count = Field(description="Optimizer steps that the served weights had taken.")
    decisions: tuple[Decision, ...] = ()
    shed: Count = Field(0, description="Labelled samples of this batch that are left out, since learning lags.")
    taken: str = Field(
        "",
        pattern=r"^[-lpdwscxfgULPWSCXG]*$",
        description="What became of each record, a letter each in the order of the ranges. Of an event: `-` has no "
        "label, `l` its label goes to the learner, `p` it is kept as a probe, `d` it is a dead letter. Of a record on "
        "the labels topic: `l` or `p` of the event that waited for it, `w` it waits for its event, `s` the event has "
        "the same label already, `c` it corrects another one, `x` the event waits no more, `d` it is a dead letter. Of "
        "an event that had come before: `U` without a label, else what became of its label, as a capital. Of a record "
        "without a value: `f` its id was forgotten, and `g` stands for a label that went with it in the same batch.",
    )
    forgotten: tuple[Sha256, ...] = Field(
        (),
        description="Of each `f`, in their order: the SHA-256 of the learner's name, a zero byte and the id, in UTF-8.",
    )
    crashed: tuple[Place, ...] | None = Field(
        None,
        description="The records that the model, or the process, did not survive; the others were then answered one by "
        "one. null: the batch was answered at once.",
    )


class Warm(_Common):
    """A part of the warm start's file was read; learning from it comes after this record."""

    kind: Literal["warm"] = "warm"
    sha256: Sha256 = Field(description="Of the file; of a folder, of the names, sizes and bytes of its files.")
    rows: Count = Field(
        description="How many rows the file has. The part that ends with them is the last: what waits for a full batch "
        "is learned with it."
    )
    start: Count = Field(description="The part's first row, counted from 0.")
    next: Count = Field(description="The next part's first row.")
    digest: Sha256 = Field(description="SHA-256 of the part's rows, as it is of a range of records.")
    model_step: Count = Field(description="Optimizer steps that the learning weights had taken before this part.")
    taken: str = Field(
        pattern=r"^[-lpd]*$",
        description="What became of each row, a letter each: `-` has no label, `l` its label goes to the learner, `p` "
        "it is kept as a probe, `d` it cannot be taken.",
    )


class Flush(_Common):
    """What waits for a full batch is learned now."""

    kind: Literal["flush"] = "flush"


class Snapshot(_Common):
    """A snapshot counts from now on."""

    kind: Literal["snapshot"] = "snapshot"
    name: str = Field(min_length=1)
    manifest_sha256: Sha256 = Field(description="Of the snapshot's manifest, which holds the digests of its files.")
    weights_sha256: Sha256 = Field(description="Of the learning weights.")
    model_step: Count = Field(description="Optimizer steps that they had taken.")
    positions: tuple[Place, ...] = Field(description="The next offset of each partition: topic, partition, offset.")
    start: Pointer = Field(description="The start of the learner that wrote it.")


class Attempt(_Common):
    """A record is about to be taken alone, or a batch to be learned again, since the process died several times.

    If this is the last that a learner wrote, that record or batch killed it. With neither, nothing is tried any more.
    """

    kind: Literal["attempt"] = "attempt"
    place: Place | None = Field(None, description="The record that is about to be taken.")
    batch: Count | None = Field(None, description="The sequence number of the batch that is about to be learned again.")


class Discard(_Common):
    """A batch has killed the process time and again: its labels, and those that waited, are not learned."""

    kind: Literal["discard"] = "discard"
    batch: Count = Field(description="The batch's sequence number.")


JournalRecord = Start | Warm | Batch | Flush | Snapshot | Attempt | Discard

records: TypeAdapter[JournalRecord] = TypeAdapter(
    Annotated[
        JournalRecord,
        Field(
            discriminator="kind",
            title="Journal record",
            description="A record's value on the journal topic, which is streamlearn's own. Partitions are arrays, "
            "not objects, since the journal is kept for ever.",
        ),
    ]
)


@dataclass
class Writer:
    """Numbers the records that this start of the learner writes.

    Args:
        incarnation: counts the starts.
        seq: of the next record.
        last_snapshot: what each record points back to.
        start: the record of this start.
    """

    incarnation: int = 0
    seq: int = 0
    last_snapshot: Pointer | None = None
    start: Pointer | None = None

    def common(self, now: float) -> dict[str, Any]:
        """Return what every record begins with."""
        return {"seq": self.seq, "incarnation": self.incarnation, "now": now, "last_snapshot": self.last_snapshot}

    def wrote(self) -> None:
        """Note that the record was committed."""
        self.seq += 1


def hashed(name: str, event_id: str) -> str:
    """Return what the journal has of an id that was forgotten by the learner of this name."""
    return sha256(f"{name}\0{event_id}".encode("utf-8", "surrogatepass")).hexdigest()


def encode(record: JournalRecord) -> bytes:
    """Return the record as it stands in the journal."""
    return record.model_dump_json().encode()


def decode(value: bytes | None, where: str) -> JournalRecord:
    """Return the record that `encode` encoded; `where` names it in an error.

    Raises:
        StreamlearnError: it is no journal record, or one of a newer format.
    """
    try:
        return records.validate_json(value or b"")
    except ValidationError as error:
        try:
            written = _Format.model_validate_json(value or b"").format
        except ValidationError:
            written = 0
        if written > FORMAT:
            raise StreamlearnError(
                f"the journal record has format {written}, and this streamlearn reads up to {FORMAT}",
                where=where,
                mend="install the version of streamlearn that wrote it, or a later one",
            ) from error
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(map(str, first["loc"]))
        raise StreamlearnError(
            f"not a journal record: {path + ': ' if path else ''}{first['msg']}",
            where=where,
            mend="nothing but streamlearn may write to the journal; check that kafka.topics.journal is its own topic",
        ) from error


class _Format(BaseModel):
    """The one key that every format has."""

    format: int
