"""Texts come back as they were, whatever stands in them."""

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from streamlearn.stream.packed_texts import pack_texts, unpack_texts


@given(st.lists(st.text(st.characters(codec=None))))
@example([])
@example(["", "é", "\ud800", "\U0001f600", ""])
def test_texts_come_back(texts):
    packed = pack_texts(texts)
    assert {name: each.dtype for name, each in packed.items()} == {"utf8": np.uint8, "lengths": np.int32}
    assert unpack_texts({name: torch.from_numpy(each) for name, each in packed.items()}) == texts
