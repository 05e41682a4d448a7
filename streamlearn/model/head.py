"""The head, which grows by a row for each class."""

import torch
from torch import nn
from torch.nn import functional


class GrowingLinear(nn.Module):
    """A linear layer whose outputs grow one by one without moving the ones that are there.

    Rows are allocated ahead in powers of two, so that most growth changes no tensor at all; rows beyond `size` are
    zero, get no gradient and stay zero. New rows are zero too, until `new_class.initialise_rows` or a step fills them.
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
