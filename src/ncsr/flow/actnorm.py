"""Activation normalisation (Glow, Kingma and Dhariwal 2018): z = (x + b) exp(a), one b and a per channel.

The start is data-dependent: zero mean and unit variance per channel on the first batch. It is one explicit call,
`start_actnorms`, never a side effect of a forward pass; whether a layer has started is a buffer, so it is saved with
the weights and loading never starts it again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ncsr.flow.bijection import Bijection
from ncsr.flow.elementwise import Fused


class ActNorm(Bijection):
    """z = (x + bias) exp(log_scale); log-determinant H W sum(log_scale).

    Args:
        channels: C.

    Attributes:
        fused: what computes it in one kernel; None for nothing.
    """

    fused: Fused | None = None
    started: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels, dtype=torch.float32))
        self.log_scale = nn.Parameter(torch.zeros(channels, dtype=torch.float32))
        self.register_buffer("started", torch.tensor(False))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) normalised."""
        if self.fused is not None:
            return self.fused.normalise(x, None, self.bias, self.log_scale, False, x.dtype)
        return (x + self.bias.view(-1, 1, 1)) * self.log_scale.exp().view(-1, 1, 1)

    def encode(self, x: Tensor, condition: Any = None) -> tuple[Tensor, Tensor]:
        return self(x), self._log_det(x)

    def decode(self, z: Tensor, condition: Any = None) -> tuple[Tensor, Tensor]:
        return z * (-self.log_scale).exp().view(-1, 1, 1) - self.bias.view(-1, 1, 1), -self._log_det(z)

    def _log_det(self, x: Tensor) -> Tensor:
        return (x.shape[-2] * x.shape[-1] * self.log_scale.sum()).expand(x.shape[0])

    @torch.no_grad()
    def start(self, output: Tensor) -> Tensor:
        """Change b and a so that `output`, which they made, gets zero mean and unit variance; returns it so changed.

        It takes the output and not the input, so that it also serves a convolution with the actnorm folded in.
        """
        mean = output.mean((0, 2, 3))
        std = output.std((0, 2, 3), correction=0).clamp(min=1e-6)
        self.bias.sub_(mean * (-self.log_scale).exp())
        self.log_scale.sub_(std.log())
        self.started.fill_(True)
        return (output - mean[:, None, None]) / std[:, None, None]


def output_actnorm(module: nn.Module) -> ActNorm | None:
    """The actnorm whose result is this module's output: the module itself, or the one that it folds into itself."""
    if isinstance(module, ActNorm):
        return module
    folded = getattr(module, "actnorm", None)
    return folded if isinstance(folded, ActNorm) and getattr(module, "folds_actnorm", False) else None


def start_actnorms(model: nn.Module, forward: Callable[[], object]) -> None:
    """Start every actnorm of `model` that has not started, from the data of one forward pass.

    Each is started on what the ones before it, just started, give. In several processes all take the start of process
    0, whatever batches the others have.

    Args:
        model: the module that holds the actnorms.
        forward: runs the model on a batch.
    """
    hooks = [m.register_forward_hook(_start_hook) for m in model.modules() if output_actnorm(m) is not None]
    try:
        with torch.no_grad():
            forward()
    finally:
        for hook in hooks:
            hook.remove()
    if dist.is_available() and dist.is_initialized():
        for module in model.modules():
            if isinstance(module, ActNorm):
                for value in (module.bias.data, module.log_scale.data, module.started):
                    dist.broadcast(value, 0)


def _start_hook(module: nn.Module, inputs: object, output: Tensor) -> Tensor | None:
    actnorm = output_actnorm(module)
    return None if actnorm is None or bool(actnorm.started) else actnorm.start(output)
