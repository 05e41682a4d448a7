"""What every strategy promises: any stream is taken, in bounded memory, and repeats to the bit. To register one is to
have it tested."""

import numpy as np
import pytest
import torch

from streamlearn.core.batch import pad
from streamlearn.learning.strategies.family import strategies
from tests.learners import accuracy, build, goes_on_the_same, scores, stream, tensor_bytes, written

STRATEGIES = list(strategies)
ORDERS = {
    "mixed": [0, 1, 2, 3, 4] * 16,
    "one after the other": [label for label in range(5) for _ in range(16)],
    "the last first": [label for label in (4, 3, 2, 1, 0) for _ in range(16)],
    "one that comes back": [0] * 24 + [1] * 24 + [0] * 8 + [2, 3, 4] * 8,
    "only new classes in every batch": list(range(80)),
}

pytestmark = pytest.mark.parametrize("strategy", STRATEGIES)


def well(own, samples):
    """What is served after learning is a distribution over the classes."""
    served = scores(own, samples)
    assert served.shape == (len(samples), len(own.task.groups))
    assert np.isfinite(served).all()
    assert np.allclose(served.sum(axis=1), 1, atol=1e-4)


@pytest.mark.parametrize("order", ORDERS)
def test_any_order_of_classes(tiny, strategy, order):
    own = build(tiny, strategy)
    samples = stream(ORDERS[order])
    updates = own.add(samples)
    assert [update.skipped for update in updates] == [0] * 10
    assert own.step == 10
    assert len(own.task.groups) == len({sample.label for sample in samples})
    assert len(own.memory) == (own.memory.capacity if own.strategy.rehearses else 0)
    well(own, samples[:8])


@pytest.mark.parametrize("classes", [[0], [0] * 8, [0] * 40, [0, 0, 1]])
def test_one_sample_and_one_class(tiny, strategy, classes):
    own = build(tiny, strategy)
    own.add(stream(classes))
    own.flush()
    assert not own.waiting
    well(own, stream(classes))


@pytest.mark.parametrize("capacity", [1, 3])
def test_a_memory_of_almost_nothing(tiny, strategy, capacity):
    own = build(tiny, strategy, capacity=capacity)
    own.add(stream(ORDERS["mixed"]))
    assert len(own.memory) <= capacity
    well(own, stream([0, 1, 2]))


def test_without_rehearsal(tiny, strategy):
    own = build(tiny, strategy, replay_size=0)
    updates = own.add(stream(ORDERS["mixed"]))
    assert sum(update.replayed for update in updates) == 0
    well(own, stream([0, 1, 2]))


def test_what_was_stored_is_forgotten_between_batches(tiny, strategy):
    own = build(tiny, strategy)
    samples = stream(ORDERS["mixed"])
    own.add(samples[:40])
    for sample in samples[:40]:
        own.memory.remove(sample.id)
    own.add(samples[40:])
    well(own, samples)


def test_a_corrected_label_takes_the_first_ones_place(tiny, strategy):
    own = build(tiny, strategy)
    samples = stream([0, 1] * 4)
    own.add(samples)
    own.add([type(sample)(sample.id, sample.tokens, "corrected") for sample in samples])
    assert own.memory.counts() == ({2: 8} if own.strategy.rehearses else {})
    well(own, samples)


def test_learns_mixed_classes(tiny, strategy):
    own = build(tiny, strategy, capacity=100, batch_size=16, replay_size=16)
    own.add(stream([i % 3 for i in range(640)]))
    assert accuracy(own, stream([0, 1, 2] * 20, start=10_000)) > 0.9


def test_a_closed_set_has_classes_that_never_come(tiny, strategy):
    own = build(tiny, strategy, labels=[f"class-{i}" for i in range(9)])
    own.add(stream([3, 5, 8, 8] * 10))
    well(own, stream([3, 5, 8]))


@pytest.mark.slow
def test_ten_thousand_classes_take_bounded_memory(tiny, strategy):
    own = build(tiny, strategy, capacity=30, batch_size=500)
    own.add(stream(range(10_000)))
    own.add(stream(range(0, 10_000, 10), start=20_000))  # fills the window of what is usual
    size = tensor_bytes(own.state_dict())
    assert len(own.task.groups) == 10_000
    assert len(own.memory) <= 30
    own.add(stream(range(0, 10_000, 10), start=50_000))
    assert tensor_bytes(own.state_dict()) == size
    well(own, stream([0, 9_999]))


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_seed_repeats_to_the_bit_however_the_stream_was_cut(tiny, strategy, dropout, tmp_path):
    digests = []
    for cut in (1, 13, 80):
        own = build(tiny, strategy, dropout=dropout, steps_per_batch=2)
        samples = stream(ORDERS["one that comes back"])
        for start in range(0, len(samples), cut):
            own.add(samples[start : start + cut])
        digests.append(written(own, tmp_path / str(cut))[1])
    assert digests[0] == digests[1] == digests[2]


@pytest.mark.parametrize("cut", [0, 21, 40])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_goes_on_from_its_state_in_every_bit(tiny, strategy, cut, optimizer, tmp_path):
    samples = stream(ORDERS["one that comes back"] + list(range(24)))
    assert goes_on_the_same(lambda: build(tiny, strategy, optimizer=optimizer), samples, cut, tmp_path)


def test_leaves_its_input_as_it_was(tiny, strategy):
    own = build(tiny, strategy)
    samples, copies = stream(ORDERS["mixed"]), stream(ORDERS["mixed"])
    own.add(samples)
    for sample, copy in zip(samples, copies, strict=True):
        assert (sample.id, sample.label, sample.tokens.tolist()) == (copy.id, copy.label, copy.tokens.tolist())


def test_serving_changes_nothing(tiny, strategy, tmp_path):
    own = build(tiny, strategy)
    own.add(stream(ORDERS["mixed"][:40]))
    before = written(own, tmp_path)[1]
    well(own, stream([0, 1, 2, 3]))
    assert written(own, tmp_path)[1] == before


def test_what_is_usual_is_how_strange_a_sample_would_have_been_served(tiny, strategy):
    own, samples = build(tiny, strategy), stream(ORDERS["mixed"])
    own.add(samples[:40])
    for start in (40, 48, 56):
        batch = samples[start : start + 8]
        with torch.inference_mode():
            served = own.strategy.answer(own.model, pad([sample.tokens for sample in batch])).novelty_scores
        own.add(batch)
        assert list(own.novelty.window)[-8:] == pytest.approx(served.tolist(), abs=1e-3)
