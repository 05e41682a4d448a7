"""The replay memory is bounded, finds samples by id, and its indexes agree with its columns whatever happens."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamlearn.core import rng
from streamlearn.core.batch import Batch, pad
from streamlearn.core.registry import ComponentSpec
from streamlearn.learning.memory import ReplayMemory, policies

POLICIES = list(policies)


def memory(policy: str = "reservoir", capacity: int = 8, width: int = 6) -> ReplayMemory:
    return ReplayMemory(capacity, width, 30_522, policies.build(ComponentSpec(name=policy)))


def batch(rows: list[tuple[str, int]], length: int = 3) -> Batch:
    tokens = pad([np.full(length, 1 + hash_of(sample_id)) for sample_id, _ in rows])
    return Batch(tokens, np.array([label for _, label in rows]), [sample_id for sample_id, _ in rows])


def hash_of(sample_id: str) -> int:
    return sum(sample_id.encode()) % 1000


def consistent(replay: ReplayMemory) -> None:
    n = len(replay)
    assert n <= replay.capacity
    everything = replay.gather(np.arange(n))
    assert replay.counts() == Counter(everything.labels.tolist())
    assert len(set(everything.ids)) == n
    for slot, (sample_id, label) in enumerate(zip(everything.ids, everything.labels.tolist(), strict=True)):
        assert sample_id in replay
        assert slot in replay.slots_of(label)
        length = everything.tokens.lengths[slot]
        assert (everything.tokens.ids[slot, :length] == 1 + hash_of(sample_id)).all()


class Machine(RuleBasedStateMachine):
    """Insert, remove and restore in any order; a plain dictionary says what may be there."""

    policy = "reservoir"

    def __init__(self) -> None:
        super().__init__()
        self.replay = memory(self.policy)
        self.labels: dict[str, int] = {}
        self.step = 0

    @rule(rows=st.lists(st.tuples(st.integers(0, 30).map(str), st.integers(0, 4)), max_size=5))
    def insert(self, rows: list[tuple[str, int]]) -> None:
        self.step += 1
        if rows:
            self.replay.insert(batch(rows), rng.stream(0, "memory", self.step))
            self.replay.note({sample_id: len(sample_id) + label for sample_id, label in rows})
        self.labels.update(rows)

    @rule(sample_id=st.integers(0, 30).map(str))
    def remove(self, sample_id: str) -> None:
        there = sample_id in self.replay
        before = len(self.replay)
        assert self.replay.remove(sample_id) == there
        assert len(self.replay) == before - there
        assert sample_id not in self.replay

    @rule(sample_id=st.integers(0, 30).map(str), label=st.integers(0, 4))
    def relabel(self, sample_id: str, label: int) -> None:
        there, before = sample_id in self.replay, len(self.replay)
        assert self.replay.relabel(sample_id, label) == there
        assert len(self.replay) == before
        if there:
            assert self.replay.labels[self.replay.gather(np.arange(before)).ids.index(sample_id)] == label

    @rule()
    def restore(self) -> None:
        fresh = memory(self.policy)
        fresh.insert(batch([("other", 3)]), rng.stream(1, "memory", 0))
        fresh.load_state_dict(self.replay.state_dict())
        assert_same(fresh, self.replay)
        self.replay = fresh

    @precondition(lambda self: len(self.replay))
    @rule(size=st.integers(0, 20))
    def sample(self, size: int) -> None:
        drawn = self.replay.sample(size, rng.stream(0, "rehearse", self.step))
        assert len(drawn) == min(size, len(self.replay)) == len(set(drawn.ids))

    @invariant()
    def agrees(self) -> None:
        consistent(self.replay)
        stored = self.replay.gather(np.arange(len(self.replay)))
        for sample_id, label in zip(stored.ids, stored.labels.tolist(), strict=True):
            assert sample_id in self.labels
            assert label in range(5)


for name in POLICIES:  # a machine for each policy that is registered
    case = type(name, (Machine,), {"policy": name, "__module__": __name__}).TestCase
    case.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
    globals()[f"Test_{name.replace('-', '_')}"] = case
del case


def assert_same(one: ReplayMemory, two: ReplayMemory) -> None:
    first, second = one.state_dict(), two.state_dict()
    assert first.keys() == second.keys()
    for name, value in first.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, second[name]), name
        else:
            assert value == second[name], name


@pytest.mark.parametrize("policy", POLICIES)
def test_goes_on_the_same_after_a_restore(policy: str) -> None:
    whole, broken = memory(policy), memory(policy)
    for step in range(40):
        rows = [(f"{step}-{i}", (step * i) % 5) for i in range(3)]
        for replay in (whole, broken):
            replay.insert(batch(rows), rng.stream(0, "memory", step))
        if step == 17:
            restored = memory(policy)
            restored.load_state_dict(broken.state_dict())
            broken = restored
    assert_same(whole, broken)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_stream_of_new_classes_only_stays_bounded(policy: str) -> None:
    replay = memory(policy)
    size = replay.nbytes
    replay.insert(batch([(str(i), i) for i in range(500)]), rng.stream(0, "memory", 0))
    assert len(replay) == 8
    assert replay.nbytes == size
    consistent(replay)


def test_every_sample_of_the_stream_is_equally_likely_in_a_reservoir() -> None:
    kept: Counter[str] = Counter()
    for seed in range(400):
        replay = memory(capacity=10)
        for step in range(10):
            replay.insert(batch([(f"{step}-{i}", 0) for i in range(10)]), rng.stream(seed, "memory", step))
        kept.update(replay.gather(np.arange(10)).ids)
    by_step = Counter({step: sum(n for i, n in kept.items() if i.startswith(f"{step}-")) for step in range(10)})
    # 4,000 draws over 10 steps: 400 each, standard deviation below 19.
    assert all(abs(count - 400) < 95 for count in by_step.values()), by_step


def test_class_balanced_keeps_rare_classes() -> None:
    replay = memory("class-balanced", capacity=20)
    rows = [(f"a{i}", 0) for i in range(500)] + [(f"b{i}", 1) for i in range(10)] + [(f"c{i}", 2) for i in range(3)]
    order = rng.stream(3, "shuffle", 0).permutation(len(rows)).tolist()
    replay.insert(batch([rows[i] for i in order]), rng.stream(0, "memory", 0))
    assert replay.counts()[2] == 3
    assert replay.counts()[1] >= 8


def test_token_ids_take_the_smallest_type_that_fits() -> None:
    small = ReplayMemory(100, 32, 30_522, policies.build(ComponentSpec(name="reservoir")))
    large = ReplayMemory(100, 32, 250_000, policies.build(ComponentSpec(name="reservoir")))
    assert large.nbytes - small.nbytes == 100 * 32 * 2


def test_a_removed_sample_leaves_no_trace() -> None:
    replay = memory()
    replay.insert(batch([("secret", 0), ("kept", 0)]), rng.stream(0, "memory", 0))
    replay.remove("secret")
    state = replay.state_dict()
    assert "secret" not in str(state["ids"])
    assert not (replay._tokens == 1 + hash_of("secret")).any()
