"""What the flow computes between its convolutions, step by step and in the functions that one kernel can be."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from ncsr.config import ScaleBound
from ncsr.flow.actnorm import ActNorm
from ncsr.flow.elementwise import UNFUSED, Fused, couple, inject
from ncsr.flow.subnet import Subnet
from tests.models import lively_model

BOUNDS: list[ScaleBound] = ["sigmoid", "atan"]


def randn(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype).requires_grad_()


@pytest.mark.parametrize("bound", BOUNDS)
def test_gradients_of_coupling_and_injector(bound: ScaleBound) -> None:
    assert torch.autograd.gradcheck(partial(couple, bound=bound), (randn(2, 4, 3, 2), randn(2, 4, 3, 2)))
    assert torch.autograd.gradcheck(partial(inject, bound=bound), (randn(4, 3, 3, 2), randn(2, 6, 3, 2)))


@pytest.mark.parametrize("bound", BOUNDS)
def test_log_determinant_is_that_of_the_jacobian(bound: ScaleBound) -> None:
    x, raw = randn(1, 4, 2, 3), randn(1, 4, 2, 3)
    for function, given in ((couple, raw), (inject, torch.cat((raw, raw.flip(1)), 1))):
        jacobian = torch.autograd.functional.jacobian(lambda x, f=function, r=given: f(x, r, bound)[0], x)
        torch.testing.assert_close(function(x, given, bound)[1], jacobian.view(24, 24).slogdet().logabsdet[None])


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
