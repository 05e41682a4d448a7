"""A ring keeps the newest samples of each class, and makes room for new classes."""

import numpy as np

from streamlearn.core import rng
from tests.learning.memory.memories import batch, fill, memory


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


def test_a_new_sample_of_an_id_keeps_its_age_and_loses_its_loss():
    replay = fill(memory("ring"), [0] * 12)
    replay.insert(batch([("s0", 0)]), rng.stream(0, "memory", 99))
    assert "s0" in replay
    assert replay.losses[replay.order.argmin()] < 0
    replay.insert(batch([("new", 0)]), rng.stream(0, "memory", 100))
    assert "s0" not in replay
