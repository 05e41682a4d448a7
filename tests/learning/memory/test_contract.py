"""What every policy and every retrieval promises. To register one is to have it tested here, and by the state machine
in test_buffer.py."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlearn.core import rng
from streamlearn.learning.memory.family import policies, retrievals
from tests.learners import build, goes_on_the_same, stream, written
from tests.learning.memory.memories import assert_same, batch, consistent, draws, fill, memory

POLICIES, RETRIEVALS = list(policies), list(retrievals)


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=40, deadline=None)
@given(
    labels=st.lists(st.integers(0, 12), max_size=60),
    capacity=st.integers(1, 15),
    removed=st.sets(st.integers(0, 60), max_size=10),
)
def test_a_policy_stores_all_while_there_is_room_and_repeats(policy, labels, capacity, removed):
    one, two = memory(policy, capacity=capacity), memory(policy, capacity=capacity)
    for replay in (one, two):
        fill(replay, labels)
        for each in removed:
            replay.remove(f"s{each}")
        replay.insert(batch([("last", 20), ("last of all", 0)]), rng.stream(0, "memory", 1000))
        consistent(replay)
    assert_same(one, two)
    if len(labels) + 2 <= capacity:
        assert len(one) == len(set(range(len(labels))) - removed) + 2
    assert one.seen == len(labels) + 2


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_is_bounded_with_ten_thousand_classes(policy):
    replay = memory(policy)
    size = replay.nbytes
    fill(replay, range(10_000), size=500)
    assert len(replay) == 12
    assert replay.nbytes == size
    consistent(replay)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("retrieval", RETRIEVALS)
def test_a_learner_goes_on_from_its_state_in_every_bit(tiny, policy, retrieval, tmp_path):
    samples = stream([0, 1, 2, 0] * 8 + list(range(3, 23)) + [1] * 12)
    assert goes_on_the_same(lambda: build(tiny, policy=policy, retrieval=retrieval), samples, 27, tmp_path)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_learner_tells_losses_to_the_policies_that_watch_them(tiny, policy, tmp_path):
    own = build(tiny, policy=policy)
    own.add(stream([0, 1] * 20))
    assert (own.memory.losses >= 0).all() == own.memory.policy.watches_losses
    before = written(own, tmp_path)[1]
    own.memory.note({"not stored": 1.0})
    assert written(own, tmp_path)[1] == before


@pytest.mark.parametrize("retrieval", RETRIEVALS)
@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 8), max_size=30),
    size=st.integers(0, 20),
    new=st.lists(st.integers(0, 12), max_size=5),
)
def test_a_retrieval_draws_different_stored_samples_and_repeats(retrieval, labels, size, new):
    replay = fill(memory(retrieval=retrieval), labels)
    before = replay.state_dict()
    one, two = draws(replay, size, new, n=1) + draws(replay, size, new, n=1)
    assert one.ids == two.ids
    assert len(one) == len(set(one.ids)) <= min(size, len(replay))
    assert (len(one) > 0) == (min(size, len(replay)) > 0)
    assert all(sample_id in replay for sample_id in one.ids)
    assert before["ids"] == replay.state_dict()["ids"]


@pytest.mark.parametrize("retrieval", RETRIEVALS)
def test_a_retrieval_reaches_every_sample(retrieval):
    replay = fill(memory(retrieval=retrieval), [0] * 8 + [1] * 3 + [2])
    assert len({sample_id for drawn in draws(replay, 3) for sample_id in drawn.ids}) == 12
