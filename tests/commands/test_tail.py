"""A record is shown for the eye by what it is, and whole as JSON."""

import orjson
import pytest

from streamlearn.commands.tail import _line, _object
from streamlearn.stream.transport import Record


def record(value, key=b"e1", headers=()):
    return Record("topic", 1, 7, key, value, headers, 1_700_000_000_000)


def shown(*args, **kwargs):
    return _line(record(*args, **kwargs)).plain.partition(" 1:7 ")[2].split()


PREDICTION = {"id": "e1", "label": "refund", "score": 0.91234, "abstained": False, "model_step": 12}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (PREDICTION, ["e1", "refund", "0.912", "step", "12"]),
        ({**PREDICTION, "novel": True}, ["e1", "refund", "0.912", "novel", "step", "12"]),
        (
            {**PREDICTION, "label": None, "score": None, "reason": "no-known-label"},
            ["e1", "no-known-label", "step", "12"],
        ),
        ({"id": "e1"}, ["e1", '{"id":"e1"}']),
    ],
)
def test_a_prediction_is_its_label_and_score_and_others_are_whole(value, words):
    assert shown(orjson.dumps(value)) == words


def test_a_dead_letter_is_its_reason_and_detail():
    headers = (("streamlearn.reason", b"encoding"), ("streamlearn.detail", b"byte 3"))
    assert shown(b"\xff{", headers=headers) == ["encoding", "byte", "3", "\ufffd{"]


@pytest.mark.parametrize("timestamp", [1_700_000_000_000_000, 2**63 - 1, -(2**63), -1])
def test_a_timestamp_that_is_no_date_is_shown_as_it_is(timestamp):
    assert _line(record(b"{}")._replace(timestamp=timestamp)).plain.startswith(f"{timestamp} 1:7 ")


def test_a_record_without_a_value_is_shown():
    assert shown(None) == ["e1", "None"]


def test_as_json_a_record_has_all_that_it_is():
    assert _object(record(b'{"a": 1}', headers=(("h", b"\xff"),))) == {
        "topic": "topic",
        "partition": 1,
        "offset": 7,
        "timestamp": 1_700_000_000_000,
        "key": "e1",
        "headers": {"h": "\ufffd"},
        "value": {"a": 1},
    }
    assert _object(record(b"no json", key=None))["value"] == "no json"
