"""JSON values in a few words, for messages: whole payloads do not belong there."""

import json


def shown(value: object) -> str:
    """Describe a JSON value in a few words, a short one by itself."""
    match value:
        case str() if len(value) <= 40:
            return f"the string {json.dumps(value, ensure_ascii=False)}"
        case str():
            return f"a string of {len(value)} characters"
        case list():
            return f"a list of {len(value)}" if value else "an empty list"
        case dict():
            return f"an object with {keys(value)}" if value else "an empty object"
        case bool() | None:
            return json.dumps(value)
        case _:
            return f"the number {value}"


def keys(value: dict[str, object]) -> str:
    """Name the first keys of an object."""
    names = [name if len(name) <= 40 else name[:39] + "…" for name in list(value)[:6]]
    return ", ".join(map(repr, names)) + (f" and {len(value) - 6} more" if len(value) > 6 else "")
