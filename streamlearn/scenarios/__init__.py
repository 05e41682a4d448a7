"""The streams that the demo learns from: invented, and written for this purpose."""

from collections.abc import Mapping

from streamlearn.scenarios.story import Scenario
from streamlearn.scenarios.support import SUPPORT

SCENARIOS: Mapping[str, Scenario] = {SUPPORT.name: SUPPORT}
