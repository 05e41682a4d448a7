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
from streamlearn.evaluation.drift import Detector, Reading, detectors
from streamlearn.evaluation.forgetting import average_accuracy, backward_transfer, forgetting, forward_transfer
from streamlearn.learning.memory import Policy, ReplayMemory, Retrieval, policies, retrievals
from streamlearn.learning.penalties import Penalty, penalties
from streamlearn.learning.strategies import Strategy, strategies
from streamlearn.model.tasks import Task, tasks
from streamlearn.stream.events import Event, Label
from streamlearn.stream.joiner import Joiner, JoinerConfig
from streamlearn.stream.pending import Served
from streamlearn.stream.transport import Message, Outlet, Place, Record, Source, TopicPartition

__all__ = [
    "Answer", "Batch", "Column", "Config", "ConfigError", "Detector", "Event", "Joiner", "JoinerConfig", "Judged",
    "Label", "Measure", "Message", "Outlet", "Penalty", "Place", "Policy", "Reading", "Record", "Refusal",
    "ReplayMemory", "Retrieval", "Sample", "Served", "Source", "Strategy", "StreamlearnError", "Target", "Targets",
    "Task", "Tokens", "TopicPartition", "average_accuracy", "backward_transfer", "detectors", "forgetting",
    "forward_transfer", "penalties", "policies", "random_stream", "retrievals", "strategies", "tasks",
]  # fmt: skip
