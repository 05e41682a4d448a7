"""A batch counts at once or not at all, and what the broker refuses is tried again, but not for ever."""

from collections import Counter

import pytest
import torch

from streamlearn.core.errors import StreamlearnError, TransactionAbortedError
from streamlearn.durability.publisher import ATTEMPTS
from tests.past import Past


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def past(tiny, tmp_path):
    return Past(tiny, tmp_path / "state")


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
