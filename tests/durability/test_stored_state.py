"""What is read without torch is what torch would read."""

import numpy as np
import pytest
import torch

from streamlearn.durability import stored_state
from streamlearn.durability.state_codec import encode
from streamlearn.durability.stored_state import StoredTensor

TYPES = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32,
         torch.float64]  # fmt: skip


def stored(tensor):
    return stored_state.decode(*encode("part", {"it": tensor}))["it"]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (4, 2)])
def test_a_tensor_is_read_as_it_is(dtype, shape):
    tensor = torch.arange(int(np.prod(shape)), dtype=torch.float32).reshape(shape).to(dtype)
    found = stored(tensor)
    assert f"torch.{found.type}" == str(dtype)
    assert found.shape == tuple(tensor.shape)
    np.testing.assert_array_equal(found.numpy(), tensor.numpy())


@pytest.mark.parametrize("rows", [0, 2, 9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_are_taken_as_of_a_tensor(rows, dtype):
    tensor = torch.arange(8).reshape(4, 2).to(dtype)
    found, wanted = stored(tensor)[:rows], tensor[:rows]
    assert (len(found), found.shape) == (len(wanted), tuple(wanted.shape))
    assert bytes(found.data) == bytes(wanted.contiguous().flatten().view(torch.uint8).numpy())


def test_what_is_no_tensor_comes_back():
    content = {"a": [1, None, (2.5, float("-inf"))], "b": {3: {"$x": "y"}}}
    assert stored_state.decode(*encode("part", content)) == content


def test_a_file_that_is_none_is_one_of_the_errors():
    with pytest.raises(stored_state.ERRORS):
        stored_state.decode(b"{}", b"no tensors")


def test_a_type_that_numpy_lacks_is_read_as_bytes_alone():
    found = stored(torch.ones(2, dtype=torch.bfloat16))
    assert isinstance(found, StoredTensor)
    with pytest.raises(TypeError):
        found.numpy()
