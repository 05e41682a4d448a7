"""A label that turned out to be wrong is taken back: what has a closed form is as if the right one had come at once."""

import pytest
import torch

from streamlearn.learning.strategies.base import ClosedForm
from streamlearn.learning.strategies.family import strategies
from tests.learners import build, stream, written

CLOSED = [name for name in strategies if issubclass(strategies.cls(name), ClosedForm)]
STATISTICS = {"sums", "counts", "weights", "inverse", "scatter", "mean"}
ORDER = [0, 1, 2, 3] * 24
each = pytest.mark.parametrize("strategy", CLOSED)


def learner(tiny, strategy, window=1000):
    return build(tiny, strategy, correctable=window)


def corrected(own, sample_id, label):
    number = own.task.labels.add(label)
    own.model.head.grow(len(own.task.groups), own.optimizer)
    return own.strategy.correct(sample_id, number, len(own.task.groups))


def statistics(own):
    if hasattr(own.strategy, "head"):
        own.strategy.head.regression.settle()
    found = {name: value for name, value in own.strategy.state_dict().items() if name in STATISTICS}
    assert "counts" in found
    return found


def alike(one, other):
    return all(torch.allclose(one[name].double(), other[name].double(), rtol=1e-4, atol=1e-5) for name in one)


@each
@pytest.mark.parametrize("passed", [8, 40, 96])  # before and after the centre of the features is fixed
@pytest.mark.parametrize("at", [4, 6])  # the first four name the classes
def test_it_is_as_if_the_right_label_had_come_at_once(tiny, strategy, passed, at):
    right = stream(ORDER[:passed])
    wrong = [sample._replace(label="class-3") if n == at else sample for n, sample in enumerate(right)]
    first, second = learner(tiny, strategy), learner(tiny, strategy)
    first.add(right)
    second.add(wrong)
    assert not alike(statistics(first), statistics(second))
    assert corrected(second, right[at].id, right[at].label)
    assert alike(statistics(first), statistics(second))
    more = stream(ORDER[:16], start=1000)
    first.add(more)
    second.add(more)
    assert alike(statistics(first), statistics(second))


@each
def test_a_correction_may_bring_a_class_or_empty_one(tiny, strategy):
    own, samples = learner(tiny, strategy), [*stream(ORDER[:88]), *stream([9] * 8, start=500)]
    own.add(samples)
    for sample in samples[-8:]:
        assert corrected(own, sample.id, "a new one")
    counts = statistics(own)["counts"].tolist()
    names = own.task.groups
    assert counts[names.index("class-9")] == 0
    assert counts[names.index("a new one")] == 8
    assert statistics(own)["sums"][names.index("class-9")].abs().max() == 0


@each
def test_past_the_window_nothing_is_taken_back(tiny, strategy):
    own, samples = learner(tiny, strategy, window=10), stream(ORDER)
    own.add(samples)
    before = statistics(own)
    assert not corrected(own, samples[-11].id, "class-0")
    assert corrected(own, samples[-1].id, samples[-1].label)  # the same label: nothing to do
    assert alike(before, statistics(own))
    assert len(own.strategy.recent) == 10


@each
def test_what_is_kept_goes_through_a_snapshot(tiny, strategy, tmp_path):
    samples, digests = stream(ORDER), []
    for restored in (False, True):
        own = learner(tiny, strategy, window=20)
        own.add(samples[:72])
        if restored:
            state, own = written(own, tmp_path / "middle")[0], learner(tiny, strategy, window=20)
            own.load_state_dict(state)
        own.add(samples[72:80])
        for sample in samples[64:80:3]:
            assert corrected(own, sample.id, "class-1")
        own.add(samples[80:])
        digests.append(written(own, tmp_path / f"end-{restored}")[1])
    assert digests[0] == digests[1]


def test_evidence_that_was_dropped_is_not_taken_out_again(tiny):
    own, samples = learner(tiny, "dual"), stream(ORDER)
    own.add(samples)
    number = own.task.labels.number("class-2")
    own.strategy.head.release(number)
    own.strategy.recent.drop(number)
    mine = next(sample for sample in samples if sample.label == "class-2")
    before = statistics(own)["counts"].clone()
    assert corrected(own, mine.id, "class-0")
    changed = statistics(own)["counts"] - before
    assert changed.tolist() == [1, 0, 0, 0]
