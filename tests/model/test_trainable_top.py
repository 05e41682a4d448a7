"""What the branch promises: the top of any encoder of one stack can be copied, and says what the encoder says."""

import pytest
import torch
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    GPT2Config,
    ModernBertConfig,
    MPNetConfig,
    XLNetConfig,
)

from streamlearn.core.batch import pad
from streamlearn.learning.strategies.dual import branch_of
from streamlearn.model.config import ModelConfig
from streamlearn.model.loading import load

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "vocab_size": 64,
    "max_position_embeddings": 64,
}
SPECIAL = dict.fromkeys(("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 2) | {"pad_token_id": 0}
COPIED = [
    BertConfig(**SIZES),
    DebertaV2Config(**SIZES),  # has a normalisation beside its layers that does not come after them
    DistilBertConfig(dim=16, n_layers=3, n_heads=2, hidden_dim=16, vocab_size=64),
    MPNetConfig(**SIZES),
    ModernBertConfig(**SIZES, **SPECIAL),
    GPT2Config(n_embd=16, n_layer=3, n_head=2, vocab_size=64, n_positions=64, bos_token_id=2, eos_token_id=2),
]
TEXTS = ["w1 w2", "w3", "w4 w5 w6 w7 w8"]


def loaded(folder, tiny, config):
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(folder)
    return load(ModelConfig(name=str(folder), device="cpu", dtype="float32", max_length=16))


@pytest.mark.parametrize("config", COPIED, ids=lambda config: config.model_type)
def test_a_copy_says_what_the_encoder_says_until_it_learns(tmp_path, tiny, config):
    model = loaded(tmp_path, tiny, config)
    branch = branch_of(model)
    assert branch is not None
    assert len(branch.layers) == 1
    tokens = pad(model.tokenize(TEXTS)[0])
    with torch.no_grad():
        hidden, straight = model.hidden_states(tokens, (0, 3))
        same_hidden, by_branch = model.hidden_states(tokens, (0, 3), branch=True)
        assert torch.equal(hidden, same_hidden)
        assert torch.allclose(straight, by_branch, atol=1e-4)
        for parameter in branch.parameters():
            parameter.add_(0.1)
        assert torch.equal(model.hidden_states(tokens, (0, 3))[1], straight)
        learned = model.hidden_states(tokens, (0, 3), branch=True)[1]
        assert not torch.allclose(learned, straight, atol=1e-4)
        with branch.grafted():
            assert torch.allclose(model.features(tokens), learned, atol=1e-4)
        assert torch.equal(model.hidden_states(tokens, (0, 3))[1], straight)


def test_an_encoder_that_turns_its_states_around_has_no_copy(tmp_path, tiny, caplog):
    model = loaded(tmp_path, tiny, XLNetConfig(d_model=16, n_layer=2, n_head=2, d_inner=16, vocab_size=64))
    assert branch_of(model) is None
    assert "cannot be copied" in caplog.text
