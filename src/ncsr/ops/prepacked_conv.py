"""Convolutions whose weights no longer change, and what follows them, in one pass where oneDNN does it.

    y = LeakyReLU(conv(x, W) + b + addend)

The activation, and in bfloat16 the sum, are applied while a result is in the registers: PyTorch has these operators for
the code that it compiles. How a weight is best laid out depends on the image's size too: once a size comes again, it is
laid out for that, where `F.conv2d` does it at every call (for small images, half of the time). Where the operators are
missing, in float64 and on GPUs, three calls do the same.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncsr.ops.conv import by_image, channels_last

_Module = TypeVar("_Module", bound=nn.Module)
_FEW_PIXELS = 2**14  # where laying out a weight takes more than a percent of convolving with it


class FixedConv(nn.Module):
    """A convolution (stride 1, zero padding) with constant weights, and its activation; it has no gradients.

    Args:
        weight: (O, C, k, k), k odd.
        bias: (O,) or None.
        dtype: to convolve in; the result has it.
        slope: of the LeakyReLU: 0 is ReLU, 1 none.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, slope: float = 1.0) -> None:
        super().__init__()
        padding = weight.shape[-1] // 2
        self.dtype, self.slope = dtype, slope
        self.geometry = ((padding, padding), (1, 1), (1, 1), 1)  # padding, stride, dilation, groups
        self.weight = channels_last(weight.detach().to(dtype))
        self.bias = None if bias is None else bias.detach().to(dtype)
        self.fused = _fuses(self.weight)
        self.last = torch.Size()  # shape of the last input

    def forward(self, x: Tensor, addend: Tensor | None = None) -> Tensor:
        """(n B, C, H, W) and maybe (B, O, H, W), of `dtype`, to (n B, O, H, W), channels-last."""
        x = channels_last(x.to(self.dtype))
        if self.fused:
            self._lay_out(x.shape)
        if addend is None:
            return self._convolve(x, self.slope)
        if self.fused and self.slope == 0 and self.dtype == torch.bfloat16:
            return self._add(x, addend)
        y = self._convolve(x, 1)
        by_image(y, addend).add_(addend)
        return _activate(y, self.slope)

    def __getstate__(self) -> dict[str, Any]:
        """With the weight as it was: what is laid out cannot be copied."""
        return self.__dict__ | {"weight": channels_last(self.weight.to_dense()), "last": torch.Size()}

    def _convolve(self, x: Tensor, slope: float) -> Tensor:
        if not self.fused:
            return _activate(F.conv2d(x, self.weight, self.bias, 1, self.geometry[0]), slope)
        name = "none" if slope == 1 else "leaky_relu" if slope else "relu"
        numbers = [slope] if name == "leaky_relu" else []
        operator = torch.ops.mkldnn._convolution_pointwise
        y: Tensor = operator(x, self.weight, self.bias, *self.geometry, name, numbers, "")
        return y

    def _add(self, x: Tensor, addend: Tensor) -> Tensor:
        """ReLU(conv(x) + addend): the sum is made in place, in copies of the addend. In float32 that gains nothing."""
        y = torch.empty((len(x), *addend.shape[1:]), dtype=self.dtype, memory_format=torch.channels_last)
        by_image(y, addend).copy_(addend)
        operator = torch.ops.mkldnn._convolution_pointwise_.binary
        total: Tensor = operator(y, x, self.weight, self.bias, *self.geometry, "add", None, "relu", [], None)
        return total

    def _lay_out(self, shape: torch.Size) -> None:
        """A layout for another shape would be converted at every call, which takes much longer than from the plain."""
        own = self.weight.layout != torch.strided
        if shape != self.last:
            self.last = shape
            self.weight = channels_last(self.weight.to_dense()) if own else self.weight
        elif not own and shape[0] * shape[2] * shape[3] <= _FEW_PIXELS:
            convert: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
            self.weight = convert(self.weight.to_mkldnn(), *self.geometry, shape)


def copy_of(module: _Module) -> _Module:
    """A deep copy without the hooks: these would be called with no one to hear them, and may be no thing to copy."""
    hooks = (hooks for part in module.modules() for hooks in (part._forward_pre_hooks, part._forward_hooks))
    return copy.deepcopy(module, {id(each): OrderedDict() for each in hooks})


def _fuses(weight: Tensor) -> bool:
    """Whether oneDNN takes weights of this kind here."""
    if weight.device.type != "cpu" or not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return False
    if not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return False
    low: bool = weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return low or weight.dtype == torch.float32


def _activate(y: Tensor, slope: float) -> Tensor:
    if slope == 0:
        return y.relu_()
    return y if slope == 1 else F.leaky_relu(y, slope, inplace=True)
