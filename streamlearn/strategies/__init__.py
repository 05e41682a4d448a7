"""How a new batch is learned without losing the old. Each file reads like its paper."""

from streamlearn.strategies.base import Rehearsing, Strategy, strategies
from streamlearn.strategies.derpp import DERpp
from streamlearn.strategies.dual import Dual
from streamlearn.strategies.er import ER
from streamlearn.strategies.er_ace import ERACE
from streamlearn.strategies.finetune import Finetune
from streamlearn.strategies.ncm import NearestClassMean
from streamlearn.strategies.ridge import Ridge
from streamlearn.strategies.slda import StreamingLDA

__all__ = [
    "ER", "ERACE", "DERpp", "Dual", "Finetune", "NearestClassMean", "Rehearsing", "Ridge", "Strategy", "StreamingLDA",
    "strategies",
]  # fmt: skip
