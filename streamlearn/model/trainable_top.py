"""A second way through the top of a frozen encoder, which may learn while the first stands still."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import nn

Call = tuple[tuple[Any, ...], dict[str, Any]]
Place = tuple[nn.Module, str]  # a module and the name of its child


def stack_of(backbone: nn.Module) -> nn.ModuleList | None:
    """Return the encoder's stack of layers: the longest list of modules in it."""
    stacks = [module for module in backbone.modules() if isinstance(module, nn.ModuleList)]
    return max(stacks, key=len) if stacks else None


def norm_after(backbone: nn.Module, stack: nn.ModuleList) -> Place | None:
    """Return where a normalisation stands beside the stack and after it, as it does in some architectures."""
    for module in backbone.modules():
        names = [name for name, _ in module.named_children()]
        for at, name in enumerate(names):
            if module.get_submodule(name) is stack:
                found = (each for each in names[at:] if "norm" in type(module.get_submodule(each)).__name__.lower())
                return next(((module, each) for each in found), None)
    return None


class TrainableTop(nn.Module):
    """Copies of an encoder's top layers, and of the normalisation after them. They begin where the lower layers end,
    and get what the originals get: masks, positions, whatever the architecture passes down.

    Args:
        stack: the encoder's layers.
        depth: how many of them, from the top, are copied.
        norm: where the normalisation stands, if there is one.
    """

    def __init__(self, stack: nn.ModuleList, depth: int, norm: Place | None = None) -> None:
        super().__init__()
        places: list[Place] = [(stack, str(number)) for number in range(len(stack) - depth, len(stack))]
        self._places = places if norm is None else [*places, norm]  # a list of tuples: they are no modules of this one
        self._originals = [parent.get_submodule(name) for parent, name in self._places]
        self.layers = nn.ModuleList(deepcopy(original) for original in self._originals[:depth])
        self.norm = nn.Identity() if norm is None else deepcopy(self._originals[-1])
        self.requires_grad_(True)

    @contextmanager
    def listening(self, calls: list[Call]) -> Iterator[None]:
        """Fill a list with the calls of the originals of the layers, in order, while the encoder runs."""

        def note(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            calls.append((args, kwargs))

        originals = self._originals[: len(self.layers)]
        hooks = [layer.register_forward_pre_hook(note, with_kwargs=True) for layer in originals]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @contextmanager
    def grafted(self) -> Iterator[None]:
        """While it lasts, the copies stand in the originals' places."""
        try:
            for (parent, name), copy in zip(self._places, [*self.layers, self.norm], strict=False):
                setattr(parent, name, copy)
            yield
        finally:
            for (parent, name), original in zip(self._places, self._originals, strict=True):
                setattr(parent, name, original)

    def forward(self, calls: list[Call]) -> torch.Tensor:
        """Return the last hidden states, of shape (n, tokens, d), by way of the copies."""
        args, kwargs = calls[0]
        hidden = args[0] if args else kwargs["hidden_states"]
        for layer, (args, kwargs) in zip(self.layers, calls, strict=True):
            output = layer(hidden, *args[1:], **kwargs) if args else layer(**{**kwargs, "hidden_states": hidden})
            hidden = output[0] if isinstance(output, tuple) else output
        result: torch.Tensor = self.norm(hidden)
        return result
