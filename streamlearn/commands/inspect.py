"""`streamlearn inspect`: what is in a snapshot, and where an id stands."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from streamlearn.core.errors import ConfigError
from streamlearn.durability.snapshots import Loaded, Snapshots
from streamlearn.durability.storage import NAME
from streamlearn.durability.stored_state import StoredTensor
from streamlearn.model.digest import Content, digest
from streamlearn.stream.packed_texts import unpack_texts


def find(path: str) -> tuple[Snapshots, str]:
    """Return where the snapshot at a path or URL lies, and its name; of a folder of snapshots the newest.

    Raises:
        ConfigError: there is none.
    """
    parent, _, last = path.rstrip("/").rpartition("/")
    if NAME.fullmatch(last):
        return Snapshots(parent or "."), last
    snapshots = Snapshots(path)
    names = snapshots.names()
    if not names:
        raise ConfigError(
            "there is no snapshot", where=path, mend="name a snapshot, or the folder that snapshots.path names"
        )
    return snapshots, names[-1]


def inspect(path: str, *, sample_id: str | None, json_output: bool) -> None:
    """Print what is in a snapshot; for people, where an id is asked for, what is found of that alone.

    Raises:
        ConfigError: there is none.
        SnapshotError: it is not whole.
    """
    snapshots, name = find(path)
    loaded = snapshots.look(name)
    found = describe(loaded, sample_id)
    if sample_id is not None:
        found["older_snapshots"] = older(snapshots, loaded, sample_id)
    if json_output:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    asked = found if sample_id is None else {key: found[key] for key in ("name", "id", "found_in", "older_snapshots")}
    for key, value in asked.items():
        shown = value if isinstance(value, str | int) else json.dumps(value, ensure_ascii=False)
        sys.stdout.write(f"{key}: {shown}\n")


def describe(loaded: Loaded, sample_id: str | None = None) -> dict[str, Any]:
    """Return the fields of `inspect --json`; with an id also the parts of the state in which it stands."""
    state, learner = loaded.state, loaded.state["learner"]
    memory, counts = state["memory"], sorted(Counter(state["memory"]["labels"].numpy().tolist()).items())
    names = learner.get("labels")  # a task without classes has none; its groups' names are in no snapshot
    strategy = state["strategy"].items()
    held = {f"strategy.{key}": value for key, value in strategy if isinstance(value, StoredTensor)}
    found: dict[str, Any] = {
        "name": loaded.manifest.name,
        "step": learner["step"],
        "journal_seq": int(loaded.manifest.name.rpartition("-")[2]),
        "weights_sha256": digest({**state["weights"], **state["frozen"], **held}, learner["rows"], _content),
        **({} if names is None else {"labels": names}),
        "memory": {
            "samples": len(memory["ids"]),
            "seen": memory["seen"],
            **(
                {"by_group": {str(number): count for number, count in counts}}
                if names is None
                else {"by_label": {names[number]: count for number, count in counts}}
            ),
        },
        "offsets": {f"{topic}[{number}]": offset for topic, number, offset in state["service"]["positions"]},
        "pending": len(state["joiner"]["pending"]["rest_bytes"]),
        "waiting": len(learner["waiting"]),
        "made_by": loaded.manifest.made_by,
    }
    if sample_id is not None:
        found["id"] = sample_id
        found["found_in"] = found_in(loaded, sample_id)
    return found


def _content(tensor: StoredTensor) -> Content:
    return Content(f"torch.{tensor.type}", tensor.shape, tensor.data)


def found_in(loaded: Loaded, sample_id: str) -> list[str]:
    """Return the parts of the state in which an id stands."""
    return [part for part, content in loaded.state.items() if sample_id in _strings(content)]


def older(snapshots: Snapshots, newest: Loaded, sample_id: str) -> list[dict[str, Any]]:
    """Return which snapshots before this one hold an id, and when they go: once so many more were written.

    A snapshot is written where something came since the last one, so the moment is the earliest one.
    """
    names = [name for name in snapshots.names() if name <= newest.manifest.name]
    written: Mapping[str, Any] = newest.manifest.made_by
    rule, created = written["snapshots"], newest.manifest.created
    assert created is not None, "a learner's snapshot says when it was written"
    found: list[dict[str, Any]] = []
    for place, name in enumerate(names[:-1]):
        parts = found_in(snapshots.look(name), sample_id)
        if not parts:
            continue
        more = max(1, place + 1 + rule["keep"] - len(names))
        moment = datetime.fromtimestamp(created + more * rule["every_seconds"], UTC)
        found.append(
            {
                "name": name,
                "found_in": parts,
                "goes_after_snapshots": more,
                "goes_at": moment.isoformat(timespec="seconds"),
            }
        )
    return found


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping) and set(value) == {"utf8", "lengths"}:
        yield from unpack_texts(value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _strings(key)
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)
