"""What `dual`, and the closed forms, promise beyond the contract of all strategies."""

import math

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BartConfig

from streamlearn.core.batch import Sample
from streamlearn.core.errors import ConfigError
from streamlearn.core.registry import ComponentSpec
from streamlearn.learning.strategies.family import strategies
from tests.learners import accuracy, build, scores, stream

CLOSED = [name for name in strategies if strategies.cls(name).frozen]


def branch(own):
    return [each.detach().clone() for each in own.model.branch.parameters()]


def always(folder, **settings):
    own = build(folder, "dual", **settings)
    own.strategy.config = own.strategy.config.model_copy(update={"rehearsal": "always"})
    own.strategy.due = True
    return own


def test_the_copied_layers_learn_and_the_encoder_stands_still(tiny):
    own = always(tiny)
    encoder = [each.detach().clone() for each in own.model.backbone.parameters()]
    first = branch(own)
    own.add(stream([0, 1, 2, 3] * 4))
    assert all(torch.equal(a, b) for a, b in zip(encoder, own.model.backbone.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, branch(own), strict=True))


def test_before_it_is_worth_it_rehearsal_costs_no_step(tiny):
    own = build(tiny, "dual")
    first = branch(own)
    own.add(stream([0, 1] * 20))
    assert all(torch.equal(a, b) for a, b in zip(first, branch(own), strict=True))
    assert own.step == 5


def test_rehearsal_begins_where_the_closed_form_cannot_tell(tiny):
    own = build(tiny, "dual")
    draw = np.random.default_rng(0)
    first = branch(own)
    own.add(stream(draw.integers(2, size=400).tolist()))
    samples = stream([0] * 600, start=400)
    own.add([Sample(each.id, each.tokens, f"class-{draw.integers(2)}") for each in samples])
    assert own.strategy.rehearsal.duty > 0
    assert not all(torch.equal(a, b) for a, b in zip(first, branch(own), strict=True))


@pytest.mark.parametrize("name", CLOSED)
def test_numbers_that_are_not_finite_are_kept_out_of_the_statistics(tiny, name):
    own = build(tiny, name)
    own.add(stream([0, 1, 2, 3] * 4))
    weights = own.model.backbone.get_input_embeddings().weight
    kept = weights.detach().clone()
    with torch.no_grad():
        weights[2] = math.nan  # the word that only class 0 has
    own.add(stream([0, 1, 2, 3] * 2, start=16))
    with torch.no_grad():
        weights.copy_(kept)
    assert np.isfinite(scores(own, stream([0, 1, 2, 3], start=50))).all()
    own.add(stream([0, 1, 2, 3] * 4, start=24))
    assert accuracy(own, stream([0, 1, 2, 3] * 4, start=60)) > 0.6  # chance is 0.25


def test_a_step_that_is_not_taken_leaves_nothing_behind(tiny):
    own = always(tiny)
    own.add(stream([0, 1, 2, 3] * 4))
    head = own.model.head.weight
    kept = head.detach().clone()
    with torch.no_grad():
        head.fill_(math.nan)
    update = own.add(stream([0, 1, 2, 3] * 2, start=16))[0]
    assert update.skipped == 1
    with torch.no_grad():
        head.copy_(kept)
    own.add(stream([0, 1, 2], start=24))
    own.flush()
    assert np.isfinite(scores(own, stream([0, 1, 2, 3], start=50))).all()
    assert own.strategy.head.means.counts.sum() == 27


def test_a_memory_that_watches_losses_is_told_them(tiny):
    own = always(tiny, policy="loss-aware")
    own.add(stream([0, 1] * 20))
    assert (own.memory.losses >= 0).all()


def test_dropout_does_not_reach_the_closed_form(tiny):
    plain, dropping = always(tiny), always(tiny, dropout=0.4)
    for own in (plain, dropping):
        own.add(stream([0, 1, 2, 3] * 6))
    assert torch.equal(plain.strategy.head.means.sums, dropping.strategy.head.means.sums)


def test_a_changed_seed_does_not_change_what_was_learned(tiny):
    first, other = build(tiny, "ridge", seed=1), build(tiny, "ridge", seed=2)
    first.add(stream([0, 1, 2, 3] * 20))
    other.load_state_dict(first.state_dict())
    asked = stream([0, 1, 2, 3], start=200)
    assert np.array_equal(scores(first, asked), scores(other, asked))


@pytest.mark.parametrize(("writer", "reader"), [("ridge", "ncm"), ("ncm", "slda"), ("ridge", "dual"), ("er", "dual")])
def test_a_snapshot_of_another_strategy_is_refused(tiny, writer, reader):
    own, other = build(tiny, writer), build(tiny, reader)
    own.add(stream([0, 1] * 8))
    with pytest.raises(ConfigError, match="another strategy"):
        other.load_state_dict(own.state_dict())


def test_layers_that_the_encoder_has_not_are_refused(tiny):
    own = build(tiny, "ridge")
    strategy = strategies.build(ComponentSpec(name="ridge", layers=[0, 99]))
    with pytest.raises(ConfigError, match="hidden states 0 to"):
        strategy.bind(own.model, 0)


def test_a_model_that_tells_nothing_of_its_layers_is_refused_at_start(tmp_path, tiny):
    bart = BartConfig(
        d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, vocab_size=64, max_position_embeddings=32,
    )  # fmt: skip
    AutoModel.from_config(bart).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="BartModel does not give the hidden states"):
        build(tmp_path, "dual")
