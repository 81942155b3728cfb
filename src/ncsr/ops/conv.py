"""Convolutions with stride 1 and zero padding, and the memory layouts of what goes in and out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(B, C, H, W) and (O, C, k, k) to (B, O, H, W), k odd; without gradients, an image of a batch is as it is alone.

    For one small float32 image and for 1x1 kernels on one thread, PyTorch has kernels of its own for CPUs, which round
    unlike oneDNN's and mostly are slower, so oneDNN's are taken always.
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


def channels_last(x: Tensor) -> Tensor:
    """(B, C, H, W) with its channels next to one another in memory; itself if they are."""
    return x.contiguous(memory_format=torch.channels_last)


def by_image(samples: Tensor, images: Tensor) -> Tensor:
    """View samples (n * B, ...) as (n, B, ...), so that what belongs to the B images broadcasts over the n samples."""
    view: Tensor = samples.unflatten(0, (-1, images.shape[0]))
    return view
