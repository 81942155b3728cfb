"""Convolutions with stride 1 and zero padding, and the memory layouts of what goes in and out.

With x padded by one pixel, y = conv3x3(x, W) is y_p = sum over the nine taps t of W_t x_{p+t}. So dL/dx is a
convolution again, and

    dL/dW_t = sum over p of dL/dy_p x_{p+t}^T

is one matrix product per tap, of the pixels' rows as they lie in memory. On CPUs without AVX-512, and of many channels,
oneDNN's own weight gradient reaches half of that speed; with AVX-512 it is twice as fast.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.amp import custom_bwd, custom_fwd

MIN_CHANNELS = 64
"""Channels in and out from which weight gradients are taken by matrix products."""


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(B, C, H, W) and (O, C, k, k) to (B, O, H, W), k odd.

    Without gradients, an image gives the same numbers alone and in a batch: for one small float32 image, and for 1x1
    kernels on one thread, PyTorch would choose CPU kernels that round differently and are mostly slower than oneDNN's.
    """
    padding = weight.shape[-1] // 2
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.conv2d(x, weight, bias, padding=padding)
    if torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in (x, weight, bias)):
        if padding != 1 or min(weight.shape[:2]) < MIN_CHANNELS or not weight_gradient_by_products():
            return F.conv2d(x, weight, bias, padding=padding)
        y: Tensor = _Conv3x3.apply(x, weight)  # type: ignore[no-untyped-call]
        return y if bias is None else y + bias.to(y.dtype).view(-1, 1, 1)
    exact = x.dtype == weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if exact and torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled:
        return torch.mkldnn_convolution(x, weight, bias, (padding, padding), (1, 1), (1, 1), 1)
    return F.conv2d(x, weight, bias, padding=padding)


def channels_last(x: Tensor) -> Tensor:
    """(B, C, H, W) with its channels next to one another in memory; itself if they are."""
    return x.contiguous(memory_format=torch.channels_last)


def by_image(samples: Tensor, images: Tensor) -> Tensor:
    """View samples (n * B, ...) as (n, B, ...), so that what belongs to the B images broadcasts over the n samples."""
    view: Tensor = samples.unflatten(0, (-1, images.shape[0]))
    return view


def weight_gradient_by_products() -> bool:
    """Whether matrix products give a 3x3 weight gradient faster here than oneDNN."""
    return not torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    """dL/dW (O, C, 3, 3) from x (B, C, H, W) and dL/dy (B, O, H, W), both best channels-last."""
    row = x.shape[-1] + 2
    pixels = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).reshape(-1, x.shape[1])
    grads = F.pad(grad.permute(0, 2, 3, 1), (0, 0, 0, 2, 0, 2)).reshape(-1, grad.shape[1])  # zeros where rows end
    last = len(grads) - 2 * row - 2
    columns = grads[:last].t()
    taps = [columns @ pixels[i * row + j : i * row + j + last] for i in range(3) for j in range(3)]
    return torch.stack(taps).reshape(3, 3, grad.shape[1], x.shape[1]).permute(2, 3, 0, 1)


class _Conv3x3(torch.autograd.Function):
    @staticmethod
    @custom_fwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, padding=1)

    @staticmethod
    @custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = (saved.to(grad.dtype) for saved in ctx.saved_tensors)
        grad_x = F.conv2d(grad, weight.flip(2, 3).transpose(0, 1), padding=1) if ctx.needs_input_grad[0] else None
        return grad_x, weight_gradient(x, grad) if ctx.needs_input_grad[1] else None
