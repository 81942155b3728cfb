"""The tests as on a processor that rounds otherwise: `pytest -p tests.rounding`, by hand.

Instruction sets, numbers of threads and GPUs sum in orders of their own. Here every operand of a convolution or matrix
product is moved by a unit in its last place, up or down as its own bits say: equal operands stay equal, so results that
must be equal to the bit still are. Numbers of few bits, whose products no order of summation rounds, stay as they are.
Seven tests fail so for reasons of their own: processes that a test starts are not touched, and compared with the test's
own results (test_launch, test_on_ray); in inference mode other operators are seen than without (test_space,
test_ambient); and the operators of a model are looked into (test_onnx).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

_aten = torch.ops.aten
_PRODUCTS = {
    *(_aten.convolution, _aten.convolution_backward, _aten.mm, _aten.addmm, _aten.bmm, _aten.baddbmm),
    *(_aten.conv2d, _aten.linear, _aten.matmul, _aten.einsum, _aten.tensordot, _aten.linalg_inv),  # in inference mode
    *(_aten.linalg_inv_ex, _aten.linalg_solve_triangular, _aten._linalg_solve_ex, _aten._linalg_slogdet),
}
_BITS = {
    torch.bfloat16: (torch.int16, 0x3),
    torch.float32: (torch.int32, 0xFFF),
    torch.float64: (torch.int64, 0x3FFFFFF),
}


def moved(values: Tensor) -> Tensor:
    """The values, each by a unit in the last place larger, smaller, or the same."""
    if values.dtype not in _BITS or values.device.type == "meta":
        return values
    integer, low = _BITS[values.dtype]
    bits = values.view(integer)
    # Bits of the middle decide; long numbers of ordinary size are moved, so never zeros nor infinities.
    step = (bits * 0x9E37 >> 7) % 3 - 1
    long = (bits & low != 0) & values.isfinite()
    return torch.where(long, bits + step, bits).view(values.dtype)


class OtherRounding(TorchDispatchMode):
    """Moves the operands of products."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in _PRODUCTS:
            args = tree_map_only(Tensor, moved, args)
        return func(*args, **(kwargs or {}))


@pytest.fixture(autouse=True, scope="session")
def _other_rounding() -> Iterator[None]:
    with OtherRounding():
        yield
