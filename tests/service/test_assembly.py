"""A service is put together as its configuration says."""

import time

from streamlearn.service.assembly import assemble
from streamlearn.stream.memory_log import MemoryLog, MemoryOutlet, MemorySource
from tests.models import save
from tests.world import World


def test_what_a_checkpoint_knows_is_known_from_the_first_event_on(tmp_path):
    world = World(save(tmp_path / "fine-tuned", "bert"), strategy="er")
    assert list(world.service.learner.task.groups) == ["buy", "hold", "sell"]


def test_learning_stops_after_the_fewer_steps(tiny):
    for configured, asked, most in ((None, None, None), (5, None, 5), (None, 3, 3), (5, 3, 3), (2, 3, 2)):
        log, settings = MemoryLog(), World(tiny, learner={"max_steps": configured}).settings
        log.create("events")
        service = assemble(settings, MemorySource(log, ["events"]), MemoryOutlet(log), max_steps=asked)
        assert service.learner.config.max_steps == most


def test_a_clock_that_is_not_the_machines_is_its_own_timer(tiny):
    log, settings = MemoryLog(), World(tiny).settings
    log.create("events")
    ends = MemorySource(log, ["events"]), MemoryOutlet(log)
    assert assemble(settings, *ends, clock=lambda: 7.0).timer() == 7.0
    assert assemble(settings, *ends, clock=lambda: 7.0, timer=lambda: 3.0).timer() == 3.0
    assert assemble(settings, *ends).timer is time.monotonic
