"""Logs: a line a person can read or a machine can parse, no traceback, no flood, and nothing set up twice."""

import io
import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from streamlearn.core.logs import KINDS, Handler, LogsConfig, RateLimit, setup


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _restored():
    root, own = logging.getLogger(), logging.getLogger("streamlearn")
    handlers, levels = root.handlers[:], (root.level, own.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])


@pytest.fixture
def log():
    return logging.getLogger("streamlearn.test")


def lines(stream):
    return stream.getvalue().splitlines()


def test_the_console_has_time_level_and_message(log):
    stream = io.StringIO()
    setup("console", stream=stream)
    log.warning("the broker is %s", "away")
    (line,) = lines(stream)
    clock, level, *text = line.split()
    assert len(clock.split(":")) == 3
    assert (level, " ".join(text)) == ("WARNING", "the broker is away")


def test_json_has_one_object_a_line(log):
    stream = io.StringIO()
    setup("json", stream=stream)
    log.info("two\nlines and %d %%", 7)
    log.error("ends \ud800")  # half a character, as broken text has it
    first, second = map(json.loads, lines(stream))
    assert first.pop("time").endswith("Z")
    assert first == {"level": "info", "logger": "streamlearn.test", "message": "two\nlines and 7 %"}
    assert second["message"] == "ends \ud800"


def test_json_time_is_utc(log):
    stream = io.StringIO()
    setup("json", stream=stream)
    record = logging.LogRecord("streamlearn.test", logging.INFO, "", 0, "x", (), None)
    record.created = 1_700_000_000.25
    log.handle(record)
    assert json.loads(stream.getvalue())["time"] == "2023-11-14T22:13:20.250Z"


@pytest.mark.parametrize("format", ["console", "json"])
def test_an_exception_is_named_without_traceback(log, format):  # noqa: A002 - as the setting is called
    stream = io.StringIO()
    setup(format, stream=stream)
    try:
        {}["hidden"]
    except KeyError:
        log.exception("it failed")
    (line,) = lines(stream)
    assert "KeyError" in line
    assert "Traceback" not in line
    assert "hidden" not in line
    if format == "json":
        assert json.loads(line)["exception"] == "KeyError"


def test_a_message_gives_the_terminal_no_orders(log):
    stream = io.StringIO()
    setup("console", stream=stream)
    log.warning("a client said %s", "\x1b[2J\x9b31m\r gone")
    assert stream.getvalue().removesuffix("\n").isprintable()
    assert "\\x1b[2J" in stream.getvalue()


def test_auto_is_console_on_a_terminal_only(log):
    for stream, first in ((Terminal(), "0123456789"), (io.StringIO(), "{")):
        setup("auto", stream=stream)
        log.info("hello")
        assert stream.getvalue()[0] in first


def test_levels_are_ours_and_other_libraries_warnings(log):
    stream = io.StringIO()
    setup("console", "debug", stream=stream)
    log.debug("ours")
    logging.getLogger("other").info("theirs")
    logging.getLogger("other").warning("their warning")
    assert [line.split(maxsplit=2)[2] for line in lines(stream)] == ["ours", "their warning"]
    setup("console", "error", stream=stream)
    log.warning("too little")
    logging.getLogger("other").warning("too little")
    assert len(lines(stream)) == 2


def test_setting_up_again_replaces_the_first_and_leaves_others(log):
    other, first, second = logging.NullHandler(), io.StringIO(), io.StringIO()
    logging.getLogger().addHandler(other)
    for stream in (first, second):
        setup("console", stream=stream)
    log.info("once")
    assert (len(lines(first)), len(lines(second))) == (0, 1)
    assert other in logging.getLogger().handlers
    assert sum(isinstance(each, Handler) for each in logging.getLogger().handlers) == 1


def test_it_follows_standard_error(log, capsys):
    """A live view puts itself in place of standard error, and lines must go through it."""
    setup("console")
    log.info("to the first")
    assert "to the first" in capsys.readouterr().err
    kept, sys.stderr = sys.stderr, io.StringIO()
    try:
        log.info("to the second")
        assert "to the second" in sys.stderr.getvalue()
    finally:
        sys.stderr = kept


def test_a_flood_is_cut_and_counted(log):
    clock, stream = Clock(), io.StringIO()
    setup("console", stream=stream, clock=clock)
    for number in range(12):
        log.warning("partition %d is slow", number)
    assert len(lines(stream)) == 5
    clock.now = 9.9
    log.warning("partition %d is slow", 12)
    assert len(lines(stream)) == 5
    clock.now = 10.0
    log.warning("partition %d is slow", 13)
    log.warning("partition %d is slow", 14)
    assert lines(stream)[5].endswith("partition 13 is slow (8 similar lines left out)")
    assert lines(stream)[6].endswith("partition 14 is slow")


def test_one_line_left_out_is_one_line(log):
    clock, stream = Clock(), io.StringIO()
    setup("json", stream=stream, clock=clock)
    for _ in range(6):
        log.info("x")
    clock.now = 10
    log.info("x")
    assert json.loads(lines(stream)[-1])["message"] == "x (1 similar line left out)"


def test_kinds_of_lines_do_not_share_a_limit(log):
    stream = io.StringIO()
    setup("console", stream=stream, clock=Clock())
    for number in range(6):
        log.info("one %d", number)
        log.info("two %d", number)
        log.warning("one %d", number)
        logging.getLogger("streamlearn.other").info("one %d", number)
    assert len(lines(stream)) == 20


def test_ready_made_lines_are_told_apart_by_their_text(log):
    stream = io.StringIO()
    setup("console", stream=stream, clock=Clock())
    for number in range(20):
        log.warning("%s", f"setting {number} is ignored")
    assert len(lines(stream)) == 20


@given(gaps=st.lists(st.floats(0, 12), min_size=1, max_size=60))
def test_no_ten_seconds_have_more_than_five_lines_and_all_are_counted(gaps):
    clock = Clock()
    limit, passed, counted = RateLimit(clock=clock), [], 0
    for gap in gaps:
        clock.now += gap
        record = logging.LogRecord("streamlearn", logging.INFO, "", 0, "x", (), None)
        if limit.filter(record):
            passed.append(clock.now)
            counted += 1 + record.left_out
    assert all(later - earlier >= 10 for earlier, later in zip(passed, passed[5:], strict=False))
    assert counted + sum(limit._left_out.values()) == len(gaps)


def test_the_limit_itself_is_bounded():
    limit = RateLimit(clock=Clock())
    for number in range(3 * KINDS):
        for _ in range(6):
            limit.filter(logging.LogRecord("other", logging.INFO, "", 0, f"text {number}", (), None))
    assert len(limit._passed) == len(limit._left_out) == KINDS


def test_settings_are_checked():
    assert LogsConfig() == LogsConfig(format="console", level="info")
    with pytest.raises(ValidationError, match="'auto', 'console' or 'json'"):
        LogsConfig(format="xml")


def test_a_secret_stays_what_it_is_in_settings():
    """Whoever logs a hidden value logs its stars: nothing here looks behind them."""
    stream = io.StringIO()
    setup("json", stream=stream)
    logging.getLogger("streamlearn").warning("connecting with %s", SecretStr("hunter2"))
    assert json.loads(stream.getvalue())["message"] == "connecting with **********"
