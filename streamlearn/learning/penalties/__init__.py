"""What is added to any strategy's loss to hold the model near what it was."""

from streamlearn.learning.penalties.base import Penalty, penalties
from streamlearn.learning.penalties.ewc import EWC
from streamlearn.learning.penalties.lwf import LwF

__all__ = ["EWC", "LwF", "Penalty", "penalties"]
