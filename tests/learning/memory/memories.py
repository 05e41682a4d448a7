"""Memories, what is put into them, and when one agrees with itself."""

from collections import Counter

import numpy as np
import torch

from streamlearn.core import rng
from streamlearn.core.batch import Batch, pad
from streamlearn.core.registry import ComponentSpec
from streamlearn.learning.memory.buffer import ReplayMemory
from streamlearn.learning.memory.family import policies, retrievals


def memory(policy="reservoir", retrieval="uniform", capacity=12):
    """A memory of these components, for up to six tokens a sample."""
    return ReplayMemory(
        capacity,
        6,
        30_522,
        policies.build(ComponentSpec(name=policy)),
        retrievals.build(ComponentSpec(name=retrieval)),
    )


def batch(rows: list[tuple[str, int]], length: int = 3) -> Batch:
    tokens = pad([np.full(length, 1 + hash_of(sample_id)) for sample_id, _ in rows])
    return Batch(tokens, np.array([label for _, label in rows]), [sample_id for sample_id, _ in rows])


def hash_of(sample_id: str) -> int:
    return sum(sample_id.encode()) % 1000


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


def assert_same(one: ReplayMemory, two: ReplayMemory) -> None:
    first, second = one.state_dict(), two.state_dict()
    assert first.keys() == second.keys()
    for name, value in first.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, second[name]), name
        else:
            assert value == second[name], name
