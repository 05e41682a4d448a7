"""What the weights depend on beside the records: the configuration, and the machinery that does the sums."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any, Final

import torch

from streamlearn.config.components import at, component, places
from streamlearn.config.tree import Root

# What may change at any time: nothing that is learned depends on it.
FREE: Final = frozenset(
    {
        "kafka.bootstrap_servers",
        "kafka.start",
        "kafka.delivery",
        "kafka.create_topics",
        "kafka.group_id",
        "kafka.client",
        "kafka.topics.predictions",
        "kafka.topics.dead_letters",
        "kafka.topics.journal",
        "warm_start",  # the journal has its digest
        "snapshots",
        "recovery",
        "web",
        "logs",
        "metrics.enabled",
        "metrics.host",
        "metrics.port",
        "metrics.max_labels",
        "serving.max_batch",
        "model.device",  # in the machinery
        "model.threads",
        "limits.connect_seconds",
        "limits.read_ahead",
        "limits.stalled_seconds",
        "limits.progress_seconds",
        "limits.unknown_tokens",
    }
)


def configuration(root: Root) -> dict[str, Any]:
    """Return the part of the configuration that learning depends on, by dotted name, defaults of components too."""
    tree = root.model_dump(mode="json")
    for path in places(root):
        if (named := at(root, path)) is not None:
            section = at(tree, path[:-1])
            key = int(path[-1]) if isinstance(section, list) else path[-1]
            section[key] = {"name": named.name, **component(path, named).model_dump(mode="json")}
    return {name: value for name, value in _flat(tree, "") if not is_free(name)}


def digest(values: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what `configuration` returned."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, allow_nan=False).encode()).hexdigest()


def changed(before: Mapping[str, Any], after: Mapping[str, Any], *, same_version: bool = True) -> list[str]:
    """Name the settings that differ; between two versions only those that both know."""
    names = before.keys() | after.keys() if same_version else before.keys() & after.keys()
    absent = object()
    return sorted(name for name in names if before.get(name, absent) != after.get(name, absent))


def machinery(device: torch.device) -> dict[str, Any]:
    """Return what the last bits of the weights depend on, in the fields of `journal.Start`."""
    kind = device.type if device.type == "cpu" else f"{device.type} {_card(device)}"
    return {
        "version": version("streamlearn"),
        "torch": torch.__version__,
        "instruction_set": f"{torch.backends.cpu.get_cpu_capability()} {kind}",
        "threads": torch.get_num_threads(),
    }


def _card(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""


def is_free(name: str) -> bool:
    """Say whether a setting, by its dotted name, may change at any time."""
    parts = name.split(".")
    return any(".".join(parts[:depth]) in FREE for depth in range(1, len(parts) + 1))


def _flat(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
