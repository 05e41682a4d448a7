"""What a stream suffers in the wild, on purpose and by seed: typing errors in texts, and labels that are wrong."""

import random
from collections.abc import Sequence

import orjson

from streamlearn.commands.evaluate.streams import Row, Stream, labels_of
from streamlearn.core.target import Target

TYPO_SHARE = 0.1  # of the words of a text
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def misspelt(texts: Sequence[str], seed: int = 0) -> list[str]:
    """Return the texts with typing errors in a tenth of their words.

    Each word of two characters or more is hit with probability 0.1, by one of three errors: two neighbouring characters
    swapped, one dropped, or a letter put in. The errors of a text follow from the seed and its place alone.
    """
    return [_misspelt(text, random.Random(f"{seed} {at}")) for at, text in enumerate(texts)]


def _misspelt(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    return " ".join(_hit(word, rng) if len(word) > 1 and rng.random() < TYPO_SHARE else word for word in words)


def _hit(word: str, rng: random.Random) -> str:
    kind, at = rng.choice(("swap", "drop", "insert")), rng.randrange(len(word) - 1)
    if kind == "swap":
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == "drop":
        return word[:at] + word[at + 1 :]
    return word[:at] + rng.choice(_LETTERS) + word[at:]


def mislabelled(stream: Stream, share: float, *, path: str, seed: int) -> Stream:
    """Return the stream with a share of its labels replaced, each by another one that is known by then.

    Known are the labels of the row's own group and of those before it. Order and texts stay as they are.

    Args:
        stream: what is learned from.
        share: probability that a label is replaced.
        path: where the label stands in the payload.
        seed: of the choice.
    """
    rng = random.Random(f"labels {seed}")
    known: list[Target] = []
    parts: list[list[Row]] = []
    for part in stream.parts:
        known = list(dict.fromkeys([*known, *labels_of(part)]))
        parts.append([_relabelled(row, known, path, rng) if rng.random() < share else row for row in part])
    return stream._replace(parts=parts)


def _relabelled(row: Row, known: Sequence[Target], path: str, rng: random.Random) -> Row:
    others = [label for label in known if label != row.label]
    if row.label is None or not others:
        return row
    label = rng.choice(others)
    payload = orjson.loads(row.value)
    *parents, last = path.split(".")
    at = payload
    for name in parents:
        at = at[name]
    at[last] = label
    return row._replace(value=orjson.dumps(payload), label=label)
