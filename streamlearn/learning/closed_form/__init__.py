"""Heads with a closed form: statistics of a frozen encoder's features, from which the best weights follow exactly."""

from streamlearn.learning.closed_form.class_means import ClassMeans
from streamlearn.learning.closed_form.least_squares import LeastSquares
from streamlearn.learning.closed_form.random_features import LayerFeatures
from streamlearn.learning.closed_form.recent_features import RecentFeatures
from streamlearn.learning.closed_form.ridge_head import RidgeHead
from streamlearn.learning.closed_form.self_training import SelfTrainingHead

__all__ = ["ClassMeans", "LayerFeatures", "LeastSquares", "RecentFeatures", "RidgeHead", "SelfTrainingHead"]
