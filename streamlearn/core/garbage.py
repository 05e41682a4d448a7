"""Python's garbage collector, kept away from a loop that makes many objects and no cycles."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

GARBAGE = 50_000  # objects made, and not yet gone, at which the collector looks: a batch's go without it


@contextmanager
def spared() -> Iterator[None]:
    """Keep the collector away from what is there and stays, and from what goes without it.

    It is the process's: for who turns the loop, with a model in memory, and not for who is called by others.
    """
    usual = gc.get_threshold()
    gc.freeze()  # half a million objects of torch and transformers
    gc.set_threshold(GARBAGE, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()
