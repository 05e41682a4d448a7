"""What the writer of an extension imports: the bases of all families with their registries, and what they are given.

A class registers under a name, and then `strategy: {name: mine}` in YAML finds it:

    @strategies.register("mine")
    class Mine(Strategy): ...

Everything else in this package may change without notice.
"""

from streamlearn.core.batch import Batch, Sample, Tokens
from streamlearn.core.errors import ConfigError, StreamlearnError
from streamlearn.core.refusal import Refusal
from streamlearn.core.registry import Config
from streamlearn.core.rng import stream as random_stream
from streamlearn.core.target import Answer, Column, Judged, Measure, Target, Targets
from streamlearn.evaluation.drift.base import Detector
from streamlearn.evaluation.drift.family import detectors
from streamlearn.evaluation.drift.monitor import Reading
from streamlearn.evaluation.forgetting import average_accuracy, backward_transfer, forgetting, forward_transfer
from streamlearn.learning.memory.buffer import ReplayMemory
from streamlearn.learning.memory.family import policies, retrievals
from streamlearn.learning.memory.policy import Policy
from streamlearn.learning.memory.retrieval import Retrieval
from streamlearn.learning.penalties.base import Penalty
from streamlearn.learning.penalties.family import penalties
from streamlearn.learning.strategies.base import Output, Rehearsing, Strategy
from streamlearn.learning.strategies.exported import Exported
from streamlearn.learning.strategies.family import strategies
from streamlearn.model.tasks.base import Task
from streamlearn.model.tasks.family import tasks
from streamlearn.stream.config import JoinerConfig
from streamlearn.stream.events import Event, Label
from streamlearn.stream.joiner import Joiner
from streamlearn.stream.pending import Served
from streamlearn.stream.transport import Message, Outlet, Place, Record, Source, TopicPartition

__all__ = [
    "Answer", "Batch", "Column", "Config", "ConfigError", "Detector", "Event", "Exported", "Joiner", "JoinerConfig",
    "Judged", "Label", "Measure", "Message", "Outlet", "Output", "Penalty", "Place", "Policy", "Reading", "Record",
    "Refusal", "Rehearsing", "ReplayMemory", "Retrieval", "Sample", "Served", "Source", "Strategy",
    "StreamlearnError", "Target", "Targets", "Task", "Tokens", "TopicPartition", "average_accuracy",
    "backward_transfer", "detectors", "forgetting", "forward_transfer", "penalties", "policies", "random_stream",
    "retrievals", "strategies", "tasks",
]  # fmt: skip
