"""The demo's table: what three services published, compared with the truth that the stream's author knows."""

from collections import defaultdict, deque
from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from streamlearn.scenarios.story import Scenario, ScenarioEvent
from streamlearn.service.loop import Service
from streamlearn.service.turn import Turn

LEARNING, FROZEN, NAIVE = "learning", "frozen after warm-up", "learning without rehearsal"


class Scoreboard:
    """Compares what the services published with the truth.

    Args:
        stream: the events, with their truth.
        story: which intents came when.
    """

    def __init__(self, stream: Sequence[ScenarioEvent], story: Scenario) -> None:
        self.total, self.last = len(stream), len(stream) * 3 // 4
        self.phase = stream[0].phase
        self.recent: deque[tuple[str, str | None, str]] = deque(maxlen=6)
        self.running: dict[str, deque[bool]] = {name: deque(maxlen=200) for name in (LEARNING, FROZEN, NAIVE)}
        self.refused: dict[str, int] = {}
        self.seen = dict.fromkeys(self.running, 0)  # of the stream's own events, by service
        self._events = {event.key.decode(): (at, event) for at, event in enumerate(stream)}
        self._keys = {event.key for event in stream}
        self._groups = {intent: group for group, intents in story.groups.items() for intent in intents}
        self._right: dict[tuple[str, str, str], list[bool]] = defaultdict(list)
        self._bad = sum(1 for event in stream if event.bad)

    def add(self, name: str, turn: Turn) -> None:
        """Take in what a service published in one turn. Events that the stream's author did not send do not count."""
        texts = {event.id: event.text for event in turn.events} if name == LEARNING else {}
        self.seen[name] += sum(1 for event in turn.events if event.id in self._events)
        self.seen[name] += sum(1 for letter in turn.dead_letters if letter.record.key in self._keys)
        for prediction in turn.predictions:
            at, event = self._events.get(prediction.id, (-1, None))
            if name == LEARNING:
                self.recent.append((texts[prediction.id], prediction.label, event.truth or "" if event else ""))
            if event is None or event.truth is None:
                continue
            right = prediction.label == event.truth
            self.running[name].append(right)
            part = "last quarter" if at >= self.last else event.phase
            for group in ("all", self._groups[event.truth]):
                self._right[name, part, group].append(right)
            if name == LEARNING:
                self.phase = event.phase
        if name == LEARNING:
            for letter in turn.dead_letters:
                self.refused[letter.reason] = self.refused.get(letter.reason, 0) + 1

    def accuracy(self, name: str, part: str, group: str = "all") -> float | None:
        """Return the share of right predictions (fraction) in a part of the stream; None where there was none."""
        right = self._right.get((name, part, group))
        return sum(right) / len(right) if right else None

    def figures(self) -> dict[str, dict[str, float | None]]:
        """Return the table's numbers."""
        return {
            name: {
                "last_quarter": self.accuracy(name, "last quarter"),
                **{f"last_quarter_{group}": self.accuracy(name, "last quarter", group) for group in self.groups},
                "warm_up_first": self.accuracy(name, "warm-up", "first"),
            }
            for name in self.running
        }

    @property
    def groups(self) -> list[str]:
        """The groups of intents, in the order in which they came."""
        return list(dict.fromkeys(self._groups.values()))

    def table(self, service: Service) -> Group:
        """Return the comparison, and what else the learner has to show."""
        table = Table(title="Right predictions in the last quarter of the stream", title_justify="left")
        table.add_column("intents")
        for name in self.running:
            table.add_column(name, justify="right")
        rows = {"all": "all", **{group: f"{group} intents" for group in self.groups}}
        rows["drifting"] = "reworded intent"
        for group, title in rows.items():
            cells = [self.accuracy(name, "last quarter", group) for name in self.running]
            table.add_row(title, *("-" if cell is None else f"{cell:.1%}" for cell in cells))
        forgotten = []
        for name in self.running:
            before, after = self.accuracy(name, "new intents", "first"), self.accuracy(name, "last quarter", "first")
            forgotten.append("-" if before is None or after is None else f"{max(0.0, before - after) * 100:.1f} points")
        table.add_section()
        table.add_row("forgotten of the first intents", *forgotten)
        totals = service.totals
        refused = ", ".join(f"{count} {reason}" for reason, count in sorted(self.refused.items()))
        return Group(
            table,
            Text(
                f"learned: {totals.labels['learned']:,} labels of {len(service.learner.task.groups)} intents in "
                f"{service.learner.step:,} steps, {totals.samples_replayed:,} samples rehearsed"
            ),
            Text(f"drift called: {_drift(service) or 'not once'}"),
            Text(f"detected: {sum(self.refused.values())} of {self._bad} bad records ({refused}), each a dead letter"),
        )


def _drift(service: Service) -> str:
    """Say which signals drifted, and how often: "label 2, novelty 1"."""
    called = service.measures.monitor.totals() if service.measures.monitor is not None else {}
    return ", ".join(f"{signal} {count}" for (_, signal), count in called.items() if count)
