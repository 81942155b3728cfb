"""What injectors and couplings compute between their convolutions, as functions of tensors alone.

On a GPU each is a dozen small kernels, forward and backward, that read and write the same numbers again and again;
compiled (`Pieces.compiled`), each is one or two. Elsewhere they run as they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ncsr.config import ScaleBound
from ncsr.flow.bijection import sum_pixels
from ncsr.ops.conv import by_image

_SHAPES = 256  # that a function is compiled for in one process
ATAN_BOUND = 0.318  # the scale stays within exp(+- ATAN_BOUND pi / 2)


class Affine(NamedTuple):
    """A shift and a positive scale, (N, C, H, W) each."""

    shift: Tensor
    scale: Tensor

    def log_det(self) -> Tensor:
        """The log-determinant of the scaling, sum log scale, (N,)."""
        return sum_pixels(self.scale.log())


def affine(raw: Tensor, dtype: torch.dtype, bound: ScaleBound) -> Affine:
    """Shift and scale in `dtype` from the (N, 2 C, H, W) that a subnet gives, maybe in less."""
    y = raw.to(dtype)
    shift, raw_scale = y[:, 0::2], y[:, 1::2]  # even channels shift, odd ones scale
    if bound == "sigmoid":
        return Affine(shift, torch.sigmoid(raw_scale + 2) + 1e-4)
    return Affine(shift, torch.exp(ATAN_BOUND * torch.atan(2 * raw_scale)))


def couple(x: Tensor, raw: Tensor, bound: ScaleBound) -> tuple[Tensor, Tensor]:
    """A coupling's (N, C, H, W) and log-determinant (N,): the second half of x's channels shifted and scaled.

    Args:
        x: (N, C, H, W).
        raw: (N, C, H, W), of the subnet.
        bound: of the scale.
    """
    x1, x2 = x.chunk(2, 1)
    by = affine(raw, x.dtype, bound)
    return torch.cat((x1, (x2 + by.shift) * by.scale), 1), by.log_det()


def inject(x: Tensor, raw: Tensor, bound: ScaleBound) -> tuple[Tensor, Tensor]:
    """An injector's (n B, C, H, W) and log-determinant (n B,): all of x shifted and scaled.

    Args:
        x: (n B, C, H, W).
        raw: (B, 2 C, H, W), of the subnet.
        bound: of the scale.
    """
    by = affine(raw, x.dtype, bound)
    z = ((by_image(x, raw) + by.shift) * by.scale).flatten(0, 1)
    return z, by.log_det().repeat(len(x) // len(raw))


def activate(y: Tensor, bias: Tensor, addend: Tensor | None, dtype: torch.dtype) -> Tensor:
    """ReLU(y + bias + addend) in `dtype`: (N, C, H, W), (C,), (N, C, H, W) or None."""
    y = y + bias.view(-1, 1, 1)
    return torch.relu(y if addend is None else y + addend).to(dtype)


def activate_backward(grad: Tensor, result: Tensor, dtypes: tuple[torch.dtype, ...]) -> tuple[Tensor, ...]:
    """The gradients of `activate`'s y, bias and addend in these dtypes, from those of its result."""
    grad = torch.where(result > 0, grad, 0)
    of_y, of_bias, of_addend = dtypes
    return grad.to(of_y), grad.sum((0, 2, 3), dtype=of_bias), grad.to(of_addend)


Activate = Callable[[Tensor, Tensor, Tensor | None, torch.dtype], Tensor]
"""As `activate`."""


class Pieces(NamedTuple):
    """The functions of this file as injectors and couplings use them.

    Attributes:
        couple: as above.
        inject: as above.
        activate: as above; None for a bias that goes with the convolution, and a ReLU in place.
    """

    couple: Callable[[Tensor, Tensor, ScaleBound], tuple[Tensor, Tensor]] = couple
    inject: Callable[[Tensor, Tensor, ScaleBound], tuple[Tensor, Tensor]] = inject
    activate: Activate | None = None

    @classmethod
    def compiled(cls, backend: str) -> Pieces:
        """Compiled for every shape that comes, forward and backward, when it first comes.

        Args:
            backend: of `torch.compile`.
        """
        forward, backward = _compiled(activate, backend), _compiled(activate_backward, backend)

        def activated(*arguments: Any) -> Tensor:
            result: Tensor = _Activate.apply(forward, backward, *arguments)  # type: ignore[no-untyped-call]
            return result

        return cls(_compiled(couple, backend), _compiled(inject, backend), activated)

    @contextmanager
    def used_by(self, users: Iterable[nn.Module]) -> Iterator[None]:
        """In this context, these modules' attribute `pieces` is this."""
        users = list(users)
        for user in users:
            user.pieces = self  # type: ignore[assignment]
        try:
            yield
        finally:
            for user in users:
                del user.pieces  # the class has its own


def _compiled(function: Callable[..., Any], backend: str) -> Callable[..., Any]:
    """`function` compiled for each shape, layout and dtype; PyTorch's limit, 8, is less than a flow has."""

    @cache
    def made() -> Callable[..., Any]:  # at the first call, which is where it may fail
        compiled = torch.compile(function, backend=backend, fullgraph=True, dynamic=False)
        limits: Any = torch._dynamo.config.patch(recompile_limit=_SHAPES, accumulated_recompile_limit=4 * _SHAPES)
        return limits(compiled)  # type: ignore[no-any-return]

    return lambda *arguments: made()(*arguments)


class _Activate(torch.autograd.Function):
    """`activate`; of autograd's own, compiled, a mask would be kept beside the result, which the next layer keeps."""

    @staticmethod
    def forward(
        ctx: Any, forward: Any, backward: Any, y: Tensor, bias: Tensor, addend: Tensor | None, dtype: Any
    ) -> Any:
        result = forward(y, bias, addend, dtype)
        ctx.save_for_backward(result)
        ctx.backward, ctx.adds = backward, addend is not None
        ctx.dtypes = y.dtype, bias.dtype, y.dtype if addend is None else addend.dtype
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        of_y, of_bias, of_addend = ctx.backward(grad, *ctx.saved_tensors, ctx.dtypes)
        return None, None, of_y, of_bias, of_addend if ctx.adds else None, None
