"""The contract of every layer of the flow, and how layers chain.

    encode: x -> z, image to latent            decode: z -> x, its exact inverse

Both return the value and the log-determinant of their own Jacobian, (B,) in nats, so the two log-determinants of a pair
cancel. Every layer takes a condition; one that needs none ignores it, so that a chain is a plain loop.

Batches: a condition belongs to B images, a flow variable to n samples of each, (n * B, C, H, W), sample after sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from ncsr.ops.checkpointing import checkpointed


class Bijection(nn.Module):
    """A layer of the flow. A subclass writes `encode` and `decode` as twins, so that the eye proves the inverse."""

    def encode(self, x: Tensor, condition: Any) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) towards the latent, with the log-determinant (N,)."""
        raise NotImplementedError

    def decode(self, z: Tensor, condition: Any) -> tuple[Tensor, Tensor]:
        """The inverse of `encode`, with its own log-determinant (N,)."""
        raise NotImplementedError


Chain = Sequence[tuple[Bijection, Any]]
"""Layers with their conditions, in encoding order."""


def encode_chain(chain: Chain, x: Tensor, recompute: bool = False) -> tuple[Tensor, Tensor]:
    """Encode through all layers; log-determinants add up. With `recompute`, backward computes each layer again."""
    log_det = x.new_zeros(x.shape[0])
    for layer, condition in chain:
        x, change = checkpointed(layer.encode, x, condition, enabled=recompute)
        log_det = log_det + change
    return x, log_det


def decode_chain(chain: Chain, z: Tensor) -> tuple[Tensor, Tensor]:
    """Decode through all layers, last to first; log-determinants add up."""
    log_det = z.new_zeros(z.shape[0])
    for layer, condition in reversed(chain):
        z, change = layer.decode(z, condition)
        log_det = log_det + change
    return z, log_det


def sum_pixels(x: Tensor) -> Tensor:
    """Sum over everything but the batch: (N, C, H, W) to (N,)."""
    return x.flatten(1).sum(1)
