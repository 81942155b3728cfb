"""Diagnostics of a run that fails: the first layer whose output is not finite, and the range of subnets' scales."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ncsr.flow.actnorm import ActNorm
from ncsr.flow.subnet import Affine, Subnet
from ncsr.model import NCSR

_SHOWN = 5  # couplings with the widest scales


class Scales(NamedTuple):
    """The smallest and largest scale in a subnet's output."""

    layer: str
    smallest: float
    largest: float


class Diagnosis(NamedTuple):
    """What one forward pass shows.

    Attributes:
        weights: names of the parameters with values that are not finite.
        gradients: names of the parameters whose gradient of the last backward pass is not finite.
        layer: the first layer, in order of computation, whose output is not finite; None if all are finite.
        scales: the range of every subnet's scales, in order of computation.
        largest_latent: the largest magnitude in any latent; NaN if one is not finite.
    """

    weights: list[str]
    gradients: list[str]
    layer: str | None
    scales: list[Scales]
    largest_latent: float

    def report(self) -> str:
        """The diagnosis as text for the terminal."""
        widest = sorted(self.scales, key=lambda s: s.largest / max(s.smallest, 1e-30), reverse=True)[:_SHOWN]
        lines = [
            f"weights that are not finite: {_first(self.weights)}; gradients: {_first(self.gradients)}",
            f"first layer whose output is not finite: {self.layer or 'none'}",
            f"largest latent: {self.largest_latent:.3g} (a healthy flow's stay under about 6)",
            *(f"scales of {s.layer}: {s.smallest:.3g} to {s.largest:.3g}" for s in widest),
            "what helps: a lower learning_rate, a longer warmup, a smaller clip, scale_bound: atan",
        ]
        return "\n".join(lines)


def _first(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}" if names else "none"


@torch.no_grad()
def diagnose(model: NCSR, hr: Tensor, lr: Tensor, noise: Tensor | None) -> Diagnosis:
    """Encode a batch and check every layer's output.

    Args:
        model: in training or eval mode, with any weights.
        hr: (B, 3, s h, s w).
        lr: (B, 3, h, w).
        noise: the condition of the noise layers, or None.
    """
    scales: list[Scales] = []
    not_finite: list[str] = []

    def check(name: str, output: Any) -> None:
        if isinstance(output, Affine):
            scales.append(Scales(name, output.scale.min().item(), output.scale.max().item()))
        if not all(bool(values.isfinite().all()) for values in (output if isinstance(output, Affine) else (output,))):
            not_finite.append(name)

    hooks = [
        module.register_forward_hook(lambda module, args, output, name=name: check(name, output))
        for name, module in model.named_modules()
        if isinstance(module, (Subnet, ActNorm, nn.Conv2d))
    ]
    try:
        latents = [model.encoder(lr)] if model.flow is None else model.training_space(lr).encode(hr, noise)
    finally:
        for hook in hooks:
            hook.remove()
    parameters = dict(model.named_parameters())
    weights = [name for name, p in parameters.items() if not bool(p.isfinite().all())]
    gradients = [name for name, p in parameters.items() if p.grad is not None and not bool(p.grad.isfinite().all())]
    largest = torch.cat([z.abs().flatten() for z in latents]).max().item()  # NaN if one of them is
    return Diagnosis(weights, gradients, not_finite[0] if not_finite else None, scales, largest)
