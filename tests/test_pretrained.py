"""What is exported opens in Transformers, and says what it said here."""

import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from streamlearn import pretrained
from streamlearn.batch import pad
from streamlearn.errors import StreamlearnError
from streamlearn.model import ModelConfig, load
from tests.models import save

TEXT = "w1 w2 w3"


def scores(model):
    with torch.no_grad():
        return model(pad(model.tokenize([TEXT])[0]))


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_fine_tuned_checkpoint_opens_with_the_labels_that_came_since(tmp_path, kind):
    model = load(ModelConfig(name=str(save(tmp_path / kind, kind)), device="cpu", dtype="float32"))
    model.head.grow(4)
    with torch.no_grad():
        model.head.weight[3] = 0.5
    expected = scores(model)
    pretrained.save(model, ["buy", "hold", "sell", "short"], tmp_path / "out")
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
    pretrained.save(model, ["a", "b"], tmp_path / "out")
    assert json.loads((tmp_path / "out" / "labels.json").read_text()) == ["a", "b"]
    head = load_file(tmp_path / "out" / "head.safetensors")
    with torch.no_grad():
        tokens = AutoTokenizer.from_pretrained(tmp_path / "out")(TEXT, return_tensors="pt")
        states = AutoModel.from_pretrained(tmp_path / "out").eval()(**tokens).last_hidden_state
        found = states.mean(1) @ head["weight"].T + head["bias"]
    torch.testing.assert_close(found, scores(model), rtol=1e-4, atol=1e-5)
    with pytest.raises(StreamlearnError, match="is not empty"):
        pretrained.save(model, ["a", "b"], tmp_path / "out")
