"""The status page in a real browser: right figures, no foreign host, for every width, theme, keyboard and reader."""

import json
import os
import re
import shutil
import time
from contextlib import ExitStack
from functools import cache
from itertools import pairwise
from types import SimpleNamespace

import pytest
from playwright.sync_api import expect, sync_playwright

from streamlearn.observability.status import Dashboard, state
from streamlearn.observability.web import serve
from streamlearn.service.lifecycle import Lifecycle, Warmed
from tests.observability.fake import FakeService, Reading, row, story, turn

pytestmark = pytest.mark.tool("chromium")
NONE = "\u2013"  # an en dash: no value yet
EVIL = "<img src=x onerror=alert(1)>"
SECONDS = 15_000  # a busy machine is slow; in milliseconds

# Every visible text with its contrast, as WCAG 2 has it, against the nearest ground that is not transparent.
CONTRASTS = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (color) => {
    const line = (c) => c <= 10.3 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = rgba(color).slice(0, 3).map(line);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    const holder = walker.currentNode.parentElement;
    if (!text || !holder.checkVisibility() || holder.closest("noscript, .visually-hidden")) continue;
    const style = getComputedStyle(holder);
    let ground = holder;
    while (rgba(getComputedStyle(ground).backgroundColor)[3] === 0) ground = ground.parentElement;
    const a = light(holder instanceof SVGElement ? style.fill : style.color);
    const b = light(getComputedStyle(ground).backgroundColor);
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), text]);
  }
  return found;
}"""

FOCUS = """() => {
  const element = document.activeElement;
  const style = getComputedStyle(element);
  const outline = style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth);
  return [element.id || element.className || element.textContent, outline];
}"""


@pytest.fixture(scope="module")
def browser():
    """Give what starts one Chromium for all, at the first test that finds it on this machine."""
    with ExitStack() as stack:

        @cache
        def start():
            sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses to be root with one
            chromium = stack.enter_context(sync_playwright()).chromium
            started = chromium.launch(executable_path=shutil.which("chromium"), args=sandbox)
            stack.callback(started.close)
            return started

        yield start


@pytest.fixture
def visit(browser):
    """Open an address; at the end nothing may have gone wrong, but for requests while the service was to be away."""
    contexts, troubles, asked = [], [], set()

    def open_page(address, width=1280, **options):
        context = browser().new_context(viewport={"width": width, "height": 900}, locale="en-GB", **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(SECONDS)
        page.on("console", lambda message: troubles.append(message.text) if message.type in {"error", "warning"} else 0)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("requestfailed", lambda request: troubles.append(f"{request.url}: {request.failure}"))
        page.on("request", lambda request: asked.add((request.url.split("/")[2], address.split("/")[2])))
        page.on("dialog", lambda dialog: troubles.append(f"dialog: {dialog.message}"))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [each for each in troubles if "CONNECTION_REFUSED" not in each] == []
    assert {host for host, own in asked if host != own} == set()


@pytest.fixture
def empty():
    service = FakeService()
    dashboard = Dashboard(service)
    with serve(service, "127.0.0.1", 0, dashboard) as address:
        yield service, dashboard, address


@pytest.fixture
def told():
    """Serve a stream of fifteen minutes with 38 classes and a drift; texts are shown."""
    service = FakeService(show_payloads=True)
    service.now = time.time() - 900
    dashboard = Dashboard(service)
    story(service, dashboard)
    with serve(service, "127.0.0.1", 0, dashboard) as address:
        yield service, dashboard, address


def live(page):
    expect(page.locator("#status")).to_have_attribute("data-status", "live", timeout=SECONDS)
    return page


def tile(page, name):
    return page.locator(".figure", has=page.get_by_text(name, exact=True)).locator("dd").first


def test_it_shows_what_the_service_says(told, visit):
    service, dashboard, address = told
    page = live(visit(address))
    now = state(service, dashboard)["now"]
    expect(page).to_have_title(re.compile("^support . streamlearn$"))
    expect(page.get_by_role("heading", name="support", level=1)).to_be_visible()
    expect(tile(page, "Accuracy")).to_have_text(f"{100 * now['accuracy']:.1f} %")
    expect(tile(page, "Labels known")).to_have_text("38")
    expect(page.locator("#model")).to_contain_text("all-MiniLM-L6-v2 · sequence-classification · er · cpu · step 5,394")
    for name in ("Accuracy and forgetting", "Throughput", "Drift", "Dead letters"):
        chart = page.get_by_role("img", name=f"{name} from")
        expect(chart).to_have_count(1)
        assert "Latest:" in chart.get_attribute("aria-label")
        assert len(chart.locator("path.line").first.get_attribute("d")) > 500
    assert page.locator(".called").count() == 4  # a mark for each signal that called drift


def test_it_shows_what_waits_and_what_became_of_the_labels(visit):
    service = FakeService(labels="support-labels")
    service.totals.labels.update({"learned": 1200, "held_back": 3, "correction": 0})
    service.totals.delay.observe(120, 7)
    service.intake.joiner.pending.update(dict.fromkeys(range(42)))
    with serve(service, "127.0.0.1", 0, Dashboard(service)) as address:
        page = live(visit(address))
        expect(tile(page, "Waiting for a label")).to_have_text("42")
        expect(page.get_by_text("labels come 2 min later")).to_be_visible()
        expect(page.locator("#outcomes tbody tr")).to_have_text(["learned1,200", "held back3"])
        expect(page.locator("#outcomes-note")).to_have_text("42 events without a label yet, 0 labels without an event.")


def test_it_follows_the_service(empty, visit):
    service, dashboard, address = empty
    page = live(visit(address))
    expect(tile(page, "Accuracy")).to_have_text(NONE)
    service.measures.prequential.count, service.measures.prequential.accuracy, service.totals.events = 10, 0.875, 1234
    service.now += 1
    dashboard.observe(turn(detections=[Reading("adwin", "error", 2.0, 1.0)]))
    expect(tile(page, "Accuracy")).to_have_text("87.5 %", timeout=SECONDS)
    expect(page.locator("#empty")).to_be_hidden()
    expect(tile(page, "Drift")).to_have_text("now")
    service.lifecycle.stop.set()
    expect(page.locator("#status")).to_have_text("stopping", timeout=SECONDS)
    expect(page.get_by_role("status")).to_have_text("The service is stopping.")


def test_before_the_first_event_it_says_what_to_do(empty, visit):
    page = live(visit(empty[2]))
    expect(page.get_by_role("heading", name="Ready for the first event")).to_be_visible()
    expect(page.locator("#empty-try")).to_have_text("streamlearn produce events.jsonl --topic support-tickets")
    expect(page.get_by_text("No data yet")).to_have_count(4)
    expect(page.get_by_text("web: {show_payloads: true}")).to_be_visible()
    assert "NaN" not in page.content()
    assert "undefined" not in page.locator("body").inner_text()


def test_before_it_is_live_it_says_how_far_it_is_and_asks_for_no_event(empty, visit):
    service, _, address = empty
    life = service.lifecycle = Lifecycle({})
    life.recover(0)
    page = visit(address)
    ready = page.get_by_role("heading", name="Ready for the first event")
    said = page.locator("#begins-text")
    expect(page.locator("#status")).to_have_text("recovering", timeout=SECONDS)
    expect(said).to_have_text("No event is taken before the service is live.")
    life.recover(57)
    life.recovered(20)
    expect(said).to_contain_text("20 of 57 batches of the past learned again.", timeout=SECONDS)
    expect(ready).to_be_hidden()
    life.catch_up()
    life.warm_up()
    life.learn_rows(Warmed("sha", 256, 1000))
    expect(said).to_contain_text("256 of 1,000 rows of the warm start learned.", timeout=SECONDS)
    expect(ready).to_be_hidden()
    life.end_warm_up()
    life.go_live()
    expect(ready).to_be_visible(timeout=SECONDS)
    expect(said).to_be_hidden()
    life.stop.set()
    expect(ready).to_be_hidden(timeout=SECONDS)


def test_an_answer_between_right_and_wrong_says_how_right_it_is(visit):
    service = FakeService(show_payloads=True)
    dashboard = Dashboard(service)
    rows = [row("near", 1.0, "a"), row("right", "a", "a")]
    told = turn(*zip(*rows, strict=True))
    told.answer = SimpleNamespace(judged=lambda *_: SimpleNamespace(errors=[0.125, 0.0]))
    dashboard.observe(told)
    with serve(service, "127.0.0.1", 0, dashboard) as address:
        page = live(visit(address))
        expect(page.locator("#recent .tag")).to_have_text(["right", "87.5 % right"])


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_the_screen_and_can_be_read(told, visit, width, scheme):
    service, dashboard, address = told
    service.learner.task.groups[0] = "averyveryverylongname" * 8
    dashboard.observe(turn(*([each] for each in row("onelongword" * 30, None, "x" * 90))))
    page = live(visit(address, width=width, color_scheme=scheme))
    page.get_by_role("button", name="Show all 38").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wider = (
        "[...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && e.getBoundingClientRect().right"
    )
    assert page.evaluate(f"{wider} > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))") == []
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 300
    assert [each for each in contrasts if each[0] < 4.5] == []


def test_the_theme_is_the_systems_until_one_is_chosen_and_then_stays(empty, visit):
    page = live(visit(empty[2], color_scheme="light"))

    def ground():
        return page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = ground()
    page.emulate_media(color_scheme="dark")
    dark = ground()
    assert light != dark
    page.get_by_role("button", name="Light theme").click()
    assert ground() == light
    page.reload()
    live(page)
    assert ground() == light
    page.get_by_role("button", name="Dark theme").click()
    page.emulate_media(color_scheme="light")
    assert ground() == dark


def test_the_keyboard_reaches_everything_and_focus_is_seen(told, visit):
    page = live(visit(told[2]))
    names: list[str] = []
    while "/readyz" not in names:
        page.keyboard.press("Tab")
        name, outline = page.evaluate(FOCUS)
        names.append(name)
        assert outline >= 2, f"the focus on {name} is not seen"
        assert len(names) < 40
    assert names[0] == "skip"
    assert names.count("plot") == 4
    assert names.index("theme") < names.index("plot") < names.index("show-all") < names.index("recent-on")
    assert names.count("sort") == 5
    assert "/metrics" in names


def test_the_skip_link_skips_the_header(told, visit):
    page = live(visit(told[2]))
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the figures")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "plot"


def test_all_classes_are_shown_on_demand_and_sorted(told, visit):
    page = live(visit(told[2]))
    rows, button = page.locator("#classes tbody tr"), page.locator("#show-all")
    expect(rows).to_have_count(30)
    button.press("Enter")
    expect(rows).to_have_count(38)
    expect(button).to_have_attribute("aria-expanded", "true")
    page.get_by_role("button", name="Class", exact=True).click()
    names = page.locator("#classes tbody th").all_inner_texts()
    assert names == sorted(names)
    expect(page.get_by_role("columnheader", name="Class")).to_have_attribute("aria-sort", "ascending")
    page.get_by_role("button", name="Predicted").click()
    counts = [int(text.replace(",", "")) for text in page.locator("#classes td:last-child .value").all_inner_texts()]
    assert counts == sorted(counts, reverse=True)
    page.wait_for_timeout(2500)  # an update later the choice still holds, and so does the focus
    expect(rows).to_have_count(38)
    expect(page.get_by_role("button", name="Predicted")).to_be_focused()


def test_a_chart_tells_its_values_at_the_cursor(told, visit):
    page = live(visit(told[2]))
    chart, tip = page.locator(".plot").first, page.locator(".tip").first
    expect(tip).to_be_hidden()
    chart.hover()
    expect(tip).to_contain_text("accuracy")
    page.mouse.move(0, 0)
    expect(tip).to_be_hidden()
    chart.focus()
    page.keyboard.press("End")
    latest = page.locator(".legend strong").first.inner_text()
    expect(tip).to_contain_text(f"accuracy{latest}")
    page.keyboard.press("Home")
    expect(tip).not_to_contain_text(latest)
    page.keyboard.press("Escape")
    expect(tip).to_be_hidden()


def test_the_drift_chart_says_what_called_drift(told, visit):
    page = live(visit(told[2]))
    chart = page.locator(".plot").nth(2)
    x = float(chart.locator(".called").first.get_attribute("x1"))
    chart.hover(position={"x": x, "y": 60})
    expect(page.locator(".tip").nth(2)).to_contain_text("drift in novelty:")
    expect(chart.locator(".limit-text")).to_have_text("drift is called above")


def test_texts_of_users_are_text(visit):
    shown = FakeService(show_payloads=True, events=EVIL)
    shown.root.name = shown.root.model.name = EVIL
    shown.learner.task.groups.extend([EVIL, "other"])
    shown.totals.dead_letters[EVIL] += 1
    shown.measures.monitor.now = [Reading(EVIL, EVIL, 2.0, 1.0)]
    dashboard = Dashboard(shown)
    shown.now += 1
    dashboard.observe(turn(*([each] for each in row(EVIL, EVIL, EVIL)), [Reading(EVIL, EVIL, 2.0, 1.0)]))
    with serve(shown, "127.0.0.1", 0, dashboard) as address:
        page = live(visit(address))
        for place in (
            "h1",
            "#model",
            "#classes tbody th",
            "#recent .text",
            "#dead th[scope=row]",
            "#drift",
            "#lag",
            "#empty",
        ):
            assert EVIL in page.locator(place).first.text_content(), place
        page.locator(".plot").nth(2).focus()
        page.keyboard.press("End")
        assert EVIL in page.locator(".tip").nth(2).text_content()
        assert page.locator("img:not(.mark)").count() == 0


def test_it_says_that_the_service_is_away_and_recovers(visit):
    service = FakeService()
    dashboard = Dashboard(service)
    with serve(service, "127.0.0.1", 0, dashboard) as address:
        page = live(visit(address))
    expect(page.locator("#away")).to_be_visible(timeout=SECONDS)
    expect(page.locator("#away")).to_contain_text("What you see is from")
    expect(page.locator("#status")).to_have_text("away")
    expect(page.get_by_role("status")).to_have_text("The service does not answer.")
    service.learner.task.groups.append("new")
    with serve(service, "127.0.0.1", int(address.rpartition(":")[2]), dashboard):
        live(page)
        expect(page.locator("#away")).to_be_hidden()
        expect(page.get_by_role("status")).to_have_text("The service is live.")
        expect(tile(page, "Labels known")).to_have_text("1")


def test_a_reader_finds_landmarks_headings_and_captions(told, visit):
    page = live(visit(told[2]))
    for role in ("banner", "main", "contentinfo"):
        expect(page.get_by_role(role)).to_have_count(1)
    levels = page.evaluate(
        "[...document.querySelectorAll('h1,h2,h3')].filter(e => e.checkVisibility()).map(e => +e.tagName[1])"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.evaluate("[...document.querySelectorAll('table')].every(t => t.caption && t.caption.textContent)")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    assert page.evaluate("document.querySelectorAll('[aria-live]').length") == 1
    assert page.evaluate("document.documentElement.lang") == "en"


def test_on_a_small_screen_tables_are_still_tables(told, visit):
    page = live(visit(told[2], width=390))
    classes = page.get_by_role("table", name="Replay memory")
    expect(classes.get_by_role("row")).to_have_count(31)
    expect(classes.get_by_role("columnheader")).to_have_count(5)
    expect(page.get_by_role("table", name="The latest predictions").get_by_role("row")).to_have_count(50)


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_motion_is_reduced_for_who_wants_that(empty, visit, motion):
    page = live(visit(empty[2], reduced_motion=motion))
    animation = page.evaluate("getComputedStyle(document.querySelector('.dot')).animationName")
    assert (animation == "none") is (motion == "reduce")


def test_a_state_without_history_has_a_page_too(visit):
    with serve(FakeService(), "127.0.0.1", 0) as address:
        page = live(visit(address))
        expect(page.get_by_text("No data yet")).to_have_count(4)
        assert json.loads(page.evaluate("fetch('/api/state').then(a => a.text())"))["series"] is None
