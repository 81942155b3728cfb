"""The contract of every layer of the flow, and how layers chain.

    encode: x -> z, image to latent            decode: z -> x, its exact inverse

Both return the value and the log-determinant of their own Jacobian, (B,) in nats, so the two log-determinants of a pair
cancel; `encode_by_pixel` says where that of `encode` comes from.

Every layer takes a condition; one that needs none ignores it, so that a chain is a plain loop.

Batches: a condition belongs to B images, a flow variable to n samples of each, (n * B, C, H, W), sample after sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
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

    def encode_by_pixel(self, x: Tensor, condition: Any) -> tuple[Tensor, Tensor]:
        """`encode` with the share of each pixel of z in the log-determinant, (N, H, W): here, equal shares."""
        z, log_det = self.encode(x, condition)
        height, width = z.shape[-2:]
        return z, (log_det / (height * width)).view(-1, 1, 1).expand(-1, height, width)


Chain = Sequence[tuple[Bijection, Any]]
"""Layers with their conditions, in encoding order."""


class Composite(Bijection):
    """Layers one after the other; log-determinants add up.

    Attributes:
        recompute: whether backward computes the inside of every layer again instead of keeping it.
    """

    recompute = False

    def chain(self, condition: Any) -> Chain:
        """The layers with their conditions, which are parts of this one's."""
        raise NotImplementedError

    def encode(self, x: Tensor, condition: Any = None) -> tuple[Tensor, Tensor]:
        log_det = x.new_zeros(x.shape[0])
        for layer, its_condition in self.chain(condition):
            x, change = checkpointed(layer.encode, x, its_condition, enabled=self.recompute)
            log_det = log_det + change
        return x, log_det

    def encode_by_pixel(self, x: Tensor, condition: Any = None) -> tuple[Tensor, Tensor]:
        shares = []
        for layer, its_condition in self.chain(condition):
            x, share = layer.encode_by_pixel(x, its_condition)
            shares.append(share)
        return x, torch.stack(shares).sum(0)

    def decode(self, z: Tensor, condition: Any = None) -> tuple[Tensor, Tensor]:
        log_det = z.new_zeros(z.shape[0])
        for layer, its_condition in reversed(self.chain(condition)):
            z, change = layer.decode(z, its_condition)
            log_det = log_det + change
        return z, log_det


def sum_except_batch(x: Tensor) -> Tensor:
    """Sum over everything but the batch: (N, C, H, W) to (N,)."""
    return x.flatten(1).sum(1)
