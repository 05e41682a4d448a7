"""Learners on the tiny model, and streams for them, for whatever component is registered."""

import numpy as np
import torch

from streamlearn.core.batch import Batch, Sample, pad
from streamlearn.core.registry import ComponentSpec
from streamlearn.core.timing import Stages
from streamlearn.durability.snapshots import Snapshots, name
from streamlearn.learning.config import LearnerConfig
from streamlearn.learning.learner import Learner
from streamlearn.learning.memory.buffer import ReplayMemory
from streamlearn.learning.memory.family import policies, retrievals
from streamlearn.learning.penalties.family import penalties
from streamlearn.learning.strategies.family import strategies
from streamlearn.model.config import ModelConfig
from streamlearn.model.loading import load
from streamlearn.model.tasks.family import tasks
from streamlearn.serving.champion import Champion
from streamlearn.serving.predictor import ServedModel
from tests.models import WORDS


def build(
    folder, strategy="er", *, policy="reservoir", retrieval="uniform", held=(), capacity=20, seed=0, labels=None,
    correctable=0, **settings,
):  # fmt: skip
    """A learner of these components, in batches of eight."""
    model = load(ModelConfig(name=str(folder), device="cpu"), dropout=settings.get("dropout", 0.0))
    memory = ReplayMemory(
        capacity,
        model.max_length,
        model.vocabulary_size,
        policies.build(ComponentSpec(name=policy)),
        retrievals.build(ComponentSpec(name=retrieval)),
    )
    task = tasks.build(ComponentSpec(name="sequence-classification", labels=labels))
    config = LearnerConfig(
        **{"batch_size": 8, "replay_size": 8, "learning_rate": 1e-3, "head_learning_rate": 1e-2, **settings}
    )
    own = [penalties.build(ComponentSpec.model_validate(spec)) for spec in held]
    chosen = strategies.build(ComponentSpec.model_validate(strategy))
    return Learner(
        config, model, task, chosen, memory, seed=seed, stages=Stages(), correctable=correctable, penalties=own
    )


def stream(classes, start=0):
    """A sample of each number's class in this order; its first word gives the class away."""
    draw = np.random.default_rng(start)
    samples = []
    for i, label in enumerate(classes):
        tokens = np.concatenate([[2 + label % 50], draw.integers(52, 2 + len(WORDS), draw.integers(1, 8))])
        samples.append(Sample(f"e{start + i}", tokens.astype(np.int64), f"class-{label}"))
    return samples


def batch_of(own, samples):
    """The samples in columns, as the learner makes them: a new label gets a number, and the head a row."""
    numbers = own.task.encode([sample.label for sample in samples])
    own.model.head.grow(own.task.outputs, own.optimizer)
    return Batch(pad([sample.tokens for sample in samples]), numbers, [sample.id for sample in samples])


def scores(own, samples):
    """What is served for these samples: probabilities of shape (n, classes)."""
    served = ServedModel(Champion(own), own.task, top_k=1, stages=Stages())
    return served.answer([sample.tokens for sample in samples]).scores.probabilities


def accuracy(own, samples):
    best = scores(own, samples).argmax(axis=1)
    return np.mean([own.task.groups[top] == sample.label for top, sample in zip(best, samples, strict=True)])


def written(own, folder):
    """The learner's whole state after a way through a snapshot, and the digests of all of its files."""
    store = Snapshots(str(folder))
    store.write(name(0, len(store.names())), own.state_dict(), made_by={})
    loaded = store.load(store.names()[-1])
    return loaded.state, {file: entry.sha256 for file, entry in loaded.manifest.files.items()}


def tensor_bytes(state):
    if isinstance(state, torch.Tensor):
        return state.nbytes
    if isinstance(state, dict):
        return sum(map(tensor_bytes, state.values()))
    return sum(map(tensor_bytes, state)) if isinstance(state, list | tuple) else 0


def goes_on_the_same(make, samples, cut, folder):
    """Whether a learner that was restored in the middle ends where an undisturbed one does, in every bit."""
    whole, first, again = make(), make(), make()
    whole.add(samples)
    first.add(samples[:cut])
    again.load_state_dict(written(first, folder / "middle")[0])
    again.add(samples[cut:])
    return written(whole, folder / "whole")[1] == written(again, folder / "again")[1]
