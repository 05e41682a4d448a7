"""A batch counts at once or not at all, and what the broker refuses is tried again, but not for ever."""

from collections import Counter

import pytest

from streamlearn.core.errors import StreamlearnError, TransactionAbortedError
from streamlearn.durability.publisher import ATTEMPTS

pytestmark = pytest.mark.usefixtures("one_thread")


def test_an_aborted_transaction_is_tried_again(past):
    past.produce(20)
    service = past.start()
    outlet, commit = service.publisher.outlet, service.publisher.outlet.commit
    refused = iter([True, True])

    def refusing(positions):
        if next(refused, False):
            outlet.abort()
            raise TransactionAbortedError("refused")
        commit(positions)

    outlet.commit = refusing
    past.drain()
    assert set(Counter(p["id"] for p in past.predictions()).values()) == {1}
    assert service.publisher.commits["aborted"] == 2
    refused = iter([True] * ATTEMPTS)
    past.produce(2)
    with pytest.raises(StreamlearnError, match="refused"):
        past.drain()
