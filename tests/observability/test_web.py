"""What the server answers, and what it lets a browser do with it."""

import http.client
import json

import orjson
import pytest

from streamlearn.core.errors import ConfigError
from streamlearn.observability.status import Dashboard
from streamlearn.observability.web import PAGES, serve
from tests.observability.fake import FakeService, story


@pytest.fixture
def site():
    service = FakeService()
    dashboard = Dashboard(service)
    story(service, dashboard, 60)
    with serve(service, "127.0.0.1", 0, dashboard) as address:
        yield service, address


def ask(address, path, method="GET", **headers):
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=20)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/chart.js", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/api/state", "application/json"),
    ],
)
def test_a_page_and_its_head(site, path, content_type):
    address = site[1]
    status, headers, body = ask(address, path)
    assert (status, headers["Content-Type"], len(body)) == (200, content_type, int(headers["Content-Length"]))
    assert len(body) > 100
    status, head, nothing = ask(address, path, "HEAD")
    assert (status, nothing, head["Content-Type"]) == (200, b"", content_type)


def test_every_answer_keeps_the_browser_to_this_host(site):
    for path in (*PAGES, "/nothing"):
        _, headers, _ = ask(site[1], path)
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert {policy[each] for each in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
        assert policy["frame-ancestors"] == "'none'"
        assert policy["require-trusted-types-for"] == "'script'"
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_nothing_on_the_page_names_another_host(site):
    for path in ("/", "/page.css", "/page.js", "/chart.js", "/tables.js", "/format.js", "/theme.js", "/icon.svg"):
        text = ask(site[1], path)[2].decode().replace("http://www.w3.org/2000/svg", "")  # the name of a language
        assert "//" not in text.replace("// ", ""), path
        assert "<script>" not in text
        assert "style=" not in text


def test_a_file_is_sent_again_only_when_it_changed(site):
    status, headers, _ = ask(site[1], "/page.js")
    assert headers["Cache-Control"] == "no-cache"
    assert ask(site[1], "/page.js", **{"If-None-Match": headers["ETag"]})[::2] == (304, b"")
    assert ask(site[1], "/page.css", **{"If-None-Match": headers["ETag"]})[0] == 200
    assert ask(site[1], "/api/state")[1]["Cache-Control"] == "no-store"
    assert status == 200


def test_the_state_is_what_the_page_reads(site):
    service, address = site
    shown = orjson.loads(ask(address, "/api/state?x=1")[2])
    assert (shown["name"], shown["status"], shown["now"]["events"]) == ("support", "live", service.totals.events)
    assert len(shown["series"]["time"]) > 50


def test_errors_are_json(site):
    service, address = site
    assert ask(address, "/nothing")[0] == 404
    assert json.loads(ask(address, "/nothing")[2])["pages"] == list(PAGES)
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        status, headers, body = ask(address, "/api/state", method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")
        assert "GET" in json.loads(body)["error"]
    status, _, body = ask(address, "/", "BREW")
    assert (status, json.loads(body)["error"]) == (501, "Unsupported method ('BREW')")
    assert ask(address, "/..%2f..%2fetc%2fpasswd")[0] == 404
    assert ask(address, "/page/page.js")[0] == 404
    assert ask(address, "/" + "x" * 70_000)[0] == 414
    service.measures.probes = None  # something breaks inside
    status, _, body = ask(address, "/api/state")
    assert (status, json.loads(body)) == (500, {"error": "the answer failed: AttributeError"})
    assert ask(address, "/healthz")[0] == 200


def test_a_port_that_is_taken_is_an_error_with_a_mend(site):
    port = int(site[1].rpartition(":")[2])
    with pytest.raises(ConfigError, match=r"metrics\.port"), serve(FakeService(), "127.0.0.1", port):
        pass
