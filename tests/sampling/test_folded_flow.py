"""The folded flow decodes what the flow does, within the rounding of its precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import ncsr.sampling.folded_flow
from ncsr import NCSR
from ncsr.config import Condition, ScaleBound
from ncsr.sampling.folded_flow import chunk_size
from ncsr.space.flow_space import FlowSpace
from tests.models import lively_model


def space_of(model: NCSR, batch: int = 2) -> FlowSpace:
    lr = torch.rand(batch, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    space = model.space(lr)
    assert isinstance(space, FlowSpace)
    return space


def latents_of(space: FlowSpace, samples: int) -> list[Tensor]:
    height, width = (space.scale * side for side in space.lr.shape[-2:])
    generator = torch.Generator().manual_seed(1)
    count = samples * len(space.lr)
    shapes = space.flow.latent_shapes(height, width)
    return [0.3 * torch.randn(count, *shape, generator=generator).to(space.lr) for shape in shapes]


@pytest.mark.parametrize("bound", ["sigmoid", "atan"])
@pytest.mark.parametrize("condition", ["noise", "std", "none"])
@pytest.mark.parametrize("scale", [4, 8])
@torch.no_grad()
def test_equals_the_flow(scale: int, condition: Condition, bound: ScaleBound) -> None:
    space = space_of(lively_model(scale, condition, bound))
    latents = latents_of(space, 3)
    given = [z.clone() for z in latents]
    exact = space.model.training_space(space.lr).decode(latents)  # by the layers
    assert exact.isfinite().all()
    assert space.decode_folded(latents).sub(exact).abs().max() < 1e-11 * exact.abs().max()
    torch.testing.assert_close(latents, given, rtol=0, atol=0)  # what is given stays as it is


@torch.no_grad()
def test_single_precision_is_near() -> None:
    space = space_of(lively_model(dtype=torch.float32))
    latents = latents_of(space, 3)
    exact = space.model.training_space(space.lr).decode(latents)
    for _ in range(3):  # the second time weights are laid out for this size
        assert space.decode_folded(latents).sub(exact).abs().max() < 1e-5 * exact.abs().max()


@torch.no_grad()
def test_however_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lively_model()
    whole = space_of(model)
    latents = latents_of(whole, 5)
    conditions = whole._sampler.conditions
    assert chunk_size(conditions[-1]) > 5
    images = whole.decode_folded(latents)
    monkeypatch.setattr(ncsr.sampling.folded_flow, "_CACHE_BYTES", 1)
    assert chunk_size(conditions[-1]) == 1
    torch.testing.assert_close(whole.decode_folded(latents), images, rtol=0, atol=1e-12)
    monkeypatch.setattr(
        ncsr.sampling.folded_flow, "_CACHE_BYTES", 2 * 2 * 8 * 6 * 3 * 4 * 8
    )  # several, not all, in some levels
    torch.testing.assert_close(whole.decode_folded(latents), images, rtol=0, atol=1e-12)


def test_takes_no_part_in_gradients() -> None:
    space = space_of(lively_model())
    assert not space.decode_folded([z.requires_grad_() for z in latents_of(space, 1)]).requires_grad


@torch.no_grad()
def test_in_bfloat16_the_flow_variable_stays_float32() -> None:
    model = lively_model(dtype=torch.float32)
    exact = space_of(model).decode_folded(latents_of(space_of(model), 2))
    model.precision = "bfloat16"
    space = space_of(model)
    for autocast in (False, True):  # whatever surrounds it
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            low = space.decode_folded(latents_of(space, 2))
        assert low.dtype == torch.float32
        assert 0 < low.sub(exact).abs().max() < 0.1 * exact.std()


@torch.no_grad()
def test_in_bfloat16_what_sets_the_local_mean_is_exact() -> None:
    """A rounded bias of an injector would shift every sample alike."""
    model = lively_model(dtype=torch.float32)
    assert model.flow is not None
    for step in model.flow.levels[0].steps:
        step.injector.subnet.first.weight.zero_()
    exact = space_of(model)._sampler.conditions[0]
    model.precision = "bfloat16"
    for expected, actual in zip(exact, space_of(model)._sampler.conditions[0], strict=True):
        torch.testing.assert_close(actual.shift, expected.shift, rtol=0, atol=1e-6)


@torch.no_grad()
def test_a_space_nobody_prepared_samples() -> None:
    model = lively_model()
    prepared = space_of(model)
    assert torch.equal(model.training_space(prepared.lr).sample(2, seed=0), prepared.sample(2, seed=0))


@torch.no_grad()
def test_every_device_computes_the_same(device: torch.device) -> None:
    """In float32, whose rounding is all that differs; with TF32 it would be a hundred times as much."""
    exact = space_of(lively_model())
    latents = latents_of(exact, 1)
    hr, drawn = exact.decode(latents), exact.sample(3, 0.5, seed=0)
    space = space_of(lively_model(dtype=torch.float32).to(device))
    codes = space.encode(hr)
    results = {
        "encode": zip(codes, latents, strict=True),
        "round trip": [(space.decode(codes), hr)],
        "folded": [(space.decode_folded([z.to(space.lr) for z in latents]), hr)],
        "sample": [(space.sample(3, 0.5, seed=0), drawn)],
    }
    for name, pairs in results.items():
        for actual, expected in pairs:
            assert (actual.device.type, actual.dtype) == (device.type, torch.float32)
            tolerance = 1e-5 if name == "round trip" else 5e-5
            assert actual.cpu().sub(expected).abs().max() < tolerance * expected.abs().max(), name
