"""Counter-based random streams: every draw is a function of (seed, purpose, step) and of nothing else.

There is no generator whose state must be saved and restored: whoever knows the step draws the same numbers again.
"""

import hashlib

import numpy as np


def stream(seed: int, purpose: str, step: int) -> np.random.Generator:
    """Return the generator for one purpose at one step.

    Philox is a counter-based generator (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): the
    seed and the purpose are its key, the step is the high word of its counter, so streams never overlap.
    """
    word = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "little")
    return np.random.Generator(
        np.random.Philox(key=np.array([seed, word], np.uint64), counter=np.array([0, 0, 0, step], np.uint64))
    )


def torch_seed(seed: int, purpose: str, step: int) -> int:
    """Return a seed for torch's generator, drawn from the same stream."""
    return int(stream(seed, purpose, step).integers(0, 2**63 - 1))


def share(name: str, key: bytes, purpose: str) -> float:
    """Return a number in [0, 1) that depends on name, key and purpose alone, uniform over names.

    Args:
        name: for example an event's id.
        key: of at most 64 bytes, made of the seed.
        purpose: of at most 16 bytes in UTF-8; each has numbers of its own.
    """
    data = name.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(data, digest_size=8, key=key, person=purpose.encode()).digest()
    return (int.from_bytes(digest, "little") >> 11) / 2**53
