"""Drift: detectors for one signal each, and the monitor that feeds them. `family.py` has their names."""
