"""What the flow computes between its convolutions, step by step and in the functions that one kernel can be."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from ncsr.config import ScaleBound
from ncsr.flow.actnorm import ActNorm
from ncsr.flow.elementwise import UNFUSED, Fused, shift_and_scale
from ncsr.flow.subnet import Subnet
from tests.models import lively_model

BOUNDS: list[ScaleBound] = ["sigmoid", "atan"]


def randn(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype).requires_grad_()


OF_COUPLING, OF_INJECTOR = (randn(1, 4, 2, 3), 4), (randn(1, 4, 2, 3), 8)  # x, and the channels of a subnet


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize(("x", "channels"), [OF_COUPLING, OF_INJECTOR, (randn(4, 3, 3, 2), 6)])
def test_gradients_of_coupling_and_injector(x: Tensor, channels: int, bound: ScaleBound) -> None:
    """Of one sample and of two."""
    raw, bias, log_gain = randn(min(len(x), 2), channels, *x.shape[-2:]), randn(channels), 0.1 * randn(channels)
    assert torch.autograd.gradcheck(partial(shift_and_scale, bound=bound), (x, raw, bias, log_gain))


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize(("x", "channels"), [OF_COUPLING, OF_INJECTOR])
def test_log_determinant_is_that_of_the_jacobian(x: Tensor, channels: int, bound: ScaleBound) -> None:
    function = partial(
        shift_and_scale, raw=randn(1, channels, 2, 3), bias=randn(channels), log_gain=0.1 * randn(channels), bound=bound
    )
    jacobian = torch.autograd.functional.jacobian(lambda x: function(x)[0], x)
    torch.testing.assert_close(function(x)[1], jacobian.view(24, 24).slogdet().logabsdet[None])


@pytest.mark.parametrize("condition", ["noise", "std", "none"])
def test_the_flow_is_the_same_with_fused_operations(condition: Any) -> None:
    """Actnorms and gains are then applied, where they are folded into weights otherwise."""
    model = lively_model(condition=condition)
    hr, lr = randn(2, 3, 32, 32).detach(), torch.rand(2, 3, 8, 8).double()
    noise = {"none": None, "std": 0.1 * lr[:, 0, 0, 0], "noise": 0.1 * hr.flip(0)}[condition]
    expected = torch.autograd.grad(model(hr, lr, noise).sum(), model.parameters(), allow_unused=True)
    users = [module for module in model.modules() if isinstance(module, ActNorm | Subnet)]
    called: list[str] = []

    def counted(name: str, *arguments: Any) -> Any:
        called.append(name)
        return getattr(UNFUSED, name)(*arguments)

    with Fused(*(partial(counted, name) for name in Fused._fields)).used_by(users):
        found = torch.autograd.grad(model(hr, lr, noise).sum(), model.parameters(), allow_unused=True)
    subnets = sum(isinstance(user, Subnet) for user in users)
    of_subnets = sum(user.fused is None for user in users if isinstance(user, ActNorm)) - 2 * subnets  # those folded
    assert called.count("shift_and_scale") == subnets
    assert called.count("normalise") == 2 * subnets + of_subnets
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)
    assert all("fused" not in vars(user) for user in users)
