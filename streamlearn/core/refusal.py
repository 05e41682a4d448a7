"""Why a record cannot be taken, on the way from where it is found to where the dead letter is made."""

from typing import Literal

Reason = Literal[
    "invalid-json", "encoding", "schema", "missing-input", "label-type", "unknown-label", "too-large", "crashed"
]


class Refusal(Exception):  # noqa: N818 - it never escapes: the decoder turns it into a dead letter
    """Carries the reason, and a sentence for the one who mends the record."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail
