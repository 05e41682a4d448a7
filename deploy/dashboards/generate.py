"""The dashboards as Grafana reads them."""

import json
from collections.abc import Mapping
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.dashboards import drift, learning, operations

# What a mark says when the mouse is on it. Only Prometheus's annotations have these, so the SDK's type lacks them.
MARKS: Mapping[str, str] = {
    "titleFormat": "Drift in {{signal}}",
    "textFormat": "called by {{detector}}",
    "tagKeys": "signal,detector",
}


def dashboards() -> dict[str, bytes]:
    """Return each dashboard's JSON under its file's name; the same bytes every time.

    Raises:
        ValueError: a panel asks for a metric, or for a label of one, that the exporter's catalogue does not have.
    """
    built = {"learning": learning.build(), "drift": drift.build(), "operations": operations.build()}
    return {f"{name}.json": _encode(dashboard) for name, dashboard in built.items()}


def _encode(dashboard: Dashboard) -> bytes:
    document: dict[str, Any] = json.loads(JSONEncoder().encode(dashboard))
    for annotation in document["annotations"]["list"]:
        annotation.update(MARKS)
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"
