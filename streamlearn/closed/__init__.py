"""Heads with a closed form: statistics of a frozen encoder's features, from which the best weights follow exactly."""

from streamlearn.closed.features import LayerFeatures
from streamlearn.closed.head import RidgeHead
from streamlearn.closed.hearing import HearingHead
from streamlearn.closed.least_squares import LeastSquares
from streamlearn.closed.means import ClassMeans
from streamlearn.closed.recent import Recent

__all__ = ["ClassMeans", "HearingHead", "LayerFeatures", "LeastSquares", "Recent", "RidgeHead"]
