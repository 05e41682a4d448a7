"""What every policy and every retrieval promises. To register one is to have it tested here, and by the state machine
in test_replay.py."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlearn.core import rng
from streamlearn.core.registry import ComponentSpec
from streamlearn.learning.memory import ReplayMemory, policies, retrievals
from tests.learners import build, goes_on_the_same, stream, written
from tests.learning.memory.test_replay import assert_same, batch, consistent

POLICIES, RETRIEVALS = list(policies), list(retrievals)


def memory(policy="reservoir", retrieval="uniform", capacity=12):
    return ReplayMemory(
        capacity,
        6,
        30_522,
        policies.build(ComponentSpec(name=policy)),
        retrievals.build(ComponentSpec(name=retrieval)),
    )


def fill(replay, labels, seed=0, size=4):
    """Offer samples of these classes, with losses, and return the memory."""
    rows = [(f"s{i}", label) for i, label in enumerate(labels)]
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        draw = rng.stream(seed, "memory", start)
        replay.insert(batch(part), draw)
        replay.note({sample_id: float(draw.random()) for sample_id, _ in part})
    return replay


def draws(replay, size, labels=(), n=400):
    return [replay.sample(size, rng.stream(0, "rehearse", step), np.array(labels, np.int64)) for step in range(n)]


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


def test_uniform_draws_samples_and_class_balanced_draws_classes():
    labels = [0] * 8 + [1] * 3 + [2]
    uniform = Counter(label for drawn in draws(fill(memory(), labels), 3) for label in drawn.labels.tolist())
    assert uniform[0] > 6 * uniform[2]
    balanced = fill(memory(retrieval="class-balanced"), labels)
    for drawn in draws(balanced, 3, n=20):
        assert sorted(drawn.labels.tolist()) == [0, 1, 2]
    for drawn in draws(balanced, 6, n=20):  # class 2 has one sample, so one class more gives three
        assert Counter(drawn.labels.tolist()) in ({0: 3, 1: 2, 2: 1}, {0: 2, 1: 3, 2: 1})
    assert Counter(draws(balanced, 12, n=1)[0].labels.tolist()) == {0: 8, 1: 3, 2: 1}
    single = Counter(int(drawn.labels[0]) for drawn in draws(balanced, 1, n=900))
    assert all(abs(count - 300) < 70 for count in single.values()), single  # standard deviation 14


def test_class_balanced_others_leaves_the_new_classes_out():
    replay = fill(memory(retrieval="class-balanced-others"), [0] * 8 + [1] * 3 + [2])
    for drawn in draws(replay, 3, [0, 7, 0], n=20):
        assert set(drawn.labels.tolist()) == {1, 2}
    assert len(draws(replay, 12, [0], n=1)[0]) == 4
    assert sorted(draws(replay, 3, [0, 1, 2], n=1)[0].labels.tolist()) == [0, 1, 2]  # nothing else is stored


def test_a_ring_keeps_the_newest_of_each_class():
    replay = fill(memory("ring"), [i % 3 for i in range(60)])
    assert replay.counts() == {0: 4, 1: 4, 2: 4}
    assert set(replay.gather(np.arange(12)).ids) == {f"s{i}" for i in range(48, 60)}


def test_a_ring_makes_room_for_new_classes():
    replay = fill(memory("ring"), [0] * 30 + [1] * 30 + [2] * 2)
    assert replay.counts() == {0: 5, 1: 5, 2: 2}
    assert {f"s{i}" for i in range(25, 30)} | {f"s{i}" for i in range(55, 62)} == set(replay.gather(np.arange(12)).ids)


def test_a_ring_with_more_classes_than_room_keeps_the_newest_classes():
    replay = fill(memory("ring"), range(40))
    assert sorted(replay.counts()) == list(range(28, 40))


def test_loss_aware_lets_go_of_what_is_known_well_and_of_large_classes():
    kept = Counter()
    for seed in range(300):
        replay = memory("loss-aware", capacity=10)
        replay.insert(batch([(f"s{i}", 0 if i < 8 else 1) for i in range(10)]), rng.stream(seed, "memory", 0))
        replay.note({f"s{i}": 0.01 if i % 2 else 3.0 for i in range(10)})
        replay.insert(batch([(f"t{i}", 2) for i in range(10)]), rng.stream(seed, "memory", 1))
        kept.update(sample_id for sample_id in replay.gather(np.arange(10)).ids if sample_id.startswith("s"))
    assert sum(kept[f"s{i}"] for i in range(0, 8, 2)) > 1.5 * sum(kept[f"s{i}"] for i in range(1, 8, 2))
    assert kept["s8"] > max(kept[f"s{i}"] for i in range(0, 8, 2)) - 10
    assert kept["s9"] > max(kept[f"s{i}"] for i in range(1, 8, 2))


def test_a_new_sample_of_an_id_keeps_its_age_and_loses_its_loss():
    replay = fill(memory("ring"), [0] * 12)
    replay.insert(batch([("s0", 0)]), rng.stream(0, "memory", 99))
    assert "s0" in replay
    assert replay.losses[replay.order.argmin()] < 0
    replay.insert(batch([("new", 0)]), rng.stream(0, "memory", 100))
    assert "s0" not in replay
