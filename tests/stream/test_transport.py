"""The order in which a batch is learned, and the proof that it is the same batch.

However the log interleaves its partitions, `canonical` gives one and the same list, and `ranges` the same counts and
digests. A digest changes with every offset, key and value, and tells "no key" from "an empty key".
"""

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn.stream.transport import Record, TopicPartition, canonical, lost, ranges

TOPICS = ["control", "events", "labels"]

payloads = st.none() | st.binary(max_size=4)


@st.composite
def partitions(draw):
    """Some partitions with records in order of their offsets, with gaps."""
    result = {}
    names = st.tuples(st.sampled_from(TOPICS), st.integers(0, 3))
    for topic, partition in draw(st.lists(names, unique=True, max_size=5)):
        offsets = sorted(draw(st.sets(st.integers(0, 50), min_size=1, max_size=6)))
        result[topic, partition] = [
            Record(topic, partition, offset, draw(payloads), draw(payloads), (), 0) for offset in offsets
        ]
    return result


def interleaved(draw, runs):
    """Take the records of all partitions in some order that keeps each partition's own."""
    left = {name: list(run) for name, run in runs.items()}
    taken = []
    while any(left.values()):
        name = draw(st.sampled_from(sorted(name for name, run in left.items() if run)))
        taken.append(left[name].pop(0))
    return taken


@given(st.data())
def test_any_interleaving_gives_the_same_batch(data):
    runs = data.draw(partitions())
    one, two = interleaved(data.draw, runs), interleaved(data.draw, runs)
    assert canonical(one, TOPICS) == canonical(two, TOPICS)
    assert ranges(canonical(one, TOPICS)) == ranges(canonical(two, TOPICS))


@given(st.data())
def test_the_order_is_control_then_events_then_labels_by_partition_and_offset(data):
    batch = canonical(interleaved(data.draw, data.draw(partitions())), TOPICS)
    places = [(TOPICS.index(r.topic), r.partition, r.offset) for r in batch]
    assert places == sorted(places)


@given(st.data())
def test_ranges_cover_the_batch(data):
    runs = data.draw(partitions())
    batch = canonical(interleaved(data.draw, runs), TOPICS)
    taken = ranges(batch)
    assert [(r.topic, r.partition) for r in taken] == sorted(runs, key=lambda name: (TOPICS.index(name[0]), name[1]))
    for r in taken:
        run = runs[r.topic, r.partition]
        assert (r.start, r.next, r.count) == (run[0].offset, run[-1].offset + 1, len(run))
        assert r.count <= r.next - r.start


def digest(*records):
    (taken,) = ranges([Record("events", 0, offset, key, value, (), 0) for offset, key, value in records])
    return taken.digest


@given(
    *[st.lists(st.tuples(st.integers(0, 9), payloads, payloads), min_size=1, max_size=3, unique_by=lambda r: r[0])] * 2
)
def test_a_digest_stands_for_offsets_keys_and_values(one, two):
    one, two = sorted(one, key=lambda r: r[0]), sorted(two, key=lambda r: r[0])
    assert (digest(*one) == digest(*two)) == (one == two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ((0, None, b"v"), (0, b"", b"v")),
        ((0, b"k", None), (0, b"k", b"")),
        ((0, b"ab", b"c"), (0, b"a", b"bc")),
        ((0, b"k", b"v"), (1, b"k", b"v")),
        ((0, None, b"v"), (0, b"v", None)),
    ],
)
def test_records_that_look_alike_have_different_digests(one, two):
    assert digest(one) != digest(two)


def test_a_digest_can_be_computed_by_anyone():
    record = struct.pack(">qii", 7, 1, -1) + b"k"
    assert digest((7, b"k", None)) == hashlib.sha256(record).hexdigest()


def test_a_digest_leaves_headers_and_timestamps_out():
    one = Record("events", 0, 1, b"k", b"v", (), 5)
    assert ranges([one])[0].digest == ranges([one._replace(headers=(("a", b"b"),), timestamp=6)])[0].digest


def test_an_empty_batch_has_no_ranges():
    assert ranges(canonical([], TOPICS)) == []


def test_a_record_of_a_topic_that_was_not_asked_for_is_a_bug():
    with pytest.raises(KeyError):
        canonical([Record("else", 0, 0, None, None, (), 0)], TOPICS)


def test_what_was_lost_is_counted():
    tp = TopicPartition("events", 3)
    gone = str(lost(tp, 10, 25, 90))
    assert gone.startswith("events[3]: the next record to read, offset 10, was deleted: the log begins at 25, so 15")
    anew = str(lost(tp, 10, 0, 4))
    assert "events[3]: the next record to read, offset 10, is past the log's end at 4" in anew
    assert "recovery.accept_loss" in gone
    assert "recovery.accept_loss" in anew
