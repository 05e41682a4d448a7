"""How new samples change the weights: settings, without torch."""

from typing import Literal

from pydantic import Field

from streamlearn.core.registry import Config


class LearnerConfig(Config):
    """How new samples change the weights."""

    batch_size: int = Field(16, ge=1, le=4096, description="New samples of one update.")
    replay_size: int = Field(16, ge=0, le=4096, description="Stored samples rehearsed with each update.")
    steps_per_batch: int = Field(
        1, ge=1, le=100, description="Optimizer steps on each batch, each with a new rehearsal."
    )
    max_wait_seconds: float = Field(
        5.0, gt=0, description="A partial batch is learned once its first sample has waited so long."
    )
    max_steps: int | None = Field(None, ge=0, description="Stop learning after so many steps, and only predict.")
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="Both fused.")
    learning_rate: float = Field(5e-5, gt=0, description="Of the pre-trained body.")
    head_learning_rate: float = Field(2e-3, gt=0, description="Of the head.")
    weight_decay: float = Field(0.01, ge=0, description="Decoupled from the gradient with adamw.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Of sgd.")
    clip_norm: float = Field(1.0, gt=0, description="The gradient's norm is cut to this.")
    dropout: float = Field(0.0, ge=0, lt=1, description="In the body, while learning.")
    freeze: Literal["none", "encoder", "layers"] = Field(
        "none", description="none: all but the word embeddings is trained; encoder: the head alone; "
        "layers: the embeddings and the lowest `frozen_layers` layers stand still."
    )  # fmt: skip
    frozen_layers: int = Field(0, ge=0, description="With `freeze: layers`: how many, counted from the embeddings.")
    new_class: Literal["zeros", "mean"] = Field("mean", description="Of a new class's row; mean: of its features.")
    train_embeddings: bool = Field(False, description="Train the word embeddings too.")
