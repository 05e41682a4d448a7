"""Answers a batch of events, whatever the model does with some of them."""

import logging
from collections.abc import Collection
from typing import NamedTuple

from streamlearn.core.errors import StreamlearnError
from streamlearn.serving.predictor import Predictor, Reply, joined
from streamlearn.stream.events import Event
from streamlearn.stream.transport import Place

log = logging.getLogger(__name__)

CRASHES_IN_A_ROW = 10  # so many events that the model cannot take, and none that it can: the model is broken, not they
KILLED = "the process died of it time and again"


class Answered(NamedTuple):
    """The events that were answered, the reply, and the errors of the others: None where the batch was answered at
    once, which rounds otherwise than one by one."""

    events: list[Event]
    reply: Reply
    failures: dict[Place, Exception | str] | None


class CrashIsolation:
    """Answers events; one that the model cannot take is set apart with its error, and the others go on.

    Args:
        model: its name, for the error.
    """

    def __init__(self, model: str) -> None:
        self._model, self._crashes = model, 0

    def __call__(self, predictor: Predictor, events: list[Event], crashed: Collection[Place] | None) -> Answered:
        """Answer the events.

        Args:
            predictor: answers them.
            events: what is to be answered.
            crashed: those that are not tried, since they are known to fail; None where nothing is known.

        Raises:
            StreamlearnError: the model took none of the last `CRASHES_IN_A_ROW` events.
        """
        if not events:
            return Answered(events, joined([]), None if crashed is None else {})
        if crashed is None:
            try:
                reply = predictor.predict([event.text for event in events])
            except Exception as error:  # noqa: BLE001 - whatever a model throws, the stream goes on
                log.warning("the model failed on a batch (%s); taking its events one by one", type(error).__name__)
            else:
                self._crashes = 0
                return Answered(events, reply, None)
        taken: list[Event] = []
        replies: list[Reply] = []
        failures: dict[Place, Exception | str] = {}
        for event in events:
            if crashed is not None and event.source in crashed:
                failures[event.source] = KILLED
                continue
            try:
                replies.append(predictor.predict([event.text]))
            except Exception as error:
                failures[event.source] = error
                self._crashes += 1
                if self._crashes >= CRASHES_IN_A_ROW:
                    raise StreamlearnError(
                        f"the model failed on {self._crashes} events in a row: {type(error).__name__}: {error}",
                        where=self._model,
                        mend="nothing of this batch was committed; mend the model or its device and start again",
                    ) from error
            else:
                self._crashes = 0
                taken.append(event)
        return Answered(taken, joined(replies), failures)
