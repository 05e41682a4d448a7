"""The HTTP server beside the loop: /metrics, /healthz and /readyz."""

import json
import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from streamlearn.errors import ConfigError
from streamlearn.exporter import ServiceCollector

if TYPE_CHECKING:
    from streamlearn.service import Service

log = logging.getLogger(__name__)

PAGES = ("/metrics", "/healthz", "/readyz")
REQUEST_SECONDS = 30.0  # a client that says nothing for so long is let go


class Server(ThreadingHTTPServer):
    """A thread for each request; a client that hangs up is no news."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Log what went wrong with a request, where http.server would write a traceback."""
        del request
        error = sys.exception()
        level = logging.DEBUG if isinstance(error, ConnectionError | TimeoutError) else logging.WARNING
        log.log(level, "a request of %s failed: %s: %s", client_address, type(error).__name__, error)


@contextmanager
def serve(service: "Service", host: str, port: int) -> Iterator[str]:  # noqa: C901 - the handler is four short methods
    """Answer in a thread of its own while the block runs; yields the server's address.

    /healthz is 200 while the loop turns, 503 once it made no turn for `limits.progress_seconds`. /readyz is 200 when
    the model is loaded, the partitions are assigned and nothing of the past is still to be applied.

    Raises:
        ConfigError: the port is taken, or the address is not this machine's.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ServiceCollector(service))

    class Handler(BaseHTTPRequestHandler):
        server_version = "streamlearn"
        sys_version = ""
        timeout = REQUEST_SECONDS

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                encode, content_type = choose_encoder(self.headers.get("Accept", ""))
                self._answer(HTTPStatus.OK, encode(registry), content_type)
            elif path == "/healthz":
                self._state(health(service))
            elif path == "/readyz":
                self._state(readiness(service))
            else:
                self._json(HTTPStatus.NOT_FOUND, {"error": f"there is no {path}", "pages": list(PAGES)})

        do_HEAD = do_GET  # noqa: N815 - as above

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            """Say nothing: a scrape every few seconds is not news."""

        def _state(self, state: dict[str, object]) -> None:
            self._json(HTTPStatus.OK if state["ok"] else HTTPStatus.SERVICE_UNAVAILABLE, state)

        def _json(self, status: HTTPStatus, value: dict[str, object]) -> None:
            self._answer(status, json.dumps(value).encode() + b"\n", "application/json")

        def _answer(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    try:
        server = Server((host, port), Handler)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            where="metrics",
            mend="set metrics.port to a free port (0 takes any), metrics.host to an address of this machine, "
            "or metrics.enabled to false",
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="http", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def health(service: "Service") -> dict[str, object]:
    """Return whether the loop makes progress, and how long ago its last turn began."""
    age = time.monotonic() - service.turned_at
    return {"ok": age < service.root.limits.progress_seconds, "seconds_since_last_turn": round(age, 3)}


def readiness(service: "Service") -> dict[str, object]:
    """Return whether predictions flow: model loaded, partitions assigned, nothing of the past left to apply."""
    assigned = len(service.source.positions())
    return {
        "ok": service.ready and assigned > 0,
        "model_loaded": True,
        "partitions": assigned,
        "caught_up": service.ready,
    }
