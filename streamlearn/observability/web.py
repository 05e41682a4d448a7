"""The HTTP server beside the loop: metrics, health, and the status page."""

import hashlib
import json
import logging
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from streamlearn.core.errors import ConfigError
from streamlearn.observability.exporter import ServiceCollector
from streamlearn.observability.status import Dashboard, progress, state

if TYPE_CHECKING:
    from streamlearn.service.loop import Service

log = logging.getLogger(__name__)

PAGES = ("/", "/api/state", "/metrics", "/healthz", "/readyz")
REQUEST_SECONDS = 30.0  # a client that says nothing for so long is let go
JSON = "application/json"
CONTENT_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

# The page is all there is: nothing from other hosts, no script within the page, no text that becomes markup.
SAFE = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Reply(NamedTuple):
    """The answer to a request."""

    status: HTTPStatus
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = {"Cache-Control": "no-store"}


class Page(NamedTuple):
    """A file of the status page, with the tag that changes when the file does."""

    body: bytes
    content_type: str
    tag: str


class Site:
    """Everything that can be asked for, by path.

    Args:
        service: what the answers are about.
        dashboard: the history for `/api/state`; without it there is none.
    """

    def __init__(self, service: "Service", dashboard: Dashboard | None = None) -> None:
        self.service, self.dashboard = service, dashboard
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(ServiceCollector(service))
        self.pages = pages()

    def reply(self, path: str, headers: Message) -> Reply:
        """Answer a GET of `path`; `headers` are the request's."""
        if page := self.pages.get(path):
            return _page(page, headers.get("If-None-Match", ""))
        if path == "/api/state":
            return Reply(HTTPStatus.OK, orjson.dumps(state(self.service, self.dashboard)))
        if path == "/metrics":
            encode, content_type = choose_encoder(headers.get("Accept", ""))
            return Reply(HTTPStatus.OK, encode(self.registry), content_type)
        if path == "/healthz":
            return _checked(health(self.service))
        if path == "/readyz":
            return _checked(readiness(self.service))
        return _json(HTTPStatus.NOT_FOUND, {"error": f"there is no {path}", "pages": list(PAGES)})


class Handler(BaseHTTPRequestHandler):
    """Carries requests to the server's site, and its answers back."""

    server: "Server"
    server_version = "streamlearn"
    sys_version = ""
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:
        """Answer; what fails in the making of the answer is told and logged, and the next request goes on."""
        try:
            reply = self.server.site.reply(self.path.partition("?")[0], self.headers)
        except Exception as error:
            log.exception("the answer to %s failed", self.path.partition("?")[0])
            reply = _json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": f"the answer failed: {type(error).__name__}"})
        self._send(reply)

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def do_POST(self) -> None:
        """Refuse: nothing can be changed here."""
        reply = _json(HTTPStatus.METHOD_NOT_ALLOWED, {"error": f"{self.command} changes nothing here; use GET"})
        self._send(reply._replace(headers={"Allow": "GET, HEAD"}))

    do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST  # noqa: N815 - http.server's names

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that is none, in JSON like every other error."""
        del explain
        status = HTTPStatus(code)
        self._send(_json(status, {"error": message or status.phrase}))
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Say nothing: a scrape every few seconds is not news."""

    def _send(self, reply: Reply) -> None:
        self.send_response(reply.status)
        headers = {"Content-Type": reply.content_type, "Content-Length": str(len(reply.body))}
        for name, value in {**headers, **reply.headers, **SAFE}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)


class Server(ThreadingHTTPServer):
    """A thread for each request; a client that hangs up is no news."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], site: Site) -> None:
        self.site = site
        super().__init__(address, Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Log what went wrong with a request, where http.server would write a traceback."""
        del request
        error = sys.exception()
        level = logging.DEBUG if isinstance(error, ConnectionError | TimeoutError) else logging.WARNING
        log.log(level, "a request of %s failed: %s: %s", client_address, type(error).__name__, error)


@contextmanager
def serve(service: "Service", host: str, port: int, dashboard: Dashboard | None = None) -> Iterator[str]:
    """Answer in a thread of its own while the block runs; yields the server's address.

    /healthz is 200 while the loop turns, 503 once it made no turn for `limits.progress_seconds`. /readyz is 200 when
    the model is loaded, the partitions are assigned and nothing of the past is still to be applied. / is the status
    page, which reads /api/state; its charts need the `dashboard`.

    Raises:
        ConfigError: the port is taken, or the address is not this machine's.
    """
    try:
        server = Server((host, port), Site(service, dashboard))
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


def pages() -> dict[str, Page]:
    """Return the files of the status page by path; `index.html` is /."""
    found = {}
    for file in files("streamlearn.observability").joinpath("page").iterdir():
        content_type = CONTENT_TYPES.get(file.name.rpartition(".")[2])
        if content_type is not None:
            body = file.read_bytes()
            tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            found["/" if file.name == "index.html" else f"/{file.name}"] = Page(body, content_type, tag)
    return found


def health(service: "Service") -> dict[str, object]:
    """Return whether the loop makes progress, and how long ago its last turn began."""
    age = time.monotonic() - service.lifecycle.turned_at
    return {"ok": age < service.root.limits.progress_seconds, "seconds_since_last_turn": round(age, 3)}


def readiness(service: "Service") -> dict[str, object]:
    """Return whether predictions flow: model loaded, partitions assigned, nothing of the past left to apply."""
    life, assigned = service.lifecycle, len(service.source.positions())
    return {
        "ok": life.live and assigned > 0,
        "model_loaded": True,
        "partitions": assigned,
        "caught_up": life.live,
        **progress(service),
        "lag": sum(service.source.lag().values()),
    }


def _page(page: Page, known: str) -> Reply:
    """Return a file of the page, or only its tag where the browser has it: a newer version is seen at once."""
    headers = {"Cache-Control": "no-cache", "ETag": page.tag}
    if page.tag in known:
        return Reply(HTTPStatus.NOT_MODIFIED, b"", page.content_type, headers)
    return Reply(HTTPStatus.OK, page.body, page.content_type, headers)


def _checked(found: dict[str, object]) -> Reply:
    return _json(HTTPStatus.OK if found["ok"] else HTTPStatus.SERVICE_UNAVAILABLE, found)


def _json(status: HTTPStatus, value: dict[str, object]) -> Reply:
    return Reply(status, json.dumps(value).encode() + b"\n")
