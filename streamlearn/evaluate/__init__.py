"""`streamlearn evaluate`: one pass over a labelled stream, without a broker, side by side per strategy and seed."""

from streamlearn.evaluate.command import Request, evaluate

__all__ = ["Request", "evaluate"]
