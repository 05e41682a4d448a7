"""The replay memory, the policies that decide what stays in it, and the retrievals that decide what is rehearsed."""

from streamlearn.learning.memory.buffer import MemoryConfig, ReplayMemory
from streamlearn.learning.memory.columns import Columns
from streamlearn.learning.memory.loss_aware import LossAware
from streamlearn.learning.memory.policy import ClassBalanced, Policy, Reservoir, policies
from streamlearn.learning.memory.retrieval import Retrieval, Uniform, retrievals
from streamlearn.learning.memory.ring import Ring

__all__ = [
    "ClassBalanced", "Columns", "LossAware", "MemoryConfig", "Policy", "ReplayMemory", "Reservoir", "Retrieval", "Ring",
    "Uniform", "policies", "retrievals",
]  # fmt: skip
