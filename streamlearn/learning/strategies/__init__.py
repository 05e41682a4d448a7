"""How a new batch is learned without losing the old. Each file reads like its paper."""

from streamlearn.learning.strategies.base import Rehearsing, Strategy, strategies
from streamlearn.learning.strategies.derpp import DERpp
from streamlearn.learning.strategies.dual import Dual
from streamlearn.learning.strategies.er import ER
from streamlearn.learning.strategies.er_ace import ERACE
from streamlearn.learning.strategies.finetune import Finetune
from streamlearn.learning.strategies.ncm import NearestClassMean
from streamlearn.learning.strategies.ridge import Ridge
from streamlearn.learning.strategies.slda import StreamingLDA

__all__ = [
    "ER", "ERACE", "DERpp", "Dual", "Finetune", "NearestClassMean", "Rehearsing", "Ridge", "Strategy", "StreamingLDA",
    "strategies",
]  # fmt: skip
