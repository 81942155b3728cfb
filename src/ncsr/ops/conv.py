"""3x3 convolutions (stride 1, zero padding) whose gradients are fast on CPUs, too.

With x padded by one pixel, y = conv(x, W) is y_p = sum over the nine taps t of W_t x_{p+t}. So

    dL/dx = conv(dL/dy, W turned by 180 degrees, its channels exchanged)
    dL/dW_t = sum over p of dL/dy_p x_{p+t}^T

The first is a convolution again. The second is one matrix product per tap, of the pixels' rows as they lie in memory:
on CPUs without AVX-512, oneDNN's own weight gradient reaches half of that speed; with AVX-512 it is twice as fast.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.amp import custom_bwd, custom_fwd

_BY_TAPS = not torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def conv3x3(x: Tensor, weight: Tensor) -> Tensor:
    """(B, C, H, W) and (O, C, 3, 3) to (B, O, H, W); where C and O are large, its gradients are fast on a CPU."""
    if torch.compiler.is_compiling() or x.device.type != "cpu" or not torch.is_grad_enabled() or not by_taps():
        return conv2d(x, weight)
    y: Tensor = _Conv3x3.apply(x, weight)  # type: ignore[no-untyped-call]
    return y


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(B, C, H, W) and (O, C, k, k) to (B, O, H, W), k odd; without gradients, an image of a batch is as it is alone.

    For one small float32 image and for 1x1 kernels on one thread, PyTorch has kernels of its own for CPUs, which round
    unlike oneDNN's and mostly are slower: oneDNN's are taken always.
    """
    padding = weight.shape[-1] // 2
    if (
        not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
        and not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad))
        and not torch.is_autocast_enabled("cpu")
    ):
        return torch.mkldnn_convolution(x, weight, bias, (padding, padding), (1, 1), (1, 1), 1)
    return F.conv2d(x, weight, bias, padding=padding)


def gradients(
    grad: Tensor, x: Tensor, weight: Tensor, *, parameters: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """dL/dx (B, C, H, W), and dL/dW (O, C, 3, 3) and dL/db (O,) if wanted, from dL/dy (B, O, H, W) of their type."""
    wanted, ones, bias = [True, parameters, parameters], [1, 1], [len(weight)]
    found: tuple[Tensor, Tensor | None, Tensor | None] = torch.ops.aten.convolution_backward(
        grad, x, weight, bias, ones, ones, ones, False, [0, 0], 1, wanted
    )
    return found


def channels_last(x: Tensor) -> Tensor:
    """(B, C, H, W) with its channels next to one another in memory; itself if they are."""
    return x.contiguous(memory_format=torch.channels_last)


def by_taps() -> bool:
    """Whether weight gradients are faster as matrix products than by oneDNN here."""
    return _BY_TAPS


def weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """dL/dW (O, C, 3, 3) by taps, from x (B, C, H, W) and dL/dy (B, O, H, W), both best channels-last."""
    row = x.shape[-1] + 2
    pixels = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).flatten(0, 2)
    grads = F.pad(grad.permute(0, 2, 3, 1), (0, 0, 0, 2, 0, 2)).flatten(0, 2)  # zeros where a row or an image ends
    last = len(grads) - 2 * row - 2
    columns = grads[:last].t()
    taps = [columns @ pixels[i * row + j : i * row + j + last] for i in range(3) for j in range(3)]
    stacked: Tensor = torch.stack(taps).unflatten(0, (3, 3))
    return stacked.permute(2, 3, 0, 1)


class _Conv3x3(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return conv2d(x, weight)

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = (saved.to(grad.dtype) for saved in ctx.saved_tensors)
        return (
            gradients(grad, x, weight, parameters=False)[0] if ctx.needs_input_grad[0] else None,
            weight_gradient(x, grad) if ctx.needs_input_grad[1] else None,
        )


def by_image(samples: Tensor, images: Tensor) -> Tensor:
    """View samples (n * B, ...) as (n, B, ...), so that what belongs to the B images broadcasts over the n samples."""
    view: Tensor = samples.unflatten(0, (-1, images.shape[0]))
    return view
