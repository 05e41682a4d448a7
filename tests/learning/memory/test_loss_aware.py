"""What is known well, and what there is much of, gives way first."""

from collections import Counter

import numpy as np

from streamlearn.core import rng
from tests.learning.memory.memories import batch, memory


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
