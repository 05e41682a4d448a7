"""Which components the configuration names, and where."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from streamlearn.core.errors import ConfigError
from streamlearn.core.registry import ComponentSpec, Config, Registry
from streamlearn.evaluation.drift.family import SIGNALS, detectors, fits
from streamlearn.learning.memory.family import policies, retrievals
from streamlearn.learning.penalties.family import penalties
from streamlearn.learning.strategies.family import strategies
from streamlearn.model.tasks.family import tasks

# Where a component is named, and the family that knows it.
COMPONENTS: Mapping[tuple[str, ...], Registry[Any]] = {
    ("task",): tasks,
    ("strategy",): strategies,
    ("penalties", "*"): penalties,  # a list
    ("memory", "policy"): policies,
    ("memory", "retrieval"): retrievals,
    **{("drift", signal): detectors for signal in SIGNALS},
}


def places(data: Any) -> Iterator[tuple[str, ...]]:  # noqa: ANN401 - any YAML value, or a `Root`
    """Yield where the configuration may name a component; for a list, the place of each of its items."""
    for path in COMPONENTS:
        if path[-1] != "*":
            yield path
            continue
        items = at(data, path[:-1])
        yield from ((*path[:-1], str(number)) for number in range(len(items) if isinstance(items, list | tuple) else 0))


def at(data: Any, path: tuple[str, ...]) -> Any:  # noqa: ANN401 - any YAML value, or a `Root`
    """Return what stands at a place; None where nothing does."""
    for key in path:
        if isinstance(data, list | tuple):
            data = data[int(key)] if key.isdigit() and int(key) < len(data) else None
        else:
            data = data.get(key) if isinstance(data, Mapping) else getattr(data, key, None)
    return data


def registry(path: tuple[str, ...]) -> Registry[Any] | None:
    """Return the family that a place of the configuration names a component of."""
    return COMPONENTS.get(path) or (COMPONENTS.get((*path[:-1], "*")) if path and path[-1].isdigit() else None)


def component(path: tuple[str, ...], spec: ComponentSpec) -> Config:
    """Return the checked settings of the component that the configuration names at `path`.

    Raises:
        ConfigError: no such component.
        ValidationError: one of its settings is wrong; its `loc` begins with the component's place.
    """
    try:
        if path[0] == "drift":
            fits(path[1], spec)
        family = registry(path)
        assert family is not None, path
        return family.config(spec)
    except ValidationError as error:
        lines: list[Any] = [
            {"type": e["type"], "loc": (*path, *e["loc"]), "input": e["input"], "ctx": e.get("ctx", {})}
            for e in error.errors()
        ]
        raise ValidationError.from_exception_data(error.title, lines) from error


def learns(strategy: str, task: str) -> bool:
    """Say whether a strategy can learn a task.

    Raises:
        ConfigError: there is no such strategy or task, or it cannot be loaded.
    """
    return bool(tasks.fact(task, "classes") or not strategies.fact(strategy, "needs_classes"))


def learners_of(task: str) -> list[str]:
    """Return the names of the strategies that can learn a task, but for those that cannot be loaded."""
    found = []
    for name in strategies:
        with suppress(ConfigError):
            found += [name] if learns(name, task) else []
    return found
