"""Reading the configuration: `--set` over environment over file over default, secrets, and errors that help.

What can be set is declared in `tree.py`, in each room's `config.py` and each family's `family.py`. Every value
remembers where it came from, so that `config show` can say so and an error can name file and line.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from streamlearn.config.components import at, component, learners_of, learns, places, registry
from streamlearn.config.sources import Where, from_environment, from_set, lay_over, put, read_file, with_secrets
from streamlearn.config.tree import Root, derive, opened, section
from streamlearn.core.errors import ConfigError
from streamlearn.core.registry import ComponentSpec, Config
from streamlearn.core.secrets import hidden, is_secret

HIDDEN = "'********'"  # in quotes: a bare * would be a YAML alias


@dataclass
class Settings:
    """A checked configuration, with the origin of each value that is not a default.

    `secrets` are the places whose values are never shown; `data` is what was given, with what follows from `name`.
    """

    root: Root
    components: dict[Where, Config]
    origins: dict[Where, str]
    secrets: set[Where] = field(default_factory=set)
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def is_given(self, place: Where) -> bool:
        """Say whether the value at a place was given, and is no default; a component's name may stand alone."""
        value: Any = self.data
        for key in place:
            if isinstance(value, Mapping) and key in value:
                value = value[key]
            elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
                value = value[int(key)]
            else:
                return isinstance(value, str) and key == "name"
        return True

    def show(self) -> str:
        """Return the whole effective configuration as YAML, each value with where it comes from."""
        tree = self.root.model_dump(mode="json")
        for path, config in self.components.items():
            section = at(tree, path[:-1])
            key = int(path[-1]) if isinstance(section, list) else path[-1]
            section[key] = {"name": section[key]["name"], **config.model_dump(mode="json")}
        return "\n".join(self._lines(tree, ()))

    def _lines(self, tree: Mapping[str, Any], where: Where) -> Iterator[str]:
        for key, value in tree.items():
            place = (*where, key)
            margin = "  " * len(where)
            if isinstance(value, dict) and value and not self._is_secret(place):
                yield f"{margin}{_inline(key)}:"
                yield from self._lines(value, place)
            else:
                inside = isinstance(value, list) and any(secret[: len(place)] == place for secret in self.secrets)
                shown = HIDDEN if inside or self._is_secret(place) else _inline(_shown(value))
                yield f"{margin}{_inline(key)}: {shown}  # {self._origin(place)}"

    def _origin(self, path: Where) -> str:
        for depth in range(len(path), 0, -1):
            if path[:depth] in self.origins:
                return self.origins[path[:depth]]
        return "default"

    def _is_secret(self, path: Where) -> bool:
        return _is_secret(path, self.secrets)


def load(
    path: str | Path | None,
    sets: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    *,
    base: Mapping[str, Any] | None = None,
) -> Settings:
    """Read the configuration file, lay environment and `--set` over it, and check the whole.

    1. Read the file, with the line of every key.
    2. Lay the environment over it, then `--set`.
    3. Put in secrets from files and environment variables.
    4. Fill in what follows from `name`.
    5. Check everything, and report all that is wrong at once.

    Args:
        path: a YAML file; None where there is none, and `base` says it all.
        sets: `a.b=value` each, the value in YAML.
        environment: variables such as STREAMLEARN_KAFKA__BOOTSTRAP_SERVERS; the process's own where not given.
        base: what holds where the file says nothing.

    Raises:
        ConfigError: says where, what and how to mend it.
    """
    environment = os.environ if environment is None else environment
    data, lines = read_file(Path(path)) if path is not None else ({}, {})  # 1
    path = Path(path or "configuration")
    data = lay_over(base or {}, opened(data))
    origins = {where: f"{path.name}:{line}" for where, line in lines.items()}
    overlays = [(where, value, name) for name, where, value in from_environment(environment)]
    overlays += [(where, value, "--set") for where, value in map(from_set, sets)]
    for where, value, origin in overlays:  # 2
        put(data, where, value, origin)
        origins = {known: text for known, text in origins.items() if known[: len(where)] != where}
        origins[where] = origin
    secrets: set[Where] = set()
    data = with_secrets(data, (), path.parent, environment, origins=origins, secrets=secrets)  # 3
    return check(data, origins, secrets, str(path))


def check(
    data: Mapping[str, Any],
    origins: dict[Where, str] | None = None,
    secrets: set[Where] | None = None,
    file: str = "configuration",
) -> Settings:
    """Fill in what follows from `name`, and check the whole (steps 4 and 5 of `load`).

    Raises:
        ConfigError: names every setting that is wrong, and where it was set.
    """
    origins, secrets = dict(origins or {}), set(secrets or ())
    data, derived = derive(data)  # 4
    origins.update(dict.fromkeys(derived, "from name"))
    if ("name",) in secrets:
        secrets |= derived
    problems: list[str] = []
    root: Root | None = None
    found: dict[Where, Config] = {}
    try:  # 5
        root = Root.model_validate(data)
    except ValidationError as error:
        problems += _explain(error, data, origins, secrets, file)
    for path in places(root or data):
        spec = _spec(root, data, path)
        try:
            if spec:
                found[path] = component(path, spec)
        except ValidationError as error:
            problems += _explain(error, data, origins, secrets, file)
        except ConfigError as error:
            name = (*path, "name")
            text = "there is no such component" if {path, name} & secrets else error.what
            problems.append(f"{_place(name, origins, file)}: {'.'.join(name)}: {text} ({error.mend})")
    if root is not None and not problems and not learns(root.strategy.name, root.task.name):
        able = ", ".join(learners_of(root.task.name))
        text = f"it needs a task of classes, and {root.task.name!r} has none (choose one of: {able})"
        problems.append(f"{_place(('strategy', 'name'), origins, file)}: strategy.name: {text}")
    if root is None or problems:
        raise ConfigError("\n".join(problems), mend="`streamlearn config schema` describes every setting")
    return Settings(root, found, _of_values(data, origins), secrets, data)


def _spec(root: Root | None, data: Mapping[str, Any], path: Where) -> ComponentSpec | None:
    """Return the component named at `path`; None where the rest of the configuration is too wrong to tell."""
    try:
        return ComponentSpec.model_validate(at(root or data, path))
    except ValidationError:
        return None


def _explain(
    error: ValidationError, data: Mapping[str, Any], origins: Mapping[Where, str], secrets: set[Where], file: str
) -> list[str]:
    """Turn each of pydantic's errors into one line: origin, setting, what is wrong, the nearest name."""
    messages = []
    for detail in error.errors(include_url=False):
        where = _in_data(detail["loc"], data, detail["type"] == "missing")
        name = ".".join(where) or "the configuration"
        if detail["type"] == "extra_forbidden":
            near = get_close_matches(where[-1], _keys(where[:-1], data), 1, 0.5)
            text = "there is no such setting" + (f"; did you mean {near[0]!r}?" if near else "")
        elif detail["type"] == "missing":
            text = "is required"
        else:
            given = detail.get("input")
            client = where == ("kafka", "client")  # one text in the place of all properties may hold a password
            untold = client or _is_secret(where, secrets) or isinstance(given, dict | list | BaseModel)
            text = detail["msg"].removeprefix("Value error, ")
            if detail["type"] == "finite_number":
                text += " (name a large one where nothing is to be bounded)"
            text = text[0].lower() + text[1:] + ("" if untold else f", not {_shown(given)!r}")
        messages.append(f"{_place(where, origins, file)}: {name}: {text}")
    return list(dict.fromkeys(messages))


def _in_data(loc: Sequence[str | int], data: Any, missing: bool) -> Where:  # noqa: ANN401 - any YAML value
    """Return the setting's place: inside a union, pydantic's has the branch's name as well."""
    where: list[str] = []
    for key in loc:
        if isinstance(data, list) and str(key).isdigit():
            data = at(data, (str(key),))
        elif isinstance(data, Mapping) and key in data:
            data = data[key]
        elif not missing:
            continue
        where.append(str(key))
    return tuple(where)


def _place(where: Where, origins: Mapping[Where, str], file: str) -> str:
    """Return where a setting was set: itself, else the section around it, else what it contains."""
    around = (origins[where[:depth]] for depth in range(len(where), 0, -1) if where[:depth] in origins)
    inside = (origin for known, origin in origins.items() if where and known[: len(where)] == where)
    return next(around, None) or next(inside, file)


def _is_secret(path: Where, secrets: set[Where]) -> bool:
    told = any(path[:depth] in secrets for depth in range(1, len(path) + 1))
    client = path[:2] == ("kafka", "client") and len(path) > 2
    return told or (client and is_secret(".".join(path[2:])))


def _of_values(data: Mapping[str, Any], origins: Mapping[Where, str]) -> dict[Where, str]:
    """Keep the origins of values alone: a section's own says nothing of what it leaves to the defaults."""
    kept: dict[Where, str] = {}

    def walk(value: object, where: Where, origin: str | None) -> None:
        origin = origins.get(where, origin)
        if isinstance(value, Mapping) and (value or section(where)):
            for key, inner in value.items():
                walk(inner, (*where, str(key)), origin)
        elif origin:
            kept[(*where, "name") if registry(where) else where] = origin

    walk(data, (), None)
    return kept


def _keys(where: Where, data: Mapping[str, Any]) -> list[str]:
    """Return the settings that there are at a place of the tree."""
    if family := registry(where):
        spec = _spec(None, data, where)
        return [*family.settings(spec.name).model_fields] if spec else []
    model = section(where)
    return list(model.model_fields) if model else []


def _shown(value: object) -> object:
    return hidden(value) if isinstance(value, str) and "://" in value else value


def _inline(value: object) -> str:
    quote = '"' if isinstance(value, str) and not value.isprintable() else None  # keeps it in one line
    text = yaml.safe_dump(value, default_flow_style=True, default_style=quote, allow_unicode=True, width=float("inf"))
    return text.removesuffix("\n").removesuffix("\n...")
