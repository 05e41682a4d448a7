"""A service on the in-process log, for tests of whatever is in it or looks at it."""

import orjson

from streamlearn.config.settings import check
from streamlearn.service.assembly import assemble
from streamlearn.service.turn import Limits
from streamlearn.stream.memory_log import MemoryLog, MemoryOutlet, MemorySource
from streamlearn.stream.transport import Message


class World:
    """A log with the three topics, and a service on it whose clock stands still until it is moved."""

    def __init__(self, model, *, partitions=2, log=None, **sections):
        self.now = 1_700_000_000.0
        self.set_back = 0.0  # seconds by which the clock was set back: the timer does not know of it
        self.log = log or MemoryLog(clock=lambda: int(self.now * 1000))
        self.settings = check(
            {
                "name": "test",
                "kafka": {"topics": {"events": "events"}},
                "model": {"name": str(model), "device": "cpu"},
                "task": sections.pop("task", "sequence-classification"),
                "learner": {"batch_size": 4, "replay_size": 4, **sections.pop("learner", {})},
                "serving": {"max_batch": 8, **sections.pop("serving", {})},
                "metrics": {"window": 50, **sections.pop("metrics", {})},
                "probes": sections.pop("probes", {"share": 0}),
                **sections,
            }
        )
        topics = self.settings.root.kafka.topics
        if log is None:
            for topic in (topics.events, topics.predictions, topics.dead_letters):
                self.log.create(topic, partitions)
            self.log.create(topics.journal, 1)
        group = self.settings.root.kafka.group_id
        self.source = MemorySource(self.log, [topics.events], group=group)
        self.service = assemble(
            self.settings,
            self.source,
            MemoryOutlet(self.log, group=group),
            clock=lambda: self.now,
            timer=lambda: self.now + self.set_back,
        )

    def produce(self, *events):
        values = [event if isinstance(event, bytes) else orjson.dumps(event) for event in events]
        self.log.append("events", [Message(value, str(i).encode()) for i, value in enumerate(values)])

    def drain(self, **limits):
        self.service.run(Limits(**({"until_idle": 0} | limits)))

    def predictions(self):
        return [orjson.loads(record.value) for record in self.log.records("test.predictions")]

    def dead_letters(self):
        return [dict(record.headers)["streamlearn.reason"].decode() for record in self.log.records("test.dead-letters")]


def labelled(n, start=0, classes=2):
    return [{"id": f"e{i}", "text": f"w{i % classes} w9", "label": f"c{i % classes}"} for i in range(start, start + n)]
