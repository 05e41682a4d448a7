"""A second way through the top of a frozen encoder, which may learn while the first stands still."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import nn

Call = tuple[tuple[Any, ...], dict[str, Any]]


def stack_of(backbone: nn.Module) -> nn.ModuleList | None:
    """Return the encoder's stack of layers: the longest list of modules in it."""
    stacks = [module for module in backbone.modules() if isinstance(module, nn.ModuleList)]
    return max(stacks, key=len) if stacks else None


class Branch(nn.Module):
    """Copies of an encoder's top layers. They begin where the lower layers end, and get what the originals get: masks,
    positions, whatever the architecture passes down.

    Args:
        stack: the encoder's layers.
        depth: how many of them, from the top, are copied.
    """

    def __init__(self, stack: nn.ModuleList, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(deepcopy(layer) for layer in stack[len(stack) - depth :])
        self.layers.requires_grad_(True)
        self._originals = tuple(stack[len(stack) - depth :])  # a tuple: they are not modules of this one

    @contextmanager
    def listening(self, calls: list[Call]) -> Iterator[None]:
        """Fill a list with the originals' calls, in order, while the encoder runs."""

        def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            calls.append((args, kwargs))

        hooks = [layer.register_forward_pre_hook(note, with_kwargs=True) for layer in self._originals]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @contextmanager
    def grafted(self, stack: nn.ModuleList) -> Iterator[None]:
        """While it lasts, the copies stand in the originals' places of the encoder's stack."""
        first = len(stack) - len(self.layers)
        try:
            for number, layer in enumerate(self.layers, first):
                stack[number] = layer
            yield
        finally:
            for number, layer in enumerate(self._originals, first):
                stack[number] = layer

    def forward(self, calls: list[Call]) -> torch.Tensor:
        """Return the last hidden states, of shape (n, tokens, d), by way of the copies."""
        args, kwargs = calls[0]
        hidden = args[0] if args else kwargs["hidden_states"]
        for layer, (args, kwargs) in zip(self.layers, calls, strict=True):
            output = layer(hidden, *args[1:], **kwargs) if args else layer(**{**kwargs, "hidden_states": hidden})
            hidden = output[0] if isinstance(output, tuple) else output
        result: torch.Tensor = hidden
        return result
