"""Drift: detectors for one signal each, and the monitor that feeds them."""

from streamlearn.evaluation.drift.adwin import ADWIN
from streamlearn.evaluation.drift.base import Detector, detectors
from streamlearn.evaluation.drift.class_distance import Novelty
from streamlearn.evaluation.drift.ddm import DDM
from streamlearn.evaluation.drift.js import JS
from streamlearn.evaluation.drift.ks import KS
from streamlearn.evaluation.drift.kswin import KSWIN
from streamlearn.evaluation.drift.mmd import MMD
from streamlearn.evaluation.drift.monitor import SIGNALS, Detection, Monitor, Reading, fits
from streamlearn.evaluation.drift.page_hinkley import PageHinkley

__all__ = [
    "ADWIN", "DDM", "JS", "KS", "KSWIN", "MMD", "SIGNALS", "Detection", "Detector", "Monitor", "Novelty",
    "PageHinkley", "Reading", "detectors", "fits",
]  # fmt: skip
