"""Labels and answers of `sequence-classification`, for tests that need a task's word and no model."""

from streamlearn.core.vocabulary import Labels
from streamlearn.model.tasks.classes import ClassAgreement, ClassAnswer, ClassJudge, ClassTargets
from streamlearn.stream.decoders import EventDecoder, LabelDecoder
from streamlearn.stream.fields import Fields


def decoder(fields=None, *, labels=(), closed=False, max_labels=10_000, **limits):
    """A decoder of events."""
    return EventDecoder(fields or Fields(), ClassTargets(labels, closed=closed, max_labels=max_labels), **limits)


def label_decoder(events):
    """A decoder of labels that shares what a decoder of events knows."""
    return LabelDecoder(events.fields, events.targets, max_bytes=events.max_bytes)


def judge(labels=()):
    return ClassJudge(Labels(labels))


def answer(scores, labels):
    """An answer of these scores, over classes of these names."""
    return ClassAnswer(scores, Labels(labels))


def measure():
    return ClassAgreement()
