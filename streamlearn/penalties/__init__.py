"""What is added to any strategy's loss to hold the model near what it was."""

from streamlearn.penalties.base import Penalty, penalties
from streamlearn.penalties.ewc import EWC
from streamlearn.penalties.lwf import LwF

__all__ = ["EWC", "LwF", "Penalty", "penalties"]
