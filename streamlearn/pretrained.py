"""Writes a model as Transformers knows it: a folder that `from_pretrained` opens."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers.utils import logging as transformers_logging

from streamlearn.errors import ConfigError, StreamlearnError
from streamlearn.model import Model
from streamlearn.strategies import strategies


def save(model: Model, labels: Sequence[str], folder: Path) -> list[str]:
    """Write backbone, tokenizer, head and labels; return the names of the files.

    A fine-tuned checkpoint gets its classifier back, with a row for each label that was learned since:
    `AutoModelForSequenceClassification` opens the folder. Of any other model `AutoModel` opens it; the head lies beside
    it in `head.safetensors` (`weight` of shape (labels, features), `bias` of shape (labels,)) and reads the mean of the
    last hidden states over the text's tokens. `labels.json` lists the labels in the order of its rows.

    Raises:
        StreamlearnError: the folder is not empty, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise StreamlearnError("the folder is not empty", where=str(folder), mend="name one that is new or empty")
        rows = model.head.size
        head = {name: tensor.detach()[:rows].cpu().clone() for name, tensor in model.head.named_parameters()}
        if model.labels:
            _give_back(model, head, labels)
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        model.backbone.save_pretrained(folder)  # type: ignore[operator]
        model.tokenizer.save_pretrained(folder)
        save_file({name: tensor.contiguous() for name, tensor in head.items()}, folder / "head.safetensors")
        (folder / "labels.json").write_text(json.dumps(list(labels), ensure_ascii=False, indent=1) + "\n")
    except OSError as error:
        raise StreamlearnError(
            f"cannot be written: {error.strerror or error}", where=str(folder), mend="name a folder that you may write"
        ) from error
    return sorted(file.name for file in folder.iterdir())


def check_portable(strategy: str) -> None:
    """Refuse what `save` cannot write.

    Raises:
        ConfigError: the strategy answers from statistics that no folder of Transformers can hold.
    """
    if not strategies.cls(strategy).portable:
        able = ", ".join(name for name in strategies if strategies.cls(name).portable)
        raise ConfigError(
            f"strategy {strategy!r} answers from statistics that a Transformers model has no place for",
            where="strategy",
            mend=f"serve it with `streamlearn run`; what can be exported was learned by one of: {able}",
        )


def _give_back(model: Model, head: dict[str, torch.Tensor], labels: Sequence[str]) -> None:
    """Put the head into the place that `model.load` took it from."""
    name = next(name for name, module in reversed(list(model.backbone.named_modules())) if type(module) is nn.Identity)
    weight = head["weight"]
    last = nn.Linear(weight.shape[1], weight.shape[0], bias="bias" in head)
    last.load_state_dict(head)
    parent, _, leaf = name.rpartition(".")
    setattr(model.backbone.get_submodule(parent), leaf, last)
    config: Any = model.backbone.config
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
