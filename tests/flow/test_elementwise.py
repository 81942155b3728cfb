"""What injectors and couplings compute between their convolutions: as it stands, compiled, and by autograd."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from ncsr.config import ScaleBound
from ncsr.flow.elementwise import Pieces, _Activate, activate, activate_backward, couple, inject
from ncsr.flow.flow import Flow
from ncsr.flow.subnet import Subnet
from tests.models import lively_model

BOUNDS: list[ScaleBound] = ["sigmoid", "atan"]
COMPILED = [
    pytest.param("aot_eager", id="autograd's graphs"),
    pytest.param("inductor", marks=pytest.mark.slow),
]


def randn(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype).requires_grad_()


def activation(*arguments: Any) -> Tensor:
    """By the pair of functions that would be compiled."""
    result: Tensor = _Activate.apply(activate, activate_backward, *arguments)
    return result


def outputs_and_gradients(function: Callable[..., Any], *arguments: Any) -> list[Tensor]:
    outputs = function(*arguments)
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    wanted = [argument for argument in arguments if isinstance(argument, Tensor)]
    weighted = [(output.double() * randn(*output.shape).detach()).sum() for output in outputs]
    return [*outputs, *torch.autograd.grad(torch.stack(weighted).sum(), wanted)]


@pytest.mark.parametrize("bound", BOUNDS)
def test_gradients_of_coupling_and_injector(bound: ScaleBound) -> None:
    assert torch.autograd.gradcheck(partial(couple, bound=bound), (randn(2, 4, 3, 2), randn(2, 4, 3, 2)))
    assert torch.autograd.gradcheck(partial(inject, bound=bound), (randn(4, 3, 3, 2), randn(2, 6, 3, 2)))


def test_gradients_of_the_activation() -> None:
    """Its backward pass is written by hand."""
    for addend in (None, randn(2, 3, 2, 5)):
        arguments = (randn(2, 3, 5, 2), randn(3), None if addend is None else addend.mT, torch.float64)
        assert torch.autograd.gradcheck(activation, arguments)
        assert activation(*arguments).eq(0).any()


@pytest.mark.parametrize("bound", BOUNDS)
def test_log_determinant_is_that_of_the_jacobian(bound: ScaleBound) -> None:
    x, raw = randn(1, 4, 2, 3), randn(1, 4, 2, 3)
    for function, given in ((couple, raw), (inject, torch.cat((raw, raw.flip(1)), 1))):
        jacobian = torch.autograd.functional.jacobian(lambda x, f=function, r=given: f(x, r, bound)[0], x)
        torch.testing.assert_close(function(x, given, bound)[1], jacobian.view(24, 24).slogdet().logabsdet[None])


@pytest.mark.parametrize("backend", COMPILED)
def test_compiled_as_they_stand(backend: str) -> None:
    """The flow variable keeps its dtype, whatever the convolutions have."""
    pieces = Pieces.compiled(backend)
    for low, high, near in ((torch.float64, torch.float64, 1e-12), (torch.bfloat16, torch.float32, 0.02)):
        x, raw, wide = randn(2, 4, 5, 3, dtype=high), randn(2, 4, 5, 3, dtype=low), randn(2, 8, 5, 3, dtype=low)
        bias, addend = randn(4, dtype=high), randn(2, 4, 5, 3, dtype=low)
        for one, other, arguments in (
            (pieces.couple, couple, (x, raw, "atan")),
            (pieces.inject, inject, (x, wide, "sigmoid")),
            (pieces.activate, activate, (raw, bias, addend, low)),
            (pieces.activate, activate, (raw, bias, None, high)),
        ):
            assert one is not None
            found, expected = (outputs_and_gradients(function, *arguments) for function in (one, other))
            assert found[0].dtype == (arguments[-1] if other is activate else high)
            for a, b in zip(found, expected, strict=True):
                torch.testing.assert_close(a, b, rtol=near, atol=near)


def test_compiled_for_all_shapes_of_a_flow() -> None:
    """More than the eight that PyTorch compiles before it gives up."""
    inputs = [(torch.rand(1, 2, side, 2), torch.rand(1, 2, side, 2), "atan") for side in range(2, 12)]
    function = Pieces.compiled("eager").couple
    for arguments in inputs:
        assert torch.equal(function(*arguments)[0], couple(*arguments)[0])


@pytest.mark.parametrize("condition", ["noise", "none"])
def test_the_flow_is_the_same_by_other_pieces(condition: Any) -> None:
    """Nothing is compiled here: with "eager", the same functions are called where compiled ones would be."""
    model = lively_model(condition=condition)
    hr, lr = randn(2, 3, 32, 32).detach(), torch.rand(2, 3, 8, 8).double()
    noise = None if condition == "none" else 0.1 * hr.flip(0)
    expected = torch.autograd.grad(model(hr, lr, noise).sum(), model.parameters(), allow_unused=True)
    assert isinstance(model.flow, Flow)
    subnets = [module for module in model.modules() if isinstance(module, Subnet)]
    called = []

    def counted(*arguments: Any) -> Tensor:
        called.append(len(arguments))
        return activation(*arguments)

    with Pieces(activate=counted).used_by(subnets):
        found = torch.autograd.grad(model(hr, lr, noise).sum(), model.parameters(), allow_unused=True)
    assert len(called) == 2 * len(subnets)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)
    assert all("pieces" not in vars(subnet) for subnet in subnets)
