"""A real Prometheus that scrapes one target, for the length of a block."""

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.kafka.helpers import until


class Server:
    """Answers PromQL.

    Args:
        address: host:port.
        log: where it writes what it does.
    """

    def __init__(self, address: str, log: Path) -> None:
        self.address, self.log = address, log

    def query(self, expression: str, *, at: float | None = None) -> list[dict[str, Any]]:
        """Return the series of an instant query; an expression that does not parse is an AssertionError."""
        return self._ask("query", {"query": expression, **({"time": at} if at else {})})

    def range(self, expression: str, start: float, end: float, step: float = 1.0) -> list[dict[str, Any]]:
        """Return the series of a range query."""
        return self._ask("query_range", {"query": expression, "start": start, "end": end, "step": step})

    def value(self, expression: str) -> float | None:
        """Return the value of a query that has one series; None where it has none."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None

    def values(self, name: str) -> list[str]:
        """Return the values of a label."""
        found: list[str] = self._ask(f"label/{name}/values", {})
        return found

    def _ask(self, path: str, parameters: dict[str, Any]) -> Any:
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                body = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{parameters}: {error.read().decode()}") from None
        data = body["data"]
        return data["result"] if isinstance(data, dict) else data


@contextmanager
def prometheus(folder: Path, target: str, *, seconds: float = 1.0, rules: Sequence[Path] = ()) -> Iterator[Server]:
    """Start a Prometheus that scrapes `target` (host:port) every few seconds."""
    job = {"job_name": "streamlearn", "static_configs": [{"targets": [target]}]}
    pace = f"{round(seconds * 1000)}ms"
    settings = {
        "global": {"scrape_interval": pace, "scrape_timeout": pace, "evaluation_interval": pace},
        "scrape_configs": [job],
        "rule_files": [str(path.resolve()) for path in rules],
    }
    (folder / "prometheus.yml").write_text(json.dumps(settings))
    said = folder / "prometheus.log"
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        "--web.listen-address=127.0.0.1:0",
    ]
    with said.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        server = Server(until(lambda: _listening(said.read_text()), 60, said.read_text), said)
        until(lambda: _ready(server), 60, said.read_text)
        yield server
    finally:
        process.terminate()
        process.wait(30)


def scraped(server: Server, seconds: float = 1.0) -> float:
    """Wait for a scrape that began after now; return the time."""
    now = time.time()
    until(lambda: server.query("timestamp(up) > %f" % (now + seconds)), 60, server.log.read_text)
    return time.time()


def _listening(log: str) -> str | None:
    found = [line for line in log.splitlines() if "Listening on" in line or "Start listening" in line]
    addresses = [word for line in found for word in line.split() if "127.0.0.1:" in word]
    return next((word.rpartition("=")[2].strip('"') for word in addresses if not word.endswith(":0")), None)


def _ready(server: Server) -> bool:
    try:
        with urllib.request.urlopen(f"http://{server.address}/-/ready", timeout=5):
            return True
    except OSError:
        return False
