"""What is generated from the code: every JSON Schema, of the configuration and of the topics, and the pages of settings
and of metrics.

`python -m docs.generate` writes them anew, into the current folder or the one that is named.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import orjson
import yaml
from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema
from typing_extensions import override

from streamlearn.config.components import COMPONENTS
from streamlearn.config.schema import schema as config_schema
from streamlearn.config.tree import Root
from streamlearn.core.registry import ComponentSpec
from streamlearn.durability import journal
from streamlearn.observability.catalogue import CATALOGUE, HISTOGRAMS
from streamlearn.observability.figures import Entry, HistogramEntry
from streamlearn.stream.payloads import DeadLetterHeaders, EventPayload, LabelPayload, PredictionPayload

DIALECT = "https://json-schema.org/draft/2020-12/schema"

HEADER = "<!-- Generated: edit the descriptions in the code, then run `python -m docs.generate`. -->"

CONFIGURATION = """\
A configuration is one YAML file. Any value can also be given by the environment and on the command line; the first of
these that gives a value decides:

1. `--set learner.batch_size=32`, the value in YAML; may be given often
2. the environment: `STREAMLEARN_LEARNER__BATCH_SIZE=32`, with two underscores for each dot, or
   `STREAMLEARN_PENALTIES='[lwf]'`; the value in YAML too
3. the file
4. the default below; one in brackets follows from `name`

librdkafka's own names have dots: `--set kafka.client.security.protocol=SSL`, or
`STREAMLEARN_KAFKA__CLIENT__SECURITY_PROTOCOL=SSL`.

In place of a value, `{file: PATH}` takes it from a file (a relative path starts from the configuration's folder) and
`{env: NAME}` from an environment variable. Such values are never shown, and neither are passwords and keys under
`kafka.client`.

`streamlearn config show FILE` prints every value and where it comes from, `streamlearn config check FILE` finds what is
wrong, and `streamlearn config schema` prints the [JSON Schema](../schemas/config.schema.json)."""

METRICS = """\
`/metrics` serves these on `metrics.host` and `metrics.port`. Units are base units; a measure that has no value yet is
left out. Values of `label` are bounded by `metrics.max_labels`, pairs of `slice` and `value` to 100: the rest is
counted as `other`. A class, slice or value of your own that is called `other` is shown as `other_`, one called `other_`
as `other__`, and so on. A histogram has the series `_bucket`, `_sum` and `_count`."""


def files() -> dict[str, bytes]:
    """Return the content of each file, under its path from the root."""
    return {
        **{f"schemas/{name}": _json(schema) for name, schema in schemas().items()},
        "schemas/config.schema.json": _json(config_schema()),
        "docs/configuration.md": configuration().encode(),
        "docs/metrics.md": metrics().encode(),
    }


def schemas() -> dict[str, dict[str, Any]]:
    """Return the schema of what stands in each topic, under its file's name."""
    users: dict[str, TypeAdapter[Any]] = {"event": TypeAdapter(EventPayload), "label": TypeAdapter(LabelPayload)}
    ours: dict[str, TypeAdapter[Any]] = {
        "prediction": TypeAdapter(PredictionPayload),
        "dead-letter": TypeAdapter(DeadLetterHeaders),
        "journal": journal.records,
    }
    found = {
        **{name: each.json_schema(schema_generator=_Generator, mode="validation") for name, each in users.items()},
        **{name: each.json_schema(schema_generator=_Generator, mode="serialization") for name, each in ours.items()},
    }
    return {f"{name}.schema.json": {"$schema": DIALECT, **schema} for name, schema in found.items()}


def _json(schema: dict[str, Any]) -> bytes:
    return orjson.dumps(schema, option=orjson.OPT_INDENT_2) + b"\n"


class _Generator(GenerateJsonSchema):
    """Keeps the order in which things are declared, and gives no titles that only repeat a name."""

    @override
    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value

    @override
    def field_title_should_be_set(self, schema: CoreSchema) -> bool:
        return False


def configuration() -> str:
    """Return the page of settings: a table for each section and for each component."""
    parts = ["# Configuration", HEADER, CONFIGURATION, *_section(Root, ())]
    places: dict[str, list[tuple[str, ...]]] = {}
    for path, family in COMPONENTS.items():
        places.setdefault(family.family, []).append(path)
    for paths in places.values():
        place = ".".join(paths[0]) if len(paths) == 1 else ".".join((*paths[0][:-1], "*"))
        for name in COMPONENTS[paths[0]]:
            parts += _component(place, name, COMPONENTS[paths[0]].cls(name))
    return "\n\n".join(parts) + "\n"


def metrics() -> str:
    """Return the page of metrics."""
    named: list[tuple[str, str, Entry | HistogramEntry]] = [
        (f"{entry.name}_total" if entry.kind == "counter" else entry.name, entry.kind, entry) for entry in CATALOGUE
    ]
    named += [(entry.name, "histogram", entry) for entry in HISTOGRAMS]
    cells = [
        (f"`streamlearn_{name}`", kind, ", ".join(f"`{label}`" for label in entry.labels), entry.help)
        for name, kind, entry in named
    ]
    return "\n\n".join(["# Metrics", HEADER, METRICS, _table(("metric", "type", "labels", "meaning"), cells)]) + "\n"


def _section(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[str]:
    """Yield a section's heading and table, then those of the sections in it."""
    inner = {key: info.annotation for key, info in model.model_fields.items() if _is_section(info.annotation)}
    yield f"## {'.'.join(path) or 'Top level'}"
    yield _promise(model)
    rows = [_row((*path, key), info) for key, info in model.model_fields.items() if key not in inner]
    if rows:
        yield _table(("setting", "type", "default", "meaning"), rows)
    for key, annotation in inner.items():
        assert isinstance(annotation, type)
        yield from _section(annotation, (*path, key))


def _component(place: str, name: str, cls: Any) -> Iterator[str]:  # noqa: ANN401 - any family's class
    yield f"## {place}: {name}"
    yield _promise(cls)
    fields = cls.Config.model_fields
    rows = [_row((place, key), info) for key, info in fields.items()]
    yield _table(("setting", "type", "default", "meaning"), rows) if rows else "It has no settings."


def _is_section(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation is not ComponentSpec


def _row(path: tuple[str, ...], info: FieldInfo) -> tuple[str, str, str, str]:
    meaning, bracket, derived = (info.description or "").partition(" [")
    if info.is_required():
        default = "required"
    elif bracket and derived.endswith("]"):
        default = f"[`{derived.removesuffix(']')}`]"
    else:
        meaning, value = info.description or "", info.default
        default = f"`{_value(value.name if isinstance(value, ComponentSpec) else value)}`"
    return f"`{'.'.join(path)}`", _type(info), default, meaning


def _value(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"))
    return text.removesuffix("\n").removesuffix("\n...")


def _type(info: FieldInfo) -> str:
    """Name the type in words, with its bounds."""
    bounds = {
        key: getattr(each, key) for each in info.metadata for key in ("ge", "gt", "le", "lt") if hasattr(each, key)
    }
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    limits = ", ".join(f"{signs[key]} {bound:,}" for key, bound in bounds.items())
    return f"{_words(info.annotation)} {limits}".strip()


def _words(annotation: Any) -> str:  # noqa: ANN401 - any annotation
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(inner[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_words(each) for each in inner if each is not NoneType))
    if origin in (list, tuple):
        return "list"
    if origin is dict:
        return "mapping"
    names = {"str": "text", "int": "integer", "float": "number", "bool": "true or false", "datetime": "time"}
    return "component" if annotation is ComponentSpec else names.get(annotation.__name__, annotation.__name__)


def _promise(cls: type) -> str:
    return " ".join((cls.__doc__ or "").strip().partition("\n\n")[0].split())


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    for name, content in files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
