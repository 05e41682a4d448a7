"""What the service tells its owner once: that a stream or a setting makes it less useful than it could be."""

import logging
from collections.abc import Sequence

from streamlearn.config.tree import Root
from streamlearn.service.totals import Totals
from streamlearn.stream.events import Event

log = logging.getLogger(__name__)

ENOUGH_TOKENS = 200  # below, a share says little
MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"


class Advice:
    """Looks at what comes, and gives each piece of advice once."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self._given: set[str] = set()

    def look(self, events: Sequence[Event], totals: Totals) -> None:
        """Look at the events of a batch that were answered, and at the totals with them."""
        if "ids" not in self._given and any(not event.has_own_id for event in events):
            self._given.add("ids")
            log.warning(
                "events without an id are named topic:partition:offset; late labels, removal of duplicates and "
                "forgetting need ids of your own: set fields.id"
            )
        ratio = totals.unknown_tokens / totals.tokens if totals.tokens else 0.0
        if "tokens" not in self._given and totals.tokens >= ENOUGH_TOKENS and ratio > self.root.limits.unknown_tokens:
            self._given.add("tokens")
            log.warning(
                "%.0f %% of the tokens are unknown to the tokenizer of %s, so it reads little of this text; for text "
                "that is not English take a model that knows its language, such as model.name: %s",
                100 * ratio,
                self.root.model.name,
                MULTILINGUAL,
            )
