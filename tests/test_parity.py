"""The reference implementation's numbers, through the public interface and the key map of published checkpoints."""

from __future__ import annotations

import math

import pytest
import torch

from ncsr import NCSR
from ncsr.flow.bijection import sum_except_batch
from ncsr.pretrained.published import convert, published_names
from tests.parity import (
    CASES,
    ENCODER_CASES,
    Case,
    assert_gradient_norms,
    encoder_input,
    golden,
    grad_norms,
    inputs,
    key_shapes,
    latents,
    reference_state,
    relative_error,
)

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
CHANNELS = 3  # the reference counts bits per pixel, this package per dimension


def converted(case: Case) -> NCSR:
    model = convert(reference_state(case.name), noise_steps=case.noise_steps)
    model.precision = "float32"
    return model


@each_case
def test_architecture_is_read_from_the_keys(case: Case) -> None:
    config = converted(case).config
    assert config.flow is not None
    assert (config.scale, config.encoder.blocks, config.encoder.features) == (case.scale, case.blocks, 64)
    assert (config.flow.levels, config.flow.steps, config.flow.hidden) == (case.levels, case.steps, 64)
    assert (config.flow.condition, config.flow.noise_steps) == (case.condition, case.noise_steps)
    assert (config.flow.stacked_blocks, config.encoder.trunk_skip) == (case.stacked_blocks, "last")


@each_case
@torch.no_grad()
def test_image_to_latents(case: Case) -> None:
    expected, (hr, lr, noise) = golden(case.name), inputs(case)
    model = converted(case)
    space = model.space(lr)
    codes = space.encode(hr, noise)
    last = sum_except_batch(-0.5 * codes[-1] ** 2 - 0.5 * math.log(2 * math.pi))
    actual = {
        "rrdb_out": model.encoder(lr),
        "nll": CHANNELS * space.bits_per_dim(hr, noise),
        "logdet": space.log_prob(hr, noise) - last,
    } | {f"latent_{i}": code for i, code in enumerate(codes)}
    assert f"latent_{len(codes)}" not in expected
    for name, value in actual.items():
        assert relative_error(value, expected[name]) < 1e-5, name
    assert relative_error(CHANNELS * model(hr, lr, noise), expected["nll"]) < 1e-5


@each_case
@torch.no_grad()
def test_latents_to_image(case: Case) -> None:
    expected, lr, codes = golden(case.name), inputs(case)[1], latents(case)
    space = converted(case).space(lr)
    sample = space.decode(codes)
    assert relative_error(sample, expected["sample"]) < 1e-5
    assert relative_error(space.decode([torch.zeros_like(code) for code in codes]), expected["sample_zero"]) < 1e-5
    last = sum_except_batch(-0.5 * codes[-1] ** 2 - 0.5 * math.log(2 * math.pi))
    assert relative_error(space.log_prob(sample) - last, -expected["sample_logdet"]) < 1e-5
    zero = space.sample(1, temperature=0)[0]
    assert relative_error(zero, expected["sample_zero"].clamp(0, 1)) < 1e-5


@each_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["32", "64"])
def test_gradient_norms(case: Case, dtype: torch.dtype) -> None:
    model = converted(case).to(dtype)
    hr, lr, noise = (x if x is None else x.to(dtype) for x in inputs(case))
    (CHANNELS * model(hr, lr, noise)).mean().backward()
    parameters = dict(model.named_parameters())
    names = published_names(model, key_shapes(case.name))
    gradients = {names[name]: p.grad for name, p in parameters.items()}
    norms = {key: gradient.double().norm().item() for key, gradient in gradients.items() if gradient is not None}
    expected = {key: norm for key, norm in grad_norms(case.name).items() if norm is not None}
    assert_gradient_norms(norms, expected, dtype)


@pytest.mark.parametrize("name", ENCODER_CASES)
@torch.no_grad()
def test_encoder_alone(name: str) -> None:
    model = convert(reference_state(name))
    model.precision = "float32"
    assert (model.config.flow, model.config.encoder.trunk_skip) == (None, "first")
    expected = golden(name)["out"]
    lr = encoder_input(name)
    assert relative_error(model.encoder(lr), expected) < 1e-5
    image = model.space(lr).sample(1, temperature=0, seed=0)[0]  # a temperature of 0 switches ESRGAN+'s noise off
    assert relative_error(image, expected.clamp(0, 1)) < 1e-5
