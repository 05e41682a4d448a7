"""A reservoir is fair to every sample of the stream, and class-balanced is fair to classes."""

from collections import Counter

import numpy as np

from streamlearn.core import rng
from tests.learning.memory.memories import batch, memory


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
