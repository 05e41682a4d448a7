"""The garbage collector is kept away for as long as it is asked for, and no longer."""

import gc

import pytest

from streamlearn.core.garbage import GARBAGE, spared


def test_it_is_spared_within_the_block_alone():
    before = gc.get_threshold()
    with spared():
        assert gc.get_threshold() == (GARBAGE, *before[1:])
        assert gc.get_freeze_count() > 0
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


def test_it_comes_back_after_an_error():
    before = gc.get_threshold()
    with pytest.raises(ValueError, match="within"), spared():
        raise ValueError("within")
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
