"""Streams that change, or do not."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

Floats = npt.NDArray[np.float64]


def bernoulli(seed: int, *parts: tuple[float, int]) -> Floats:
    """Errors: parts of so many observations at so high a rate."""
    draw = np.random.default_rng(seed)
    return np.concatenate([draw.random(count) < rate for rate, count in parts]).astype(np.float64)


def gaussian(seed: int, *parts: tuple[float, int]) -> Floats:
    """Numbers of variance 1: parts of so many observations about a mean."""
    draw = np.random.default_rng(seed)
    return np.concatenate([draw.normal(mean, 1, count) for mean, count in parts])


def ramp(seed: int, before: float, after: float, count: int) -> Floats:
    """Errors whose rate goes from one to the other, step by step."""
    return (np.random.default_rng(seed).random(count) < np.linspace(before, after, count)).astype(np.float64)


def vectors(seed: int, *parts: tuple[float, int], width: int = 16) -> Iterator[torch.Tensor]:
    """Rows about a mean in every direction."""
    draw = np.random.default_rng(seed)
    for mean, count in parts:
        yield from torch.from_numpy(draw.normal(mean, 1, (count, width)))


def labels(seed: int, *parts: tuple[str, int]) -> Iterator[str]:
    """Labels, each letter as likely as it stands often in the part's word."""
    draw = np.random.default_rng(seed)
    for word, count in parts:
        yield from draw.choice(list(word), count).tolist()


def of(kind: str, seed: int, before: int, after: int = 0) -> list[object]:
    """A stream of what a detector takes, with a strong drift after `before` observations."""
    if kind == "error":
        return list(map(float, bernoulli(seed, (0.1, before), (0.5, after))))
    if kind == "number":
        return list(map(float, gaussian(seed, (0, before), (2, after))))
    if kind == "vector":
        return list(vectors(seed, (0, before), (1, after)))
    return list(labels(seed, ("aaaabbbcd", before), ("abbccdddde", after)))
