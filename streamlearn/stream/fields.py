"""Where the parts of an event stand in the user's own payload, and how they are found there."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from streamlearn.core.describe import keys
from streamlearn.core.refusal import Refusal
from streamlearn.stream.payloads import MAX_SLICE, MAX_SLICES
from streamlearn.stream.transport import Record

KEY = "$key"


def _path(path: str) -> str:
    if not all(path.split(".")):
        raise ValueError("a path is made of names with dots between them, such as ticket.body")
    return path


def _payload_path(path: str) -> str:
    if path.startswith("$"):
        raise ValueError(f"only fields.id may be {KEY}; this is a dotted path into the payload, such as ticket.body")
    return _path(path)


def _id_path(path: str) -> str:
    return path if path == KEY else _payload_path(path)


Path = Annotated[str, AfterValidator(_payload_path)]
SliceName = Annotated[str, StringConstraints(min_length=1, max_length=MAX_SLICE)]


class Fields(BaseModel):
    """Where the parts of an event stand in the user's payload: dotted paths such as `ticket.body`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, AfterValidator(_id_path)] = Field("id", description="The event's id; $key: the record's key.")
    text: Path = Field("text", description="The text that is read.")
    label: Path = Field("label", description="The label, where the event has one.")
    time: Path = Field("time", description="When it happened: ISO 8601, or seconds or milliseconds since 1970.")
    slices: Path | Annotated[dict[SliceName, Path], Field(max_length=MAX_SLICES)] = Field(
        "slices",
        description="What to compare figures by: an object of names and values, or a path for each name, such as "
        "{region: customer.region}.",
    )


def extractor(fields: Fields) -> Callable[[Any, Record], dict[str, Any]] | None:
    """Return what moves the user's fields to ours; None where they stand there already."""
    if fields == Fields():
        return None
    paths = [(part, path.split(".")) for part, path in fields if isinstance(path, str) and path != KEY]
    slices = {} if isinstance(fields.slices, str) else {name: path.split(".") for name, path in fields.slices.items()}
    key_is_id = fields.id == KEY

    def extract(payload: Any, record: Record) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
        found = {part: value for part, path in paths if (value := _at(payload, path)) is not None}
        if slices:
            found["slices"] = {name: _at(payload, path) for name, path in slices.items()}
        if key_is_id:
            found["id"] = _key(record)
        return found

    return extract


def _at(payload: Any, path: Sequence[str]) -> Any:  # noqa: ANN401 - any JSON value
    for name in path:
        if not isinstance(payload, dict):
            return None
        payload = payload.get(name)
    return payload


def _key(record: Record) -> str:
    if record.key is None:
        raise Refusal("schema", f"fields.id is {KEY}, and the record has no key; send one, or set fields.id to a path")
    try:
        return record.key.decode()
    except UnicodeDecodeError as error:
        raise Refusal("schema", f"fields.id is {KEY}, and the record's key is not UTF-8 at {error.start}") from None


def missing(whole: dict[str, Any], path: str) -> str:
    """Say that there is nothing at a path, and what there is instead."""
    walked, at = "", whole
    *parents, last = path.split(".")
    for name in parents:
        inner = at.get(name)
        if not isinstance(inner, dict):
            break
        walked, at = f"{walked}{name}.", inner
    else:
        if last in at:
            return f"{path!r} is null; there is nothing to predict from"
    there = f"{walked[:-1]!r} has" if walked else "the event has"
    return f"there is no {path!r}; {there} {keys(at) if at else 'nothing'}; set fields.text to where the text stands"
