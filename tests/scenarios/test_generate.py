"""The generator: records as the scenario has them, never the same id twice, at the rate that is asked for."""

import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from streamlearn.scenarios import SUPPORT
from streamlearn.scenarios.generate import lines
from streamlearn.stream.fields import Fields
from streamlearn.stream.transport import Record
from tests.targets import decoder

COMMAND = (sys.executable, "-m", "streamlearn.scenarios.generate")
START = datetime(2026, 1, 1, tzinfo=UTC)


def stream(length=200, seed=7):
    return lines(SUPPORT, length, seed, interval=timedelta(seconds=0.5), now=lambda: START)


def test_it_is_the_same_for_the_same_seed():
    assert list(islice(stream(), 500)) == list(islice(stream(), 500))
    assert list(islice(stream(seed=8), 100)) != list(islice(stream(), 100))


def test_no_id_comes_twice_though_stories_repeat():
    ids = re.findall(rb'"id": "([^"]+)"', b"".join(islice(stream(), 700)))
    assert len(ids) == len(set(ids)) == 700


def test_every_record_is_one_line_and_bad_ones_are_among_them():
    """Each line becomes one event or one dead letter, and both kinds come."""
    values = [line.removesuffix(b"\n") for line in islice(stream(), 400)]
    assert not any(b"\n" in value for value in values)
    records = [Record("t", 0, offset, None, value, [], 0) for offset, value in enumerate(values)]
    decoded = decoder(Fields()).decode(records)
    assert len(decoded.events) + len(decoded.dead_letters) == 400
    assert len(decoded.dead_letters) >= 12
    assert {event.slices["length"] for event in decoded.events} == {"short", "long"}


@pytest.mark.parametrize("arguments", [("--rate", "0"), ("--length", "0"), ("--scenario", "nobody")])
def test_a_wrong_call_is_refused(arguments):
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_it_takes_its_time():
    start = time.monotonic()
    done = subprocess.run([*COMMAND, "--rate", "20", "--events", "21"], capture_output=True, check=True)
    assert time.monotonic() - start >= 1.0
    assert len(done.stdout.splitlines()) == 21


def test_it_ends_when_nobody_reads_any_more():
    with subprocess.Popen([*COMMAND, "--rate", "1000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as popen:
        assert popen.stdout.readline()
        popen.stdout.close()
        assert popen.wait(30) == 0
        assert popen.stderr.read() == b""
