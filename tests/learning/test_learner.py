"""Learning is cut by count, repeatable to the bit, bounded, and not poisoned by what is not finite."""

import numpy as np
import pytest
import torch

from streamlearn.core.batch import Sample
from streamlearn.core.registry import ComponentSpec
from streamlearn.core.timing import Stages
from streamlearn.learning.config import LearnerConfig
from streamlearn.learning.learner import Learner
from streamlearn.learning.memory.buffer import ReplayMemory
from streamlearn.learning.memory.family import policies
from streamlearn.learning.strategies.base import Strategy
from streamlearn.learning.strategies.family import strategies
from streamlearn.model.config import ModelConfig
from streamlearn.model.loading import load
from streamlearn.model.tasks.family import tasks
from streamlearn.serving.champion import Champion
from streamlearn.serving.predictor import ServedModel
from tests.models import WORDS

STRATEGIES = list(strategies)


def learner(folder, strategy="er", *, labels=None, capacity=50, **settings):
    model = load(ModelConfig(name=str(folder), device="cpu"), dropout=settings.get("dropout", 0.0))
    task = tasks.build(ComponentSpec(name="sequence-classification", labels=labels))
    policy = policies.build(ComponentSpec(name="reservoir"))
    memory = ReplayMemory(capacity, model.max_length, model.vocabulary_size, policy)
    config = LearnerConfig(**{"learning_rate": 1e-3, "head_learning_rate": 1e-2, **settings})
    return Learner(config, model, task, strategies.build(ComponentSpec(name=strategy)), memory, seed=0, stages=Stages())


def samples(model, n, classes=3, start=0):
    """Texts whose first word gives the class away."""
    draw = np.random.default_rng(start)
    rows = [f"w{i % classes} " + " ".join(draw.choice(WORDS[50:], draw.integers(1, 8))) for i in range(n)]
    tokens, _ = model.tokenize(rows)
    return [Sample(f"e{start + i}", row, f"class-{i % classes}") for i, row in enumerate(tokens)]


def accuracy(own, n=60):
    predictor = ServedModel(Champion(own), own.task, top_k=1, stages=Stages())
    test = samples(own.model, n, start=10_000)
    scores = predictor.answer([sample.tokens for sample in test]).scores
    return np.mean([own.task.groups[top[0]] == s.label for top, s in zip(scores.top, test, strict=True)])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_learns(tiny, strategy):
    own = learner(tiny, strategy)
    own.add(samples(own.model, 480))
    assert own.step == 30
    assert accuracy(own) > 0.9


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_is_repeatable_however_the_stream_was_polled(tiny, strategy, dropout):
    digests = set()
    for cut in (1, 7, 100):
        own = learner(tiny, strategy, dropout=dropout)
        stream = samples(own.model, 100)
        for start in range(0, 100, cut):
            own.add(stream[start : start + cut])
            torch.rand(3)  # whatever others draw from torch's generator does not matter
        own.flush()
        digests.add(own.sha256())
        assert own.step == 7
    assert len(digests) == 1


def test_another_seed_is_another_rehearsal(tiny):
    one, two = learner(tiny), learner(tiny)
    two.seed = 1
    for own in (one, two):
        own.add(samples(own.model, 100))
    assert one.model.sha256() != two.model.sha256()


def test_rehearsal_keeps_what_is_not_seen_any_more(tiny):
    kept = {}
    for strategy in ("finetune", "er"):
        own = learner(tiny, strategy, capacity=100, learning_rate=3e-3, head_learning_rate=3e-2)
        stream = samples(own.model, 640, classes=10)
        old = {f"class-{i}" for i in range(5)}
        own.add([s for s in stream if s.label in old])
        own.add([s for s in stream if s.label not in old])
        kept[strategy] = accuracy(own)  # on three of the old classes
    assert kept["er"] > kept["finetune"] + 0.2, kept


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("batch", [1, 2, 17])
def test_any_number_of_samples_and_classes(tiny, strategy, batch):
    own = learner(tiny, strategy, capacity=1)
    own.add(samples(own.model, batch, classes=batch))
    own.flush()
    assert len(own.task.groups) == batch
    assert not own.waiting


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_does_not_change_its_input(tiny, strategy):
    own = learner(tiny, strategy)
    stream = samples(own.model, 32)
    before = [sample.tokens.copy() for sample in stream]
    own.add(stream)
    assert all((a == sample.tokens).all() for a, sample in zip(before, stream, strict=True))


def test_a_step_that_is_not_finite_leaves_no_trace(tiny):
    own, spoilt = learner(tiny), learner(tiny)
    stream = samples(own.model, 48)
    own.add(stream[:16])
    spoilt.add(stream[:16])

    class Poison(Strategy):
        def loss(self, step, batch, memory):
            return {"nan": step.forward(batch).sum() * float("nan")}

    good, spoilt.strategy = spoilt.strategy, Poison(None)
    (update,) = spoilt.add(stream[16:32])
    assert (update.steps, update.skipped) == (0, 1)
    assert len(spoilt.memory) == 16
    spoilt.strategy = good
    own.add(stream[32:])
    spoilt.add(stream[32:])
    assert own.model.sha256() == spoilt.model.sha256()


@pytest.mark.parametrize(
    ("settings", "still", "moves"),
    [
        ({}, "embeddings.word_embeddings", "encoder.layer.0"),
        ({"freeze": "encoder"}, "encoder.layer.2", None),
        ({"freeze": "layers", "frozen_layers": 2}, "encoder.layer.1", "encoder.layer.2"),
        ({"freeze": "layers", "frozen_layers": 1}, "embeddings.position_embeddings", "encoder.layer.1"),
        ({"train_embeddings": True}, None, "embeddings.word_embeddings"),
        ({"optimizer": "sgd"}, "embeddings.word_embeddings", "encoder.layer.0"),
    ],
)
def test_what_is_frozen_stands_still(tiny, settings, still, moves):
    own = learner(tiny, **settings)
    before = {name: tensor.clone() for name, tensor in own.model.backbone.state_dict().items()}
    own.add(samples(own.model, 64))
    after = own.model.backbone.state_dict()
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert still is None or not any(name.startswith(still) for name in changed)
    assert moves is None or any(name.startswith(moves) for name in changed)


def test_steps_per_batch_rehearse_anew_each_time(tiny):
    own = learner(tiny, steps_per_batch=3)
    own.add(samples(own.model, 16))
    (update,) = own.add(samples(own.model, 16, start=100))
    assert (update.steps, update.replayed, own.step) == (3, 48, 6)


def test_stops_at_max_steps(tiny):
    own = learner(tiny, max_steps=2)
    own.add(samples(own.model, 100))
    own.flush()
    assert own.stopped
    assert own.step == 2
    assert own.give_up() == 68
    assert not own.waiting


def test_a_closed_set_has_its_rows_from_the_start(tiny):
    own = learner(tiny, labels=["class-0", "class-1", "class-2"])
    assert own.model.head.size == 3
    assert not own.model.trained
    own.add(samples(own.model, 16))
    assert own.model.trained
