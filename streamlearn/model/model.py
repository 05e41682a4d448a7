"""The pre-trained backbone and the head that grows on it."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from streamlearn.core.batch import IntArray, Tokens, buckets
from streamlearn.model.digest import Content
from streamlearn.model.digest import digest as digest_of
from streamlearn.model.head import GrowingLinear
from streamlearn.model.trainable_top import Call, TrainableTop

log = logging.getLogger(__name__)


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
        self.pad_id: int = backbone.config.pad_token_id  # type: ignore[union-attr,assignment] # decoders look for it
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


def collate(tokens: Tokens, rows: IntArray, device: torch.device, pad_id: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `input_ids` and `attention_mask` of one slice, both int64 of shape (len(rows), longest of the slice)."""
    lengths = tokens.lengths[rows]
    width = int(lengths.max())
    mask = np.arange(width) < lengths[:, None]
    ids = np.where(mask, tokens.ids[rows, :width], pad_id)
    return (
        torch.from_numpy(ids.astype(np.int64)).to(device, non_blocking=True),
        torch.from_numpy(mask.astype(np.int64)).to(device, non_blocking=True),
    )


def _mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    weights = mask.unsqueeze(-1).float()
    pooled: torch.Tensor = (hidden.float() * weights).sum(1) / weights.sum(1).clamp(min=1)
    return pooled


def digest(weights: Mapping[str, torch.Tensor], head_rows: int) -> str:
    """Return the SHA-256 of named weights: names, shapes and bytes; of the head, the rows in use."""
    return digest_of(weights, head_rows, _content)


def _content(tensor: torch.Tensor) -> Content:
    data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
    return Content(str(tensor.dtype), tensor.shape, data)
