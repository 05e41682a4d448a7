"""How a new batch is learned without losing the old: a file each, which reads like its paper; `family.py` has all."""
