"""Logs: lines for people or JSON for machines, and no flood of either.

Rule for whoever logs: never an event's text, id or label set, never a secret. Numbers, names of settings and topics,
and places (topic, partition, offset) are what a line is made of. Nothing here searches lines for what should not stand
in them.
"""

import json
import logging
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal, TextIO

from pydantic import Field

from streamlearn.core.registry import Config

Format = Literal["auto", "console", "json"]
Level = Literal["debug", "info", "warning", "error"]

LINES, SECONDS = 5, 10.0  # so many lines of one kind in so many seconds
KINDS = 1_000  # kinds of lines that are told apart; the one that was silent longest gives way

# A terminal obeys control characters, and a message may quote what came over the network.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


class LogsConfig(Config):
    """What is logged to standard error."""

    format: Format = Field(
        "console", description="console: lines for people. json: one JSON object a line. auto: console on a terminal."
    )
    level: Level = Field("info", description="The least that is logged; other libraries log warnings and errors only.")


class RateLimit(logging.Filter):
    """Lets at most `lines` lines of one kind pass in any `seconds`; the next that passes knows how many did not.

    A kind is a logger, a level and a message before its arguments are put in. A message that is nothing but `%s` says
    nothing about its kind, so there the finished text counts. The number left out goes to the record as `left_out`.

    Args:
        lines: how many pass.
        seconds: the length of the window.
        clock: seconds; only differences count.
    """

    def __init__(
        self, lines: int = LINES, seconds: float = SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self.lines, self.seconds, self.clock = lines, seconds, clock
        self._passed: OrderedDict[tuple[str, int, str], deque[float]] = OrderedDict()
        self._left_out: dict[tuple[str, int, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record passes."""
        text = record.getMessage() if record.msg == "%s" else str(record.msg)
        kind = (record.name, record.levelno, text)
        passed = self._passed.setdefault(kind, deque(maxlen=self.lines))
        self._passed.move_to_end(kind)
        if len(self._passed) > KINDS:
            oldest, _ = self._passed.popitem(last=False)
            self._left_out.pop(oldest, None)
        now = self.clock()
        if len(passed) == self.lines and now - passed[0] < self.seconds:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return False
        passed.append(now)
        record.left_out = self._left_out.pop(kind, 0)
        return True


def _message(record: logging.LogRecord) -> str:
    left_out: int = getattr(record, "left_out", 0)
    similar = f" ({left_out} similar line{'s' if left_out > 1 else ''} left out)" if left_out else ""
    return record.getMessage() + similar


def _exception(record: logging.LogRecord) -> str | None:
    kind = record.exc_info[0] if record.exc_info else None
    return kind.__name__ if kind else None


class ConsoleFormatter(logging.Formatter):
    """Time, level and message: "12:00:00 WARNING the broker is away". An exception is named, its traceback is not."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        exception = _exception(record)
        text = _message(record) + (f" ({exception})" if exception else "")
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        return f"{clock} {record.levelname:<7} {text.translate(_CONTROLS)}"


class JsonFormatter(logging.Formatter):
    """One object a line: `time` (ISO 8601, UTC), `level`, `logger`, `message`, and `exception` (its type) if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        exception = _exception(record)
        return json.dumps(line | ({"exception": exception} if exception else {}))


class Handler(logging.Handler):
    """Writes lines to `stream`; None is the standard error of the moment, which a live view may have redirected."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self.stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            stream = self.stream or sys.stderr
            stream.write(self.format(record) + "\n")
            stream.flush()
        except Exception:  # noqa: BLE001 - logging's own rule: a line that cannot be written stops nothing
            self.handleError(record)


def setup(
    format: Format = "console",  # noqa: A002 - as the setting is called
    level: Level = "info",
    *,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Log to `stream` (None: standard error): our own lines from `level` on, other libraries' from warning on at least.

    A second call replaces what the first one set up, and touches no handler of others.
    """
    terminal = (stream or sys.stderr).isatty()
    handler = Handler(stream)
    handler.setFormatter(
        JsonFormatter() if format == "json" or (format == "auto" and not terminal) else ConsoleFormatter()
    )
    handler.addFilter(RateLimit(clock=clock))
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    number = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(max(number, logging.WARNING))
    logging.getLogger("streamlearn").setLevel(number)
