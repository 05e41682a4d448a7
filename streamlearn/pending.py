"""Events that wait for their label, each in some hundred bytes: its tokens, and what was served of it."""

import struct
from collections import OrderedDict
from collections.abc import Iterable, KeysView, Mapping, Sequence
from functools import partial
from itertools import accumulate, repeat
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import torch

from streamlearn.batch import IntArray, Sample
from streamlearn.events import Event, Prediction
from streamlearn.tasks import Labels, Scores

TOP = 5  # probabilities that are kept as they were
NONE = -1  # in the place of a label's number
DIGITS = 6  # of a served score
HEADER = np.dtype(
    [
        ("at", "<f8"),
        ("time", "<f8"),
        ("score", "<f8"),
        ("predicted", "<i4"),
        ("classes", "<i4"),
        ("tokens", "<i4"),
        ("top", "<i4", (TOP,)),
        ("probabilities", "<f4", (TOP,)),
    ]
)
_at = struct.Struct("<d").unpack_from


class Served(NamedTuple):
    """What was said of n events: the predictions, the token ids, and the scores (None before any label is known)."""

    predictions: Sequence[Prediction]
    tokens: Sequence[IntArray]
    scores: Scores | None


class Likely(NamedTuple):
    """The `TOP` likeliest of the labels known then, and their probabilities; `NONE` and 0 where there are fewer."""

    classes: int
    top: Sequence[int]
    probabilities: Sequence[float]

    def of(self, number: int) -> float:
        """Return the probability that a label got, by its number: see `Pending`."""
        classes, top, probabilities = self
        if not 0 <= number < classes:
            return 0.0
        if number in top:
            return probabilities[top.index(number)]
        return max(0.0, 1.0 - sum(probabilities)) / (classes - TOP)


def likeliest(probabilities: npt.NDArray[np.float32]) -> tuple[IntArray, npt.NDArray[np.float32]]:
    """Return the `TOP` likeliest classes of each row (n, classes) and their probabilities, in no order."""
    classes = probabilities.shape[1]
    kept = min(TOP, classes)
    top = np.full((len(probabilities), TOP), NONE, np.int32)
    values = np.zeros((len(probabilities), TOP), np.float32)
    top[:, :kept] = np.argpartition(-probabilities, kept - 1, axis=1)[:, :kept]
    values[:, :kept] = np.take_along_axis(probabilities, top[:, :kept], 1)
    return top, values


class Joined(NamedTuple):
    """An event that waited, and the label that came: what the prequential measures need of the two.

    `score` is what the served label got, nan where none was served; `probability` is what the label got that came, and
    `likely` what others got; `time` is when the event happened, in seconds since 1970.
    """

    sample: Sample
    predicted: str | None
    score: float
    probability: float
    slices: Mapping[str, str]
    time: float
    likely: Likely


_likely = partial(tuple.__new__, Likely)
_sample = partial(tuple.__new__, Sample)
_joined = partial(tuple.__new__, Joined)  # skips NamedTuple's own constructor, which goes through Python


class Pending:
    """Events in the order in which they came; adding, taking out and finding the oldest take constant time.

    Of the probabilities the `TOP` greatest are kept, and the rest is taken to be spread evenly over the other labels
    known then. So a label's probability is exact where `TOP` labels or fewer were known, or where it was among the
    likeliest; a label that was not known then has 0.

    Args:
        labels: the task's vocabulary, which only grows.
        vocabulary_size: token ids are below it; they are kept in the smallest integer type that holds it.
    """

    def __init__(self, labels: Labels, vocabulary_size: int) -> None:
        self.labels = labels
        self._type = np.min_scalar_type(max(vocabulary_size - 1, 0))
        self._events: OrderedDict[str, bytes] = OrderedDict()  # a plain dict is slow at finding its first key

    def __len__(self) -> int:
        return len(self._events)

    def __contains__(self, event_id: object) -> bool:
        return event_id in self._events

    @property
    def ids(self) -> KeysView[str]:
        """The ids of the events that wait, the oldest first."""
        return self._events.keys()

    def pack(self, events: Sequence[Event], rows: Sequence[int], served: Served, now: float) -> list[bytes]:
        """Return what is kept of each event; `rows` says where each stands in `served`."""
        if not rows:
            return []
        head = np.zeros(len(rows), HEADER)
        head["at"], head["time"] = now, [event.time for event in events]
        told = [served.predictions[row] for row in rows]
        head["predicted"] = [self._number(each.label) for each in told]
        head["score"] = [np.nan if each.score is None else each.score for each in told]
        tokens = [served.tokens[row] for row in rows]
        head["tokens"] = [len(each) for each in tokens]
        head["top"] = NONE
        if served.scores is not None:
            probabilities = served.scores.probabilities[list(rows)]
            head["classes"] = probabilities.shape[1]
            head["top"], head["probabilities"] = likeliest(probabilities)
        heads, size = head.tobytes(), HEADER.itemsize
        ends = (np.cumsum(head["tokens"]) * self._type.itemsize).tolist()
        flat = np.concatenate(tokens).astype(self._type).tobytes()
        return [
            heads[at * size : (at + 1) * size] + flat[start:end] + (orjson.dumps(event.slices) if event.slices else b"")
            for at, (event, start, end) in enumerate(zip(events, [0, *ends], ends, strict=False))
        ]

    def add(self, event_id: str, packed: bytes) -> None:
        """Let an event wait; none of its id does."""
        assert event_id not in self._events
        self._events[event_id] = packed

    def take(self, ids: Iterable[str]) -> list[bytes | None]:
        """Take events out; None stands for each id of which none waits."""
        return list(map(self._events.pop, ids, repeat(None)))

    def oldest(self) -> str:
        """Take out the event that has waited longest, and return its id."""
        return self._events.popitem(last=False)[0]

    def since(self) -> float:
        """Return since when the oldest event has waited; there must be one."""
        at: float = _at(next(iter(self._events.values())))[0]
        return at

    def join(self, ids: Sequence[str], packed: Sequence[bytes], labels: Sequence[str]) -> list[Joined]:
        """Unpack events whose labels have come: column by column, which is quicker than row by row from five or so on.

        The tokens of all are parts of one array.
        """
        start = HEADER.itemsize
        head = np.frombuffer(b"".join([each[:start] for each in packed]), HEADER)
        lengths: list[int] = head["tokens"].tolist()
        ends = [start + length * self._type.itemsize for length in lengths]
        flat = np.frombuffer(b"".join([row[start:end] for row, end in zip(packed, ends, strict=True)]), self._type)
        tokens, stops = flat.astype(np.int64), list(accumulate(lengths))
        names = [*self.labels.names, None]  # NONE is the last one
        numbers = np.array(list(map(self._number, labels)))
        likely = zip(head["classes"].tolist(), head["top"].tolist(), head["probabilities"].tolist(), strict=True)
        parts = [tokens[stop - length : stop] for stop, length in zip(stops, lengths, strict=True)]
        columns: Iterable[Iterable[Any]] = (
            map(_sample, zip(ids, parts, labels, strict=True)),
            [names[each] for each in head["predicted"].tolist()],
            head["score"].tolist(),
            _probabilities(head, numbers).tolist(),
            [orjson.loads(row[end:]) if len(row) > end else {} for row, end in zip(packed, ends, strict=True)],
            head["time"].tolist(),
            map(_likely, likely),
        )
        return list(map(_joined, zip(*columns, strict=True)))

    def state_dict(self) -> dict[str, Any]:
        """Return all events in columns, as tensors (copies) and JSON values."""
        size = HEADER.itemsize
        head = np.frombuffer(b"".join(each[:size] for each in self._events.values()), HEADER)
        rest = [each[size:] for each in self._events.values()]
        return {
            "ids": pack_texts(self._events),
            **{name: torch.from_numpy(head[name].copy()) for name in HEADER.names or ()},
            "token_bytes": self._type.itemsize,
            "rest": _bytes(b"".join(rest)),  # an event's tokens, then its slices as JSON
            "rest_bytes": torch.tensor([len(each) for each in rest], dtype=torch.int32),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the events of another of the same vocabularies."""
        assert state["token_bytes"] == self._type.itemsize, "the tokenizer is another one"
        ids = unpack_texts(state["ids"])
        head = np.zeros(len(ids), HEADER)
        for name in HEADER.names or ():
            head[name] = state[name].numpy()
        if state["score"].dtype == torch.float32:  # as they were kept once; what was served has so many digits
            head["score"] = np.round(head["score"], DIGITS)
        heads, rest, size = head.tobytes(), state["rest"].numpy().tobytes(), HEADER.itemsize
        ends = np.cumsum(state["rest_bytes"].numpy(), dtype=np.int64).tolist()
        self._events = OrderedDict(
            (event_id, heads[at * size : (at + 1) * size] + rest[start:end])
            for at, (event_id, start, end) in enumerate(zip(ids, [0, *ends], ends, strict=False))
        )

    def _number(self, label: str | None) -> int:
        number = None if label is None else self.labels.number(label)
        return NONE if number is None else number


def _probabilities(head: npt.NDArray[np.void], numbers: IntArray) -> npt.NDArray[np.float64]:
    """Return what `Likely.of` says of each row's label."""
    top, values, classes = head["top"], head["probabilities"].astype(np.float64), head["classes"]
    hits = top == numbers[:, None]
    rest = np.maximum(0.0, 1.0 - values.sum(1)) / np.maximum(1, classes - TOP)
    known = (numbers >= 0) & (numbers < classes)
    return np.where(hits.any(1), (values * hits).sum(1), np.where(known, rest, 0.0))


def pack_texts(texts: Iterable[str]) -> dict[str, torch.Tensor]:
    """Return texts as two tensors: their UTF-8 after one another, and how many characters each has."""
    listed = list(texts)
    data = "".join(listed).encode("utf-8", "surrogatepass")
    return {"utf8": _bytes(data), "lengths": torch.tensor(list(map(len, listed)), dtype=torch.int32)}


def unpack_texts(packed: Mapping[str, torch.Tensor]) -> list[str]:
    """Return what `pack_texts` packed."""
    whole = packed["utf8"].numpy().tobytes().decode("utf-8", "surrogatepass")
    ends = np.cumsum(packed["lengths"].numpy(), dtype=np.int64).tolist()
    return [whole[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _bytes(data: bytes) -> torch.Tensor:
    column: npt.NDArray[np.uint8] = np.frombuffer(data, np.uint8).copy()
    return torch.from_numpy(column)
