"""The replay memory and the policies that decide what stays in it."""

from streamlearn.memory.policy import ClassBalanced, Policy, Reservoir, policies
from streamlearn.memory.replay import MemoryConfig, ReplayMemory

__all__ = ["ClassBalanced", "MemoryConfig", "Policy", "ReplayMemory", "Reservoir", "policies"]
