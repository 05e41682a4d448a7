"""What is predicted and learned: a task turns events into model input and scores into predictions."""

from streamlearn.model.tasks.base import Task, tasks
from streamlearn.model.tasks.sequence_classification import SequenceClassification

__all__ = ["SequenceClassification", "Task", "tasks"]
