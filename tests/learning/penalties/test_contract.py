"""What every penalty promises: it holds the model near what it was, on any stream, and repeats to the bit. To register
one is to have it tested."""

import pytest
import torch

from streamlearn.learning.penalties.family import penalties
from streamlearn.learning.strategies.family import strategies
from tests.learners import build, goes_on_the_same, scores, stream, tensor_bytes, written

PENALTIES = list(penalties)
ORDERS = {
    "mixed": [0, 1, 2, 3, 4] * 16,
    "one after the other": [label for label in range(5) for _ in range(16)],
    "only new classes in every batch": list(range(80)),
    "one class": [0] * 80,
}

pytestmark = pytest.mark.parametrize("penalty", PENALTIES)


def spec(penalty, **settings):
    return [{"name": penalty, "every": 3, **settings}]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("strategy", ["finetune", "er"])
def test_any_order_of_classes(tiny, penalty, order, strategy):
    own = build(tiny, strategy, held=spec(penalty))
    samples = stream(ORDERS[order])
    updates = own.add(samples)
    assert [update.skipped for update in updates] == [0] * 10
    assert scores(own, samples[:8]).shape == (8, len(own.task.groups))


@pytest.mark.parametrize("strategy", list(strategies))
def test_beside_any_strategy(tiny, penalty, strategy):
    own = build(tiny, strategy, held=[{"name": each, "every": 2} for each in PENALTIES])
    own.add(stream(ORDERS["one after the other"]))
    assert own.step == 10


def test_nothing_is_held_before_the_first_consolidation(tiny, penalty, tmp_path):
    own, free = build(tiny, held=spec(penalty, every=100)), build(tiny)
    for each in (own, free):
        each.add(stream(ORDERS["mixed"]))
    assert own.sha256() == free.sha256()


def test_of_no_strength_it_changes_nothing(tiny, penalty):
    own, free = build(tiny, held=spec(penalty, strength=0)), build(tiny)
    for each in (own, free):
        each.add(stream(ORDERS["mixed"]))
    assert own.sha256() == free.sha256()


def test_holds_the_model_near_what_it_was(tiny, penalty):
    moved = {}
    for strength in (0, 1e3):
        own = build(tiny, "finetune", held=[{"name": penalty, "every": 10, "strength": strength}], optimizer="sgd")
        old = stream([0, 1, 2, 3] * 20)
        own.add(old)
        before = torch.from_numpy(scores(own, old[:20])[:, :4])
        own.add(stream([4, 5, 6, 7] * 18, start=500))  # nine steps: the past stays what it was
        after = torch.from_numpy(scores(own, old[:20])[:, :4])
        moved[strength] = float((after / after.sum(1, keepdim=True) - before).abs().mean())
    assert moved[1e3] < moved[0]


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_seed_repeats_to_the_bit(tiny, penalty, dropout, tmp_path):
    digests = []
    for cut in (5, 80):
        own = build(tiny, held=spec(penalty), dropout=dropout, steps_per_batch=2)
        samples = stream(ORDERS["one after the other"])
        for start in range(0, 80, cut):
            own.add(samples[start : start + cut])
            torch.rand(3)
        digests.append(written(own, tmp_path / str(cut))[1])
    assert digests[0] == digests[1]


@pytest.mark.parametrize("cut", [0, 20, 60])
def test_goes_on_from_its_state_in_every_bit(tiny, penalty, cut, tmp_path):
    samples = stream([0, 1] * 20 + list(range(40)))
    assert goes_on_the_same(lambda: build(tiny, held=spec(penalty)), samples, cut, tmp_path)


def test_its_state_is_bounded(tiny, penalty):
    own = build(tiny, held=spec(penalty))
    own.add(stream(ORDERS["mixed"]))
    size = tensor_bytes(own.state_dict()["penalties"])
    assert 0 < size <= 2 * tensor_bytes(own.state_dict()["weights"])
    own.add(stream(ORDERS["mixed"], start=100))
    assert tensor_bytes(own.state_dict()["penalties"]) == size


@pytest.mark.slow
def test_with_ten_thousand_classes(tiny, penalty):
    own = build(tiny, "finetune", held=spec(penalty, every=2), batch_size=1000)
    own.add(stream(range(10_000)))
    assert tensor_bytes(own.state_dict()["penalties"]) <= 2 * tensor_bytes(own.state_dict()["weights"])


def test_a_snapshot_without_it_lets_it_begin_anew(tiny, penalty, caplog):
    own = build(tiny, held=spec(penalty))
    own.load_state_dict(build(tiny).state_dict())
    assert "begins anew" in caplog.text
    own.add(stream(ORDERS["mixed"]))


def test_changes_no_weights_and_no_gradients_itself(tiny, penalty):
    own = build(tiny, held=spec(penalty))
    own.add(stream(ORDERS["mixed"]))
    before = own.sha256(), [p.grad for p in own.model.parameters()]
    own.penalties[0].consolidate(own.next_step(), own.memory)
    assert own.sha256() == before[0]
    assert all(one is two for one, two in zip(before[1], [p.grad for p in own.model.parameters()], strict=True))
