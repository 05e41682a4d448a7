"""Columns go from arrays to tensors and back, and share their memory."""

import numpy as np
import torch

from streamlearn.core.arrays import arrays, tensors


def test_columns_go_there_and_back_in_the_same_memory():
    state = {"n": np.arange(3), "names": ["a"], "count": 2}
    there = tensors(state)
    assert isinstance(there["n"], torch.Tensor)
    there["n"][0] = 7
    assert (state["n"][0], there["names"], there["count"]) == (7, ["a"], 2)
    back = arrays(there)
    assert isinstance(back["n"], np.ndarray)
    assert back["n"].tolist() == [7, 1, 2]
    assert {**back, "n": None} == {**state, "n": None}
