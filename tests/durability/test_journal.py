"""A journal record comes back as it was written; what a newer version wrote, or anybody else, is refused clearly."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from streamlearn.core.errors import StreamlearnError
from streamlearn.durability.journal import (
    Attempt,
    Batch,
    Decision,
    Discard,
    Flush,
    Pointer,
    Snapshot,
    Start,
    decode,
    encode,
)
from streamlearn.stream.transport import Place, Range

count = st.integers(0, 2**63 - 1)
name = st.text(min_size=1, max_size=20)
finite = st.floats(allow_nan=False, allow_infinity=False)
sha256 = st.text("0123456789abcdef", min_size=64, max_size=64)
objects = st.dictionaries(name, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | finite | name, max_size=3)
pointers = st.builds(Pointer, at_seq=count, journal_offset=count)
places = st.builds(Place, name, count, count)
common = {
    "seq": count,
    "incarnation": count,
    "now": finite,
    "last_snapshot": st.none() | pointers,
    "outcomes": st.dictionaries(name, count, max_size=3),
}
journal_records = st.one_of(
    st.builds(
        Start,
        **common,
        configuration=objects,
        configuration_sha256=sha256,
        version=name,
        torch=name,
        instruction_set=name,
        threads=st.integers(1, 256),
        seed=st.integers(),
        topic_ids=st.dictionaries(name, name, max_size=3),
        positions=st.lists(places, max_size=3).map(tuple),
    ),
    st.builds(
        Batch,
        **common,
        ranges=st.lists(st.builds(Range, name, count, count, count, count, sha256), max_size=3).map(tuple),
        model_step=count,
        champion_step=count,
        decisions=st.lists(st.builds(Decision, name=name, step=count, values=objects), max_size=3).map(tuple),
        shed=count,
        taken=st.text("-lpd", max_size=20),
        forgotten=st.lists(sha256, max_size=2).map(tuple),
        crashed=st.none() | st.lists(places, max_size=2).map(tuple),
    ),
    st.builds(Flush, **common),
    st.builds(
        Snapshot,
        **common,
        name=name,
        manifest_sha256=sha256,
        weights_sha256=sha256,
        model_step=count,
        positions=st.lists(places, max_size=3).map(tuple),
        start=pointers,
    ),
    st.builds(Attempt, **common, place=st.none() | places, batch=st.none() | count),
    st.builds(Discard, **common, batch=count),
)


@given(journal_records)
def test_comes_back_as_it_was_written(record):
    value = encode(record)
    back = decode(value, "journal")
    assert back == record
    assert type(back) is type(record)
    assert encode(back) == value


def test_stands_in_the_journal_so():
    # What is written once must be readable for ever: change this only with the format.
    record = Batch(
        seq=7,
        incarnation=1,
        now=1.5,
        last_snapshot=Pointer(at_seq=3, journal_offset=9),
        outcomes={"learned": 2},
        ranges=(Range("tickets", 0, 10, 14, 3, "0" * 64),),
        model_step=5,
        champion_step=4,
        decisions=(Decision(name="promoted", step=5),),
        taken="l-d",
        crashed=(Place("tickets", 0, 12),),
    )
    assert json.loads(encode(record)) == {
        "format": 1,
        "seq": 7,
        "incarnation": 1,
        "now": 1.5,
        "last_snapshot": {"at_seq": 3, "journal_offset": 9},
        "outcomes": {"learned": 2},
        "kind": "batch",
        "ranges": [["tickets", 0, 10, 14, 3, "0" * 64]],
        "model_step": 5,
        "champion_step": 4,
        "decisions": [{"name": "promoted", "step": 5, "values": {}}],
        "shed": 0,
        "taken": "l-d",
        "forgotten": [],
        "crashed": [["tickets", 0, 12]],
    }


@pytest.mark.parametrize("kind", ["flush", "batch", "not known yet"])
def test_a_newer_format_is_refused_with_the_mend(kind):
    value = json.dumps({"kind": kind, "format": 2, "seq": 1, "incarnation": 0, "now": 0.0}).encode()
    with pytest.raises(StreamlearnError, match=r"journal\[0\]@5: .* format 2, .* reads up to 1\n  -> install"):
        decode(value, "journal[0]@5")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "Invalid JSON"),
        (b"", "Invalid JSON"),
        (b"\xff", "Invalid JSON"),
        (b"[]", "not a journal record"),
        (b"{}", "kind"),
        (b'{"kind": "flush", "format": 1, "seq": 1, "incarnation": 0}', r"flush\.now: Field required"),
        (b'{"kind": "flush", "format": 1, "seq": 1, "incarnation": 0, "now": 0, "x": 1}', r"flush\.x: Extra"),
        (b'{"kind": "flush", "format": 1, "seq": "1", "incarnation": 0, "now": 0}', r"flush\.seq"),
    ],
)
def test_what_is_no_journal_record_is_refused_with_the_mend(value, words):
    with pytest.raises(StreamlearnError, match=words) as caught:
        decode(value, "journal[0]@5")
    assert caught.value.where == "journal[0]@5"
    assert caught.value.mend


def test_records_are_frozen_and_finite():
    record = Flush(seq=0, incarnation=0, now=0.0)
    with pytest.raises(ValidationError, match="frozen"):
        record.seq = 1  # type: ignore[misc]
    with pytest.raises(ValidationError, match="finite"):
        Flush(seq=0, incarnation=0, now=math.nan)
