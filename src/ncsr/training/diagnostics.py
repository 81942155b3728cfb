"""Diagnostics of a run that fails: the first layer whose output is not finite, and the range of subnets' scales."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ncsr.flow.actnorm import ActNorm
from ncsr.flow.elementwise import affine
from ncsr.flow.subnet import Subnet
from ncsr.model import NCSR

_SHOWN = 5  # subnets with the widest scales, and names of parameters


@torch.no_grad()
def diagnose(model: NCSR, hr: Tensor, lr: Tensor, noise: Tensor | None) -> str:
    """Encode a batch, check every layer's output, and say as text for the terminal what was found.

    That is: the parameters, and their gradients of the last backward pass, that are not finite; the first layer, in
    order of computation, whose output is not finite; the latents' largest magnitude; the subnets with the widest range
    of scales.

    Args:
        model: in training or eval mode, with any weights.
        hr: (B, 3, s h, s w).
        lr: (B, 3, h, w).
        noise: the condition of the noise layers, or None.
    """
    scales: list[tuple[str, float, float]] = []
    not_finite: list[str] = []

    def check(name: str, module: nn.Module, output: Tensor) -> None:
        if isinstance(module, Subnet):
            _, scale = affine(output, output.dtype, module.bound)
            scales.append((name, scale.min().item(), scale.max().item()))
        if not bool(output.isfinite().all()):
            not_finite.append(name)

    hooks = [
        module.register_forward_hook(lambda module, args, output, name=name: check(name, module, output))
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
    scales.sort(key=lambda s: math.inf if math.isnan(s[2]) else s[2] / max(s[1], 1e-30), reverse=True)
    return "\n".join(
        (
            f"weights that are not finite: {_first(weights)}; gradients: {_first(gradients)}",
            f"first layer whose output is not finite: {not_finite[0] if not_finite else 'none'}",
            f"largest latent: {largest:.3g} (a healthy flow's stay under about 6)",
            *(f"scales of {layer}: {low:.3g} to {high:.3g}" for layer, low, high in scales[:_SHOWN]),
            "what helps: a lower learning_rate, a longer warmup, a smaller clip, scale_bound: atan",
        )
    )


def _first(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}" if names else "none"
