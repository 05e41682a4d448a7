"""What the closed forms promise: exact, whatever the order and the blocks; and what is taken out leaves no trace."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from streamlearn.learning.closed_form import ClassMeans, LeastSquares, RidgeHead
from streamlearn.learning.closed_form.class_drift import ESTABLISHED, ClassDrift
from streamlearn.learning.closed_form.fusion import HIGHEST, LOWEST, Fusion
from streamlearn.learning.closed_form.least_squares import BLOCK, SHARE
from streamlearn.learning.closed_form.random_features import CENTRING
from streamlearn.learning.closed_form.rehearsal_schedule import CONTENT, MEMORY, TRIAL, RehearsalSchedule
from streamlearn.learning.closed_form.ridge_head import Evidence

CPU = torch.device("cpu")


def rows(count, size=12, outputs=5, seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=draw).double(), torch.randn(count, outputs, generator=draw).double()


def solved(x, y, ridge):
    return torch.linalg.solve(x.T @ x + ridge * torch.eye(x.shape[1], dtype=x.dtype), x.T @ y)


@settings(deadline=None)  # shared machines stall now and then
@given(sizes=st.lists(st.integers(1, BLOCK + 3), min_size=1, max_size=12), ridge=st.sampled_from([0.1, 10.0]))
def test_least_squares_are_those_of_one_solve_whatever_the_blocks(sizes, ridge):
    x, y = rows(sum(sizes))
    own = LeastSquares(12, ridge=ridge, device=CPU, dtype=torch.float64)
    own.grow(5)
    for part, targets in zip(x.split(sizes), y.split(sizes), strict=True):
        own.learn(part, targets)
    own.settle()
    assert torch.allclose(own.weights, solved(x, y, ridge), rtol=1e-9, atol=1e-10)
    assert torch.allclose(own.predict(x), x @ solved(x, y, ridge), atol=1e-8)


@settings(deadline=None)
@given(before=st.integers(0, 90), taken_out=st.integers(1, 30), after=st.integers(0, 90))
def test_what_is_unlearned_leaves_no_trace(before, taken_out, after):
    x, y = rows(before + taken_out + after)
    own = LeastSquares(12, ridge=1.0, device=CPU, dtype=torch.float64)
    own.grow(5)
    parts = [before, taken_out, after]
    (x0, x1, x2), (y0, y1, y2) = x.split(parts), y.split(parts)
    for part, targets in ((x0, y0), (x1, y1), (x2, y2)):
        if len(part):
            own.learn(part, targets)
    own.unlearn(x1, y1)
    assert torch.allclose(own.weights, solved(torch.cat([x0, x2]), torch.cat([y0, y2]), 1.0), rtol=1e-8, atol=1e-9)


def test_few_rows_wait_and_never_more_than_a_share():
    x, y = rows(4000)
    own = LeastSquares(12, ridge=1.0, device=CPU, dtype=torch.float64)
    own.grow(5)
    for taken in range(4000):
        own.learn(x[taken : taken + 1], y[taken : taken + 1])
        assert len(own.rows) <= min(BLOCK - 1, (taken + 1) // SHARE)
    own.settle()
    assert own.count == 4000
    assert not len(own.rows)


def test_a_new_output_has_seen_only_zeros():
    x, y = rows(40)
    own = LeastSquares(12, ridge=1.0, device=CPU, dtype=torch.float64)
    own.grow(4)
    own.learn(x[:20], y[:20, :4])
    own.grow(5)
    own.learn(x[20:], y[20:])
    own.settle()
    targets = torch.cat([torch.cat([y[:20, :4], torch.zeros(20, 1).double()], dim=1), y[20:]])
    assert torch.allclose(own.weights, solved(x, targets, 1.0), atol=1e-9)


def test_single_precision_stays_near_after_many_rows():
    x, y = rows(60, outputs=3)
    own = LeastSquares(12, ridge=10.0, device=CPU)
    own.grow(3)
    for _ in range(300):
        own.learn(x.float(), y.float())
    own.settle()
    exact = torch.linalg.solve(300 * x.T @ x + 10 * torch.eye(12).double(), 300 * x.T @ y)
    assert (own.weights.double() - exact).norm() / exact.norm() < 1e-4


def test_class_means_are_exact_both_ways():
    x, _ = rows(30)
    labels = torch.arange(30) % 3
    own = ClassMeans(12, CPU)
    own.grow(3)
    own.add(x, labels)
    own.add(x[:9], labels[:9], -1.0)
    assert own.counts.tolist() == [7, 7, 7]
    for label in range(3):
        exact = functional.normalize(x[9:][labels[9:] == label].mean(0), dim=0)
        assert torch.allclose(own.directions()[label], exact.float(), atol=1e-6)


def head(dtype=torch.float64):
    return RidgeHead(2, 16, 64, ridge=1.0, seed=0, device=CPU, dtype=dtype)


def clouds(count, classes, seed=0, noise=0.3):
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((classes, 2, 16))
    labels = draw.integers(classes, size=count)
    hidden = centres[labels] + noise * draw.standard_normal((count, 2, 16))
    return torch.from_numpy(hidden).float(), torch.from_numpy(labels)


def test_the_head_does_not_depend_on_how_the_first_samples_came():
    hidden, labels = clouds(200, 4)
    whole, parts = head(), head()
    whole.learn(hidden[:CENTRING], labels[:CENTRING], 4)
    for at in range(0, CENTRING, 16):
        parts.learn(hidden[at : at + 16], labels[at : at + 16], 4)
    for own in (whole, parts):
        own.learn(hidden[CENTRING:], labels[CENTRING:], 4)
        own.regression.settle()
    one, other = whole.evidence(hidden), parts.evidence(hidden)
    assert torch.allclose(one.ridge, other.ridge, atol=1e-5)
    assert torch.allclose(one.prototype, other.prototype, atol=1e-5)
    assert (one.ridge.argmax(1) == labels).float().mean() > 0.95


def test_a_prototype_fades_as_labels_come():
    hidden, labels = clouds(600, 2)
    own = head()
    own.learn(hidden[:4], labels[:4], 2)
    few = own.evidence(hidden).prototype.abs().max()
    own.learn(hidden[4:], labels[4:], 2)
    assert own.evidence(hidden).prototype.abs().max() < few / 20


def test_released_evidence_speaks_no_more_for_its_class():
    hidden, labels = clouds(300, 3)
    own = head()
    own.learn(hidden, labels, 3)
    own.release(1)
    evidence = own.evidence(hidden)
    assert not evidence.ridge[:, 1].any()
    assert not evidence.prototype[:, 1].any()
    assert (evidence.ridge.argmax(1) == labels)[labels != 1].float().mean() > 0.9


@pytest.mark.parametrize("useful", [True, False])
def test_the_rehearsed_head_gets_a_say_where_it_helps(useful):
    draw = torch.Generator().manual_seed(0)
    fusion = Fusion()
    for _ in range(200):
        labels = torch.randint(3, (16,), generator=draw)
        right = torch.nn.functional.one_hot(labels, 3).float()
        noise = torch.randn(16, 3, generator=draw)
        evidence = Evidence(0.3 * right + 0.3 * noise, torch.zeros(16, 3), torch.zeros(16))
        said = (3 * right + noise) if useful else 3 * torch.randn(16, 3, generator=draw)
        fusion.learn(evidence, said.log_softmax(1), labels)
    assert (fusion.rehearsed > 0.5) == useful
    assert useful or fusion.rehearsed < 0.1
    assert all(low <= w <= high for low, w, high in zip(LOWEST, fusion.weights.tolist(), HIGHEST, strict=True))


def outcomes(test, pairs):
    return [stale for said, true in pairs for stale in test.update([said], [true])]


def test_a_class_whose_texts_go_by_another_name_is_found_soon():
    test = ClassDrift()
    assert not outcomes(test, [(label, label) for _ in range(40) for label in (0, 1, 2)])
    swapped = [pair for _ in range(15) for pair in ((0, 1), (1, 0), (2, 2))]
    assert sorted(set(outcomes(test, swapped))) == [0, 1]


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_a_class_that_errs_as_it_always_did_is_left_alone(share):
    draw = np.random.default_rng(0)
    test = ClassDrift()
    pairs = [(int(draw.random() < share), 0) for _ in range(3000)]
    assert not outcomes(test, [(1, 1)] * (ESTABLISHED + 1) + pairs)


def test_a_new_class_says_nothing_against_an_old_one():
    test = ClassDrift()
    assert not outcomes(test, [(0, 0)] * 100 + [(0, 1)] * ESTABLISHED)


def test_a_class_that_was_always_taken_for_another_has_not_changed():
    """Wrong labels look like that: what they are taken for is right."""
    test = ClassDrift()
    assert not outcomes(test, [(0, 0 if at % 20 else 1) for at in range(4000)])


def feed(rehearsal, batches, alone, together=None):
    for _ in range(batches):
        rehearsal.update(alone, together, [True] * len(alone))


def test_rehearsal_costs_nothing_where_the_closed_form_errs_little():
    rehearsal = RehearsalSchedule()
    feed(rehearsal, 100, [True] * 19 + [False])
    assert 1 - rehearsal.errors / rehearsal.weight > 1 - CONTENT
    assert rehearsal.duty == 0
    assert not any(rehearsal.next() for _ in range(100))


def test_rehearsal_is_tried_and_kept_where_it_gains_and_nearly_dropped_where_not():
    tried, kept, dropped = RehearsalSchedule(), RehearsalSchedule(), RehearsalSchedule()
    wrong = [True, False] * 8
    feed(tried, MEMORY, wrong)
    feed(kept, TRIAL + MEMORY, wrong, [True] * 16)
    feed(dropped, TRIAL + MEMORY, wrong, wrong)
    assert tried.duty == kept.duty == 1
    assert 0 < dropped.duty <= 1 / 16
    assert sum(dropped.next() for _ in range(160)) == 10


def test_errors_on_new_classes_call_for_nothing():
    rehearsal = RehearsalSchedule()
    for _ in range(100):
        rehearsal.update([False] * 16, None, [False] * 16)
    assert rehearsal.duty == 0


def test_most_of_what_came_of_a_class_is_in_the_weights():
    hidden, labels = clouds(1400, 2)
    own = head()
    own.learn(hidden[:1300], labels[:1300], 2)
    assert not len(own.regression.rows)
    for taken in range(1, 101):
        own.learn(hidden[1300 : 1300 + 1], torch.tensor([2]), 3)
        assert own.regression.targets[:, 2].sum() <= taken / 2
