"""The warm start: a labelled file that is learned before the first event, as events of the past would have been.

Its rows go through the decoder of events, become samples and probes as events do, and are learned in batches that are
cut by count. Nothing is predicted, so nothing that was served is measured. The journal tells of each part before it is
learned: a learner that dies goes on where it stopped, from the same file and no other.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from streamlearn.core.batch import Sample
from streamlearn.core.errors import ConfigError, StreamlearnError
from streamlearn.durability import failpoints, journal
from streamlearn.service.lifecycle import Lifecycle, Warmed
from streamlearn.service.loop import Service
from streamlearn.service.measures import ProbeSplit
from streamlearn.service.turn import Turn
from streamlearn.serving.predictor import Reply
from streamlearn.stream.decoders import DecodedEvents, EventDecoder
from streamlearn.stream.events import Event
from streamlearn.stream.join import Join, Letter
from streamlearn.stream.labelled_files import Row, WarmFile
from streamlearn.stream.transport import Record, ranges

log = logging.getLogger(__name__)

ROWS = 256  # of a part: what a stop waits for
TOLD = 10  # bad rows that are told one by one
REPORT_SECONDS = 5.0


@dataclass
class Survey:
    """What a file holds, before anything of it is learned."""

    sha256: str
    rows: int = 0
    labelled: int = 0
    bad: int = 0
    first_bad: list[str] = field(default_factory=list)  # where, and why

    def say(self, path: str) -> None:
        """Tell what will be learned, and what cannot be."""
        unlabelled = self.rows - self.labelled - self.bad
        log.info("warm start from %s: %d rows with a label, %d without", path, self.labelled, unlabelled)
        for line in self.first_bad:
            log.warning("warm start: %s", line)
        if self.bad:
            log.warning("warm start: %d of %d rows of %s cannot be taken", self.bad, self.rows, path)


class Part(NamedTuple):
    """Rows of the file that are learned together, and what becomes of them: see `journal.Warm`."""

    done: Warmed
    start: int
    digest: str
    events: Sequence[Event]
    reply: Reply
    seen: ProbeSplit
    taken: str


class WarmStart:
    """Lets a learner begin with what a file tells, and a learner that died learn it again.

    Args:
        path: of the file or the folder; None where the configuration names none.
        part: how many rows are learned together, and told of in one journal record.
    """

    def __init__(self, path: str | None, part: int = ROWS) -> None:
        self.path, self.part = path, part
        self._file: WarmFile | None = None
        self._sha256 = ""
        self._rows: Iterator[tuple[int, Row]] = iter(())
        self._at = -1  # the next of them

    def begin(self, service: Service) -> bool:
        """Learn the file, or what is left of it, if this learner is at the beginning of its life; return whether that
        came to its end: a service that is told to stop stops here too, and goes on with the next start.

        1. See what the file holds.
        2. Read a part, and choose its probes.
        3. Write in the journal what was read.
        4. Only now learn it.
        5. Write a snapshot: with the last part, or a stop, at once, since then the file is needed no more.

        Raises:
            ConfigError: the file is not there, holds nothing that can be learned, or changed since it was begun.
        """
        life, done = service.lifecycle, service.lifecycle.warmed
        if done is not None and done.next >= done.rows:
            return True
        if done is None and (self.path is None or service.totals.events):
            if self.path is not None:
                log.warning("warm_start: ignored, since this learner has taken events; a new `name` begins anew")
            return True
        life.warm_up()
        try:
            if self._is_gone(life, done, lossy=service.root.recovery.accept_loss):
                return True
            if done is None:
                survey = self.survey(service)  # 1
                survey.say(str(self.path))
                done = Warmed(survey.sha256, 0, survey.rows)
            life.learn_rows(done)
            whole = self._go(service, done)
        finally:
            life.end_warm_up()
        if service.keeper is not None:  # 5
            service.keeper.save(service.clock())
        return whole

    def _go(self, service: Service, done: Warmed) -> bool:
        told = time.monotonic()
        while done.next < done.rows:
            if service.lifecycle.stop.is_set():
                log.info("warm start: stopped after %d of %d rows; the next start goes on", done.next, done.rows)
                return False
            service.lifecycle.turn()
            part = self._part(service, done, min(done.next + self.part, done.rows))  # 2
            failpoints.reach("warming")
            record = journal.Warm(
                **service.common(service.clock()),
                sha256=done.sha256,
                rows=done.rows,
                start=part.start,
                next=part.done.next,
                digest=part.digest,
                model_step=service.learner.step,
                taken=part.taken,
            )
            with service.stages("commit"):
                service.publisher.commit(record)  # 3
            service.warm(part.done, part.events, part.seen, part.reply.tokens, record.now)  # 4
            failpoints.reach("warmed")
            done = part.done
            service.lifecycle.learn_rows(done)
            if service.keeper is not None:
                service.keeper.keep(record.now)
            if time.monotonic() - told >= REPORT_SECONDS:
                told = time.monotonic()
                log.info("warm start: %d of %d rows", done.next, done.rows)
        log.info("warm start: %d rows, %d labels known", done.rows, len(service.learner.task.groups))
        return True

    def again(self, service: Service, record: journal.Warm, *, learn: bool = True, lossy: bool = False) -> Turn | None:
        """Learn a part again that the journal tells of; None where it is gone and `lossy` goes on without it.

        Without `learn` its labels are discarded, and those that waited for a full batch: one of them kills.

        Raises:
            StreamlearnError: the file is not there any more, or is another one.
        """
        life = service.lifecycle
        life.turn()
        done = Warmed(record.sha256, record.start, record.rows)
        if self._is_gone(life, done, lossy=lossy):
            life.learned(done._replace(next=record.next))
            return None
        part = self._part(service, done, record.next)
        if part.digest != record.digest:  # it changed while it was read
            raise self._another(done)
        service.compare(record, part.taken)
        seen = part.seen if learn else service.discard(part.seen)
        return service.warm(part.done, part.events, seen, part.reply.tokens, record.now)

    def require(self, service: Service, record: journal.Warm, *, lossy: bool = False) -> None:
        """See that the file of which the journal tells is there, or that `lossy` goes on without it.

        Raises:
            StreamlearnError: it is not there any more, or is another one.
        """
        self._is_gone(service.lifecycle, Warmed(record.sha256, record.start, record.rows), lossy=lossy)

    def survey(self, service: Service) -> Survey:
        """Read the whole file once, with a decoder of its own.

        Raises:
            ConfigError: it cannot be read, or no row of it can be learned.
        """
        file = self._opened(service.lifecycle)
        found = Survey(self._sha256)
        root = service.root
        decoder = EventDecoder(
            root.fields,
            service.learner.task.targets(root.limits.labels),
            max_bytes=root.limits.record_bytes,
        )
        rows = enumerate(file.rows())
        while some := list(islice(rows, ROWS)):
            service.lifecycle.turn()
            decoded = self._decoded(decoder, some)
            where = {at: row.where for at, row in some}
            found.rows += len(some)
            found.labelled += sum(event.label is not None for event in decoded.events)
            found.bad += len(decoded.dead_letters)
            for letter in decoded.dead_letters[: TOLD - len(found.first_bad)]:
                found.first_bad.append(f"{file.path} {where[letter.record.offset]}: {letter.detail}")
        if not found.labelled:
            what = f"none of its {found.rows} rows can be learned" if found.rows else "it is empty"
            why = f"; {found.first_bad[0]}" if found.first_bad else ""
            raise ConfigError(
                what + why,
                where=f"warm_start: {file.path}",
                mend=f"each row needs a text ({root.fields.text!r}) and a label ({root.fields.label!r}); the section "
                "`fields` says where they stand",
            )
        return found

    def _part(self, service: Service, done: Warmed, end: int) -> Part:
        if self._at != done.next:
            self._rows, self._at = enumerate(self._opened(service.lifecycle).rows()), 0
            while self._at < done.next and (passed := len(list(islice(self._rows, min(ROWS, done.next - self._at))))):
                service.lifecycle.turn()
                self._at += passed
        some = list(islice(self._rows, end - done.next))
        self._at += len(some)
        if len(some) < end - done.next:
            raise self._another(done)
        with service.stages("decode"):
            decoded = self._decoded(service.intake.decoder, some)
        events = decoded.events
        with service.stages("tokenize"):
            tokens, unknown = service.learner.model.tokenize([event.text for event in events])
        reply = Reply(tokens, None, unknown)
        join = Join()
        for event, row in zip(events, tokens, strict=True):
            if event.label is not None:
                join.hand_out(Sample(event.id, row, event.label))
            join.letters.append(Letter.UNLABELLED if event.label is None else Letter.LEARNED)
        seen = service.measures.split_probes(join)
        letters = {event.source.offset: letter for event, letter in zip(events, seen.letters, strict=True)}
        (found,) = ranges(self._records(some))
        taken = "".join(letters.get(at, "d") for at, _ in some)
        return Part(done._replace(next=end), done.next, found.digest, events, reply, seen, taken)

    def _decoded(self, decoder: EventDecoder, some: Sequence[tuple[int, Row]]) -> DecodedEvents:
        """Decode rows as events are; one that names no id gets one that no event can have."""
        decoded = decoder.decode(self._records(some))
        events = [
            event if event.has_own_id else event._replace(id=self._name(event.source.offset))
            for event in decoded.events
        ]
        return decoded._replace(events=events)

    def _records(self, some: Sequence[tuple[int, Row]]) -> list[Record]:
        return [Record("warm_start", 0, at, self._name(at).encode(), row.value, (), -1) for at, row in some]

    def _name(self, row: int) -> str:
        # An event without an id is called topic:partition:offset, and no partition has such a number.
        return f"warm_start:{self._sha256[:32]}:{row}"

    def _is_gone(self, life: Lifecycle, done: Warmed | None, *, lossy: bool) -> bool:
        """Open the file; return whether it is gone or changed, and that is accepted."""
        try:
            self._opened(life)
            if done is not None and done.sha256 != self._sha256:
                raise self._another(done)
        except StreamlearnError as error:
            if done is None:
                raise
            if not lossy:
                raise self._needed(error) if self.path is not None and self._file is None else error from None
            log.warning("going on without the rest of the warm start: %s", error.what)
            return True
        return False

    def _opened(self, life: Lifecycle) -> WarmFile:
        if self._file is None:
            if self.path is None:
                raise ConfigError(
                    "the journal tells of a warm start that no snapshot holds, and the configuration names no file",
                    where="warm_start",
                    mend="name the file again that the learner began with, or set `recovery.accept_loss: true` to go "
                    "on without it",
                )
            self._file = WarmFile(self.path)
            self._sha256 = self._file.sha256(life.turn)
        return self._file

    def _needed(self, error: StreamlearnError) -> StreamlearnError:
        return StreamlearnError(
            f"{error.what}, and rows that were learned of it are in no snapshot yet",
            where=f"warm_start: {self.path}",
            mend="put the file back that the learner began with; to go on without it set `recovery.accept_loss: true`",
        )

    def _another(self, done: Warmed) -> StreamlearnError:
        return StreamlearnError(
            f"is not the file of which rows were learned: its SHA-256 was {done.sha256}, and is {self._sha256}",
            where=f"warm_start: {self.path}",
            mend="put that file back: it is needed until a snapshot holds all of it; to go on without it set "
            "`recovery.accept_loss: true`, to begin anew give the learner a new `name`",
        )
