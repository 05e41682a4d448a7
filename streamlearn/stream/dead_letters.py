"""Dead letters: why a record cannot be taken, in words that help to mend it, and how it is published.

No torch, no clock, no I/O.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from streamlearn.core.describe import shown
from streamlearn.core.refusal import Reason, Refusal
from streamlearn.stream.transport import Message, Record

PREFIX = "streamlearn."
SMALLEST_MESSAGE = 1_000  # librdkafka's own lower bound of message.max.bytes
MAX_DETAIL = 500


class DeadLetter(NamedTuple):
    """A record that cannot be taken, with the reason and a sentence for the one who mends it."""

    record: Record
    reason: Reason
    detail: str


def crashed(record: Record, error: BaseException | str) -> DeadLetter:
    """Return the dead letter of a record that the model cannot take, or that killed the process (say so in `error`)."""
    if isinstance(error, BaseException):
        lines = str(error).strip().splitlines()
        error = ": ".join([type(error).__name__, *lines[:1]])
    return DeadLetter(record, "crashed", f"the model failed on it: {error[:200]}")


def unparsable(value: bytes, error: orjson.JSONDecodeError, noun: str) -> Refusal:
    """Say why a value is not JSON, naming what people send by mistake."""
    if value[0] == 0:
        return Refusal("encoding", "begins with a zero byte, as Avro and a schema registry write it; send plain JSON")
    try:
        text = value.decode()
    except UnicodeDecodeError as found:
        return Refusal(
            "encoding", f"not UTF-8: byte {value[found.start]:#04x} at position {found.start}; send JSON in UTF-8"
        )
    if text.startswith("\ufeff"):
        return Refusal("invalid-json", "begins with a byte order mark; send UTF-8 without one")
    if text.isspace():
        return Refusal("invalid-json", f"the value is blank; {noun} is a JSON object")
    return Refusal("invalid-json", f"not JSON: {error}")


def parsed(value: bytes | None, max_bytes: int, noun: str) -> dict[str, Any]:
    """Return the JSON object that a record's value is, or raise the refusal that says why it is none.

    Args:
        value: of the record.
        max_bytes: the largest that is taken.
        noun: what it should be: "an event".
    """
    if value is None:
        raise Refusal(
            "invalid-json",
            f"the record has no value, and {noun} is a JSON object; an id is forgotten through the labels topic, or "
            "where fields.id is $key",
        )
    if not value:
        raise Refusal("invalid-json", f"the value is empty; {noun} is a JSON object")
    if len(value) > max_bytes:
        raise Refusal("too-large", f"{len(value)} bytes; limits.record_bytes allows {max_bytes}")
    try:
        whole = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise unparsable(value, error, noun) from None
    if not isinstance(whole, dict):
        raise Refusal("schema", f"the value is {shown(whole)}; {noun} is a JSON object")
    return whole


def encode_dead_letter(dead: DeadLetter, max_bytes: int) -> Message:
    """Keep the original key, value and headers, and add headers that say why and from where.

    What is larger than `max_bytes` in all, Kafka's overhead included, is cut, and marked `streamlearn.truncated`: the
    value first, then the original headers go, then the key and the detail are cut. Headers that an earlier dead letter
    left are replaced.
    """
    assert max_bytes >= SMALLEST_MESSAGE
    record = dead.record
    key, value = record.key, record.value
    theirs = [header for header in record.headers if not header[0].startswith(PREFIX)]
    ours: list[tuple[str, bytes | None]] = [
        ("streamlearn.reason", dead.reason.encode()),
        ("streamlearn.topic", record.topic.encode()),
        ("streamlearn.partition", str(record.partition).encode()),
        ("streamlearn.offset", str(record.offset).encode()),
    ]
    detail = ("streamlearn.detail", dead.detail[:MAX_DETAIL].encode(errors="replace"))
    headers = [*theirs, *ours, detail]
    if _size(key, value, headers) <= max_bytes:
        return Message(value, key, headers)
    ours.append(("streamlearn.truncated", b"true"))
    headers = [*theirs, *ours, detail]
    if _size(key, None, headers) > max_bytes:
        headers = [*ours, detail]
    if _size(None, None, headers) > max_bytes:
        left = max_bytes - _size(None, None, [*ours, (detail[0], None)])
        headers = [*ours, (detail[0], detail[1][:left].decode(errors="ignore").encode())]
    if key is not None:
        key = key[: max_bytes - _size(None, None, headers)]
    if value is not None:
        value = value[: max_bytes - _size(key, None, headers)]
    return Message(value, key, headers)


def _size(key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]) -> int:
    """Return what a message takes on the wire at most.

    In Kafka's record format 2 a batch of one record adds at most 97 bytes, and a header 10.
    """
    size = 100 + len(key or b"") + len(value or b"")
    return size + sum(10 + len(name.encode()) + len(content or b"") for name, content in headers)
