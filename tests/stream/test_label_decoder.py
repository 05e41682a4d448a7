"""Every record of the labels topic is a label or a dead letter that says why it is none."""

import json

import pytest

from streamlearn.stream.fields import Fields
from streamlearn.stream.transport import Record
from tests.targets import decoder, label_decoder


def record(value, key=None, offset=0):
    data = value if isinstance(value, bytes) or value is None else json.dumps(value).encode()
    return Record("labels", 1, offset, key, data, (), 1_700_000_000_500)


def decode(*values, fields=None, **known):
    own = label_decoder(decoder(Fields(**(fields or {})), **known))
    return own.decode([record(value, offset=n) for n, value in enumerate(values)])


def test_a_label_is_read():
    found = decode({"id": "e1", "label": "refund"}, {"id": 17, "label": 3, "time": 1_700_000_001, "more": [1]})
    assert found.dead_letters == []
    assert [each[:2] for each in found.labels] == [("e1", "refund"), ("17", "3")]
    assert [each.time for each in found.labels] == [1_700_000_000.5, 1_700_000_001.0]
    assert found.labels[1].source == ("labels", 1, 1)


BAD = [
    (None, "schema", "forget the id that is its key, and it has no key"),
    (b"", "invalid-json", "a label is a JSON object"),
    (b"  ", "invalid-json", "a label is a JSON object"),
    (b"{", "invalid-json", "not JSON"),
    (b"\x00\x00\x00\x00\x01{}", "encoding", "Avro"),
    ([1], "schema", "a label is a JSON object"),
    ({"label": "a"}, "schema", "there is no 'id'"),
    ({"id": None, "label": "a"}, "schema", "there is no 'id'"),
    ({"id": "", "label": "a"}, "schema", "'id' is an empty string"),
    ({"id": "x" * 257, "label": "a"}, "schema", "257 characters"),
    ({"id": 1.5, "label": "a"}, "schema", "the number 1.5"),
    ({"id": "e"}, "label-type", "there is no 'label'"),
    ({"id": "e", "label": None}, "label-type", "there is no 'label', or it is null"),
    ({"id": "e", "label": ["a"]}, "label-type", "a list of 1"),
    ({"id": "e", "label": True}, "label-type", "true"),
    (b'{"id": "e", "label": 123456789012345678901234}', "label-type", "more than 64 bits"),
    ({"id": "e", "label": " "}, "label-type", "is blank"),
    ({"id": "e", "label": "a", "time": "yesterday"}, "schema", "'time'"),
    ({"id": "e", "label": "a" * 300}, "label-type", "300 characters"),
    ({"id": "e", "label": "a", "more": "x" * 2000}, "too-large", "limits.record_bytes"),
]


@pytest.mark.parametrize(("value", "reason", "detail"), BAD, ids=[detail for *_, detail in BAD])
def test_a_bad_one_is_a_dead_letter_and_the_others_go_on(value, reason, detail):
    found = decode({"id": "good", "label": "a"}, value, {"id": "better", "label": "b"}, max_bytes=1000)
    assert [each.id for each in found.labels] == ["good", "better"]
    (dead,) = found.dead_letters
    assert (dead.reason, dead.record.offset) == (reason, 1)
    assert detail in dead.detail


@pytest.mark.parametrize("number", [-(2**63), 2**63 - 1, 2**63, 2**64 - 1])
def test_an_integer_of_64_bits_is_a_label_with_a_sign_or_without(number):
    found = decode({"id": number, "label": number})
    assert [(each.id, each.label) for each in found.labels] == [(str(number), str(number))]
    events = decoder().decode([record({"text": "a", "label": number})])
    assert [each.label for each in events.events] == [str(number)]


@pytest.mark.parametrize("time", ["yesterday", 1e15])
def test_what_is_refused_for_its_time_makes_no_label_known(time):
    own = label_decoder(decoder())
    found = own.decode([record({"id": "e", "label": "new", "time": time}), record({"id": "f", "label": "a"})])
    assert [each.id for each in found.labels] == ["f"]
    assert [each.reason for each in found.dead_letters] == ["schema"]
    assert own.targets.state_dict() == {"labels": ["a"]}


def test_the_fields_are_the_users_own():
    fields = {"id": "$key", "label": "ticket.class", "time": "ticket.at"}
    own = label_decoder(decoder(Fields(**fields)))
    value = {"ticket": {"class": "refund", "at": "2026-01-01T00:00:00Z"}}
    found = own.decode([record(value, b"e1"), record(value, None), record({"ticket": {"at": 1}}, b"e2")])
    assert [(each.id, each.label, each.time) for each in found.labels] == [("e1", "refund", 1_767_225_600.0)]
    assert [each.reason for each in found.dead_letters] == ["schema", "label-type"]
    assert "'ticket.class'" in found.dead_letters[1].detail


def test_labels_are_bounded_together_with_those_of_the_events():
    events = decoder(Fields(), max_labels=2)
    events.decode([Record("events", 0, 0, None, b'{"text": "t", "label": "a"}', (), 0)])
    found = label_decoder(events).decode([record({"id": "e", "label": name}) for name in "abc"])
    assert [each.label for each in found.labels] == ["a", "b"]
    assert [each.reason for each in found.dead_letters] == ["unknown-label"]
    assert (
        decode({"id": "e", "label": "rfund"}, labels=["refund"], closed=True)
        .dead_letters[0]
        .detail.endswith("did you mean 'refund'?")
    )
