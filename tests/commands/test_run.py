"""What a newcomer waits for is said at once, how far the stream is every few seconds, and at the end what was done."""

import gc

from streamlearn.commands.run import Reporter, live
from streamlearn.observability.status import Dashboard, state
from streamlearn.observability.summary import summary
from streamlearn.service.connections import Connections
from streamlearn.service.turn import Limits
from tests.past import Past
from tests.world import World, labelled


def test_three_labels_typed_by_hand_are_answered(tiny, caplog):
    caplog.set_level("INFO", logger="streamlearn")
    world = World(tiny, learner={"batch_size": 16})
    world.produce(*labelled(3))
    Reporter(world.service)(world.service.turn())
    assert "3 of 16 labels waiting" in caplog.text


def test_the_speed_is_of_this_run_alone(tiny, caplog):
    world = World(tiny)
    world.produce(*labelled(6))
    world.service.turn()
    caplog.set_level("INFO", logger="streamlearn")
    Reporter(world.service).say()
    assert "6 events" in caplog.text
    assert ", 0 events/s" in caplog.text


def test_nothing_is_said_twice(tiny, caplog):
    world = World(tiny, learner={"batch_size": 4})
    report = Reporter(world.service)
    caplog.set_level("INFO", logger="streamlearn.commands")
    world.produce(*labelled(8))
    report(world.service.turn())  # learned for the first time
    report.say()
    assert len(caplog.messages) == 1
    world.produce(*labelled(8, start=8))
    report(world.service.turn())  # not yet time for another line
    assert len(caplog.messages) == 1


def test_this_run_is_what_came_after_the_past_was_restored(tiny, tmp_path):
    past = Past(tiny, tmp_path / "state")
    past.produce(20)
    past.start()
    past.drain()  # no snapshot: all of it is learned again
    before = summary(past.service)
    past.produce(7)
    service, recovery = past.assemble()
    connections = Connections(past.settings(), service.source, service.publisher.outlet, recovery, recovery.warm, {})
    told = summary(service, live(service, connections, Dashboard(service), Limits(until_idle=0)))
    assert (told["events"], told["this_run"]["events"]) == (27, 7)
    assert told["this_run"]["learner_step"] == told["learner_step"] - before["learner_step"] > 0
    assert sum(told["this_run"]["labels"].values()) == sum(told["labels"].values()) - sum(before["labels"].values())


def test_the_status_page_shows_the_speed_of_this_run_alone(tiny, tmp_path):
    """Neither what a snapshot holds nor what is learned again came in the page's first second."""
    past = Past(tiny, tmp_path / "state")
    past.lives(1, 40)
    past.produce(20)
    past.drain()
    past.produce(7)
    service, recovery = past.assemble()
    connections = Connections(past.settings(), service.source, service.publisher.outlet, recovery, recovery.warm, {})

    class Slow(Dashboard):
        def observe(self, turn):
            past.now += 1
            super().observe(turn)

    dashboard = Slow(service)
    assert state(service, dashboard)["series"]["time"] == []
    past.now += 1
    live(service, connections, dashboard, Limits(max_events=7))
    shown = state(service, dashboard)
    assert shown["now"]["events"] == 67
    assert shown["series"]["events_per_second"][0] == 7
    assert 0 < shown["now"]["events_per_second"] <= 7


def test_the_garbage_collector_is_spared_while_the_loop_turns(tiny, tmp_path):
    past = Past(tiny, tmp_path / "state")
    past.produce(4)
    service, recovery = past.assemble()
    connections = Connections(past.settings(), service.source, service.publisher.outlet, recovery, recovery.warm, {})
    frozen = []

    class Watching(Dashboard):
        def observe(self, turn):
            frozen.append(gc.get_freeze_count())

    live(service, connections, Watching(service), Limits(max_events=4))
    assert frozen
    assert min(frozen) > 0
    assert gc.get_freeze_count() == 0
