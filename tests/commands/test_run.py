"""What a newcomer waits for is said at once, and how far the stream is every few seconds."""

from streamlearn.commands.run import Reporter
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
