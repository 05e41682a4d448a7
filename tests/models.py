"""Small models with random weights, made on the spot: what the tests run where a real encoder has nothing to add."""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

WORDS = [f"w{i}" for i in range(200)]
SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}


def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    words = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]")


def save(folder: Path, kind: str = "encoder") -> Path:
    """Write a model that `from_pretrained` opens: an encoder, or one that was fine-tuned for three labels."""
    torch.manual_seed(0)
    own = tokenizer()
    sizes = {**SIZES, "vocab_size": len(own), "max_position_embeddings": 40, "pad_token_id": 0}
    labels = {"id2label": {0: "buy", 1: "hold", 2: "sell"}, "label2id": {"buy": 0, "hold": 1, "sell": 2}}
    if kind == "encoder":
        model = BertModel(BertConfig(**sizes))
    elif kind == "bert":
        model = BertForSequenceClassification(BertConfig(**sizes, **labels))
    else:
        model = RobertaForSequenceClassification(RobertaConfig(**sizes, **labels))
    model.save_pretrained(folder)
    own.save_pretrained(folder)
    return folder
