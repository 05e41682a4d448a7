"""What a new class's row of the head begins with: where its first samples lie, at the length of the other rows.

Qi, Brown and Lowe, "Low-shot learning with imprinted weights", CVPR 2018 (arXiv 1712.07136).
"""

import numpy as np
import torch
from torch.nn import functional

from streamlearn.core.batch import Batch
from streamlearn.model.model import Model


def initialise_rows(model: Model, batch: Batch, known: int) -> None:
    """Let each class that the head grew by for this batch begin with the mean direction of its samples.

    A row becomes the mean of the samples' features at unit length, at unit length again, times the mean length of the
    rows that were there: a new class is as loud as an old one. The first classes of all have none to be like, and begin
    at zero.

    Args:
        model: its head has grown already.
        batch: what is about to be learned.
        known: how many rows the head had before.
    """
    weight = model.head.weight
    # A class that a correction brought has a row already, of zeros.
    empty = ~weight.detach()[torch.from_numpy(batch.labels).to(weight.device)].any(1).cpu().numpy()
    new = np.flatnonzero((batch.labels >= known) | empty)
    if not known or not len(new):
        return
    with torch.no_grad():
        scale = weight[:known].norm(dim=1).mean()
        features = functional.normalize(model.features(batch.tokens[new]), dim=1)
        for label in sorted(set(batch.labels[new].tolist())):
            rows = torch.from_numpy(batch.labels[new] == label).to(model.device)
            mean = functional.normalize(features[rows & features.isfinite().all(1)].mean(0), dim=0)
            if mean.isfinite().all():  # else it begins at zero
                weight[label] = mean * scale
