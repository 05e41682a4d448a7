"""All that it takes to go on after a turn as if nothing had happened: what a snapshot holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streamlearn.learning.learner import Learner
from streamlearn.service.intake import Intake
from streamlearn.service.lifecycle import Lifecycle
from streamlearn.service.measures import Measures
from streamlearn.service.patience import Patience
from streamlearn.service.totals import Totals
from streamlearn.serving.label_requests import LabelRequests


@dataclass(frozen=True)
class State:
    """The parts of a service that outlive the process.

    Args:
        learner: what was learned, and what waits to be.
        measures: prequential figures, probes and drift; and the champion that answers the probes.
        intake: events and labels that wait for one another.
        totals: what was counted.
        requests: for which events a label was asked.
        patience: since when a partial batch waits.
        lifecycle: the positions.
    """

    learner: Learner
    measures: Measures
    intake: Intake
    totals: Totals
    requests: LabelRequests
    patience: Patience
    lifecycle: Lifecycle

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Return the state after the last turn, in parts: what was learned, measured and counted.

        Tensors of the model are the live ones: write them before the next turn.
        """
        return {
            **self.learner.state_dict(),
            **self.measures.served.champion.state_dict(),
            "measures": self.measures.state_dict(),
            "joiner": self.intake.joiner.state_dict(),
            "service": {
                "totals": self.totals.state_dict(),
                "decoder": self.intake.decoder.state_dict(),
                "requests": self.requests.state_dict(),
                "waiting_since": self.patience.since,
                **self.lifecycle.state_dict(),
            },
        }

    def load_state_dict(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over what a service of the same configuration returned.

        Raises:
            ConfigError: it does not fit.
        """
        own = state["service"]
        self.learner.load_state_dict(state)
        self.measures.served.champion.load_state_dict(state)
        self.measures.load_state_dict(state["measures"])
        self.intake.joiner.load_state_dict(state["joiner"])
        self.totals.load_state_dict(own["totals"])
        self.intake.decoder.load_state_dict(own["decoder"])
        self.requests.load_state_dict(own["requests"])
        self.patience.resume(own["waiting_since"])
        self.lifecycle.load_state_dict(own)
