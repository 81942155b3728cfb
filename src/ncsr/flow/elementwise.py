"""The operations of a flow step between its convolutions, as functions of tensors.

They run as they stand. On a GPU each is a dozen small kernels, forward and backward, that read and write the same
numbers again and again; `flow/triton_kernels.py` has them as one kernel each, which training uses through `Fused`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ncsr.config import ScaleBound
from ncsr.flow.bijection import sum_except_batch
from ncsr.ops.conv import by_image

ATAN_BOUND = 0.318  # the scale stays within exp(+- ATAN_BOUND pi / 2)


def affine(raw: Tensor, dtype: torch.dtype, bound: ScaleBound) -> tuple[Tensor, Tensor]:
    """The shift and the positive scale, (N, C, H, W) each in `dtype`, from a subnet's output (N, 2 C, H, W)."""
    y = raw.to(dtype)
    shift, raw_scale = y[:, 0::2], y[:, 1::2]  # even channels shift, odd ones scale
    if bound == "sigmoid":
        return shift, torch.sigmoid(raw_scale + 2) + 1e-4
    return shift, torch.exp(ATAN_BOUND * torch.atan(2 * raw_scale))


def couple(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """An affine coupling of x (N, C, H, W): its second half of channels, shifted and scaled.

    Args:
        x: (N, C, H, W), C even.
        shift: (N, C / 2, H, W).
        scale: (N, C / 2, H, W).
    """
    x1, x2 = x.chunk(2, 1)
    return torch.cat((x1, (x2 + shift) * scale), 1)


def inject(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """An affine injector: all channels of x shifted and scaled, each sample by the values of its image.

    Args:
        x: (n B, C, H, W), sample after sample.
        shift: (B, C, H, W).
        scale: (B, C, H, W).
    """
    return ((by_image(x, shift) + shift) * scale).flatten(0, 1)


def normalise(
    x: Tensor, addend: Tensor | None, bias: Tensor, log_scale: Tensor, relu: bool, dtype: torch.dtype
) -> Tensor:
    """(x + addend + bias) exp(log_scale) in `dtype`, with ReLU after it if asked for: an actnorm and its surroundings.

    Args:
        x: (N, C, H, W).
        addend: likewise, or None.
        bias: (C,).
        log_scale: (C,).
        relu: whether negative results become zero.
        dtype: of the result.
    """
    y = (x if addend is None else x + addend) + bias.view(-1, 1, 1)
    y = y * log_scale.exp().view(-1, 1, 1)
    return (torch.relu(y) if relu else y).to(dtype)


def shift_and_scale(x: Tensor, raw: Tensor, bias: Tensor, log_gain: Tensor, bound: ScaleBound) -> tuple[Tensor, Tensor]:
    """The last of x's channels shifted and scaled by (raw + bias) exp(3 log_gain), and the log-determinant (N,).

    Args:
        x: (N, C, H, W).
        raw: (N, 2 c, H, W): c is half of C in a coupling, and C in an injector.
        bias: (2 c,).
        log_gain: (2 c,).
        bound: of the scale.
    """
    raw = (raw + bias.view(-1, 1, 1)) * (3 * log_gain).exp().view(-1, 1, 1)
    shift, scale = affine(raw, x.dtype, bound)
    log_det = sum_except_batch(scale.log())
    if raw.shape[1] == x.shape[1]:
        return couple(x, shift, scale), log_det
    return inject(x, shift, scale), log_det.repeat(len(x) // len(raw))


class Fused(NamedTuple):
    """Implementations of `normalise` and `shift_and_scale`, which together are all that a step computes elementwise.

    They are for one sample of each image. With them, actnorms and gains are not folded into the weights before them:
    in training, folding is some thousand small kernels.

    Attributes:
        normalise: computes what the function of this name does.
        shift_and_scale: likewise.
    """

    normalise: Callable[[Tensor, Tensor | None, Tensor, Tensor, bool, torch.dtype], Tensor]
    shift_and_scale: Callable[[Tensor, Tensor, Tensor, Tensor, ScaleBound], tuple[Tensor, Tensor]]

    @contextmanager
    def used_by(self, users: Iterable[nn.Module]) -> Iterator[None]:
        """In this context, these modules' attribute `fused` is this."""
        users = list(users)
        for user in users:
            user.fused = self  # type: ignore[assignment]
        try:
            yield
        finally:
            for user in users:
                del user.fused  # the class has its own


UNFUSED = Fused(normalise, shift_and_scale)
"""The functions of this file themselves."""
