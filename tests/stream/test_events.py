"""Every record becomes exactly one event or one dead letter, whatever it holds, and a dead letter says how to mend it.

The batch is only quicker than its records one by one; a prediction is written as its schema says.
"""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from streamlearn.model.tasks.classes import ClassJudge
from streamlearn.stream.events import Event, Prediction, encode_predictions
from streamlearn.stream.fields import Fields
from streamlearn.stream.transport import Place, Record
from tests import targets


def record(value, offset=0, key=None, timestamp=1_500):
    if isinstance(value, dict | list):
        value = orjson.dumps(value)
    return Record("tickets", 2, offset, key, value, (), timestamp)


def decoder(**settings):
    """A decoder of these fields and limits."""
    known = {name: settings.pop(name) for name in ("labels", "closed", "max_labels", "max_bytes") if name in settings}
    return targets.decoder(Fields(**settings), **known)


def event(value, *, key=None, **settings) -> Event:
    decoded = decoder(**settings).decode([record(value, key=key)])
    assert not decoded.dead_letters, decoded.dead_letters[0].detail
    return decoded.events[0]


def refusal(value, *, key=None, **settings):
    decoded = decoder(**settings).decode([record(value, key=key)])
    assert not decoded.events
    return decoded.dead_letters[0].reason, decoded.dead_letters[0].detail


def test_an_event_with_all_its_parts():
    payload = {
        "id": "e1",
        "text": " I want my money back\0 ",
        "label": "refund",
        "time": "2026-01-01T00:00:00Z",
        "slices": {"region": "eu", "vip": True, "age": 41, "weight": 1.5, "none": None, "long": "x" * 100},
        "else": [1],
    }
    slices = {"region": "eu", "vip": "true", "age": "41", "weight": "1.5", "long": "x" * 64}
    assert event(payload) == Event(
        "e1",
        " I want my money back\0 ",
        "refund",
        1_767_225_600.0,
        slices,
        Place("tickets", 2, 0),
        1.5,
        has_own_id=True,
    )


def test_text_alone_is_enough():
    source = Place("tickets", 2, 0)
    assert event({"text": "a"}) == Event("tickets:2:0", "a", None, 1.5, {}, source, 1.5, has_own_id=False)
    empty = {"id": None, "text": "a", "label": None, "time": None, "slices": None}
    assert event(empty) == event({"text": "a"})


def test_whole_numbers_as_ids_and_labels_count_as_their_digits():
    found = event({"id": 17, "text": "a", "label": -3})
    assert (found.id, found.label, found.has_own_id) == ("17", "-3", True)


def test_parts_are_found_where_fields_says():
    payload = {
        "ticket": {"body": "a", "nr": 7, "team": "card", "at": 5},
        "customer": {"region": "eu", "age": None},
        "id": [],  # what stands at a default name does not matter then
        "label": {},
    }
    names = {"id": "ticket.nr", "text": "ticket.body", "label": "ticket.team", "time": "ticket.at"}
    paths = {"region": "customer.region", "age": "customer.age", "gone": "customer.plan.name"}
    found = event(payload, **names, slices=paths)
    assert found[:5] == ("7", "a", "card", 5.0, {"region": "eu"})
    assert event(payload, **names, slices="customer").slices == {"region": "eu"}


def test_the_key_is_the_id_only_where_fields_says_so():
    assert event({"text": "a"}, key=b"k").id == "tickets:2:0"
    assert event({"text": "a", "id": "p"}, key="ü".encode(), id="$key").id == "ü"
    for key, words in [(None, "no key"), (b"", "0 characters"), (b"\xff", "not UTF-8"), (b"x" * 257, "257 characters")]:
        reason, detail = refusal({"text": "a", "id": "p"}, key=key, id="$key")
        assert reason == "schema"
        assert words in detail


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        (0, 0.0),
        (1_767_225_600, 1_767_225_600.0),
        (1_767_225_600.25, 1_767_225_600.25),
        (1_767_225_600_250, 1_767_225_600.25),
        (-1.5, -1.5),
        ("2026-01-01T00:00:00Z", 1_767_225_600.0),
        ("2026-01-01T01:00:00+01:00", 1_767_225_600.0),
        ("2026-01-01T00:00:00", 1_767_225_600.0),
        ("2026-01-01 00:00:00.250000", 1_767_225_600.25),
        ("2026-01-01T00:00:00.250000000Z", 1_767_225_600.25),
        ("2026-01-01", 1_767_225_600.0),
        ("1767225600", 1_767_225_600.0),
        ("1712010112345", 1_712_010_112.345),  # not the 1st of January 1712
        ("0001-01-01T00:00:00+14:00", -62_135_647_200.0),
    ],
)
def test_times(time, seconds):
    assert event({"text": "a", "time": time}).time == seconds


@given(
    st.datetimes(datetime(1900, 1, 1), datetime(2600, 1, 1)),  # noqa: DTZ001 - the zone comes in the test
    st.integers(-14 * 60, 14 * 60),
)
def test_a_time_is_the_same_as_iso_8601_and_as_a_number(naive, minutes):
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    for time in (moment.isoformat(), moment.astimezone(UTC).replace(tzinfo=None).isoformat(), moment.timestamp()):
        assert event({"text": "a", "time": time}).time == pytest.approx(moment.timestamp(), abs=2e-6)


BAD = [
    (b"\xff", "encoding", ["0xff", "position 0"]),
    ('{"text": "ü"}'.encode("latin-1"), "encoding", ["0xfc", "position 10", "UTF-8"]),
    ("{}".encode("utf-16"), "encoding", ["position 0"]),
    (b"\0\0\0\0\1{}", "encoding", ["schema registry"]),
    (None, "invalid-json", ["no value"]),
    (b"", "invalid-json", ["empty"]),
    (b" \n", "invalid-json", ["blank"]),
    (b"refund", "invalid-json", ["not JSON", "column 1"]),
    (b'{"text": "a"', "invalid-json", ["not JSON"]),
    (b'{"text": "a", "x": NaN}', "invalid-json", ["not JSON"]),
    (b'{"text": "a", "x": Infinity}', "invalid-json", ["not JSON"]),
    (rb'{"text": "\ud800"}', "invalid-json", ["not JSON"]),
    (b"[" * 5_000, "invalid-json", ["not JSON"]),
    (b"\xef\xbb\xbf{}", "invalid-json", ["byte order mark"]),
    ([{"text": "a"}], "schema", ["a list of 1"]),
    (b"null", "schema", ["null"]),
    (b'"a"', "schema", ['the string "a"']),
    (b"1.5", "schema", ["the number 1.5"]),
    (b"1e400", "invalid-json", ["not JSON"]),
    ({}, "missing-input", ["'text'", "nothing"]),
    ({"Text": "a", "x" * 50: 1}, "missing-input", ["'text'", "'Text', 'xxx", "fields.text"]),
    ({str(i): i for i in range(9)}, "missing-input", ["'5' and 3 more"]),
    ({"text": None}, "missing-input", ["'text' is null"]),
    ({"text": ""}, "missing-input", ["'text' is blank"]),
    ({"text": " \n"}, "missing-input", ["'text' is blank"]),
    ({"text": 5}, "schema", ["'text' is the number 5", "string"]),
    ({"text": ["a", "b"]}, "schema", ["'text' is a list of 2", "string"]),
    ({"text": "a", "id": ""}, "schema", ["'id' is an empty string", "256"]),
    ({"text": "a", "id": "x" * 257}, "schema", ["'id' is a string of 257 characters", "256"]),
    ({"text": "a", "id": 1.5}, "schema", ["'id' is the number 1.5"]),
    ({"text": "a", "id": True}, "schema", ["'id' is true"]),
    (b'{"text": "a", "id": 12345678901234567890123}', "schema", ["'id' is an integer of more than 64 bits"]),
    ({"text": "a", "label": ""}, "label-type", ["'label' is an empty string"]),
    ({"text": "a", "label": " "}, "label-type", ["'label' is blank"]),
    ({"text": "a", "label": "x" * 257}, "label-type", ["257 characters"]),
    ({"text": "a", "label": 1.5}, "label-type", ["'label' is the number 1.5"]),
    ({"text": "a", "label": False}, "label-type", ["'label' is false"]),
    ({"text": "a", "label": []}, "label-type", ["'label' is an empty list"]),
    ({"text": "a", "label": {"name": "x"}}, "label-type", ["'label' is an object with 'name'"]),
    ({"text": "a", "time": "yesterday"}, "schema", ["'time' is the string \"yesterday\"", "ISO 8601"]),
    ({"text": "a", "time": ""}, "schema", ["'time' is", "ISO 8601"]),
    ({"text": "a", "time": "2026-13-01"}, "schema", ["'time' is", "ISO 8601"]),
    ({"text": "a", "time": 1_767_225_600_000_000}, "schema", ["'time' is the number", "milliseconds"]),
    ({"text": "a", "time": True}, "schema", ["'time' is true"]),
    ({"text": "a", "time": {}}, "schema", ["'time' is an empty object"]),
    ({"text": "a", "slices": "eu"}, "schema", ["'slices' is the string \"eu\"", "object"]),
    ({"text": "a", "slices": {"region": ["eu"]}}, "schema", ["'slices.region' is a list of 1"]),
    ({"text": "a", "slices": {"": 1}}, "schema", ["'slices'", "0 characters"]),
    ({"text": "a", "slices": {"x" * 65: 1}}, "schema", ["'slices'", "65 characters"]),
    ({"text": "a", "slices": {str(i): i for i in range(9)}}, "schema", ["'slices'", "8"]),
    ({"text": "a" * 1_000}, "too-large", ["1011 bytes", "1000"]),
]
BAD_IDS = [f"{reason}-{i}" for i, (_, reason, _) in enumerate(BAD)]


@pytest.mark.parametrize(("value", "reason", "words"), BAD, ids=BAD_IDS)
def test_a_dead_letter_says_what_is_wrong(value, reason, words):
    found, detail = refusal(value, max_bytes=1_000 if reason == "too-large" else 10_000)
    assert found == reason
    for word in words:
        assert word in detail
    assert len(detail) < 300


def test_a_dead_letter_uses_the_users_own_paths():
    settings = {"id": "a.id", "text": "a.text", "label": "a.label", "slices": {"region": "b.region"}}
    assert refusal({"a": {"text": 5}}, **settings)[1].startswith("'a.text' is the number 5")
    assert refusal({"a": {"text": "x", "label": []}}, **settings)[1].startswith("'a.label' is an empty list")
    assert refusal({"a": {"text": "x"}, "b": {"region": {}}}, **settings)[1].startswith("'b.region' is an empty object")
    assert "no 'a.text'; 'a' has 'body'" in refusal({"a": {"body": "x"}}, **settings)[1]
    assert "no 'a.text'; the event has 'a', 'b'" in refusal({"a": "x", "b": 1}, **settings)[1]
    assert "'a.text' is null" in refusal({"a": {"text": None}}, **settings)[1]


def test_a_closed_set_of_labels_refuses_others_and_names_the_nearest():
    labels = {"labels": ["refund", "card", "3"], "closed": True}
    assert event({"text": "a", "label": "refund"}, **labels).label == "refund"
    assert event({"text": "a", "label": 3}, **labels).label == "3"
    reason, detail = refusal({"text": "a", "label": "Refund"}, **labels)
    assert reason == "unknown-label"
    assert "'Refund' is not one of the 3" in detail
    assert "did you mean 'refund'?" in detail
    assert "did you mean" not in refusal({"text": "a", "label": "something else"}, **labels)[1]


def test_an_open_set_of_labels_grows_up_to_its_limit():
    grown = decoder(labels=["a"], max_labels=3)
    payloads = [{"text": "x", "label": label} for label in "abacda"]
    decoded = grown.decode([record(payload, i) for i, payload in enumerate(payloads)])
    assert [each.label for each in decoded.events] == ["a", "b", "a", "c", "a"]
    assert [(dead.reason, dead.record.offset) for dead in decoded.dead_letters] == [("unknown-label", 4)]
    other = decoder()
    other.load_state_dict(json.loads(json.dumps(grown.state_dict())))
    assert other.state_dict() == grown.state_dict() == {"labels": ["a", "b", "c"]}


@pytest.mark.parametrize("wrong", [{"text": " "}, {"time": "x"}, {"id": ""}])
def test_what_is_refused_for_another_reason_adds_no_label(wrong):
    grown = decoder()
    assert grown.decode([record({"text": "a", "label": "new", **wrong})]).dead_letters
    assert grown.state_dict() == {"labels": []}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=70), inner, max_size=9),
    max_leaves=10,
)
parts = st.fixed_dictionaries(
    {},
    optional={
        "id": json_values | st.just("e1"),
        "text": json_values | st.just("a"),
        "label": json_values | st.sampled_from(["x", "y", 1, True, "1"]),
        "time": json_values | st.integers(-(10**20), 10**20) | st.just("2026-01-01") | st.text("0123456789-:TZ+.W"),
        "slices": json_values | st.just({"a": 1}),
    },
)
values = (
    st.none()
    | st.binary()
    | st.text().map(str.encode)
    | (parts | json_values).map(lambda value: json.dumps(value).encode())
    | parts.map(lambda value: json.dumps(value, ensure_ascii=True).encode()[:-1])
)
settings = st.sampled_from(
    [
        {},
        {"closed": True, "labels": ["x", "1"]},
        {"max_labels": 2, "max_bytes": 100},
        {"id": "$key"},
        {"id": "a.id", "text": "text", "slices": {"r": "slices.a", "s": "label"}},
    ]
)


@given(st.lists(st.tuples(values, st.none() | st.binary(max_size=300)), max_size=8), settings)
@example([(b'{"text": "a"}', None), (b"[" * 100_000, None)], {})
@example([(b'{"text": "a", "label": true}', None), (b'{"text": "a", "label": "1"}', None)], {"labels": ["1"]})
def test_every_record_gives_one_outcome_and_a_batch_gives_what_its_records_give(given_values, chosen):
    records = [record(value, i, key) for i, (value, key) in enumerate(given_values)]
    decoded = decoder(**chosen).decode(records)
    events = [each.source.offset for each in decoded.events]
    dead = [each.record.offset for each in decoded.dead_letters]
    forgets = [each.source.offset for each in decoded.forgets]
    assert sorted(events + dead + forgets) == list(range(len(records)))
    assert forgets == sorted(forgets)
    assert not forgets or chosen.get("id") == "$key"
    assert events == sorted(events)
    assert dead == sorted(dead)
    alone = decoder(**chosen)
    for each in records:
        one = alone.decode([each])
        assert one.events == [found for found in decoded.events if found.source.offset == each.offset]
        assert one.dead_letters == [found for found in decoded.dead_letters if found.record is each]
        assert list(one.forgets) == [found for found in decoded.forgets if found.source.offset == each.offset]
    for found in decoded.events:
        assert found.text.strip()
        assert 1 <= len(found.id) <= 256
        assert all(0 < len(name) <= 64 and len(value) <= 64 for name, value in found.slices.items())
        assert len(found.slices) <= 8
        assert found.label is None or found.label.strip()
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()  # finite numbers, proper UTF-8


def test_an_empty_batch_is_nothing():
    assert decoder().decode([]) == ([], [], ())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"text": ""}, "names with dots"),
        ({"text": "a..b"}, "names with dots"),
        ({"text": "$key"}, "only fields.id"),
        ({"id": "$value"}, "only fields.id"),
        ({"slices": {"": "a"}}, "at least 1 character"),
        ({"slices": {"a": "b."}}, "names with dots"),
        ({"slices": {str(i): "a" for i in range(9)}}, "at most 8"),
        ({"txt": "a"}, "not permitted"),
    ],
)
def test_fields_refuses_what_is_no_path(wrong, words):
    with pytest.raises(ValidationError, match=words):
        Fields(**wrong)


def test_a_prediction_is_written_as_the_contract_says():
    top = [{"label": "refund", "score": 0.9}, {"label": "card", "score": 0.1}]
    values = {"label": "refund", "score": 0.9, "top": top}
    said = Prediction("ü1", "refund", 0.9, values, False, None, 12, 10, Place("tickets", 2, 41), 0.99, True)
    silent = Prediction("e2", None, None, ClassJudge.nothing, True, "no-known-label", 0, 0, Place("tickets", 2, 42))
    messages = encode_predictions([said, silent], 1_767_225_600.1239)
    assert [(message.key, list(message.headers)) for message in messages] == [("ü1".encode(), []), (b"e2", [])]
    first, second = (json.loads(message.value or b"") for message in messages)
    assert first == {
        "id": "ü1",
        "label": "refund",
        "score": 0.9,
        "top": [{"label": "refund", "score": 0.9}, {"label": "card", "score": 0.1}],
        "abstained": False,
        "reason": None,
        "novelty": 0.99,
        "novel": True,
        "model_step": 12,
        "champion_step": 10,
        "source": {"topic": "tickets", "partition": 2, "offset": 41},
        "predicted_at": "2026-01-01T00:00:00.123Z",
    }
    assert (second["label"], second["score"], second["top"]) == (None, None, [])
    assert (second["abstained"], second["reason"]) == (True, "no-known-label")
    assert (second["novelty"], second["novel"]) == (None, False)


def test_needs_no_torch():
    code = "import sys, streamlearn.stream.decoders, streamlearn.durability.journal; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
