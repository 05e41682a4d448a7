"""A digest tells weights apart by name, type, shape and content, and sees of the head what is in use."""

import pytest
import torch

from streamlearn.durability import stored_state
from streamlearn.durability.state_codec import encode
from streamlearn.model.digest import Content
from streamlearn.model.digest import digest as digest_of
from streamlearn.model.model import digest

WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "head.weight": torch.ones(4, 2), "b": torch.tensor(1)}


def test_it_does_not_hang_on_the_order():
    assert digest(WEIGHTS, 2) == digest(dict(reversed(WEIGHTS.items())), 2)


@pytest.mark.parametrize(
    "other",
    [{"a": torch.arange(6.0).reshape(3, 2)}, {"a": torch.arange(6.0).double().reshape(2, 3)}, {"c": torch.zeros(0)},
     {"b": torch.tensor(2)}, {"head.weight": torch.zeros(4, 2)}],
)  # fmt: skip
def test_it_changes_with_what_is_there(other):
    assert digest({**WEIGHTS, **other}, 2) != digest(WEIGHTS, 2)


def test_of_the_head_the_rows_in_use_count():
    longer = {**WEIGHTS, "head.weight": torch.cat([torch.ones(4, 2), torch.zeros(3, 2)])}
    assert digest(longer, 4) == digest(WEIGHTS, 4) == digest(WEIGHTS, 9) != digest(WEIGHTS, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_what_a_file_has_gives_the_same(dtype):
    weights = {name: each.to(dtype) for name, each in WEIGHTS.items()}
    stored = stored_state.decode(*encode("weights", weights))
    found = digest_of(stored, 2, lambda each: Content(f"torch.{each.type}", each.shape, each.data))
    assert found == digest(weights, 2)
