"""Events without a label are learned from by what they are taken for, and what was learned so can be taken back."""

import numpy as np
import pytest
import torch

from streamlearn.core.registry import ComponentSpec
from streamlearn.learning.closed_form.self_training import LEAST, SelfTrainingHead
from streamlearn.learning.strategies.family import strategies
from tests.learners import accuracy, build, stream, written
from tests.snapshots import same

BOTH = pytest.mark.parametrize("strategy", ["ridge", "dual"])


def learner(tiny, strategy="ridge", unlabelled=200, **settings):
    own = build(tiny, strategy, **settings)
    spec = {"name": strategy, "unlabelled": unlabelled, "features": 64, "dtype": "float64"}
    own.strategy = strategies.build(ComponentSpec.model_validate(spec))
    own.strategy.bind(own.model, 0)
    return own


def events(classes, start):
    return [sample._replace(label="") for sample in stream(classes, start)]


def begun(own, classes=4):
    own.add(stream([n % classes for n in range(72)]))
    return own.strategy.head


def gone(head):
    """How far the student is from a regression that learned labels alone."""
    head.regression.settle()
    head.student.settle()
    away = (head.student.weights - head.regression.weights).abs().max() / head.regression.weights.abs().max()
    return float(away), float((head.student.inverse - head.regression.inverse).abs().max())


@BOTH
def test_the_teacher_learns_labels_alone(tiny, strategy):
    first, second = learner(tiny, strategy), learner(tiny, strategy, unlabelled=0)
    for own in (first, second):
        begun(own)
        own.add_unlabelled(events([0, 1, 2, 3] * 8, 500)) if own is first else None
        own.add(stream([0, 1, 2, 3] * 4, 900))
    assert torch.equal(first.strategy.head.regression.weights, second.strategy.head.regression.weights)
    assert torch.equal(first.strategy.head.means.sums, second.strategy.head.means.sums)
    assert gone(first.strategy.head)[0] > 1e-3
    assert first.strategy.head.taken.counts.sum() == 32


@BOTH
def test_what_was_heard_is_taken_back_when_its_label_comes(tiny, strategy):
    own, other = learner(tiny, strategy), learner(tiny, strategy)
    head = begun(own)
    begun(other)
    late = stream([0, 1, 2, 3] * 4, 500)
    own.add_unlabelled([sample._replace(label="") for sample in late])
    assert list(head.learned) == [sample.id for sample in late]
    for each in (own, other):
        each.add(late)
    assert not head.learned
    assert head.taken.counts.abs().sum() == 0
    assert gone(head)[0] < 1e-6
    assert gone(head)[1] < 1e-6
    assert torch.allclose(head.student.weights, other.strategy.head.student.weights, atol=1e-6)


def test_one_that_still_waits_to_be_heard_is_not_when_its_label_comes(tiny):
    own = learner(tiny)
    begun(own)
    late = stream([0, 1, 2], 500)
    own.add_unlabelled([sample._replace(label="") for sample in late])
    own.add(late[:1])
    assert [each.id for each in own.queue.unlabelled] == ["e501", "e502"]


def test_what_is_forgotten_leaves_no_trace(tiny):
    own = learner(tiny)
    head = begun(own)
    heard = events([0, 1, 2, 3] * 4, 500)
    own.add_unlabelled(heard)
    assert own.strategy.forget([heard[3].id, heard[15].id, "nobody"]) == 0
    assert len(head.learned) == 14
    own.strategy.forget([each.id for each in heard])
    assert gone(head)[0] < 1e-6
    assert not head.hidden.any()


def test_guesses_are_made_anew_as_labels_come_and_the_old_ones_taken_back(tiny):
    own = learner(tiny)
    head = begun(own)
    heard = events([n % 6 for n in range(48)], 500)  # two classes that are not known yet
    own.add_unlabelled(heard)
    before = head.guesses[: len(heard)].clone()
    assert int(before.max()) < 4
    own.add(stream([4, 5] * (LEAST // 2 + 8), 2000))
    own.add_unlabelled(events([0] * 8, 3000))
    after = head.guesses[: len(heard)]
    assert (after >= 4).any()
    fresh = head._guess(head.hidden[: len(heard)]).cpu()
    assert torch.equal(fresh, after)
    counts = torch.bincount(head.guesses[: len(head.learned)], minlength=6)
    assert torch.equal(head.taken.counts.cpu(), counts.double())
    own.strategy.forget([*head.learned])
    assert gone(head)[0] < 1e-6


def test_few_labels_and_many_events_do_better_than_few_labels(tiny):
    """Two classes whose first words are many: labels show some of them, events the rest."""
    draw = np.random.default_rng(0)

    def texts(count, start):
        found = []
        for n in range(count):
            label = n % 2
            words = 2 + label * 20 + draw.integers(0, 20, 4)
            found.append(stream([label], start + n)[0]._replace(tokens=words.astype(np.int64)))
        return found

    labelled, unlabelled, test = texts(72, 0), texts(400, 1000), texts(300, 5000)
    found = []
    for capacity in (0, 400):
        own = learner(tiny, unlabelled=capacity)
        own.add(labelled)
        if capacity:
            own.add_unlabelled([sample._replace(label="") for sample in unlabelled])
        found.append(accuracy(own, test))
    assert found[1] > found[0]


def test_an_id_that_is_named_twice_is_taken_back_once_and_one_heard_twice_too(tiny):
    own = learner(tiny)
    head = begun(own)
    heard = events([0, 1, 2, 3] * 4, 500)
    own.add_unlabelled(heard)
    own.add_unlabelled(heard)
    own.add_unlabelled([heard[0]] * 8)
    assert head.taken.counts.sum() == 16
    own.strategy.forget([heard[0].id] * 2)
    assert head.taken.counts.sum() == 15
    own.strategy.forget([each.id for each in [*heard, *heard]])
    assert head.taken.counts.abs().sum() == 0
    assert gone(head)[0] < 1e-6


def test_a_learner_that_stopped_hears_nothing_and_keeps_nothing(tiny):
    own = learner(tiny, max_steps=9)
    begun(own)
    own.add_unlabelled(events([0, 1, 2], 500))
    assert not own.queue.unlabelled
    assert own.stopped


def test_guesses_come_out_alike_after_a_restart_though_slots_are_others(tiny, tmp_path):
    digests = []
    for restored in (False, True):
        own = learner(tiny, unlabelled=40)
        begun(own, classes=3)
        own.add_unlabelled(events([n % 7 for n in range(56)], 500))
        own.strategy.forget(["e520", "e533"])
        if restored:
            state, own = written(own, tmp_path / "middle")[0], learner(tiny, unlabelled=40)
            own.load_state_dict(state)
        own.add(stream([n % 7 for n in range(80)], 2000))
        own.add_unlabelled(events([0] * 8, 3000))
        own.add(stream([n % 7 for n in range(160)], 4000))
        own.add_unlabelled(events([1] * 8, 5000))
        digests.append(written(own, tmp_path / f"end-{restored}")[1])
    assert digests[0] == digests[1]


def test_of_more_than_it_keeps_the_oldest_guess_stays(tiny):
    own = learner(tiny, unlabelled=20)
    head = begun(own)
    own.add_unlabelled(events([0, 1, 2, 3] * 8, 500))
    assert list(head.learned) == [f"e{n}" for n in range(512, 532)]
    assert head.taken.counts.sum() == 32
    assert len(head.hidden) == 20


@BOTH
def test_goes_on_from_its_state_in_every_bit(tiny, strategy, tmp_path):
    digests = []
    for restored in (False, True):
        own = learner(tiny, strategy, unlabelled=20)
        begun(own)
        own.add_unlabelled(events([0, 1, 2, 3] * 7, 500))
        if restored:
            state, own = written(own, tmp_path / "middle")[0], learner(tiny, strategy, unlabelled=20)
            own.load_state_dict(state)
            assert same(own.strategy.state_dict(), state["strategy"])
        own.add_unlabelled(events([3, 2, 1, 0] * 3, 700))
        own.add(stream([n % 4 for n in range(80)], 900))
        own.add_unlabelled(events([3, 2, 1, 0] * 3, 1200))
        digests.append(written(own, tmp_path / f"end-{restored}")[1])
    assert digests[0] == digests[1]


def test_evidence_that_was_dropped_is_dropped_from_guesses_too(tiny):
    own = learner(tiny, "dual")
    head = begun(own)
    own.add_unlabelled(events([0, 1, 2, 3] * 4, 500))
    number = int(head.guesses[0])
    head.release(number)
    assert head.student.weights[:, number].abs().max() == 0
    assert head.taken.counts[number] == 0
    own.strategy.forget([*head.learned])
    assert head.taken.counts.sum() == 0


def test_before_the_centre_is_fixed_nothing_is_heard(tiny):
    own = learner(tiny)
    own.add(stream([0, 1] * 8))
    own.add_unlabelled(events([0, 1] * 8, 500))
    head = own.strategy.head
    assert isinstance(head, SelfTrainingHead)
    assert not head.learned
    assert head.serving is head.regression
