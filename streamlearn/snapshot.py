"""`streamlearn inspect` and `streamlearn export`: what is in a snapshot, and the model out of it."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from streamlearn import pretrained
from streamlearn.checkpoint import Loaded, Snapshots
from streamlearn.errors import ConfigError
from streamlearn.learner import statistics
from streamlearn.model import ModelConfig, digest
from streamlearn.model import load as load_model
from streamlearn.storage import NAME


def load(path: str) -> Loaded:
    """Read the snapshot at a path or URL; of a folder of snapshots the newest.

    Raises:
        ConfigError: there is none.
        SnapshotError: it is not whole.
    """
    parent, _, last = path.rstrip("/").rpartition("/")
    if NAME.fullmatch(last):
        return Snapshots(parent or ".").load(last)
    names = Snapshots(path).names()
    if not names:
        raise ConfigError(
            "there is no snapshot", where=path, mend="name a snapshot, or the folder that snapshots.path names"
        )
    return Snapshots(path).load(names[-1])


def inspect(path: str, *, sample_id: str | None, json_output: bool) -> None:
    """Print what is in a snapshot."""
    found = describe(load(path), sample_id)
    if json_output:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    for key, value in found.items():
        shown = value if isinstance(value, str | int) else json.dumps(value, ensure_ascii=False)
        sys.stdout.write(f"{key}: {shown}\n")


def describe(loaded: Loaded, sample_id: str | None = None) -> dict[str, Any]:
    """Return the fields of `inspect --json`; with an id also the parts of the state in which it stands."""
    state, learner = loaded.state, loaded.state["learner"]
    memory, names = state["memory"], learner["labels"]
    counts = Counter(memory["labels"].tolist())
    found: dict[str, Any] = {
        "name": loaded.manifest.name,
        "step": learner["step"],
        "journal_seq": int(loaded.manifest.name.rpartition("-")[2]),
        "weights_sha256": digest(
            {**state["weights"], **state["frozen"], **statistics(state.get("strategy", {}))}, learner["rows"]
        ),
        "labels": names,
        "memory": {
            "samples": len(memory["ids"]),
            "seen": memory["seen"],
            "by_label": {names[number]: count for number, count in sorted(counts.items())},
        },
        "offsets": {f"{topic}[{number}]": offset for topic, number, offset in state["service"]["positions"]},
        "pending": len(learner["waiting"]),
        "made_by": loaded.manifest.made_by,
    }
    if sample_id is not None:
        found["id"] = sample_id
        found["found_in"] = [part for part, content in state.items() if sample_id in _strings(content)]
    return found


def export(path: str, folder: Path) -> list[str]:
    """Write the snapshot's model as a folder that `from_pretrained` opens; return the names of its files.

    Raises:
        ConfigError: the pre-trained model that it began with is not to be had.
    """
    loaded = load(path)
    state, learner = loaded.state, loaded.state["learner"]
    configuration = loaded.manifest.made_by["configuration"]
    assert isinstance(configuration, dict)
    pretrained.check_portable(str(configuration.get("strategy.name", "er")))
    settings = {name[6:]: value for name, value in configuration.items() if name.startswith("model.")}
    model = load_model(ModelConfig.model_validate({**settings, "device": "cpu"}))
    model.head.grow(learner["rows"])
    with torch.no_grad():
        weights = {**state["weights"], **state["frozen"]}
        for name, tensor in model.named_parameters():
            tensor.copy_(weights[name])
    return pretrained.save(model, learner["labels"], folder)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _strings(key)
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)
