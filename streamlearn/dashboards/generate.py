"""The dashboards as Grafana reads them."""

import json

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from streamlearn.dashboards import drift, learning, operations


def dashboards() -> dict[str, bytes]:
    """Return each dashboard's JSON under its file's name; the same bytes every time.

    Raises:
        ValueError: a panel asks for a metric, or for a label of one, that the exporter's catalogue does not have.
    """
    built = {"learning": learning.build(), "drift": drift.build(), "operations": operations.build()}
    return {
        f"{name}.json": json.dumps(
            json.loads(JSONEncoder().encode(dashboard)), indent=2, sort_keys=True, ensure_ascii=False
        ).encode()
        + b"\n"
        for name, dashboard in built.items()
    }
