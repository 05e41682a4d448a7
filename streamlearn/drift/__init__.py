"""Drift: detectors for one signal each, and the monitor that feeds them."""

from streamlearn.drift.adwin import ADWIN
from streamlearn.drift.base import Detector, detectors
from streamlearn.drift.ddm import DDM
from streamlearn.drift.js import JS
from streamlearn.drift.ks import KS
from streamlearn.drift.kswin import KSWIN
from streamlearn.drift.mmd import MMD
from streamlearn.drift.monitor import SIGNALS, Detection, Monitor, Reading, fits
from streamlearn.drift.novelty import Novelty
from streamlearn.drift.page_hinkley import PageHinkley

__all__ = [
    "ADWIN", "DDM", "JS", "KS", "KSWIN", "MMD", "SIGNALS", "Detection", "Detector", "Monitor", "Novelty",
    "PageHinkley", "Reading", "detectors", "fits",
]  # fmt: skip
