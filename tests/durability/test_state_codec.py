"""A part of the state comes back bit for bit, whatever its keys, types and tensors are."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamlearn.durability.state_codec import decode, encode
from streamlearn.durability.stored_state import ERRORS
from tests.snapshots import same

torch.set_num_threads(1)


@st.composite
def tensors(draw):
    kinds = "float16 bfloat16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 bool"
    dtype = getattr(torch, draw(st.sampled_from(kinds.split())))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    size = math.prod(shape) * dtype.itemsize
    data = bytearray(draw(st.binary(min_size=size, max_size=size)))
    if dtype == torch.bool:
        data = bytearray(each % 2 for each in data)
    tensor = torch.frombuffer(data, dtype=dtype).reshape(shape) if data else torch.empty(shape, dtype=dtype)
    return tensor.mT if draw(st.booleans()) and tensor.ndim >= 2 else tensor


keys = st.sampled_from(["a", "a.b", "b", "0", "", "$tensor", "$items", "__metadata__", "\ud800"]) | st.text(max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | tensors(),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(keys | st.integers(-3, 3), inner, max_size=3),
    ),
    max_leaves=12,
)


@given(st.dictionaries(keys, values))
@example({"$tensor": "x", "a.b": torch.ones(1), "a": {"b": torch.zeros(1)}, "__metadata__": torch.ones(0)})
@example({"one": {"$float": "1"}, "other": {"$items": []}, "third": ({"$tuple": []}, {1: math.nan})})
@settings(max_examples=150, deadline=None)
def test_a_part_comes_back_bit_for_bit(content):
    assert same(decode(*encode("part", content)), content)


def test_shared_and_strided_tensors_come_back_apart():
    base = torch.arange(6.0).reshape(2, 3)
    content = {
        "a": base,
        "b": base,
        "row": base[1],
        "turned": base.mT,
        "grad": torch.nn.Parameter(base),
        "none": base[:0],
    }
    decoded = decode(*encode("model", content))
    assert same(decoded, {key: each.detach() for key, each in content.items()})
    decoded["a"] += 1
    assert torch.equal(decoded["b"], base)


def test_a_tensor_has_the_name_of_its_place():
    structure, _ = encode("memory", {"rows": [{"x": torch.ones(2)}]})
    assert structure == b'{"rows": [{"x": {"$tensor": "rows.0.x"}}]}'


def test_what_was_not_encoded_is_told():
    for structure in (b"{", b'{"x": {"$tensor": "y"}}'):
        with pytest.raises(ERRORS):
            decode(structure, encode("part", {})[1])
    with pytest.raises(ERRORS):
        decode(b"{}", b"x")
