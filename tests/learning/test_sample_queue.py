"""Samples leave in the order in which they came, in batches cut by count, and events without a label beside them."""

import numpy as np
import pytest

from streamlearn.core.batch import Sample
from streamlearn.learning.sample_queue import SampleQueue


def samples(*ids, label="buy"):
    return [Sample(each, np.array([2, 3], np.int64), label) for each in ids]


def ids(rows):
    return None if rows is None else [each.id for each in rows]


@pytest.fixture
def queue():
    return SampleQueue(2)


def test_a_batch_is_the_oldest_samples_and_never_a_part(queue):
    queue.add(samples("a"))
    assert queue.next_batch() is None
    queue.add(samples("b", "c"))
    assert ids(queue.next_batch()) == ["a", "b"]
    assert queue.next_batch() is None
    assert ids(queue.flush()) == ["c"]
    assert queue.flush() == []


def test_events_without_a_label_are_batches_of_their_own_and_no_flush_takes_them(queue):
    queue.add_unlabelled(samples("u1", "u2", "u3"))
    queue.add(samples("a"))
    assert ids(queue.next_unlabelled()) == ["u1", "u2"]
    assert queue.next_unlabelled() is None
    assert ids(queue.flush()) == ["a"]
    assert ids(queue.unlabelled) == ["u3"]


def test_an_event_waits_without_a_label_until_its_label_comes(queue):
    queue.add_unlabelled(samples("a"))
    queue.add(samples("a"))
    assert (ids(queue.samples), queue.unlabelled) == (["a"], [])


def test_drop_counts_samples_alone(queue):
    queue.add(samples("a"))
    queue.add_unlabelled(samples("u"))
    assert queue.drop() == 1
    assert (queue.samples, queue.unlabelled) == ([], [])


def test_what_waits_is_corrected_in_its_place(queue):
    queue.add(samples("a", "b", "c"))
    assert queue.relabel("b", "sell")
    assert [each.label for each in queue.samples] == ["buy", "sell", "buy"]
    assert not queue.relabel("d", "sell")


def test_what_is_forgotten_waits_in_neither_line(queue):
    queue.add(samples("a", "b"))
    queue.add_unlabelled(samples("u", "v"))
    assert queue.remove({"a", "v", "w"}) == 1
    assert (ids(queue.samples), ids(queue.unlabelled)) == (["b"], ["u"])


def test_its_state_is_json_and_comes_back(queue):
    queue.add(samples("a"))
    queue.add_unlabelled(samples("u", label=""))
    state = queue.state_dict()
    assert state == {"waiting": [["a", "buy", [2, 3]]], "heard": [["u", "", [2, 3]]]}
    again = SampleQueue(2)
    again.load_state_dict(state)
    assert again.state_dict() == state
    assert again.samples[0].tokens.dtype == np.int64
