"""How a new batch is learned without losing the old. Each file reads like its paper."""

from streamlearn.strategies.base import Strategy, strategies
from streamlearn.strategies.er import ER
from streamlearn.strategies.finetune import Finetune

__all__ = ["ER", "Finetune", "Strategy", "strategies"]
