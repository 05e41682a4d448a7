"""Events that wait for their label, each in some hundred bytes: its tokens, and what was served of it."""

import struct
from collections import OrderedDict
from collections.abc import Iterable, KeysView, Mapping, Sequence
from functools import partial
from itertools import repeat
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import torch

from streamlearn.core.batch import IntArray, Sample
from streamlearn.core.scores import TOP_SCORES, Scores, columns, pack_top_scores, probabilities, restored
from streamlearn.core.vocabulary import Labels
from streamlearn.stream.events import Event, Prediction

DIGITS = 6  # of a served score
HEADER = np.dtype(
    [
        ("at", "<f8"),
        ("time", "<f8"),
        ("score", "<f8"),
        ("predicted", "<i4"),
        ("tokens", "<i4"),
        ("top_scores", TOP_SCORES),
    ]
)
PLAIN = ("at", "time", "score", "predicted", "tokens")
START, SAID = (
    HEADER.itemsize,
    HEADER.itemsize - TOP_SCORES.itemsize,
)  # where the tokens begin, and `top_scores`, the last field
_at = struct.Struct("<d").unpack_from


class Served(NamedTuple):
    """What was said of n events: the predictions, the token ids, and the scores (None before any label is known)."""

    predictions: Sequence[Prediction]
    tokens: Sequence[IntArray]
    scores: Scores | None


class Joined(NamedTuple):
    """An event that waited, and the label that came: what the prequential measures need of the two.

    `score` is what the served label got, nan where none was served; `probability` is what the label got that came, and
    `top_scores` tells what others got, as the bytes of a `TOP_SCORES`; `time` is when the event happened, in seconds
    since 1970.
    """

    sample: Sample
    predicted: str | None
    score: float
    probability: float
    slices: Mapping[str, str]
    time: float
    top_scores: bytes


_sample = partial(tuple.__new__, Sample)
_joined = partial(tuple.__new__, Joined)  # skips NamedTuple's own constructor, which goes through Python
_SLICES: Final[Mapping[str, str]] = MappingProxyType({})


class Pending:
    """Events in the order in which they came; adding, taking out and finding the oldest take constant time.

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
        head["predicted"] = self.labels.numbers([each.label for each in told])
        head["score"] = [np.nan if each.score is None else each.score for each in told]
        tokens = [served.tokens[row] for row in rows]
        head["tokens"] = [len(each) for each in tokens]
        said = None if served.scores is None else served.scores.probabilities[list(rows)]
        head["top_scores"] = pack_top_scores(said, len(rows))
        heads = head.tobytes()
        ends = (np.cumsum(head["tokens"]) * self._type.itemsize).tolist()
        flat = np.concatenate(tokens).astype(self._type).tobytes()
        return [
            heads[at : at + START] + flat[start:end] + (orjson.dumps(event.slices) if event.slices else b"")
            for at, event, start, end in zip(range(0, len(heads), START), events, [0, *ends], ends, strict=False)
        ]

    def add(self, event_id: str, packed: bytes) -> None:
        """Let an event wait; none of its id does."""
        assert event_id not in self._events
        self._events[event_id] = packed

    def pop(self, ids: Iterable[str]) -> list[bytes | None]:
        """Take events out; None stands for each id of which none waits."""
        return list(map(self._events.pop, ids, repeat(None)))

    def oldest(self) -> str:
        """Take out the event that has waited longest, and return its id."""
        return self._events.popitem(last=False)[0]

    def since(self) -> float:
        """Return since when the oldest event has waited; there must be one."""
        at: float = _at(next(iter(self._events.values())))[0]
        return at

    def unpack(self, ids: Sequence[str], packed: Sequence[bytes], labels: Sequence[str]) -> list[Joined]:
        """Unpack events whose labels have come: column by column, which is quicker than row by row from five or so on.

        The tokens of all are parts of one array.
        """
        head = np.frombuffer(b"".join([each[:START] for each in packed]), HEADER)
        ends = (START + head["tokens"] * self._type.itemsize).tolist()
        flat = np.frombuffer(b"".join([row[START:end] for row, end in zip(packed, ends, strict=True)]), self._type)
        tokens, stops = flat.astype(np.int64), np.cumsum(head["tokens"]).tolist()
        parts = [tokens[start:stop] for start, stop in zip([0, *stops], stops, strict=False)]
        names = [*self.labels.names, None]  # NONE is the last one
        columns: Iterable[Iterable[Any]] = (
            map(_sample, zip(ids, parts, labels, strict=True)),
            [names[each] for each in head["predicted"].tolist()],
            head["score"].tolist(),
            probabilities(head["top_scores"], np.array(self.labels.numbers(labels))).tolist(),
            [orjson.loads(row[end:]) if len(row) > end else _SLICES for row, end in zip(packed, ends, strict=True)],
            head["time"].tolist(),
            [row[SAID:START] for row in packed],
        )
        return list(map(_joined, zip(*columns, strict=True)))

    def state_dict(self) -> dict[str, Any]:
        """Return all events in columns, as tensors (copies) and JSON values."""
        head = np.frombuffer(b"".join(each[:START] for each in self._events.values()), HEADER)
        rest = [each[START:] for each in self._events.values()]
        return {
            "ids": pack_texts(self._events),
            **{name: torch.from_numpy(head[name].copy()) for name in PLAIN},
            **columns(head["top_scores"]),
            "token_bytes": self._type.itemsize,
            "rest": _bytes(b"".join(rest)),  # an event's tokens, then its slices as JSON
            "rest_bytes": torch.tensor([len(each) for each in rest], dtype=torch.int32),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the events of another of the same vocabularies."""
        assert state["token_bytes"] == self._type.itemsize, "the tokenizer is another one"
        ids = unpack_texts(state["ids"])
        head = np.zeros(len(ids), HEADER)
        for name in PLAIN:
            head[name] = state[name].numpy()
        head["top_scores"] = restored(state)
        if state["score"].dtype == torch.float32:  # as they were kept once; what was served has so many digits
            head["score"] = np.round(head["score"], DIGITS)
        heads, rest = head.tobytes(), state["rest"].numpy().tobytes()
        ends = np.cumsum(state["rest_bytes"].numpy(), dtype=np.int64).tolist()
        self._events = OrderedDict(
            (event_id, heads[at : at + START] + rest[start:end])
            for at, event_id, start, end in zip(range(0, len(heads), START), ids, [0, *ends], ends, strict=False)
        )


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
