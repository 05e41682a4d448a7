"""A scenario: a stream of records that is invented, and the same for the same seed.

It is wording (sentence templates with slots, in a file beside this one) and a story (which intents come when, and
which of them somebody labels). It imports no torch, so that a producer of its events starts at once.
"""

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from importlib.resources import files
from typing import Any

BAD_SHARE = 0.005
OVERSIZE = 300_000  # bytes: above `limits.record_bytes`, below the megabyte that Kafka accepts by default
TYPO_SHARE = 0.08

_SLOT = re.compile(r"\{(\w+)\}")
_WORD = re.compile(r"[a-z]{5,}")


@dataclass(frozen=True, slots=True)
class ScenarioEvent:
    """One record as a producer sends it, with what only the author of the stream knows.

    Args:
        key: the event's id, as the record's key.
        value: the record's value; for a good one `{"id", "text", "time"}` as JSON, with `label` if it has one.
        truth: the true label, also where the record carries none; None for a bad record.
        phase: the part of the story that it belongs to.
        bad: for a bad record, the reason that its dead letter will give.
    """

    key: bytes
    value: bytes
    truth: str | None
    phase: str
    bad: str | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of the story.

    Args:
        phase: the name that users see; neighbouring stages may share it.
        until: where the stage ends, as a fraction of the stream.
        weights: by group, how often each of its intents comes, relative to the others; a group left out is silent.
        labelled: by group, the share of its events that carry their label.
        reworded: the share of the drifting intent's events that use its new wording.
    """

    phase: str
    until: float
    weights: Mapping[str, float]
    labelled: Mapping[str, float]
    reworded: float = 0.0


class Phrasebook:
    """Sentences by intent and register, from a file of templates."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._registers = data["registers"]
        self._slots = data["slots"]
        self._intents = data["intents"]
        self._rewordings = data["rewordings"]

    def sentence(self, rng: random.Random, intent: str, *, reworded: bool = False) -> str:
        """Return a customer's message about `intent`, in its new wording if `reworded`."""
        templates = (self._rewordings if reworded else self._intents)[intent]
        register = rng.choice(list(templates))
        frame = self._registers[register]
        known: dict[str, str] = {}  # a slot that a message names twice means the same thing twice
        opener, body, closer = (
            self._fill(rng, rng.choice(choices), known)
            for choices in (frame["openers"], templates[register], frame["closers"])
        )
        if register != "casual":
            body = body[0].upper() + body[1:]
        text = f"{opener}{body}{closer}"
        return _typo(rng, text) if rng.random() < TYPO_SHARE else text

    def _fill(self, rng: random.Random, template: str, known: dict[str, str]) -> str:
        """Fill `{slots}`, which may nest, and turn each `#` into a digit."""

        def fill(match: re.Match[str]) -> str:
            name = match[1]
            if name not in known:
                known[name] = self._fill(rng, rng.choice(self._slots[name]), known)
            return known[name]

        return re.sub("#", lambda _: str(rng.randrange(10)), _SLOT.sub(fill, template))


def _typo(rng: random.Random, text: str) -> str:
    """Swap two neighbouring letters inside a word, or drop one."""
    words = list(_WORD.finditer(text))
    if not words:
        return text
    word = rng.choice(words)
    at = rng.randrange(word.start() + 1, word.end() - 1)
    swapped = text[at + 1] + text[at]
    return text[:at] + rng.choice((swapped, text[at + 1])) + text[at + 2 :]


@dataclass(frozen=True)
class Scenario:
    """A story over a phrasebook.

    Args:
        name: what `streamlearn demo --scenario` calls it.
        groups: the intents, by the part that they play in the story.
        stages: the story, in order; the last one ends at 1.
        wording: the file with the templates, in this folder.
    """

    name: str
    groups: Mapping[str, tuple[str, ...]]
    stages: tuple[Stage, ...]
    wording: str

    @cached_property
    def phrasebook(self) -> Phrasebook:
        """The templates, read once."""
        text = files("streamlearn.scenarios").joinpath(self.wording).read_text(encoding="utf-8")
        return Phrasebook(json.loads(text))

    def events(
        self,
        n: int,
        seed: int,
        *,
        start: datetime = datetime(2026, 1, 1, tzinfo=UTC),
        interval: timedelta = timedelta(seconds=1),
    ) -> Iterator[ScenarioEvent]:
        """Yield `n` events, bad records among them: the same for the same arguments.

        The bad records are spread over the stream: about 0.5 %, and each reason at least twice.
        """
        rng = random.Random(seed)
        bad = _bad_positions(rng, n)
        for i in range(n):
            stage = next(stage for stage in self.stages if i < stage.until * n)
            groups = [(intent, group) for group in stage.weights for intent in self.groups[group]]
            intent, group = rng.choices(groups, [stage.weights[group] for _, group in groups])[0]
            reworded = group == "drifting" and rng.random() < stage.reworded
            payload = {
                "id": f"{self.name}-{seed}-{i:06}",
                "text": self.phrasebook.sentence(rng, intent, reworded=reworded),
                "time": (start + i * interval).isoformat().replace("+00:00", "Z"),
            }
            if rng.random() < stage.labelled[group]:
                payload["label"] = intent
            key, reason = payload["id"].encode(), bad.get(i)
            if reason:
                yield ScenarioEvent(key, BAD_RECORDS[reason](payload), None, stage.phase, reason)
            else:
                yield ScenarioEvent(key, _encode(payload), intent, stage.phase)


def _encode(payload: object) -> bytes:
    return json.dumps(payload, ensure_ascii=False).encode()


BAD_RECORDS: Mapping[str, Callable[[dict[str, str]], bytes]] = {
    # a producer that died while it wrote
    "invalid-json": lambda payload: _encode(payload)[:-9],
    # a system of the last century
    "encoding": lambda payload: _encode(payload | {"text": f"{payload['text']} Zoë"}).decode().encode("cp1252"),
    # a producer that sends its events in bulk
    "schema": lambda payload: _encode([payload]),
    # a mail with nothing but an attachment
    "missing-input": lambda payload: _encode({name: payload[name] for name in ("id", "time")}),
    # an agent who ticked two boxes
    "label-type": lambda payload: _encode(payload | {"label": ["delivery_late", "refund_request"]}),
    # a customer who pasted a log file
    "too-large": lambda payload: _encode(
        payload | {"text": (payload["text"] + "\n") * (OVERSIZE // len(payload["text"]))}
    ),
}


def _bad_positions(rng: random.Random, n: int) -> dict[int, str]:
    """Return the position of each bad record with its reason: one record in each of as many equal stretches."""
    reasons = list(BAD_RECORDS) * max(2, round(BAD_SHARE * n / len(BAD_RECORDS)))
    rng.shuffle(reasons)
    return {int((i + rng.random()) * n / len(reasons)): reason for i, reason in enumerate(reasons)}
