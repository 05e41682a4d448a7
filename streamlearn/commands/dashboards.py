"""Grafana dashboards and Prometheus rules: made by code, committed as files, carried by every installation.

The files lie in `deploy/` of the repository, which the package reaches as `streamlearn/deploy`. Making them anew,
`python -m deploy.dashboards`, needs the Grafana Foundation SDK; handing them out does not.
"""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from streamlearn.core.errors import ConfigError

CARRIED = files("streamlearn").joinpath("deploy")
DASHBOARDS = ("learning", "drift", "operations")
EXPORTED = (
    *(f"grafana/{name}.json" for name in DASHBOARDS),
    "prometheus/streamlearn.rules.yml",
    "prometheus/streamlearn.rules.test.yml",
    "prometheus/prometheus.yml",
)


def carried(name: str) -> Traversable:
    """Return one of the files of `EXPORTED`, wherever the package lies."""
    return CARRIED.joinpath(*name.split("/"))


def export(folder: Path) -> list[Path]:
    """Write dashboards and rules into `folder`, as `grafana/` and `prometheus/`, and return what was written.

    Files of the same name are replaced, and nothing else is touched.

    Raises:
        ConfigError: the folder cannot be written.
    """
    written = []
    for name in EXPORTED:
        path, content = folder / name, carried(name).read_bytes()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError as error:
            raise ConfigError(
                f"cannot be written: {error.strerror}", where=str(path), mend="name a folder that this user may write"
            ) from error
        written.append(path)
    return written
