"""The replay memory is bounded, finds samples by id, and its indexes agree with its columns whatever happens."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streamlearn.core import rng
from streamlearn.core.registry import ComponentSpec
from streamlearn.learning.memory.buffer import ReplayMemory
from streamlearn.learning.memory.family import policies
from tests.learning.memory.memories import assert_same, batch, consistent, hash_of, memory

POLICIES = list(policies)


class Machine(RuleBasedStateMachine):
    """Insert, remove and restore in any order; a plain dictionary says what may be there."""

    policy = "reservoir"

    def __init__(self) -> None:
        super().__init__()
        self.replay = memory(self.policy, capacity=8)
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
        fresh = memory(self.policy, capacity=8)
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


@pytest.mark.parametrize("policy", POLICIES)
def test_goes_on_the_same_after_a_restore(policy: str) -> None:
    whole, broken = memory(policy, capacity=8), memory(policy, capacity=8)
    for step in range(40):
        rows = [(f"{step}-{i}", (step * i) % 5) for i in range(3)]
        for replay in (whole, broken):
            replay.insert(batch(rows), rng.stream(0, "memory", step))
        if step == 17:
            restored = memory(policy, capacity=8)
            restored.load_state_dict(broken.state_dict())
            broken = restored
    assert_same(whole, broken)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_stream_of_new_classes_only_stays_bounded(policy: str) -> None:
    replay = memory(policy, capacity=8)
    size = replay.nbytes
    replay.insert(batch([(str(i), i) for i in range(500)]), rng.stream(0, "memory", 0))
    assert len(replay) == 8
    assert replay.nbytes == size
    consistent(replay)


def test_token_ids_take_the_smallest_type_that_fits() -> None:
    small = ReplayMemory(100, 32, 30_522, policies.build(ComponentSpec(name="reservoir")))
    large = ReplayMemory(100, 32, 250_000, policies.build(ComponentSpec(name="reservoir")))
    assert large.nbytes - small.nbytes == 100 * 32 * 2


def test_a_removed_sample_leaves_no_trace() -> None:
    replay = memory(capacity=8)
    replay.insert(batch([("secret", 0), ("kept", 0)]), rng.stream(0, "memory", 0))
    replay.remove("secret")
    state = replay.state_dict()
    assert "secret" not in str(state["ids"])
    assert not (replay._tokens == 1 + hash_of("secret")).any()
