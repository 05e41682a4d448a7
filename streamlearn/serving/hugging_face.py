"""Writes a model as Transformers knows it: a folder that `from_pretrained` opens, the strategy's head beside it."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn
from transformers.utils import logging as transformers_logging

from streamlearn.core.errors import ConfigError, StreamlearnError
from streamlearn.learning.strategies.base import Strategy
from streamlearn.model.model import Model
from streamlearn.model.tasks.family import tasks


def save(model: Model, strategy: Strategy, labels: Sequence[str], folder: Path) -> list[str]:
    """Write backbone, tokenizer, head and labels; return the names of the files. The model stays as it is.

    - A fine-tuned checkpoint gets its classifier back, with a row for each label that was learned since:
      `AutoModelForSequenceClassification` opens the folder. Of any other model `AutoModel` opens it.
    - `head.safetensors` and `head.json` hold what the strategy answers from (`Strategy.exported`), as docs/export.md
      tells; `labels.json` lists the labels in the order of its rows.
    - Where the strategy reads the model by way of its branch too, `AutoModel` opens that as `rehearsed`.

    Raises:
        ConfigError: the strategy does not say what it answers from.
        StreamlearnError: the folder is not empty, or cannot be written.
    """
    check(type(strategy))
    head = strategy.exported(model)
    classifier = _classifier(model) if model.labels else None
    backbone: Any = model.backbone
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise StreamlearnError("the folder is not empty", where=str(folder), mend="name one that is new or empty")
        with _given_back(model, classifier, labels) if classifier else nullcontext():
            backbone.save_pretrained(folder)
        if head.branch:
            assert model.branch is not None
            with model.branch.grafted():
                backbone.save_pretrained(folder / "rehearsed")
        model.tokenizer.save_pretrained(folder)
        tensors = {name: each.detach().cpu().contiguous() for name, each in head.tensors.items()}
        save_file(tensors, folder / "head.safetensors")
        settings = {"kind": head.kind, **head.settings, "classifier": classifier, "max_length": model.max_length}
        for name, content in (("head", settings), ("labels", list(labels))):
            text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
            (folder / f"{name}.json").write_text(text, encoding="utf-8")
        usual = (folder / "labels.json").stat().st_mode
        for file in folder.rglob("*.safetensors"):  # safetensors lets the owner alone read them, whatever the umask
            file.chmod(usual)
    except OSError as error:
        raise StreamlearnError(
            f"cannot be written: {error.strerror or error}", where=str(folder), mend="name a folder that you may write"
        ) from error
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def check(strategy: type[Strategy]) -> None:
    """Refuse a strategy that answers in a way of its own, and has the `exported` of another one.

    Raises:
        ConfigError: what would be written is not what it answers from.
    """
    for each in strategy.__mro__:
        if "exported" in vars(each):
            return
        if own := [name for name in ("scores", "answer") if name in vars(each)]:
            raise ConfigError(
                f"{each.__name__} has `{own[0]}` of its own, and does not say what a reader needs to get the same",
                where="strategy",
                mend=f"give {each.__name__} a method `exported`, see streamlearn.api.Strategy",
            )


def check_task(name: str) -> None:
    """Refuse a task without classes: what is written is read as class scores, with a label for each row of the head.

    Raises:
        ConfigError: it has none, or there is no such task.
    """
    if not tasks.fact(name, "classes"):
        raise ConfigError(
            f"the task {name!r} has no classes, and an export has a label for each row of its head",
            where="task",
            mend="export the model of a task of classes; of this one the weights are in the snapshots, in "
            "weights.safetensors and frozen.safetensors",
        )


def _classifier(model: Model) -> str:
    """Return the name of the place that `model.loading` took a checkpoint's last layer from."""
    named: list[tuple[str, nn.Module]] = list(model.backbone.named_modules())
    return next(name for name, module in reversed(named) if type(module) is nn.Identity)


@contextmanager
def _given_back(model: Model, name: str, labels: Sequence[str]) -> Iterator[None]:
    """While it lasts, the checkpoint has the head in its place, and knows all labels."""
    backbone: Any = model.backbone
    parent, _, leaf = name.rpartition(".")
    place, config, size = backbone.get_submodule(parent), backbone.config, model.head.size
    last = nn.Linear(model.width, size, bias=model.head.bias is not None)
    last.load_state_dict({name: each[:size].cpu() for name, each in model.head.state_dict().items()})
    identity = getattr(place, leaf)
    setattr(place, leaf, last)
    backbone.config = deepcopy(config)
    backbone.config.id2label = dict(enumerate(labels))
    backbone.config.label2id = {label: number for number, label in enumerate(labels)}
    try:
        yield
    finally:
        setattr(place, leaf, identity)
        backbone.config = config
