"""How a new batch is learned without losing the old. Each file reads like its paper."""

from streamlearn.strategies.base import Rehearsing, Strategy, strategies
from streamlearn.strategies.derpp import DERpp
from streamlearn.strategies.er import ER
from streamlearn.strategies.er_ace import ERACE
from streamlearn.strategies.finetune import Finetune

__all__ = ["ER", "ERACE", "DERpp", "Finetune", "Rehearsing", "Strategy", "strategies"]
