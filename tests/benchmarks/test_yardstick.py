"""The plain implementation in `benchmarks` against the reference implementation's numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.yardstick import Yardstick, training_step, unused
from tests.parity import (
    CASES,
    Case,
    assert_gradient_norms,
    golden,
    grad_norms,
    inputs,
    key_shapes,
    latents,
    load_rule_weights,
    relative_error,
)

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def yardstick(case: Case) -> Yardstick:
    model = Yardstick(
        case.scale, case.blocks, case.stacked_blocks, case.levels, case.steps, case.noise_steps, case.condition
    )
    load_rule_weights(model)
    return model


@each_case
def test_keys_are_the_reference_keys(case: Case) -> None:
    used = {k: shape for k, shape in key_shapes(case.name).items() if not unused(k, case.steps, case.noise_steps)}
    assert {k: tuple(v.shape) for k, v in yardstick(case).state_dict().items()} == used


@each_case
@torch.no_grad()
def test_encode(case: Case) -> None:
    expected = golden(case.name)
    codes, logdet, nll = yardstick(case).encode(*inputs(case))
    actual = {"logdet": logdet, "nll": nll} | {f"latent_{i}": code for i, code in enumerate(codes)}
    assert f"latent_{len(codes)}" not in expected
    for name, value in actual.items():
        assert relative_error(value, expected[name]) < 1e-5, name


@each_case
@torch.no_grad()
def test_decode_and_encoder(case: Case) -> None:
    expected, model = golden(case.name), yardstick(case)
    lr, codes = inputs(case)[1], latents(case)
    sample, logdet = model.decode(codes, lr)
    zero, _ = model.decode([torch.zeros_like(code) for code in codes], lr)
    actual = {"sample": sample, "sample_logdet": logdet, "sample_zero": zero, "rrdb_out": model.rrdb_out(lr)}
    for name, value in actual.items():
        assert relative_error(value, expected[name]) < 1e-5, name


@each_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["32", "64"])
def test_gradient_norms(case: Case, dtype: torch.dtype) -> None:
    model = yardstick(case).to(dtype)
    hr, lr, noise = (x if x is None else x.to(dtype) for x in inputs(case))
    model.encode(hr, lr, noise)[2].mean().backward()
    norms = {k: p.grad.double().norm().item() for k, p in model.named_parameters() if p.grad is not None}
    expected = {k: norm for k, norm in grad_norms(case.name).items() if norm is not None}
    assert_gradient_norms(norms, expected, dtype)


@each_case
@torch.no_grad()
def test_decode_inverts_encode(case: Case) -> None:
    model = yardstick(case).double()
    hr, lr, noise = (x if x is None else x.double() for x in inputs(case))
    codes, logdet, _ = model.encode(hr, lr, noise)
    image, inverse_logdet = model.decode(codes, lr, noise)
    assert relative_error(image, hr) < 1e-9
    assert relative_error(-inverse_logdet, logdet) < 1e-9


def test_sample_follows_generator_and_temperature() -> None:
    case = CASES[1]
    model, lr = yardstick(case), inputs(case)[1]
    first, again, other = (model.sample(lr, 0.8, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert relative_error(model.sample(lr, 0.0), golden(case.name)["sample_zero"].clamp(0, 1)) < 1e-5


def test_training_step_descends_by_the_clipped_gradient() -> None:
    case = CASES[0]
    model = yardstick(case)
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    before = nn.utils.parameters_to_vector(model.parameters())
    first = training_step(model, optimiser, *inputs(case), max_norm=1e-3)
    moved = nn.utils.parameters_to_vector(model.parameters()) - before
    second = training_step(model, optimiser, *inputs(case), max_norm=1e-3)
    assert first == pytest.approx(golden(case.name)["nll"].mean().item(), rel=1e-5)
    assert moved.norm().item() == pytest.approx(1e-3, rel=1e-2)
    assert second < first
