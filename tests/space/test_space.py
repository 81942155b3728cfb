"""The super-resolution space: sizes, batches, seeds, tiles, precision, and what it says to wrong input."""

from __future__ import annotations

import copy
import gc
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import ncsr
import ncsr.networks
import ncsr.sampling.folded_flow
from ncsr import NCSR, InputError, SamplingError
from ncsr.config import Condition
from ncsr.latents import blend, interpolate, normalise, temper
from ncsr.ops import prepacked_conv
from ncsr.pretrained.load import bundled_models
from ncsr.runtime.device import Precision
from ncsr.sampling.latents import BLOCK, Window, draw_latent, draw_latents
from ncsr.space.base import Space
from ncsr.space.checks import ATTEMPTS
from ncsr.space.flow_space import FlowSpace
from tests.ambient import AMBIENT
from tests.models import lively_encoder, lively_model, tiny_config

SIZES = [(4, 4), (4, 5), (5, 4), (7, 9), (6, 12)]


def images(batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, height, width, generator=generator, dtype=torch.float64)


def flow_space(lr: Tensor, model: NCSR | None = None, **arguments: Any) -> FlowSpace:
    space = (model or lively_model(dtype=lr.dtype)).space(lr, **arguments)
    assert isinstance(space, FlowSpace)
    return space


def close(actual: object, expected: object, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


# Sizes and batches


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [4, 8])
@torch.no_grad()
def test_any_size_from_4_up(scale: int, size: tuple[int, int]) -> None:
    height, width = size
    hr, lr = images(1, scale * height, scale * width), images(1, height, width, seed=1)
    noise = 0.03 * images(1, scale * height, scale * width, seed=2)
    space = flow_space(lr, lively_model(scale))
    drawn = space.sample(2, 0.5, seed=0)
    assert drawn.shape == (2, 1, 3, scale * height, scale * width)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert drawn[0].sub(drawn[1]).abs().mean() > 0.01
    close(space.decode(space.encode(hr, noise), noise), hr)
    assert space.log_prob(hr).shape == (1,)


@pytest.mark.parametrize("size", [(5, 6), (6, 5), (5, 7)])
@torch.no_grad()
def test_odd_sides_are_reflected(size: tuple[int, int]) -> None:
    height, width = size
    hr, lr = images(1, 4 * height, 4 * width), images(1, height, width, seed=1)
    noise = images(1, 4 * height, 4 * width, seed=2)

    def pad(x: Tensor, unit: int) -> Tensor:
        return F.pad(x, (0, unit * (width % 2), 0, unit * (height % 2)), mode="reflect")

    space, padded = flow_space(lr), flow_space(pad(lr, 1))
    close(space.encode(hr, noise), padded.encode(pad(hr, 4), pad(noise, 4)))
    close(space.log_prob(hr, noise), padded.log_prob(pad(hr, 4), pad(noise, 4)))
    close(space.bits_per_dim(hr, noise), padded.bits_per_dim(pad(hr, 4), pad(noise, 4)))
    close(space.sample(1, 0.5, seed=0), padded.sample(1, 0.5, seed=0)[..., : 4 * height, : 4 * width])


@pytest.mark.parametrize("condition", ["noise", "std", "none"])
@torch.no_grad()
def test_item_of_a_batch_is_the_image_alone(condition: Condition) -> None:
    model, hr, lr = lively_model(condition=condition), images(3, 16, 24), images(3, 4, 6, seed=1)
    noise = {"noise": 0.05 * images(3, 16, 24, seed=2), "std": torch.tensor([0.0, 0.01, 0.05]), "none": None}[condition]
    space = flow_space(lr, model)
    drawn, codes, log_prob = space.sample(2, seed=5), space.encode(hr, noise), space.log_prob(hr, noise)
    decoded = space.decode([torch.cat((code, 0.5 * code)) for code in codes], noise)
    for b in range(3):
        alone = flow_space(lr[b : b + 1], model)
        own = None if noise is None else noise[b : b + 1]
        close(alone.sample(2, seed=5)[:, 0], drawn[:, b])
        own_codes = alone.encode(hr[b : b + 1], own)
        close(own_codes, [code[b : b + 1] for code in codes])
        close(alone.log_prob(hr[b : b + 1], own), log_prob[b : b + 1])
        close(alone.decode([0.5 * code for code in own_codes], own), decoded[3 + b : 4 + b])


@pytest.mark.parametrize("size", [(4, 5), (16, 16), (27, 32)])
def test_item_of_a_batch_is_the_image_alone_to_the_bit(size: tuple[int, int]) -> None:
    """In float32 on a CPU, where PyTorch computes one small image by other kernels than several."""
    model, lr = ncsr.load("x4-small", "cpu", "float32"), images(3, *size).float()
    together = model.space(lr).sample(2, seed=0)
    for b in range(3):
        assert torch.equal(model.space(lr[b : b + 1]).sample(2, seed=0)[:, 0], together[:, b])


def test_model_call_is_bits_per_dimension() -> None:
    model, hr, lr, noise = lively_model(), images(2, 16, 24), images(2, 4, 6, seed=1), 0.05 * images(2, 16, 24, seed=2)
    space = flow_space(lr, model)
    bits = space.bits_per_dim(hr, noise)
    close(bits, -space.log_prob(hr, noise) / (math.log(2) * 3 * 16 * 24))
    close(model(hr, lr, noise), bits)
    assert model(hr, lr).requires_grad


@pytest.mark.filterwarnings("error")
def test_training_without_started_actnorms_warns_once() -> None:
    data = images(2, 16, 24).float(), images(2, 4, 6, seed=1).float()
    model = NCSR(tiny_config()).train()
    with pytest.warns(UserWarning, match=r"call model\.start_actnorms\(hr, lr, noise\)") as warned:
        model(*data)
    assert [Path(warning.filename) for warning in warned] == [Path(__file__)]
    model(*data)
    started = NCSR(tiny_config()).train()
    started.start_actnorms(*data)
    for quiet in (started, NCSR(tiny_config()).eval(), lively_model(dtype=torch.float32).train()):
        quiet(*data)


@pytest.mark.parametrize("spoil", [lambda lr: 255 * lr, lambda lr: 2 * lr - 1, lambda lr: lr * math.nan])
def test_actnorms_are_not_started_from_images_of_another_range(spoil: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(InputError, match=r"lr must lie in \[0, 1\], got values from"):
        lively_model().start_actnorms(images(2, 16, 24), spoil(images(2, 4, 6, seed=1)))


# Encode and decode


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
@pytest.mark.parametrize("condition", ["noise", "std", "none"])
@torch.no_grad()
def test_decode_inverts_encode_beyond_the_range_of_images(
    condition: Condition, dtype: torch.dtype, tolerance: float
) -> None:
    hr, lr = 3 * images(2, 16, 24).to(dtype) - 1, images(2, 4, 6, seed=1).to(dtype)
    noise = {"noise": images(2, 16, 24, seed=2).to(dtype), "std": torch.tensor([0.1, 0.3]), "none": None}[condition]
    space = flow_space(lr, lively_model(condition=condition, dtype=dtype))
    codes = space.encode(hr, noise)
    assert [tuple(code.shape) for code in codes] == [(2, 6, 8, 12), (2, 96, 2, 3)]
    back = space.decode(codes, noise)
    assert back.dtype == dtype
    close(back, hr, tolerance)


@torch.no_grad()
def test_likelihood_is_the_latents_density_and_the_volume() -> None:
    hr, lr = images(1, 16, 16), images(1, 4, 4, seed=1)
    space = flow_space(lr)
    with torch.enable_grad():
        jacobian = torch.autograd.functional.jacobian(
            lambda x: torch.cat([z.flatten() for z in space.encode(x)]), hr, vectorize=True
        )
    codes = torch.cat([z.flatten() for z in space.encode(hr)])
    normal = torch.distributions.Normal(torch.zeros(()).double(), 1).log_prob(codes).sum()
    close(space.log_prob(hr), (normal + jacobian.reshape(768, 768).slogdet().logabsdet)[None], 1e-8)


@pytest.mark.parametrize("clamp", [True, False])
@torch.no_grad()
def test_samples_are_their_latents_decoded(clamp: bool) -> None:
    space = flow_space(images(2, 4, 5), lively_model(bound="atan"))
    drawn = space.sample(3, 2.0, seed=4, clamp=clamp)
    codes = space.latents(3, seed=4, temperature=2.0)
    assert [tuple(code.shape) for code in codes] == [(6, 6, 8, 12), (6, 96, 2, 3)]
    decoded = space.decode(codes).unflatten(0, (3, 2))
    close(drawn, decoded.clamp(0, 1) if clamp else decoded)
    assert (decoded < 0).any()
    close(space.latents(1, seed=4), [0.45 * code[:2] for code in codes])  # the default temperature is 0.9
    fresh = space.latents()
    close(space.latents(seed=space.seed), fresh, 0)
    assert not torch.equal(fresh[0], codes[0][:2])


@torch.no_grad()
def test_latents_tell_where_they_come_from() -> None:
    space = flow_space(images(2, 4, 5))
    latents = space.latents(3, seed=4, temperature=0.5)
    assert (latents.lr_shape, latents.source) == ((2, 4, 5), "drawn")
    assert (latents.seed, latents.temperature, latents.numbers) == (4, 0.5, (0, 1, 2))
    assert space.latents(1).seed == space.seed
    encoded = space.encode(space.sample(3))
    assert (encoded.source, encoded.seed, encoded.samples) == ("encoded", None, 3)
    close(space.decode(list(latents)), space.decode(latents), 0)


@pytest.mark.parametrize("size", [(4, 6), (5, 4)])
def test_render_gives_the_samples_to_the_bit(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    space = flow_space(images(2, *size).float(), lively_model(dtype=torch.float32))
    for _ in range(2):
        drawn, latents = space.sample(3, seed=1, clamp=False), space.latents(3, seed=1)
        assert torch.equal(space.render(latents, clamp=False), drawn)
        assert torch.equal(space.render(list(latents)), drawn.clamp(0, 1))
        monkeypatch.setattr(ncsr.sampling.folded_flow, "_CACHE_BYTES", 1)  # one sample at a time
    with pytest.raises(SamplingError, match="not finite: lower their temperature"):
        space.render([z * math.nan for z in latents])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
@torch.no_grad()
def test_encoding_a_sample_gives_the_latents_that_were_drawn(dtype: torch.dtype, tolerance: float) -> None:
    space = flow_space(images(2, 4, 6).to(dtype))
    drawn = space.sample(3, seed=1, clamp=False)
    close(space.encode(drawn), space.latents(3, seed=1), tolerance)
    assert not torch.allclose(space.encode(drawn.clamp(0, 1))[0], space.latents(3, seed=1)[0], atol=0.1)


@pytest.mark.parametrize("condition", ["noise", "std", "none"])
@torch.no_grad()
def test_several_images_of_each_lr_image(condition: Condition) -> None:
    """As `decode` takes them, and as `sample` gives them, they have the numbers that each has alone."""
    space = flow_space(images(2, 4, 6, seed=1), lively_model(condition=condition))
    hr = images(6, 16, 24).unflatten(0, (3, 2))
    noise = {"noise": images(2, 16, 24, seed=2), "std": torch.tensor([0.1, 0.3]), "none": None}[condition]
    log_probs = torch.stack([space.log_prob(each, noise) for each in hr])
    close(space.log_prob(hr, noise), log_probs)
    close(space.log_prob(hr.flatten(0, 1), noise), log_probs.flatten())
    close(space.bits_per_dim(hr, noise), torch.stack([space.bits_per_dim(each, noise) for each in hr]))
    codes = [torch.cat(each) for each in zip(*(space.encode(each, noise) for each in hr), strict=True)]
    close(space.encode(hr, noise), codes)
    close(space.encode(hr.flatten(0, 1), noise), codes)
    close(space.decode(codes, noise), hr.flatten(0, 1))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [4, 8])
@torch.no_grad()
def test_the_map_of_log_densities_adds_up(scale: int, size: tuple[int, int]) -> None:
    lr = images(2, *size, seed=1)
    hr = images(6, *(scale * side for side in size)).unflatten(0, (3, 2))
    noise = 0.05 * hr[1]
    space = flow_space(lr, lively_model(scale))
    found = space.log_prob_map(hr, noise)
    assert found.shape == (3, 2, *size)
    close(found.sum((-2, -1)), space.log_prob(hr, noise), 1e-8)
    close(space.log_prob_map(hr.flatten(0, 1), noise), found.flatten(0, 1))


@torch.no_grad()
def test_the_map_of_log_densities_has_them_in_their_places() -> None:
    """Beyond the reach of the convolutions nothing changes; what is reflected counts where it was reflected."""
    model = lively_model()
    hr, lr = images(1, 16, 400), images(1, 4, 100, seed=1)
    space = flow_space(lr, model)
    before = space.log_prob_map(hr)
    hr[..., :4] = 1 - hr[..., :4]
    after = space.log_prob_map(hr)
    reach = 4 + sum(_reach(model, level) for level in range(3))
    close(after[..., reach // 4 :], before[..., reach // 4 :], 0)
    assert after[..., 0].sub(before[..., 0]).abs().min() > 1e-3
    hr, lr = images(1, 20, 16), images(1, 5, 4, seed=1)
    padded = flow_space(F.pad(lr, (0, 0, 0, 1), mode="reflect"), model).log_prob_map(F.pad(hr, (0, 0, 0, 4), "reflect"))
    expected = padded[:, :5].clone()
    expected[:, 3] += padded[:, 5]
    close(flow_space(lr, model).log_prob_map(hr), expected)


@torch.no_grad()
def test_rank_orders_by_likelihood() -> None:
    space = flow_space(images(2, 4, 6, seed=1))
    hr = torch.stack([images(2, 16, 24, seed=k) for k in range(4)])
    order = space.rank(hr)
    assert order.shape == (4, 2)
    assert space.log_prob(hr).gather(0, order).diff(dim=0).max() < 0
    assert torch.equal(space.rank(hr.flatten(0, 1)), order)


def test_gradients_flow_through_decode_into_latents_and_through_log_prob_into_images() -> None:
    model, lr = lively_model().requires_grad_(False), images(1, 4, 6)
    space = flow_space(lr, model)
    codes = [code.requires_grad_() for code in space.encode(images(1, 16, 24, seed=1))]
    for _ in range(2):  # the space serves as often as wanted
        gradients = torch.autograd.grad(space.decode(codes).square().sum(), codes)
        assert all(gradient.abs().min() > 0 for gradient in gradients)
    hr = images(1, 16, 24, seed=2).requires_grad_()
    space.log_prob(hr).sum().backward()
    assert hr.grad is not None
    assert hr.grad.abs().min() > 0
    assert not space.sample().requires_grad


def test_sampling_first_costs_no_gradient() -> None:
    model = lively_model()
    space = model.training_space(images(1, 4, 6))
    space.sample(seed=0)
    space.log_prob(images(1, 16, 24, seed=1)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.encoder.blocks.parameters())


# Noise


@torch.no_grad()
def test_noise_is_a_condition_only() -> None:
    hr, lr, noise = images(1, 16, 24), images(1, 4, 6, seed=1), images(1, 16, 24, seed=2)
    space = flow_space(lr)
    close(space.encode(hr, torch.zeros_like(noise)), space.encode(hr))
    fine, coarse = space.encode(hr)
    noisy_fine, noisy_coarse = space.encode(hr, noise)
    close(noisy_fine, fine)  # leaves in the noise-free block
    assert noisy_coarse.sub(coarse).abs().max() > 1e-3
    assert space.log_prob(hr, noise).sub(space.log_prob(hr)).abs() > 1e-3
    assert space.decode([fine, coarse], noise).sub(hr).abs().max() > 1e-3


@torch.no_grad()
def test_standard_deviation_as_condition() -> None:
    hr, lr = images(2, 16, 24), images(2, 4, 6, seed=1)
    space = flow_space(lr, lively_model(condition="std"))
    close(space.log_prob(hr, torch.zeros(2)), space.log_prob(hr))
    one, other = space.log_prob(hr, torch.tensor([0.0, 0.05])) - space.log_prob(hr)
    close(one, torch.zeros(()).double())
    assert other.abs() > 1e-4


# Seeds and temperature


@torch.no_grad()
def test_sample_of_a_seed_is_the_same_whatever_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    model, lr = lively_model(), images(2, 4, 6)
    three = model.space(lr).sample(3, seed=0)
    close(model.space(lr).sample(1, seed=0), three[:1])
    close(model.space(lr).sample(5, seed=0)[:3], three)
    monkeypatch.setattr(ncsr.sampling.folded_flow, "_CACHE_BYTES", 1)  # one sample at a time
    close(model.space(lr).sample(3, seed=0), three)
    assert three[0].sub(three[1]).abs().mean() > 0.01
    assert model.space(lr).sample(1, seed=1)[0].sub(three[0]).abs().mean() > 0.01


@torch.no_grad()
def test_fresh_seed_is_readable() -> None:
    space = lively_model().space(images(1, 4, 4))
    assert space.seed is None
    first = space.sample()
    seed = space.seed
    second = space.sample()
    assert isinstance(seed, int)
    assert space.seed != seed
    assert not torch.equal(first, second)
    close(space.sample(seed=seed), first, 0)
    assert space.seed == seed
    space.sample(seed=0)
    assert space.seed == 0


@torch.no_grad()
def test_another_thread_that_sets_the_seed_changes_nothing() -> None:
    class Contended(FlowSpace):
        """What reads `seed` finds that of another thread."""

        seed = property(lambda self: 7, lambda self, seed: None)  # type: ignore[assignment]

    lr = images(1, 4, 4)
    space, contended = flow_space(lr), flow_space(lr)
    contended.__class__ = Contended
    close(contended.sample(2, seed=3), space.sample(2, seed=3), 0)
    close(contended.latents(2, seed=3)[0], space.latents(2, seed=3)[0], 0)
    close(contended.uncertainty(3, seed=3).std, space.uncertainty(3, seed=3).std, 0)


@torch.no_grad()
def test_sampling_leaves_torchs_own_generator_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    lively_model().space(images(1, 4, 4)).sample(2)
    assert torch.equal(torch.rand(3), expected)


@torch.no_grad()
def test_temperature_scales_the_latents() -> None:
    model, lr = lively_model(), images(1, 4, 6)
    space = flow_space(lr, model)
    codes = space.encode(space.draw([3], 1.0, seed=4)[0])
    assert all(0.8 < code.std() < 1.2 for code in codes)
    close(space.encode(space.draw([3], 0.5, seed=4)[0]), [0.5 * code for code in codes])
    zeros = [torch.zeros_like(code) for code in codes]
    zero = space.sample(2, temperature=0)
    close(zero[0], space.decode(zeros).clamp(0, 1))
    close(zero[1], zero[0])
    close(space.sample(1, seed=4), space.sample(1, temperature=0.9, seed=4), 0)  # the paper's
    model.config = model.config.model_copy(update={"temperature": 0.3})
    close(space.sample(1, seed=4), space.sample(1, temperature=0.3, seed=4), 0)


# Maps of temperatures, and parts drawn again


MASK = torch.rand(4, 6, generator=torch.Generator().manual_seed(0))
MAPS: dict[str, Callable[[], Tensor]] = {
    "of LR pixels": lambda: torch.rand(4, 5, generator=torch.Generator().manual_seed(0)),
    "of HR pixels": lambda: torch.rand(16, 20, generator=torch.Generator().manual_seed(0)),
    "of each image": lambda: torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(0)),
}


@pytest.mark.parametrize("name", MAPS)
def test_a_map_of_temperatures_scales_the_latents_by_place(name: str) -> None:
    space, temperatures = flow_space(images(2, 4, 5)), MAPS[name]()
    latents = space.latents(3, seed=4, temperature=temperatures)
    close(latents, temper(space.latents(3, seed=4, temperature=1), temperatures))
    close(space.sample(3, temperatures, seed=4), space.render(latents))
    close(space.sample(3, temperatures.numpy(), seed=4), space.render(latents), 0)
    constant = torch.full_like(temperatures, 0.5)
    close(space.sample(3, constant, seed=4), space.sample(3, 0.5, seed=4))
    close(space.sample(3, torch.tensor(0.5), seed=4), space.sample(3, 0.5, seed=4), 0)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("kept", [1, 3])
def test_drawing_a_part_again_is_a_blend_of_latents(name: str, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    space, where = flow_space(images(2, 4, 5)), MAPS[name]()
    given, fresh = space.latents(kept, seed=1), space.latents(3, seed=2, temperature=0.5)
    expected = space.render(blend(fresh, given, where), clamp=False)
    for _ in range(2):
        close(space.sample(3, 0.5, seed=2, where=where, given=given, clamp=False), expected)
        monkeypatch.setattr(ncsr.sampling.folded_flow, "_CACHE_BYTES", 1)  # one sample at a time
    attempts = spoiled(space, lambda sample, attempt: [0] if sample == 1 and attempt == 0 else [])
    again = space.sample(3, 0.5, seed=2, where=where, given=list(given), clamp=False)
    assert attempts == [0, 1]
    close(again[[0, 2]], expected[[0, 2]])
    close(again[1, 1], expected[1, 1])
    assert again[1, 0].sub(expected[1, 0]).abs().max() > 1e-3


@pytest.mark.parametrize("soft", [False, True])
def test_a_part_drawn_again_changes_nothing_far_from_it(soft: bool) -> None:
    """Beyond the reach of all convolutions an image stays as it is, to the bit; inside, all of it changes."""
    model = lively_model(bound="atan", dtype=torch.float32)
    space = flow_space(images(2, 8, 96).float(), model)
    given = space.latents(2, seed=1)
    where = torch.zeros(8, 96)
    where[:, :8] = torch.linspace(1, 0, 8) if soft else 1

    def redrawn(mask: Tensor) -> Tensor:
        return space.sample(2, seed=2, where=mask, given=given, clamp=False)

    before, after = space.render(given, clamp=False), redrawn(where)
    reach = 32 + sum(_reach(model, level) for level in range(3))
    assert torch.equal(after[..., reach:], before[..., reach:])
    assert (after[..., :24] != before[..., :24]).float().mean() > 0.999
    assert torch.equal(redrawn(torch.zeros(8, 96)), before)
    assert torch.equal(redrawn(torch.ones(8, 96)), space.sample(2, seed=2, clamp=False))


@torch.no_grad()
def test_maps_and_latents_come_from_anywhere(device: torch.device) -> None:
    """From NumPy, from another device, in another precision."""
    lr, where, temperatures = images(2, 4, 6).float(), MASK.numpy(), 0.9 * MASK.double()
    model = lively_model(dtype=torch.float32)
    space = flow_space(lr, model)
    given = space.latents(1, seed=1)
    expected = (
        space.sample(2, temperatures, seed=2, where=MASK, given=given),
        space.log_prob_map(space.render(given)[0]),
    )
    there = flow_space(lr.to(device), copy.deepcopy(model).to(device))
    drawn = there.sample(2, temperatures, seed=2, where=where, given=[z.double().cpu() for z in given])
    assert (drawn.device.type, drawn.dtype) == (device.type, torch.float32)
    found = drawn, there.log_prob_map(there.render(given)[0])
    mixed = normalise(interpolate(given, there.latents(1, seed=3), 0.5))
    found, expected = (*found, there.render(mixed)), (*expected, space.render(mixed))
    for each, other in zip(found, expected, strict=True):
        assert each.cpu().sub(other).abs().max() < 1e-3 * other.abs().max()
    assert there.uncertainty(2, seed=0).mean.device.type == "cpu"


def _reach(model: NCSR, level: int) -> int:
    """How many HR pixels the convolutions of a level look aside, when decoding."""
    assert model.flow is not None
    cell = 2 ** (level + 1)
    layers = sum(1 if step.noise_layer is None else 2 for step in model.flow.levels[level].steps)
    return cell * (2 * layers + (level < len(model.flow.splits)))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"where": torch.ones(4, 4)}, "give both where, a mask, and given"),
        ({"given": lively_model().space(images(1, 4, 4)).latents(seed=0)}, "give both where, a mask, and given"),
        ({"where": torch.ones(5, 4), "given": 3}, r"a mask has the shape \(h, w\) or \(2, h, w\) .* got \(5, 4\)"),
        ({"where": 2.0, "given": 3}, r"a mask must lie in \[0, 1\], got values from 2 to 2"),
        ({"where": 1.0, "given": 2}, "the latents of 1 or 3 samples, as many as are drawn, got 2"),
        ({"where": 1.0, "given": [torch.zeros(2, 6, 8, 8)]}, "latents of these LR images have shapes"),
        ({"temperature": torch.ones(16)}, r"a map of temperatures has the shape .* got \(16,\)"),
        ({"temperature": -torch.ones(4, 4)}, "a map of temperatures must lie in"),
        ({"temperature": torch.full((4, 4), math.nan)}, "a map of temperatures must lie in"),
    ],
)
def test_wrong_maps(arguments: dict[str, Any], reason: str) -> None:
    space = flow_space(images(2, 4, 4))
    given = arguments.get("given")
    arguments = arguments | ({"given": space.latents(given, seed=0)} if isinstance(given, int) else {})
    with pytest.raises(InputError, match=reason):
        space.sample(3, **arguments)


@pytest.mark.parametrize("arguments", [{"temperature": torch.ones(4, 4)}, {"where": 1.0, "given": [images(1, 4, 4)]}])
def test_an_encoder_has_nothing_to_be_drawn_in_parts(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="no likelihood or latents: use a model with a flow"):
        lively_encoder("esrgan+").space(images(1, 4, 4)).sample(**arguments)


# Tiles


@pytest.mark.parametrize("scale", [4, 8])
@torch.no_grad()
def test_tiles_agree_in_their_latents(scale: int) -> None:
    model, lr = lively_model(scale, bound="atan"), images(1, 10, 14)
    whole = flow_space(lr, model)
    codes = whole.encode(whole.draw([2], 1.0, seed=7)[0])
    for top, left, bottom, right in [(0, 0, 6, 8), (4, 6, 10, 14), (2, 10, 8, 14)]:
        tile = flow_space(lr[..., top:bottom, left:right], model, origin=(top, left))
        for code, part in zip(codes, tile.encode(tile.draw([2], 1.0, seed=7)[0]), strict=True):
            cell = 10 * scale // code.shape[-2]
            rows = slice(top * scale // cell, bottom * scale // cell)
            columns = slice(left * scale // cell, right * scale // cell)
            close(part, code[..., rows, columns])


@pytest.mark.parametrize("cell", [2, 8])
def test_latents_are_a_plane_of_normal_numbers(cell: int) -> None:
    side = BLOCK // cell
    shape, key = (2, 2 * side + 3, side + 5), (0, 1, 0, 1)
    plane = draw_latent(Window(shape, (0, 0), cell), key)
    assert abs(plane.mean()) < 4 / plane.numel() ** 0.5
    assert abs(plane.std() - 1) < 4 / plane.numel() ** 0.5
    window = draw_latent(Window((2, side, 9), (side - 2, side - 4), cell), key)  # across four blocks
    assert torch.equal(window, plane[:, side - 2 : 2 * side - 2, side - 4 : side + 5])
    first = plane[:, :side, :5]
    assert not torch.equal(plane[:, side : 2 * side, :5], first)
    assert not torch.equal(plane[:, :side, side : side + 5], first)
    for other in [(1, 1, 0, 1), (0, 2, 0, 1), (0, 1, 1, 1), (0, 1, 0, 2)]:  # seed, sample, attempt, latent
        assert not torch.equal(draw_latent(Window(shape, (0, 0), cell), other), plane)


def test_latents_of_many_samples_are_those_of_each() -> None:
    windows = [Window((6, 5, 7), (3, 1), 2), Window((12, 2, 3), (1, 0), 4)]
    drawn = draw_latents(windows, [4, 0, 9], seed=7, attempt=1)
    for index, window in enumerate(windows):
        expected = torch.stack([draw_latent(window, (7, k, 1, index)) for k in (4, 0, 9)])
        assert torch.equal(drawn[index], expected)


@pytest.mark.parametrize("name", bundled_models())
def test_bundled_models_keep_their_bounds_on_white_noise(name: str) -> None:
    """Trained on photographs alone, x4-small went to 10^12 here."""
    model = ncsr.load(name, "cpu", "float32")
    lr = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    space = flow_space(lr, model)
    assert space.draw(range(4), model.config.temperature, seed=0).abs().max() < 10


# Samples that are not finite


def spoiled(space: Space, bad: Callable[[int, int], Sequence[int]], value: float = math.nan) -> list[int]:
    """Make images `bad(sample, attempt)` of the batch not finite; returns the growing list of attempts."""
    draw, attempts = space.draw, []

    def spoil(samples: Sequence[int], temperature: float, seed: int, attempt: int = 0, *others: Any) -> Tensor:
        attempts.append(attempt)
        result = draw(samples, temperature, seed, attempt, *others)
        for i, sample in enumerate(samples):
            for image in bad(sample, attempt):
                result[i, image, 0, 1, 2] = value
        return result

    space.draw = spoil  # type: ignore[method-assign]
    return attempts


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@torch.no_grad()
def test_what_is_not_finite_is_drawn_again(value: float) -> None:
    model, lr = lively_model(), images(2, 4, 4)
    good = model.space(lr).sample(3, 0.5, seed=0)
    second = flow_space(lr, model).draw([1], 0.5, 0, attempt=1)[0].clamp(0, 1)
    space = model.space(lr)
    attempts = spoiled(space, lambda sample, attempt: [0] if sample == 1 and attempt == 0 else [], value)
    drawn = space.sample(3, 0.5, seed=0)
    assert attempts == [0, 1]
    close(drawn[[0, 2]], good[[0, 2]])
    close(drawn[1, 1], good[1, 1])  # the other image of the batch keeps its first draw
    close(drawn[1, 0], second[0])
    assert not torch.equal(second[0], good[1, 0])
    attempts = spoiled(space := model.space(lr), lambda sample, attempt: [sample] if attempt < ATTEMPTS - 1 else [])
    assert space.sample(2, 0.5, seed=0).isfinite().all()
    assert attempts == list(range(ATTEMPTS))


@torch.no_grad()
def test_never_finite_is_an_error() -> None:
    space = lively_model().space(images(2, 4, 4))
    attempts = spoiled(space, lambda sample, attempt: [0] if sample == 1 else [])
    with pytest.raises(SamplingError, match=r"sample 1 was not finite in 3 draws at temperature 0\.5: lower"):
        space.sample(3, 0.5, seed=0)
    assert attempts == list(range(ATTEMPTS))
    with pytest.raises(SamplingError, match=r"in 3 draws at these temperatures: lower the temperature"):
        space.sample(3, torch.full((4, 4), 0.5), seed=0)
    model = lively_model()
    assert model.flow is not None
    model.flow.levels[0].transitions[0].actnorm.bias[0] = math.nan
    with pytest.raises(SamplingError):
        model.space(images(1, 4, 4)).sample()
    with pytest.raises(SamplingError, match=r"at temperature 0\.0: this model cannot enlarge this image"):
        model.space(images(1, 4, 4)).sample(1, 0.0)


# Precision


@torch.no_grad()
def test_bfloat16_is_near_float32() -> None:
    hr, lr = images(1, 32, 32).float(), images(1, 8, 8, seed=1).float()
    model = lively_model(dtype=torch.float32)
    exact = flow_space(lr, model)
    drawn, codes, bits = exact.draw([0], 0.5, 0), exact.encode(hr), exact.bits_per_dim(hr)
    model.precision = "bfloat16"
    space = flow_space(lr, model)
    low = space.draw([0], 0.5, 0)
    assert low.dtype == space.bits_per_dim(hr).dtype == torch.float32
    assert 0 < low.sub(drawn).abs().max() < 0.03 * drawn.std()
    assert 0 < space.bits_per_dim(hr).sub(bits).abs() < 0.01
    for code, low_code in zip(codes, space.encode(hr), strict=True):
        assert 0 < low_code.sub(code).abs().max() < 0.03 * code.abs().max()
    # The flow variable is float32, but on the way back a subnet may round its input to the other bfloat16 neighbour.
    close(space.decode(space.encode(hr)), hr, 2e-2)


@pytest.mark.parametrize("pays", [True, False])
@torch.no_grad()
def test_auto_is_bfloat16_for_sampling_only_where_it_pays(pays: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ncsr.networks, "bfloat16_pays", lambda device: pays)
    hr, lr = images(1, 16, 16).float(), images(1, 4, 4, seed=1).float()
    model = lively_model(dtype=torch.float32)
    exact = flow_space(lr, model)
    codes, log_prob, drawn = exact.encode(hr), exact.log_prob(hr), exact.sample(1, seed=0)
    model.precision = "auto"
    space = flow_space(lr, model)
    assert torch.equal(space.sample(1, seed=0), drawn) != pays
    close([*space.encode(hr), space.log_prob(hr), space.decode(codes)], [*codes, log_prob, exact.decode(codes)], 0)
    assert model.double().low_precision(sampling=True) is False


@torch.no_grad()
def test_float64() -> None:
    lr = images(1, 4, 4)
    model = lively_model(dtype=torch.float32)
    drawn = model.space(lr.float()).sample(2, 0.5, seed=0)
    precise = model.double().space(lr.float()).sample(2, 0.5, seed=0)
    assert precise.dtype == torch.float64
    close(precise.float(), drawn, 1e-4)


# Whatever the caller has switched on, however tensors lie in memory

HR, LR = images(2, 16, 24).float(), images(2, 4, 6, seed=1).float()


def numbers(space: Space, hr: Tensor = HR) -> dict[str, object]:
    """What a space gives, of everything that it has."""
    codes = space.latents(2, seed=3)
    return {
        "sample": space.sample(2, seed=3),
        "sample, clamp": space.sample(2, seed=3, clamp=False),
        "project": [space.project(hr), space.project(hr, 8)],
        "latents": codes,
        "encode": space.encode(hr),
        "decode": space.decode(codes),
        "log_prob": space.log_prob(hr),
        "log_prob_map": space.log_prob_map(hr),
        "bits_per_dim": space.bits_per_dim(hr),
    }


@pytest.mark.parametrize("ambient", AMBIENT)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_numbers_do_not_depend_on_the_callers_modes(precision: Precision, ambient: str) -> None:
    first, model = (lively_model(dtype=torch.float32).requires_grad_(False) for _ in range(2))
    first.precision = model.precision = precision
    made = first.space(LR)
    expected = numbers(made)
    prepacked_conv._fuses.cache_clear()
    with AMBIENT[ambient]():
        inside = numbers(model.space(LR))
        outside_made = numbers(made)
    for found in (inside, outside_made, numbers(made), numbers(model.space(LR))):
        close(found, expected, 0)


@pytest.mark.parametrize("ambient", AMBIENT)
def test_a_model_is_float32_on_its_device_and_can_be_trained(ambient: str, tiny_model_folder: Path) -> None:
    expected = ncsr.load(tiny_model_folder, "cpu")
    with AMBIENT[ambient]():
        model = ncsr.load(tiny_model_folder, "cpu")
        model.space(LR).sample()
    assert all(value.device.type == "cpu" for value in model.state_dict().values())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    close(model.state_dict(), expected.state_dict(), 0)
    model.requires_grad_(True).train()
    model(HR, LR).sum().backward()
    assert all(parameter.grad is not None for parameter in model.encoder.blocks.parameters())


def test_a_new_model_is_float32_and_where_the_caller_says() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = NCSR(tiny_config())
        torch.manual_seed(0)
        with AMBIENT["float64 by default"]():
            model = NCSR(tiny_config())
    close(model.state_dict(), expected.state_dict(), 0)
    with torch.device("meta"):
        assert NCSR(tiny_config()).device.type == "meta"


@pytest.mark.slow
def test_spaces_of_many_sizes_keep_nothing() -> None:
    model = lively_model(dtype=torch.float32).requires_grad_(False)
    model.precision = "bfloat16"

    def kept() -> int:
        gc.collect()
        return sum(type(each) is Tensor for each in gc.get_objects())

    def visit(height: int) -> None:
        for width in (4, 5):
            for _ in range(2):  # weights are packed for a size that comes again
                space = model.space(images(1, height, width).float())
                space.project(space.sample(1, seed=0))

    visit(4)
    before = kept()
    for height in range(5, 11):
        visit(height)
    assert kept() == before


def test_gradients_after_inference_mode() -> None:
    space = flow_space(LR, lively_model(dtype=torch.float32).requires_grad_(False))
    with torch.inference_mode():
        space.sample(seed=0)
        space.log_prob(HR)  # what it keeps is made here
    hr = HR.clone().requires_grad_()
    space.log_prob(hr).sum().backward()
    other = HR.clone().requires_grad_()
    flow_space(LR, lively_model(dtype=torch.float32)).log_prob(other).sum().backward()
    close(hr.grad, other.grad, 1e-4)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "channels-last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "sliced": lambda x: F.pad(x, (1, 2, 3, 1))[..., 3:-1, 1:-2],
    "transposed": lambda x: x.mT.contiguous().mT,
    "reversed batch": lambda x: x.flip(0).clone().flip(0),
    "float64": lambda x: x.double(),
    "differentiated": lambda x: x.clone().requires_grad_(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_do_not_matter(layout: str) -> None:
    model, change = lively_model().requires_grad_(False), LAYOUTS[layout]
    close(numbers(model.space(change(LR)), change(HR)), numbers(model.space(LR)))


def test_expanded_and_half_precision_images() -> None:
    model = lively_model(dtype=torch.float32).requires_grad_(False)
    one, hr = (x[:1].expand(2, -1, -1, -1) for x in (LR, HR))
    close(numbers(model.space(one), hr), numbers(model.space(one.contiguous()), hr.contiguous()), 0)
    half = model.space(LR.half())
    assert half.lr.dtype == torch.float32
    close(numbers(half, HR.half()), numbers(model.space(LR.half().float()), HR.half().float()), 0)


# An encoder alone


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_encoder_gives_equal_images(size: tuple[int, int]) -> None:
    model, lr = lively_encoder(), images(2, *size)
    drawn = model.space(lr).sample(3)
    assert drawn.shape == (3, 2, 3, 4 * size[0], 4 * size[1])
    for image in drawn:
        close(image, model.encoder(lr).clamp(0, 1))


@torch.no_grad()
def test_esrgan_plus_draws_its_noise_by_the_seed() -> None:
    model, lr = lively_encoder("esrgan+"), images(2, 4, 5)
    space = model.space(lr)
    drawn = space.sample(3, seed=0)
    assert drawn[0].sub(drawn[1]).abs().max() > 1e-3
    close(model.space(lr).sample(1, seed=0), drawn[:1])
    close(model.space(lr[1:]).sample(3, seed=0)[:, 0], drawn[:, 1])
    assert space.sample(1, seed=1)[0].sub(drawn[0]).abs().max() > 1e-3
    quiet = space.sample(2, temperature=0)
    close(quiet[0], model.encoder(lr).clamp(0, 1))
    close(quiet[1], quiet[0])


@torch.no_grad()
def test_encoder_that_is_not_finite_is_an_error() -> None:
    model = lively_encoder()
    model.encoder.first.bias[0] = math.nan  # type: ignore[index]
    with pytest.raises(SamplingError):
        model.space(images(1, 4, 4)).sample()


@pytest.mark.parametrize(
    "call", ["log_prob", "log_prob_map", "rank", "bits_per_dim", "encode", "decode", "render", "latents"]
)
def test_encoder_has_no_likelihood(call: str) -> None:
    space = lively_encoder().space(images(1, 4, 4))
    argument = {"decode": [images(1, 16, 16)], "render": [images(1, 16, 16)], "latents": 1}.get(call, images(1, 16, 16))
    with pytest.raises(InputError, match="no likelihood or latents: use a model with a flow"):
        getattr(space, call)(argument)


def test_encoder_has_no_flow_loss() -> None:
    with pytest.raises(InputError, match="no likelihood"):
        lively_encoder()(images(1, 16, 16), images(1, 4, 4))


# What prints


def test_models_and_spaces_print_in_one_line() -> None:
    model = lively_model(dtype=torch.float32)
    model.precision = "bfloat16"
    assert repr(model) == "Model(NCSR x4, 0.13 million parameters, bfloat16 precision on cpu)"
    assert repr(model.space(images(2, 4, 6))) == "FlowSpace(2 images of 6 x 4, x4, bfloat16)"
    assert repr(lively_model(8, "none")).startswith("Model(SRFlow x8, ")
    assert repr(lively_model().space(images(2, 4, 6))).endswith("x4, float64)")
    assert repr(lively_encoder().space(images(1, 4, 4))) == "EncoderSpace(1 image of 4 x 4, x4, float64)"
    assert repr(lively_encoder()).startswith("Model(encoder alone x4, ")


# Wrong input

OUTSIDE = images(1, 4, 4) + torch.tensor([0, 0, 2.0])[:, None, None]
WRONG_LR: dict[str, tuple[Tensor, str]] = {
    "no batch": (images(1, 8, 8)[0], r"\(B, 3, h, w\).*got \(3, 8, 8\)"),
    "channels last": (images(1, 8, 8).permute(0, 2, 3, 1), r"\(B, 3, h, w\).*got \(1, 8, 8, 3\)"),
    "gray": (images(1, 8, 8)[:, :1], r"got \(1, 1, 8, 8\)"),
    "too low": (images(1, 3, 8), r"sides from 4, got \(1, 3, 3, 8\)"),
    "too narrow": (images(1, 8, 3), "sides from 4"),
    "empty batch": (images(0, 8, 8), r"got \(0, 3, 8, 8\)"),
    "bytes": (images(1, 8, 8).byte(), "floating point.*uint8"),
    "above one": (OUTSIDE, r"\[0, 1\].*divide 8-bit images by 255"),
    "below zero": (images(1, 8, 8) - 0.5, r"\[0, 1\]"),
    "another range": (2 * images(1, 8, 8) - 1, r"got values from -.*bring \[-1, 1\] to \(x \+ 1\) / 2"),
    "not a number": (images(1, 8, 8) * math.nan, r"\[0, 1\]"),
}


@pytest.mark.parametrize("name", WRONG_LR)
@pytest.mark.parametrize("make", [lively_model, lively_encoder])
def test_wrong_lr_images(make: Callable[[], NCSR], name: str) -> None:
    lr, reason = WRONG_LR[name]
    with pytest.raises(InputError, match=reason):
        make().space(lr)


NOT_IMAGES = [name for name, (_, reason) in WRONG_LR.items() if r"\[0, 1\]" not in reason and "[-1" not in reason]


@pytest.mark.parametrize("name", NOT_IMAGES)
def test_wrong_lr_images_in_training(name: str) -> None:
    """Their values are free: y+ leaves [0, 1]."""
    lr, reason = WRONG_LR[name]
    with pytest.raises(InputError, match=reason):
        lively_model()(images(1, 32, 32), lr)


@pytest.mark.parametrize("origin", [(1, 0), (0, 3), (-2, 0), 5, (2.0, 0), (2,)])
def test_wrong_origin(origin: Any) -> None:
    with pytest.raises(InputError, match="origin must be two even LR pixels, from 0"):
        lively_model().space(images(1, 4, 4), origin=origin)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"n": 0}, "number of samples must be at least 1, got 0"),
        ({"n": -3}, "number of samples"),
        ({"temperature": -0.1}, r"temperature must be a finite number from 0 up, got -0\.1"),
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": math.inf}, "temperature"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"seed": 0.5}, r"seed must be a whole number, got 0\.5"),
        ({"temperature": {}}, "must be numbers, got"),
        ({"temperature": [0.8]}, "must be numbers, got"),
    ],
)
@pytest.mark.parametrize("make", [lively_model, lively_encoder])
def test_wrong_sampling(make: Callable[[], NCSR], arguments: dict[str, Any], reason: str) -> None:
    space = make().space(images(1, 4, 4))
    with pytest.raises(InputError, match=reason):
        space.sample(**arguments)


@pytest.mark.parametrize("seed", [3.0, np.int64(3), np.float64(3)])
def test_whole_numbers_of_any_type_are_seeds(seed: Any) -> None:
    space = flow_space(images(1, 4, 4))
    assert torch.equal(space.sample(1, seed=seed), space.sample(1, seed=3))
    assert type(space.seed) is int
    assert space.uncertainty(2, seed=seed).origin.seed == 3


@pytest.mark.parametrize("make", [np.asarray, torch.tensor])
def test_uncertainty_takes_maps_and_numbers_of_any_kind(make: Any) -> None:
    """Only one temperature for all pixels is told of."""
    space = flow_space(images(1, 4, 4))
    mapped, one = (space.uncertainty(2, seed=3, temperature=make(t)) for t in ([[0.5] * 4] * 4, 0.5))
    assert torch.equal(mapped.samples, one.samples)
    assert (mapped.origin.temperature, one.origin.temperature) == (None, 0.5)


@torch.no_grad()
def test_a_space_is_of_the_images_that_it_was_made_of() -> None:
    """Also when the caller goes on to write to them."""
    lr = images(1, 4, 4)
    space = flow_space(lr)
    sample, projected = space.sample(1, seed=0), space.project(space.sample(1, seed=0))
    lr.zero_()
    assert torch.equal(space.sample(1, seed=0), sample)
    assert torch.equal(space.project(sample), projected)


@pytest.mark.parametrize("call", ["log_prob", "log_prob_parts", "bits_per_dim", "log_prob_map", "rank"])
@torch.no_grad()
def test_densities_of_images_of_another_range_are_warned_of(call: str, recwarn: pytest.WarningsRecorder) -> None:
    space, hr = flow_space(images(1, 4, 4)), images(1, 16, 16)
    getattr(space, call)(hr * 1.4 - 0.2)
    assert not recwarn
    for wrong in (2 * hr - 1, 255 * hr):
        with pytest.warns(UserWarning, match=r"densities are of images in \[0, 1\], got values from") as found:
            getattr(space, call)(wrong)
        assert found[0].filename == __file__  # the caller's line is shown
    space.model.training_space(space.lr).log_prob(2 * hr - 1)
    assert not recwarn


def test_what_is_no_tensor_is_told() -> None:
    lr, hr = images(1, 4, 4), images(1, 16, 16)
    model = lively_model()
    space = model.space(lr)
    for call in (
        lambda: model.space(lr.numpy()),  # type: ignore[arg-type]
        lambda: space.project(hr.numpy()),  # type: ignore[arg-type]
        lambda: space.log_prob(hr.numpy()),  # type: ignore[arg-type]
        lambda: space.log_prob(hr, noise=0.1),  # type: ignore[arg-type]
        lambda: space.render([z.numpy() for z in space.latents()]),  # type: ignore[misc]
        lambda: space.decode(["a"]),  # type: ignore[list-item]
    ):
        with pytest.raises(InputError, match=r"tensors?.*torch\.as_tensor makes one"):
            call()


@pytest.mark.parametrize("call", ["log_prob", "log_prob_map", "bits_per_dim", "encode"])
@pytest.mark.parametrize(
    ("hr", "reason"),
    [
        (
            images(2, 16, 20),
            r"\(n \* 2, C, H, W\) or \(n, 2, C, H, W\).*\(3, 16, 16\) .*got \(2, 3, 16, 20\)",
        ),
        (images(3, 16, 16), r"got \(3, 3, 16, 16\)"),
        (images(3, 16, 16)[:, None], r"got \(3, 1, 3, 16, 16\)"),
        (images(2, 16, 16)[None, None], r"got \(1, 1, 2, 3, 16, 16\)"),
        (images(2, 16, 16)[:0], r"got \(0, 3, 16, 16\)"),
        (images(2, 16, 16)[None][:0], r"got \(0, 2, 3, 16, 16\)"),
        (images(1, 16, 16), r"got \(1, 3, 16, 16\)"),
        (images(2, 4, 4), r"got \(2, 3, 4, 4\)"),
        (images(2, 16, 16)[0], r"got \(3, 16, 16\)"),
        (images(2, 16, 16).byte(), "floating point.*uint8"),
    ],
)
def test_wrong_hr_images(call: str, hr: Tensor, reason: str) -> None:
    space = lively_model().space(images(2, 4, 4))
    with pytest.raises(InputError, match=reason):
        getattr(space, call)(hr)


@pytest.mark.parametrize(
    ("condition", "noise", "reason"),
    [
        ("noise", images(2, 4, 4), r"noise must be \(2, 3, 16, 16\).*got \(2, 3, 4, 4\)"),
        ("noise", torch.zeros(2), r"noise must be \(2, 3, 16, 16\).*got \(2,\)"),
        ("std", images(2, 16, 16), r"noise must be \(2,\).*got \(2, 3, 16, 16\)"),
        ("std", torch.zeros(1), r"noise must be \(2,\).*got \(1,\)"),
    ],
)
@torch.no_grad()
def test_wrong_noise(condition: Condition, noise: Tensor, reason: str) -> None:
    space = lively_model(condition=condition).space(images(2, 4, 4))
    codes = space.encode(images(2, 16, 16))
    for call in (lambda: space.log_prob(images(2, 16, 16), noise), lambda: space.decode(codes, noise)):
        with pytest.raises(InputError, match=reason):
            call()


@torch.no_grad()
def test_wrong_latents() -> None:
    space = lively_model().space(images(2, 4, 4))
    fine, coarse = space.encode(images(2, 16, 16))
    pairs = [fine, coarse]
    wrong = {
        "none": [],
        "too few": pairs[1:],
        "too many": [*pairs, coarse],
        "order": pairs[::-1],
        "batch": [fine[:1], coarse[:1]],
        "batches that differ": [torch.cat((fine, fine)), coarse],
        "empty": [fine[:0], coarse[:0]],
        "size": [fine[..., 1:], coarse],
        "no batch": [fine[0], coarse[0]],
        "numbers": [torch.zeros(()), torch.zeros(())],
    }
    for name, codes in wrong.items():
        with pytest.raises(InputError, match=r"latents of these LR images have shapes \(n \* 2, C, H, W\)") as error:
            space.decode(codes)
        with pytest.raises(InputError, match="latents of these LR images have shapes"):
            space.render(codes)
        assert str([tuple(code.shape) for code in codes]) in str(error.value), name
