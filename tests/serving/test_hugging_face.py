"""What is exported opens in Transformers, and the guide's reader says of it what the learner said."""

import json
from itertools import product

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from streamlearn.commands.export import export
from streamlearn.core.batch import pad
from streamlearn.core.errors import ConfigError, StreamlearnError
from streamlearn.core.registry import ComponentSpec
from streamlearn.durability.snapshots import Snapshots, name
from streamlearn.learning.strategies.family import strategies
from streamlearn.learning.strategies.ridge import Ridge
from streamlearn.model.config import ModelConfig
from streamlearn.model.loading import load
from streamlearn.service.connections import made_by
from streamlearn.serving import hugging_face as pretrained
from tests.docs.test_docs import ROOT, blocks
from tests.models import WORDS, save
from tests.world import World

TEXT = "w1 w2 w3"
KINDS = ["encoder", "bert", "roberta"]


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    torch.set_num_threads(1)
    return {kind: save(tmp_path_factory.mktemp("models") / kind, kind) for kind in KINDS}


@pytest.fixture(scope="session")
def reader():
    """The class that the guide shows."""
    names = {}
    exec(blocks("python", (ROOT / "docs" / "export.md").read_text(encoding="utf-8"))[0], names)  # noqa: S102 - ours
    return names["Exported"]


def er():
    return strategies.build(ComponentSpec(name="er"))


def texts(n, start=0):
    """Texts of one to eight words, of which the first gives the class away."""
    draw = np.random.default_rng(start)
    return [" ".join([WORDS[i % 4], *draw.choice(WORDS[4:], draw.integers(0, 8))]) for i in range(n)]


ASKED = [*texts(40, start=1), " ".join(WORDS[:60])]  # the last is longer than what is read


def learned(folder, strategy, events, **sections):
    """A service that has learned, and answers in float32 whatever it learned in."""
    world = World(folder, partitions=1, strategy=strategy, **sections)
    world.produce(*({"id": f"e{i}", "text": text, "label": f"c{i % 4}"} for i, text in enumerate(texts(events))))
    world.drain()
    world.service.learner.model.dtype = torch.float32
    return world


def answers(world):
    model = world.service.learner.model
    return world.service.predictor.answer(model.tokenize(ASKED)[0]).scores.probabilities


def written(world, folder):
    """Write a snapshot, and return where."""
    made = made_by(world.settings, world.service)
    Snapshots(str(folder)).write(name(0, 1), world.service.state.state_dict(), made_by=made)
    return str(folder)


def differs(world, reader, folder):
    """How far what a reader says of a model, and of its snapshot, is from what the learner says."""
    learner, said = world.service.learner, []
    pretrained.save(learner.model, learner.strategy, list(learner.task.groups), folder / "model")
    export(written(world, folder / "state"), folder / "from-snapshot")
    for each in ("model", "from-snapshot"):
        opened = reader(folder / each)
        assert opened.labels == list(learner.task.groups)
        said.append(opened.probabilities(ASKED).numpy())
    return max(np.abs(each - answers(world)).max() for each in said)


@pytest.mark.parametrize("case", list(product(KINDS, [0, 24, 120])), ids=str)
@pytest.mark.parametrize("strategy", list(strategies))
def test_a_reader_says_what_the_learner_says(tmp_path, folders, reader, strategy, case):
    kind, events = case
    labels = {"task": {"name": "sequence-classification", "labels": [f"c{i}" for i in range(9)]}}
    world = learned(folders[kind], strategy, events, **(labels if kind == "encoder" else {}))
    assert differs(world, reader, tmp_path) < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_a_rehearsed_head_that_has_a_say_is_read_too(tmp_path, folders, reader, kind):
    rates = {"learning_rate": 1e-2, "head_learning_rate": 1e-2}
    world = learned(folders[kind], {"name": "dual", "rehearsal": "always"}, 80, learner=rates)
    weights = world.service.learner.strategy.fusion.weights
    weights[2] = 0.0
    alone = answers(world)
    weights[2] = 2.0
    assert np.abs(answers(world) - alone).max() > 0.03
    assert differs(world, reader, tmp_path) < 1e-4
    assert (tmp_path / "model" / "rehearsed").exists() == (kind == "encoder")  # a checkpoint's layers are not copied


def test_a_rehearsed_head_without_a_say_is_left_out(tmp_path, folders):
    world = learned(folders["encoder"], {"name": "dual", "rehearsal": "always"}, 80)
    world.service.learner.strategy.fusion.weights[2] = 0.0
    files = export(written(world, tmp_path / "state"), tmp_path / "out")
    assert not [each for each in files if each.startswith("rehearsed")]
    assert len({(tmp_path / "out" / each).stat().st_mode for each in files}) == 1  # who reads one reads them all
    assert set(load_file(tmp_path / "out" / "head.safetensors")) == {"weight", "bias", "centre", "projections"}


@pytest.mark.parametrize(
    "strategy",
    [
        {"name": "ridge", "layers": [3, 0], "features": 96, "dtype": "float64"},
        {"name": "dual", "features": 64, "ridge": 1.0},
        {"name": "slda", "shrinkage": 0.5},
    ],
    ids=lambda each: each["name"],
)
def test_a_snapshot_is_read_with_the_settings_that_wrote_it(tmp_path, folders, reader, strategy):
    assert differs(learned(folders["encoder"], strategy, 80, seed=7), reader, tmp_path) < 1e-4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", ["er", "dual"])
def test_the_model_stays_as_it_is(tmp_path, folders, strategy, kind):
    world = learned(folders[kind], strategy, 80)
    learner = world.service.learner
    if strategy == "dual":
        learner.strategy.fusion.weights[2] = 2.0
    digest, labels, before = learner.sha256(), dict(learner.model.backbone.config.id2label), answers(world)
    pretrained.save(learner.model, learner.strategy, list(learner.task.groups), tmp_path / "out")
    assert (learner.sha256(), learner.model.backbone.config.id2label) == (digest, labels)
    assert np.array_equal(answers(world), before)


class Silent(Ridge):
    """Answers in a way of its own, and says nothing of it."""

    def scores(self, model, tokens):
        return -super().scores(model, tokens)


class Mute(Ridge):
    """The same, by way of `answer`."""

    def answer(self, model, tokens):
        answer = super().answer(model, tokens)
        return answer._replace(scores=-answer.scores)


class Quiet(Silent):
    """Inherits such a way."""


class Frank(Silent):
    """Says what it answers from."""

    def exported(self, model):
        return super().exported(model)


@pytest.mark.parametrize("strategy", [Silent, Quiet, Mute])
def test_a_strategy_that_does_not_say_what_it_answers_from_is_refused(tmp_path, folders, strategy):
    model = load(ModelConfig(name=str(folders["encoder"]), device="cpu"))
    own = strategy(Ridge.Config())
    own.bind(model, 0)
    with pytest.raises(ConfigError, match=r"(Silent has `scores`|Mute has `answer`) of its own"):
        pretrained.save(model, own, [], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("strategy", [Frank, *(strategies.cls(each) for each in strategies)])
def test_a_strategy_that_says_it_is_not(strategy):
    pretrained.check(strategy)


def scores(model):
    with torch.no_grad():
        return model(pad(model.tokenize([TEXT])[0]))


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_fine_tuned_checkpoint_opens_with_the_labels_that_came_since(tmp_path, folders, kind):
    model = load(ModelConfig(name=str(folders[kind]), device="cpu", dtype="float32"))
    model.head.grow(4)
    with torch.no_grad():
        model.head.weight[3] = 0.5
    expected = scores(model)
    pretrained.save(model, er(), ["buy", "hold", "sell", "short"], tmp_path / "out")
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert theirs.config.id2label[3] == "short"
    with torch.no_grad():
        found = theirs(**AutoTokenizer.from_pretrained(tmp_path / "out")(TEXT, return_tensors="pt")).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_an_encoder_opens_with_its_head_beside_it(tmp_path, tiny):
    model = load(ModelConfig(name=str(tiny), device="cpu", dtype="float32"))
    model.head.grow(2)
    with torch.no_grad():
        model.head.weight[:2] = torch.arange(2 * model.head.weight.shape[1]).reshape(2, -1) / 100
    pretrained.save(model, er(), ["a", "b"], tmp_path / "out")
    assert json.loads((tmp_path / "out" / "labels.json").read_text()) == ["a", "b"]
    head = load_file(tmp_path / "out" / "head.safetensors")
    with torch.no_grad():
        tokens = AutoTokenizer.from_pretrained(tmp_path / "out")(TEXT, return_tensors="pt")
        states = AutoModel.from_pretrained(tmp_path / "out").eval()(**tokens).last_hidden_state
        found = states.mean(1) @ head["weight"].T + head["bias"]
    torch.testing.assert_close(found, scores(model), rtol=1e-4, atol=1e-5)
    with pytest.raises(StreamlearnError, match="is not empty"):
        pretrained.save(model, er(), ["a", "b"], tmp_path / "out")
