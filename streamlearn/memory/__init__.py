"""The replay memory, the policies that decide what stays in it, and the retrievals that decide what is rehearsed."""

from streamlearn.memory.columns import Columns
from streamlearn.memory.loss_aware import LossAware
from streamlearn.memory.policy import ClassBalanced, Policy, Reservoir, policies
from streamlearn.memory.replay import MemoryConfig, ReplayMemory
from streamlearn.memory.retrieval import Retrieval, Uniform, retrievals
from streamlearn.memory.ring import Ring

__all__ = [
    "ClassBalanced", "Columns", "LossAware", "MemoryConfig", "Policy", "ReplayMemory", "Reservoir", "Retrieval", "Ring",
    "Uniform", "policies", "retrievals",
]  # fmt: skip
