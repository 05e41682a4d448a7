"""The JSON Schema of the configuration file."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from streamlearn.config.components import COMPONENTS
from streamlearn.config.tree import Root
from streamlearn.core.errors import ConfigError
from streamlearn.core.registry import Registry

log = logging.getLogger(__name__)

# What may stand in place of any value.
ELSEWHERE: Mapping[str, Any] = {
    "description": "A value that is read from a file, or from an environment variable; it is never shown.",
    "oneOf": [
        {"type": "object", "properties": {key: {"type": "string"}}, "required": [key], "additionalProperties": False}
        for key in ("file", "env")
    ],
}


def _allow_elsewhere(schemas: dict[str, Any], keys: Iterable[str] = ()) -> None:
    """Let each value also be one that is read from a file or a variable; sections stay as they are."""
    for key in list(keys or schemas):
        own = schemas[key]
        if "$ref" not in own:
            kept = {name: own.pop(name) for name in ("title", "description", "default", "examples") if name in own}
            choices = own["anyOf"] if list(own) == ["anyOf"] else [own]
            schemas[key] = {**kept, "anyOf": [*choices, {"$ref": "#/$defs/Elsewhere"}]}


def _choices(family: Registry[Any]) -> list[dict[str, Any]]:
    """Return a family's components, each by its name and with its settings, but for those that cannot be loaded."""
    choices: list[dict[str, Any]] = []
    for name in family:
        try:
            own = family.settings(name).model_json_schema()
        except ConfigError as error:
            log.warning("left out: %s", error)
            continue
        own["title"] = name
        _allow_elsewhere(own.setdefault("properties", {}))
        own["properties"] = {"name": {"const": name}, **own["properties"]}
        own["required"] = ["name", *own.get("required", [])]
        choices.append(own)
    return [{"type": "string", "enum": [own["title"] for own in choices]}, *choices]


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration file, with every registered component's settings."""
    whole = Root.model_json_schema()
    whole["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    whole["$id"] = "config.schema.json"
    definitions = whole["$defs"]
    definitions.pop("ComponentSpec", None)
    of_family = {family: _choices(family) for family in dict.fromkeys(COMPONENTS.values())}
    for path, family in COMPONENTS.items():
        choices = [*of_family[family]]
        section = whole
        if path[-1] == "*":
            listed = section["properties"][path[0]]
            listed["items"] = {"anyOf": choices}
            continue
        for key in path[:-1]:
            section = definitions[section["properties"][key]["$ref"].rpartition("/")[2]]
        old = section["properties"][path[-1]]
        if {"type": "null"} in old.get("anyOf", ()):
            choices.append({"type": "null"})
        kept = {key: old[key] for key in ("description",) if key in old}
        default = old.get("default")
        section["properties"][path[-1]] = {"anyOf": choices, **kept, **({"default": default} if default else {})}
    definitions["Elsewhere"] = ELSEWHERE
    # What follows from the name need not stand in the file.
    whole["required"] = [key for key in whole["required"] if key != "snapshots"]
    for section in (whole, *definitions.values()):
        _allow_elsewhere(section.get("properties", {}))
        for key, own in section.get("properties", {}).items():
            if "$ref" in own and key not in section.get("required", ()):  # a section: one that is empty has defaults
                own["anyOf"] = [{"$ref": own.pop("$ref")}, {"type": "null"}]
    client = definitions["KafkaConfig"]["properties"]["client"]["anyOf"]
    _allow_elsewhere(client[0], ["additionalProperties"])
    client.append({"type": "null"})
    return whole
