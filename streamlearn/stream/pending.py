"""Events that wait for their label, each in some hundred bytes: its tokens, and what is kept of its answer."""

import struct
from collections import OrderedDict
from collections.abc import Iterable, KeysView, Mapping, Sequence
from itertools import repeat
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
import torch

from streamlearn.core.arrays import arrays, tensors
from streamlearn.core.batch import IntArray, Sample
from streamlearn.core.target import Answer, Judge, Target
from streamlearn.core.tuples import unchecked
from streamlearn.stream.events import Event
from streamlearn.stream.packed_texts import pack_texts, unpack_texts

_at = struct.Struct("<d").unpack_from


class Served(NamedTuple):
    """What was made of n events: the token ids, and the answer (None before any label is known)."""

    tokens: Sequence[IntArray]
    answer: Answer | None


class Joined(NamedTuple):
    """An event that waited, and the label that came: what the prequential measures need of the two.

    `kept` is what was said of it, as the bytes of a `Judge.kept`; `time` is when the event happened, in seconds since
    1970.
    """

    sample: Sample
    kept: bytes
    slices: Mapping[str, str]
    time: float


PLAIN: Final = ("at", "time", "tokens")
_sample = unchecked(Sample)
_joined = unchecked(Joined)
_SLICES: Final[Mapping[str, str]] = MappingProxyType({})


class Pending:
    """Events in the order in which they came; adding, taking out and finding the oldest take constant time.

    An event is one string of bytes: a header of fixed size, whose last field is what is kept of its answer, then its
    tokens, then its slices as JSON where it has some. With tokens of two bytes, an event of the tokens [101, 7] is

        at 1.0 | time 0.5 | tokens 2 | what is kept of its answer | 65 00 07 00 | {"region":"eu"}

    Args:
        judge: of the task: it says what is kept of an answer.
        vocabulary_size: token ids are below it; they are kept in the smallest integer type that holds it.
    """

    def __init__(self, judge: Judge, vocabulary_size: int) -> None:
        self.judge = judge
        self._header = np.dtype([("at", "<f8"), ("time", "<f8"), ("tokens", "<i4"), ("kept", judge.kept)])
        self._start, self._kept = self._header.itemsize, self._header.itemsize - judge.kept.itemsize
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
        head, start = np.zeros(len(rows), self._header), self._start
        head["at"], head["time"] = now, [event.time for event in events]
        tokens = [served.tokens[row] for row in rows]
        head["tokens"] = [len(each) for each in tokens]
        head["kept"] = self.judge.unknown(len(rows)) if served.answer is None else served.answer.kept(rows)
        heads = head.tobytes()
        ends = (np.cumsum(head["tokens"]) * self._type.itemsize).tolist()
        flat = np.concatenate(tokens).astype(self._type).tobytes()
        return [
            heads[at : at + start] + flat[begin:end] + (orjson.dumps(event.slices) if event.slices else b"")
            for at, event, begin, end in zip(range(0, len(heads), start), events, [0, *ends], ends, strict=False)
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

    def unpack(self, ids: Sequence[str], packed: Sequence[bytes], labels: Sequence[Target]) -> list[Joined]:
        """Unpack events whose labels have come: column by column, which is quicker than row by row from five or so on.

        The tokens of all are parts of one array.
        """
        start, kept = self._start, self._kept
        head = np.frombuffer(b"".join([each[:start] for each in packed]), self._header)
        ends = (start + head["tokens"] * self._type.itemsize).tolist()
        flat = np.frombuffer(b"".join([row[start:end] for row, end in zip(packed, ends, strict=True)]), self._type)
        tokens, stops = flat.astype(np.int64), np.cumsum(head["tokens"]).tolist()
        parts = [tokens[begin:stop] for begin, stop in zip([0, *stops], stops, strict=False)]
        columns: Iterable[Iterable[Any]] = (
            map(_sample, zip(ids, parts, labels, strict=True)),
            [row[kept:start] for row in packed],
            [orjson.loads(row[end:]) if len(row) > end else _SLICES for row, end in zip(packed, ends, strict=True)],
            head["time"].tolist(),
        )
        return list(map(_joined, zip(*columns, strict=True)))

    def state_dict(self) -> dict[str, Any]:
        """Return all events in columns, as tensors (copies) and JSON values."""
        head = np.frombuffer(b"".join(each[: self._start] for each in self._events.values()), self._header)
        rest = [each[self._start :] for each in self._events.values()]
        plain = {name: head[name].copy() for name in PLAIN}
        return {
            "ids": tensors(pack_texts(self._events)),
            **tensors(plain | self.judge.columns(head["kept"])),
            "token_bytes": self._type.itemsize,
            # An event's tokens, then its slices as JSON.
            "rest": torch.from_numpy(np.frombuffer(b"".join(rest), np.uint8).copy()),
            "rest_bytes": torch.tensor([len(each) for each in rest], dtype=torch.int32),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the events of another of the same vocabularies."""
        assert state["token_bytes"] == self._type.itemsize, "the tokenizer is another one"
        ids, start = unpack_texts(state["ids"]), self._start
        columns = arrays(state)
        head = np.zeros(len(ids), self._header)
        for name in PLAIN:
            head[name] = columns[name]
        head["kept"] = self.judge.restored(columns)
        heads, rest = head.tobytes(), columns["rest"].tobytes()
        ends = np.cumsum(columns["rest_bytes"], dtype=np.int64).tolist()
        self._events = OrderedDict(
            (event_id, heads[at : at + start] + rest[begin:end])
            for at, event_id, begin, end in zip(range(0, len(heads), start), ids, [0, *ends], ends, strict=False)
        )
