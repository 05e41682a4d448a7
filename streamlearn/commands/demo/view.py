"""What one sees while the demo runs: a live view in a terminal, or now and then a line."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streamlearn.commands.demo.scoreboard import LEARNING, Scoreboard
from streamlearn.commands.run import waiting
from streamlearn.service.loop import Service

LINE_SECONDS = 5.0


class Refresh:
    """Draws the live view, or now and then a line where there is no terminal."""

    def __init__(self, console: Console, service: Service, board: Scoreboard, live: Live | None) -> None:
        self.console, self.service, self.board, self.live = console, service, board, live
        self._said_at = 0.0

    def __call__(self) -> None:
        """Show where the demo stands."""
        if self.live is not None:
            self.live.update(self._panel())
        elif time.monotonic() - self._said_at >= LINE_SECONDS:
            self._said_at = time.monotonic()
            shares = ", ".join(f"{name} {share}" for name, share in self._shares())
            self.console.print(
                f"{self.service.totals.events:5} of {self.board.total}  {self.board.phase:12}  {shares}  "
                f"({waiting(self.service)})",
                soft_wrap=True,
            )

    def _shares(self) -> Iterator[tuple[str, str]]:
        for name, right in self.board.running.items():
            yield name, f"{sum(right) / len(right):.0%}" if right else "-"

    def _panel(self) -> Panel:
        service, board = self.service, self.board
        head = Table.grid(padding=(0, 2))
        head.add_row(
            Text(board.phase, style="bold"),
            ProgressBar(board.total, min(service.totals.events, board.total), width=40),
            f"{service.totals.events:,} of {board.total:,} events",
        )
        shares = Table.grid(padding=(0, 2))
        for name, share in self._shares():
            shares.add_row(Text(name, style="green" if name == LEARNING else "dim"), Text(share, style="bold"))
        recent = Table.grid(padding=(0, 2))
        for text, label, truth in board.recent:
            style = "green" if label == truth else "red" if truth else "cyan"
            recent.add_row(Text(label or "no label known yet", style=style), Text(text[:90], style="dim"))
        state = (
            f"{len(service.learner.task.groups)} intents known, step {service.learner.step:,}, {waiting(service)}, "
            f"{len(service.learner.memory)} of {service.learner.memory.capacity} remembered, "
            f"{service.totals.dead_letters.total()} dead letters"
        )
        title = "right of the last 200"
        return Panel(Group(head, Text(""), Text(title, style="dim"), shares, Text(""), recent, Text(""), Text(state)))


@contextmanager
def view(console: Console, service: Service, board: Scoreboard, *, live: bool) -> Iterator[Refresh]:
    """Yield what shows where the demo stands: a view that is drawn anew, or a line every few seconds."""
    if not live:
        yield Refresh(console, service, board, None)
        return
    with Live(console=console, refresh_per_second=4, transient=True) as screen:
        yield Refresh(console, service, board, screen)
