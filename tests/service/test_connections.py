"""A takeover by another learner is told from a transaction that the broker gave up, whichever commit finds it out:
after the one a restart is wrong, after the other it is right."""

import pytest

from streamlearn.commands.run import live
from streamlearn.core.errors import BrokerError, FencedError
from streamlearn.durability import journal
from streamlearn.observability.status import Dashboard
from streamlearn.service.connections import Connections
from streamlearn.service.turn import Limits
from tests.past import Past

pytestmark = pytest.mark.usefixtures("one_thread")

KINDS = {"start": "start", "snapshot after a loss": "snapshot", "batch": "batch", "last snapshot": "snapshot"}


class Refusing:
    """An outlet whose broker takes no transaction any more from the first one with this kind of record on."""

    def __init__(self, outlet, kind, before):
        self.outlet, self.kind, self.before, self.refuses = outlet, kind, before, False

    def __getattr__(self, name):
        return getattr(self.outlet, name)

    def send(self, topic, messages):
        self.refuses |= topic == "test.journal" and journal.decode(messages[0].value, "").kind == self.kind
        self.outlet.send(topic, messages)

    def commit(self, positions):
        if self.refuses:
            self.before()
            raise FencedError("a later producer has the transactional id", mend="do not restart")
        self.outlet.commit(positions)


def live_until_refused(model, folder, fate, before):
    """Do what the command does, in a process whose commit of that kind is refused."""
    past, loses = Past(model, folder), fate == "snapshot after a loss"
    past.produce(20)
    past.start()
    past.drain()
    past.save()
    past.produce(8)
    past.drain()
    if loses:
        for tp in past.service.source.positions():
            past.log.truncate(tp, past.log.bounds(tp)[1])
    past.produce(8)
    service, recovery = past.assemble(accept_loss=loses)
    publisher = service.publisher
    publisher.outlet = Refusing(publisher.outlet, KINDS[fate], lambda: before(past, accept_loss=loses))
    connections = Connections(past.settings(), service.source, publisher.outlet, recovery, recovery.warm, {})
    live(service, connections, Dashboard(service), Limits(until_idle=0))


def nobody(*_, **__):
    """Let no other learner start."""


@pytest.mark.parametrize("fate", KINDS)
def test_a_transaction_that_the_broker_gave_up_is_no_takeover(tiny, tmp_path, fate):
    with pytest.raises(BrokerError, match="no other learner took over"):
        live_until_refused(tiny, tmp_path / "state", fate, nobody)


@pytest.mark.parametrize("fate", KINDS)
def test_a_takeover_is_one_whenever_it_is_found_out(tiny, tmp_path, fate):
    with pytest.raises(FencedError):
        live_until_refused(tiny, tmp_path / "state", fate, Past.start)
