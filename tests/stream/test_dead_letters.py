"""A dead letter keeps the record as it came, says why, and is never larger than the broker takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn.stream.dead_letters import DeadLetter, crashed, encode_dead_letter
from streamlearn.stream.transport import Record

record = Record("tickets", 2, 41, b"k", b"value", [("trace", b"1"), ("empty", None)], 0)


def test_keeps_the_record_and_adds_why():
    message = encode_dead_letter(DeadLetter(record, "schema", "'id' is true ü"), 1_000_000)
    assert message == (
        b"value",
        b"k",
        [
            ("trace", b"1"),
            ("empty", None),
            ("streamlearn.reason", b"schema"),
            ("streamlearn.topic", b"tickets"),
            ("streamlearn.partition", b"2"),
            ("streamlearn.offset", b"41"),
            ("streamlearn.detail", "'id' is true ü".encode()),
        ],
    )


def test_a_record_without_key_and_value_stays_so():
    message = encode_dead_letter(DeadLetter(record._replace(key=None, value=None), "invalid-json", "x"), 1_000)
    assert (message.key, message.value) == (None, None)


def test_headers_of_an_earlier_dead_letter_are_replaced():
    once = encode_dead_letter(DeadLetter(record, "schema", "first"), 1_000_000)
    again = record._replace(offset=99, headers=once.headers)
    headers = encode_dead_letter(DeadLetter(again, "crashed", "second"), 1_000_000).headers
    assert [content for name, content in headers if name == "streamlearn.detail"] == [b"second"]
    assert [content for name, content in headers if name == "streamlearn.offset"] == [b"99"]
    assert ("trace", b"1") in headers


records = st.builds(
    record._replace,
    topic=st.text("abc.", min_size=1, max_size=249),
    key=st.none() | st.binary(max_size=50) | st.integers(0, 3_000).map(bytes),
    value=st.none() | st.binary(max_size=50) | st.integers(0, 5_000).map(bytes),
    headers=st.lists(st.tuples(st.text(max_size=20), st.none() | st.integers(0, 1_000).map(bytes)), max_size=5),
    offset=st.integers(0, 2**63 - 1),
)


@given(records, st.text(max_size=600), st.integers(1_000, 4_000))
def test_is_cut_where_it_is_too_large_and_only_there(given_record, detail, most):
    dead = DeadLetter(given_record, "too-large", detail)
    message, whole = encode_dead_letter(dead, most), encode_dead_letter(dead, 100_000)
    headers = dict(message.headers)
    # What Kafka's record format 2 needs at most for one record and for each header, and for the batch around it.
    size = 61 + 36 + len(message.key or b"") + len(message.value or b"")
    size += sum(10 + len(name.encode()) + len(content or b"") for name, content in message.headers)
    assert size <= most
    assert headers["streamlearn.topic"] == given_record.topic.encode()
    assert headers["streamlearn.offset"] == str(given_record.offset).encode()
    assert headers["streamlearn.detail"].decode() is not None
    assert (message == whole) == ("streamlearn.truncated" not in headers)
    assert "streamlearn.truncated" not in dict(whole.headers)
    assert (message.key is None, message.value is None) == (given_record.key is None, given_record.value is None)
    assert (given_record.key or b"").startswith(message.key or b"")
    assert (given_record.value or b"").startswith(message.value or b"")
    if len(message.headers) < len(given_record.headers) + 6 and message != whole:
        assert not set(dict(given_record.headers)) & set(headers)  # all of the original headers went, or none
    if message.key != given_record.key:
        assert not message.value  # the value goes first


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (RuntimeError("out of range\nat ..."), "the model failed on it: RuntimeError: out of range"),
        (MemoryError(), "the model failed on it: MemoryError"),
        ("the process died on it three times", "the model failed on it: the process died on it three times"),
        (ValueError("x" * 1_000), "the model failed on it: ValueError: " + "x" * 188),
        (OSError("\udcff"), "the model failed on it: OSError: \udcff"),
    ],
)
def test_a_crash_is_told_in_a_line(error, detail):
    dead = crashed(record, error)
    assert (dead.reason, dead.detail) == ("crashed", detail)
    encode_dead_letter(dead, 1_000)
