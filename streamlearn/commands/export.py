"""`streamlearn export`: the model out of a snapshot."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from streamlearn.commands.inspect import find
from streamlearn.core.errors import ConfigError
from streamlearn.core.registry import ComponentSpec
from streamlearn.durability.snapshots import Loaded
from streamlearn.learning.strategies.base import Strategy
from streamlearn.learning.strategies.family import strategies
from streamlearn.model.config import ModelConfig
from streamlearn.model.loading import load as load_model
from streamlearn.model.model import Model
from streamlearn.serving import hugging_face


def export(path: str, folder: Path) -> list[str]:
    """Write the snapshot's model as a folder that `from_pretrained` opens; return the names of its files.

    Raises:
        ConfigError: the pre-trained model that it began with is not to be had; the strategy does not say what it
            answers from; the task has no classes; or the snapshot is of a version that this one does not understand.
    """
    snapshots, name = find(path)
    loaded = snapshots.load(name)
    model, strategy = _restored(loaded, path)
    return hugging_face.save(model, strategy, loaded.state["learner"]["labels"], folder)


def _restored(loaded: Loaded, path: str) -> tuple[Model, Strategy]:
    """Return the model and the strategy as they were when the snapshot was written, on the CPU."""
    state, held = loaded.state, loaded.state["strategy"]
    made_by: Mapping[str, Any] = loaded.manifest.made_by
    configuration = made_by["configuration"]
    hugging_face.check_task(configuration["task.name"])
    unknown = ConfigError(
        "the snapshot's configuration, weights or statistics are not what this version makes of them",
        where=path,
        mend=f"export it with streamlearn {made_by['version']}",
    )
    try:
        config = ModelConfig.model_validate({**_section(configuration, "model"), "device": "cpu"})
        strategy = strategies.build(ComponentSpec.model_validate(_section(configuration, "strategy")))
    except ValidationError as error:
        raise unknown from error
    hugging_face.check(type(strategy))
    model = load_model(config)
    strategy.bind(model, int(configuration["seed"]))
    model.head.grow(state["learner"]["rows"])
    weights = {**state["weights"], **state["frozen"]}
    if set(held) != set(strategy.state_dict()) or not model.load_weights(weights):
        raise unknown
    strategy.load_state_dict(held)
    return model, strategy


def _section(configuration: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a section of a configuration that `fingerprint.configuration` made flat."""
    section: dict[str, Any] = {}
    for key, value in configuration.items():
        first, *parts = key.split(".")
        if first == name and parts:
            inner = section
            for part in parts[:-1]:
                inner = inner.setdefault(part, {})
            inner[parts[-1]] = value
    return section
