"""The demo's table compares what was published with the truth that only the stream's author knows."""

import io

import pytest
from rich.console import Console

from streamlearn.commands.demo.scoreboard import FROZEN, LEARNING, NAIVE, Scoreboard
from streamlearn.commands.demo.view import view
from streamlearn.scenarios import SUPPORT
from streamlearn.service.turn import Turn
from streamlearn.stream.events import Event, Prediction
from streamlearn.stream.transport import Place
from tests.world import World, labelled

STREAM = list(SUPPORT.events(400, 0))
FIRST = set(SUPPORT.groups["first"])


def answered(name, label, text="text", at=0):
    """Return an event and what was said of it."""
    place = Place("events", 0, at)
    prediction = Prediction(name, label, 0.9, (), False, None, 1, 1, place)
    return Event(name, text, None, 0.0, {}, place, 0.0, has_own_id=True), prediction


def turn(events, label_of):
    """Return a turn in which these events of the stream were answered."""
    both = [answered(event.key.decode(), label_of(event), at=at) for at, event in enumerate(events)]
    return Turn(records=len(events), events=[each for each, _ in both], predictions=[each for _, each in both])


@pytest.fixture
def board():
    """A learner that is always right, and one that knows the first intents alone."""
    board = Scoreboard(STREAM, SUPPORT)
    good = [event for event in STREAM if not event.bad]
    board.add(LEARNING, turn(good, lambda event: event.truth))
    board.add(FROZEN, turn(good, lambda event: event.truth if event.truth in FIRST else "delivery_late"))
    return board


def test_accuracy_is_told_by_who_learned_when_and_of_what(board):
    figures = board.figures()
    assert figures[LEARNING]["last_quarter"] == 1.0
    assert figures[FROZEN]["last_quarter_first"] == 1.0
    assert figures[FROZEN]["last_quarter_newest"] == 0.0
    assert 0 < figures[FROZEN]["last_quarter"] < 0.5
    assert figures[NAIVE]["last_quarter"] is None


def test_what_the_author_did_not_send_does_not_count(board):
    before = dict(board.seen), board.figures()
    event, prediction = answered("mine", "card_lost", "my card is gone")
    board.add(LEARNING, Turn(records=1, events=[event], predictions=[prediction]))
    assert (board.seen, board.figures()) == before
    assert board.recent[-1] == ("my card is gone", "card_lost", "")


def test_the_table_and_the_view_show_it(tiny, board):
    world = World(tiny)
    world.produce(*labelled(8))
    world.drain()
    console = Console(file=io.StringIO(), width=120)
    console.print(board.table(world.service))
    with view(console, world.service, board, live=False) as refresh:
        refresh()
        refresh()  # too early for another line
    with view(Console(file=console.file, width=120, force_terminal=True), world.service, board, live=True) as refresh:
        refresh()
    shown = console.file.getvalue()
    assert "100.0%" in shown
    assert "learned: 8 labels of 2 intents in 2 steps" in shown
    assert shown.count("    8 of 400") == 1
    assert "right of the last 200" in shown
