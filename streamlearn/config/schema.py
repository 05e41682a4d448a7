"""The JSON Schema of the configuration file."""

from collections.abc import Iterable, Mapping
from typing import Any

from streamlearn.config.components import COMPONENTS
from streamlearn.config.tree import Root

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


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration file, with every registered component's settings."""
    whole = Root.model_json_schema()
    whole["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    whole["$id"] = "config.schema.json"
    definitions = whole["$defs"]
    definitions.pop("ComponentSpec", None)
    for path, family in COMPONENTS.items():
        choices: list[dict[str, Any]] = [{"type": "string", "enum": list(family)}]
        for name in family:
            own = family.settings(name).model_json_schema()
            own["title"] = name
            _allow_elsewhere(own.setdefault("properties", {}))
            own["properties"] = {"name": {"const": name}, **own["properties"]}
            own["required"] = ["name", *own.get("required", [])]
            choices.append(own)
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
    for section in (whole, *definitions.values()):
        _allow_elsewhere(section.get("properties", {}))
    _allow_elsewhere(definitions["KafkaConfig"]["properties"]["client"]["anyOf"][0], ["additionalProperties"])
    # What follows from the name need not stand in the file.
    whole["required"] = [key for key in whole["required"] if key != "snapshots"]
    return whole
