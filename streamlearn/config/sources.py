"""Where values come from: the file, the environment and `--set`, and secrets in files and variables."""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from streamlearn.config.components import registry
from streamlearn.config.tree import Root
from streamlearn.core.errors import ConfigError
from streamlearn.core.secrets import is_secret

PREFIX = "STREAMLEARN_"

Where = tuple[str, ...]


def lay_over(base: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one tree over another: sections are joined, of anything else the upper one counts."""
    joined = {key: lay_over(value, {}) if isinstance(value, Mapping) else value for key, value in base.items()}
    for key, value in data.items():
        below = joined.get(key)
        joined[key] = lay_over(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return joined


def read_file(path: Path) -> tuple[dict[str, Any], dict[Where, int]]:
    """Return what a YAML file says, and the line of each key.

    Raises:
        ConfigError: it is not there, cannot be read, is no YAML, or says a thing twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = get_close_matches(
            path.name, [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else [], 1
        )
        hint = f"did you mean {path.parent / near[0]}?" if near else "give the path of a YAML file"
        raise ConfigError("there is no such file", where=str(path), mend=hint) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot be read: {reason}", where=str(path), mend="check the path and its rights") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date such as 2026-13-01
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error)
        problem = re.sub(r"(alias|tag) '.*'", r"\1", problem)  # it may be a password that begins with * or !
        raise ConfigError(f"is not valid YAML: {problem}", where=where, mend="mend the file there") from error
    if not isinstance(data, dict):
        raise ConfigError(
            "holds no settings", where=str(path), mend="begin with `name: ...`; README shows a whole file"
        )
    lines: dict[Where, int] = {}
    try:
        _collect_lines(node, (), lines, path)
    except RecursionError:
        raise ConfigError("a part of it contains itself", where=str(path), mend="remove the alias (*name)") from None
    return data, lines


def _collect_lines(node: yaml.Node | None, where: Where, lines: dict[Where, int], path: Path) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        place = (*where, str(key.value))
        line = key.start_mark.line + 1
        if place in lines:
            raise ConfigError(
                f"{'.'.join(place)} stands twice, first in line {lines[place]}",
                where=f"{path}:{line}",
                mend="keep one of the two",
            )
        lines[place] = line
        _collect_lines(value, place, lines, path)


def from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, Where, Any]]:
    """Yield the variables that name a setting: those with a double underscore, and the tree's own keys."""
    for name in sorted(environment):
        parts = name.removeprefix(PREFIX).lower().split("__")
        if not name.startswith(PREFIX) or (len(parts) == 1 and parts[0] not in Root.model_fields):
            continue
        if (
            parts[:2] == ["kafka", "client"] and len(parts) > 2
        ):  # librdkafka's names have dots, which a variable cannot have
            parts = ["kafka", "client", ".".join(parts[2:]).replace("_", ".")]
        yield name, tuple(parts), _scalar(environment[name], name)


def from_set(text: str) -> tuple[Where, Any]:
    """Return the place and the value of one `--set`.

    Raises:
        ConfigError: it is not written as `a.b=value`.
    """
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        told = "this" if is_secret(key) else repr(key)  # without `=` it may be name and password in one
        raise ConfigError(
            f"{told} is not a setting with a value", where="--set", mend="write it as --set learner.batch_size=32"
        )
    if parts[:2] == ["kafka", "client"] and len(parts) > 2:
        parts = ["kafka", "client", ".".join(parts[2:])]
    return tuple(parts), _scalar(value, f"--set {key}")


def _scalar(text: str, where: str) -> Any:  # noqa: ANN401 - any YAML value
    try:
        return yaml.safe_load(text) if text else ""
    except (yaml.YAMLError, ValueError, RecursionError):  # not named as the cause: it would quote a secret
        raise ConfigError("its value is not valid YAML", where=where, mend="put the value into quotes") from None


def put(data: dict[str, Any], where: Where, value: object, origin: str) -> None:
    """Put a value into its place; `origin` says where it came from.

    Raises:
        ConfigError: the place would be inside a value.
    """
    section: Any = data
    for depth, key in enumerate(where):
        listed = isinstance(section, list)
        if not isinstance(section, dict) and not (listed and key.isdigit() and int(key) < len(section)):
            kind = "list" if listed else "value"
            raise ConfigError(
                f"{'.'.join(where[:depth])} is a {kind}, and {'.'.join(where)} would be inside it",
                where=origin,
                mend="check the name of the setting with `streamlearn config show`",
            )
        at = int(key) if listed else key
        if depth == len(where) - 1:
            section[at] = value
            return
        inner = section[at] if listed else section.setdefault(at, {})
        if isinstance(inner, str) and registry(where[: depth + 1]):
            inner = section[at] = {"name": inner}
        section = inner


def with_secrets(
    value: Any,  # noqa: ANN401 - any YAML value
    where: Where,
    folder: Path,
    environment: Mapping[str, str],
    *,
    origins: dict[Where, str],
    secrets: set[Where],
) -> Any:  # noqa: ANN401 - any YAML value
    """Replace each `{file: PATH}` and `{env: NAME}` by what it points to, and note the place."""
    if isinstance(value, list):
        return [
            with_secrets(inner, (*where, str(number)), folder, environment, origins=origins, secrets=secrets)
            for number, inner in enumerate(value)
        ]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and where and (kind := next(iter(value))) in ("file", "env") and isinstance(value[kind], str):
        place = f"{origins.get(where, '')} {'.'.join(where)}".strip()
        secrets.add(where)
        if kind == "env":
            if value["env"] not in environment:
                raise ConfigError(
                    f"the environment variable {value['env']} is not set",
                    where=place,
                    mend=f"export {value['env']}=...",
                )
            secret = environment[value["env"]]
        else:
            try:
                secret = (folder / Path(value["file"]).expanduser()).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
                raise ConfigError(
                    f"the file {value['file']} cannot be read: {reason}",
                    where=place,
                    mend="a relative path starts from the configuration's folder; check that this user may read it",
                ) from None
        origins[where] = f"{kind} {value[kind]}"
        return secret
    return {
        key: with_secrets(inner, (*where, str(key)), folder, environment, origins=origins, secrets=secrets)
        for key, inner in value.items()
    }
