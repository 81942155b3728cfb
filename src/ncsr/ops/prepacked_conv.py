"""Convolutions with constant weights, fused with what follows them and laid out for the image's size by oneDNN.

    y = LeakyReLU(conv(x, W) + b + addend)

The activation, and in bfloat16 the sum, are applied while a result is in the registers: PyTorch has these operators for
the code that it compiles. They are private, so each is run once before it is relied upon (`_fuses`); where one is
missing or gives other numbers, in float64 and on GPUs, plain calls do the same.

How oneDNN wants a weight laid out depends on the image's size. `F.conv2d` repacks it at every call, which takes half of
the time for a small image; here it is repacked once a size comes again.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from functools import lru_cache
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncsr.ops.conv import by_image, channels_last
from ncsr.ops.precision import full_precision

_Module = TypeVar("_Module", bound=nn.Module)
_FEW_PIXELS = 2**14  # where repacking a weight takes more than a percent of convolving with it


class PrepackedConv(nn.Module):
    """A convolution (stride 1, zero padding) with constant weights, and its activation; it has no gradients.

    Args:
        weight: (O, C, k, k), k odd.
        bias: (O,) or None.
        dtype: to convolve in; the result has it.
        slope: of the LeakyReLU: 0 is ReLU, 1 is no activation.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, slope: float = 1.0) -> None:
        super().__init__()
        padding = weight.shape[-1] // 2
        self.dtype, self.slope = dtype, slope
        self.geometry = ((padding, padding), (1, 1), (1, 1), 1)  # padding, stride, dilation, groups
        self.weight = channels_last(weight.detach().to(dtype))
        self.bias = None if bias is None else bias.detach().to(dtype)
        on_cpu = weight.device.type == "cpu" and torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled
        self.fused = on_cpu and _fuses(dtype)
        # The last input's shape and the weight packed for it, as one attribute: threads never read halves of two pairs.
        self.packed: tuple[torch.Size, Tensor | None] = (torch.Size(), None)

    def forward(self, x: Tensor, addend: Tensor | None = None) -> Tensor:
        """(n B, C, H, W), and (B, O, H, W) or None to be added, of `dtype`, to (n B, O, H, W), channels-last."""
        x = channels_last(x.to(self.dtype))
        if self.fused and addend is not None and self.slope == 0 and self.dtype == torch.bfloat16:
            shape = (len(x), *addend.shape[1:])
            y = torch.empty(shape, dtype=self.dtype, device=x.device, memory_format=torch.channels_last)
            by_image(y, addend).copy_(addend)
            return _add_conv_relu(y, x, self._weight(x.shape), self.bias, self.geometry)
        slope = self.slope if addend is None else 1
        if self.fused:
            y = _conv_activation(x, self._weight(x.shape), self.bias, self.geometry, slope)
        else:
            y = _activate(F.conv2d(x, self.weight, self.bias, 1, self.geometry[0]), slope)
        if addend is None:
            return y
        by_image(y, addend).add_(addend)
        return _activate(y, self.slope)

    def __getstate__(self) -> dict[str, Any]:
        """Without the packed weight, which cannot be copied."""
        return self.__dict__ | {"packed": (torch.Size(), None)}

    def _weight(self, shape: torch.Size) -> Tensor:
        """The weight, packed for this input's shape if the last input had it, too."""
        last, packed = self.packed
        if shape == last and packed is None and shape[0] * shape[2] * shape[3] <= _FEW_PIXELS:
            repack: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
            packed = repack(self.weight.to_mkldnn(), *self.geometry, shape)
        packed = packed if shape == last else None
        self.packed = (shape, packed)
        return self.weight if packed is None else packed


def copy_without_hooks(module: _Module) -> _Module:
    """A deep copy without the forward hooks: these may be impossible to copy, and nobody observes the copy."""
    hooks = (hooks for part in module.modules() for hooks in (part._forward_pre_hooks, part._forward_hooks))
    return copy.deepcopy(module, {id(each): OrderedDict() for each in hooks})


def _conv_activation(x: Tensor, weight: Tensor, bias: Tensor | None, geometry: tuple[Any, ...], slope: float) -> Tensor:
    """LeakyReLU(conv(x, W) + b), by oneDNN."""
    name = "none" if slope == 1 else "leaky_relu" if slope else "relu"
    numbers = [slope] if name == "leaky_relu" else []
    y: Tensor = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *geometry, name, numbers, "")
    return y


def _add_conv_relu(y: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: tuple[Any, ...]) -> Tensor:
    """ReLU(y + conv(x, W) + b), in place of y, by oneDNN; in float32 it gains nothing."""
    operator = torch.ops.mkldnn._convolution_pointwise_.binary
    total: Tensor = operator(y, x, weight, bias, *geometry, "add", None, "relu", [], None)
    return total


def _activate(y: Tensor, slope: float) -> Tensor:
    if slope == 0:
        return y.relu_()
    return y if slope == 1 else F.leaky_relu(y, slope, inplace=True)


@lru_cache
@torch.no_grad()
def _fuses(dtype: torch.dtype) -> bool:
    """Whether oneDNN's operators for this dtype are there and right, which is seen by running them."""
    if dtype not in (torch.float32, torch.bfloat16):
        return False
    x = channels_last(torch.linspace(-1, 1, 2 * 8 * 3 * 3, device="cpu").view(2, 8, 3, 3).to(dtype))
    weight = channels_last(torch.linspace(-1, 1, 8 * 8, device="cpu").view(8, 8, 1, 1).to(dtype))
    geometry = ((0, 0), (1, 1), (1, 1), 1)
    with full_precision(x.device):
        expected = F.conv2d(x, weight)
    try:
        packed: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
        packed = packed(weight.to_mkldnn(), *geometry, x.shape)
        found = [_conv_activation(x, packed, None, geometry, 0.2), _add_conv_relu(x.clone(), x, packed, None, geometry)]
    except (RuntimeError, AttributeError, TypeError):  # no such operator, another signature, a CPU without bfloat16
        return False
    wanted = [F.leaky_relu(expected, 0.2), (x + expected).relu()]
    return all(torch.allclose(a, b, rtol=0.05, atol=0.05) for a, b in zip(found, wanted, strict=True))
