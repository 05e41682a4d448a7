"""The JSON Schemas of what stands in the topics, as `schemas/` publishes them.

`python -m streamlearn.schemas` writes them anew, into the folder `schemas` or the one that is named.
"""

import sys
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import CoreSchema
from typing_extensions import override

from streamlearn.durability import journal
from streamlearn.stream.payloads import DeadLetterHeaders, EventPayload, LabelPayload, PredictionPayload

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """Keeps the order in which things are declared, and gives no titles that only repeat a name."""

    @override
    def sort(self, value: JsonSchemaValue, parent_key: str | None = None) -> JsonSchemaValue:
        return value

    @override
    def field_title_should_be_set(self, schema: CoreSchema) -> bool:
        return False


def schemas() -> dict[str, dict[str, Any]]:
    """Return each schema under its file's name."""
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


def files() -> dict[str, bytes]:
    """Return the content of each file."""
    return {name: orjson.dumps(schema, option=orjson.OPT_INDENT_2) + b"\n" for name, schema in schemas().items()}


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "schemas")
    for name, content in files().items():
        (folder / name).write_bytes(content)
