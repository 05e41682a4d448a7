"""`streamlearn tail`: a topic's records, as they come."""

import sys
from datetime import UTC, datetime
from typing import Any

import orjson
from rich.console import Console
from rich.text import Text

from streamlearn.stream.kafka.client import KafkaSettings
from streamlearn.stream.kafka.source import read
from streamlearn.stream.transport import Record


def tail(
    topic: str, bootstrap_servers: str, *, from_beginning: bool, max_messages: int | None, json_output: bool
) -> None:
    """Print records until interrupted, or until `max_messages` came.

    Raises:
        ConfigError: there is no such topic.
        BrokerError: the broker does not answer.
    """
    settings = KafkaSettings(bootstrap_servers, start="earliest" if from_beginning else "latest")
    console = Console(highlight=False, soft_wrap=True)
    for count, record in enumerate(read(settings, topic), start=1):
        if json_output:
            sys.stdout.buffer.write(orjson.dumps(_object(record)) + b"\n")
            sys.stdout.flush()
        else:
            console.print(_line(record))
        if count == max_messages:
            return


def _object(record: Record) -> dict[str, Any]:
    value = _json(record.value)
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "key": _text(record.key),
        "headers": {name: _text(value) for name, value in record.headers},
        "value": _text(record.value) if value is None else value,
    }


def _line(record: Record) -> Text:
    """Return a record for the eye: a prediction as its label and score, a dead letter as its reason, others whole."""
    value = _json(record.value)
    headers = {name: _text(header) for name, header in record.headers}
    line = Text.assemble((f"{_time(record.timestamp)} {record.partition}:{record.offset} ", "dim"))
    if "streamlearn.reason" in headers:
        line.append(f"{headers['streamlearn.reason']}  ", "red")
        line.append(f"{headers.get('streamlearn.detail')}  ")
        line.append(f"{_text(record.value)}"[:200], "dim")
    elif isinstance(value, dict) and "model_step" in value:
        line.append(f"{value.get('id')}  ")
        line.append(f"{value.get('label') or value.get('reason')}  ", "yellow" if value.get("abstained") else "green")
        score = value.get("score")
        line.append(f"{score:.3f}  " if isinstance(score, float) else "")
        line.append("novel  " if value.get("novel") else "", "magenta")
        line.append(f"step {value['model_step']}", "dim")
    else:
        line.append(f"{_text(record.key)}  " if record.key else "", "cyan")
        line.append(f"{_text(record.value)}")
    return line


def _time(timestamp: int) -> str:
    """Return the time of day of milliseconds since 1970, or the number as it is where it is no date."""
    try:
        moment = datetime.fromtimestamp(timestamp / 1000, UTC).astimezone()
    except (ValueError, OverflowError, OSError):  # a producer that counts in microseconds sets one in the year 55840
        return str(timestamp)
    return moment.strftime("%H:%M:%S") if timestamp >= 0 else str(timestamp)


def _json(value: bytes | None) -> Any:  # noqa: ANN401 - any JSON value
    try:
        return None if value is None else orjson.loads(value)
    except orjson.JSONDecodeError:
        return None


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")
