"""What is predicted and learned: a task turns events into model input and scores into predictions."""

from streamlearn.tasks.base import Labels, Scores, Task, tasks
from streamlearn.tasks.sequence_classification import SequenceClassification

__all__ = ["Labels", "Scores", "SequenceClassification", "Task", "tasks"]
