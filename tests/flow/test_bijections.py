"""The laws that every bijection obeys, over one table of them all; and the start of the actnorms."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from ncsr import NCSR
from ncsr.config import FlowConfig, ScaleBound
from ncsr.encoder import Features
from ncsr.flow.actnorm import ActNorm, output_actnorm, start_actnorms
from ncsr.flow.bijection import Bijection
from ncsr.flow.conv1x1 import Conv1x1
from ncsr.flow.coupling import AffineCoupling
from ncsr.flow.elementwise import affine
from ncsr.flow.flow import Conditions, Flow
from ncsr.flow.injector import AffineInjector
from ncsr.flow.level import Level
from ncsr.flow.split import Split
from ncsr.flow.squeeze import Squeeze
from ncsr.flow.step import ConditionalStep, StepCondition, TransitionStep
from ncsr.flow.subnet import Subnet
from ncsr.ops.prepacked_conv import PrepackedConv
from ncsr.ops.upsampled_conv import LevelFeatures
from ncsr.sampling.folded_flow import FoldedFlow, FoldedLevel, FoldedStep, FoldedSubnet, inverse_affine
from tests.models import enliven, lively_model, tiny_config

CONTEXT, HIDDEN = 5, 6  # channels of u and of the subnets


# What the table holds


class Adapter(Bijection):
    """A bijection whose condition is a list of plain images, one batch each: makes of them what the layer wants."""

    def __init__(self, layer: Any, prepare: Callable[[Any, list[Tensor]], Any]) -> None:
        super().__init__()
        self.layer, self.prepare = layer, prepare

    def encode(self, x: Tensor, condition: list[Tensor]) -> tuple[Tensor, Tensor]:
        return self.layer.encode(x, self.prepare(self.layer, condition))  # type: ignore[no-any-return]

    def decode(self, z: Tensor, condition: list[Tensor]) -> tuple[Tensor, Tensor]:
        return self.layer.decode(z, self.prepare(self.layer, condition))  # type: ignore[no-any-return]

    def encode_by_pixel(self, x: Tensor, condition: list[Tensor]) -> tuple[Tensor, Tensor]:
        return self.layer.encode_by_pixel(x, self.prepare(self.layer, condition))  # type: ignore[no-any-return]


class SplitAdapter(Bijection):
    """A split as a bijection of one tensor: kept half and latent side by side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.split = Split(channels)

    def encode(self, x: Tensor, condition: object) -> tuple[Tensor, Tensor]:
        kept, latent, log_det = self.split.encode(x)
        return torch.cat((kept, latent), 1), log_det

    def decode(self, z: Tensor, condition: object) -> tuple[Tensor, Tensor]:
        return self.split.decode(*z.chunk(2, 1))

    def encode_by_pixel(self, x: Tensor, condition: object) -> tuple[Tensor, Tensor]:
        kept, latent, shares = self.split.encode_by_pixel(x)
        return torch.cat((kept, latent), 1), shares


class FlowAdapter(Bijection):
    """A whole flow as a bijection of one tensor: all latents in one vector; LR images of 2 x 2."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.flow = Flow(tiny_config(scale))
        self.shapes = self.flow.latent_shapes(2 * scale, 2 * scale)

    def encode(self, x: Tensor, condition: list[Tensor]) -> tuple[Tensor, Tensor]:
        latents, log_det = self.flow.encode(x, self._conditions(condition))
        return torch.cat([z.flatten(1) for z in latents], 1).view_as(x), log_det

    def decode(self, z: Tensor, condition: list[Tensor]) -> tuple[Tensor, Tensor]:
        return self.flow.decode(self.latents(z), self._conditions(condition))

    def encode_by_pixel(self, x: Tensor, condition: list[Tensor]) -> tuple[Tensor, Tensor]:
        latents, shares = self.flow.encode_by_pixel(x, self._conditions(condition))
        z = torch.cat([z.flatten(1) for z in latents], 1).view_as(x)
        return z, torch.cat([share.flatten(1) for share in shares], 1)

    def latents(self, z: Tensor) -> list[Tensor]:
        sizes = [c * h * w for c, h, w in self.shapes]
        parts = z.flatten(1).split(sizes, 1)
        return [part.unflatten(1, shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def features(self, condition: list[Tensor]) -> Features:
        _, first, second, *ups = condition
        return Features([first, second], {2**i: up for i, up in enumerate(ups)})

    def _conditions(self, condition: list[Tensor]) -> Conditions:
        return self.flow.add_noise_condition(self.flow.condition_on_lr(self.features(condition)), condition[0])


@dataclass
class Example:
    """A bijection, the shape (C, H, W) of what it encodes, the shapes of its condition's images, and which is noise."""

    bijection: Bijection
    shape: tuple[int, int, int]
    condition: tuple[tuple[int, int, int], ...] = ()
    noise: int | None = None


def share(subnet: Subnet, u: Tensor) -> Tensor:
    """The context's share of a subnet's first convolution."""
    return F.conv2d(u, subnet.first.context_weight(), padding=1)


def injector() -> Example:
    layer = AffineInjector(Subnet(0, CONTEXT, 4, HIDDEN, "sigmoid"))
    return Example(Adapter(layer, lambda layer, images: share(layer.subnet, images[0])), (4, 2, 3), ((CONTEXT, 2, 3),))


def coupling(context: int, bound: ScaleBound = "sigmoid") -> Example:
    def prepare(layer: AffineCoupling, images: list[Tensor]) -> Tensor | None:
        return share(layer.subnet, images[0]) if images else None

    layer = AffineCoupling(Subnet(2, context, 2, HIDDEN, bound))
    return Example(Adapter(layer, prepare), (4, 2, 3), ((context, 2, 3),) if context else ())


def step(noise: int, bound: ScaleBound) -> Example:
    def prepare(layer: ConditionalStep, images: list[Tensor]) -> StepCondition:
        u = images[0]
        noise = share(layer.noise_layer.subnet, images[1]) if layer.noise_layer else None
        return StepCondition(share(layer.injector.subnet, u), share(layer.coupling.subnet, u), noise)

    condition = ((CONTEXT, 2, 3), (noise, 2, 3)) if noise else ((CONTEXT, 2, 3),)
    return Example(
        Adapter(ConditionalStep(4, CONTEXT, noise, HIDDEN, bound), prepare), (4, 2, 3), condition, 1 if noise else None
    )


def level() -> Example:
    def prepare(layer: Level, images: list[Tensor]) -> list[StepCondition]:
        up, stack, noise = images
        return layer.add_noise_condition(layer.condition_on_lr(LevelFeatures(up, stack)), noise)

    config = FlowConfig(levels=2, steps=2, hidden=HIDDEN, stacked_blocks=(0, 1), noise_steps=(0, 1))
    return Example(Adapter(Level(3, 2, 4, 1, config), prepare), (3, 4, 8), ((2, 2, 4), (4, 1, 2), (3, 2, 4)), 2)


def flow(scale: int) -> Example:
    side = 2 * scale
    ups = [(4, 2 * 2**i, 2 * 2**i) for i in range(scale.bit_length() - 1)]
    return Example(FlowAdapter(scale), (3, side, side), ((3, side, side), (4, 2, 2), (4, 2, 2), *ups), 0)


BIJECTIONS: dict[str, Callable[[], Example]] = {
    "squeeze": lambda: Example(Squeeze(), (2, 4, 6)),
    "actnorm": lambda: Example(ActNorm(4), (4, 2, 3)),
    "conv1x1": lambda: Example(Conv1x1(4), (4, 2, 3)),
    "injector": injector,
    "coupling": lambda: coupling(CONTEXT),
    "coupling, atan": lambda: coupling(CONTEXT, "atan"),
    "coupling without context": lambda: coupling(0),
    "noise layer": lambda: coupling(3),
    "noise layer, std": lambda: coupling(1),
    "transition": lambda: Example(TransitionStep(4), (4, 2, 3)),
    "step": lambda: step(3, "sigmoid"),
    "step, atan": lambda: step(3, "atan"),
    "step without noise layer": lambda: step(0, "sigmoid"),
    "step without noise layer, atan": lambda: step(0, "atan"),
    "level": level,
    "split": lambda: Example(SplitAdapter(4), (4, 2, 3)),
    "flow x4": lambda: flow(4),
    "flow x8": lambda: flow(8),
}
JACOBIANS = [name for name in BIJECTIONS if name != "flow x8"]  # 768 dimensions; nothing new beside x4


def build(name: str) -> Example:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        example = BIJECTIONS[name]()
        example.bijection = enliven(example.bijection).double()
    return example


def draw(example: Example, direction: str = "encode", batch: int = 2, samples: int = 1) -> tuple[Tensor, list[Tensor]]:
    """What goes in, of `samples` for each of `batch` images, and the images' condition."""
    generator = torch.Generator().manual_seed(1)
    x, *condition = (
        torch.randn(count, *shape, generator=generator, dtype=torch.float64)
        for count, shape in [(samples * batch, example.shape), *((batch, shape) for shape in example.condition)]
    )
    if direction == "decode":
        with torch.no_grad():
            x = example.bijection.encode(x, condition)[0]
    return x, condition


def jacobian(run: Callable[..., tuple[Tensor, Tensor]], x: Tensor, condition: list[Tensor]) -> Tensor:
    """d run(x) / d x, (n, n), by one backward pass over n copies of x."""
    n = x.numel()
    copies = x.repeat(n, 1, 1, 1).requires_grad_()
    y, _ = run(copies, condition)
    return torch.autograd.grad(y.reshape(n, n).diagonal().sum(), copies)[0].reshape(n, n)


each = pytest.mark.parametrize("name", BIJECTIONS)
both_directions = pytest.mark.parametrize("direction", ["encode", "decode"])


# Laws


@each
def test_decode_inverts_encode_and_log_determinants_cancel(name: str) -> None:
    example = build(name)
    x, condition = draw(example)
    z, log_det = example.bijection.encode(x, condition)
    back, inverse_log_det = example.bijection.decode(z, condition)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-9)
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=0, atol=1e-9)
    assert log_det.shape == (2,)
    assert z.numel() == x.numel()
    if name != "squeeze":
        assert log_det.abs().min() > 1e-3  # a log-determinant of zero would prove nothing


@both_directions
@pytest.mark.parametrize("name", JACOBIANS)
def test_log_determinant_is_that_of_autograds_jacobian(name: str, direction: str) -> None:
    example = build(name)
    x, condition = draw(example, direction, batch=1)
    run = getattr(example.bijection, direction)
    expected = jacobian(run, x, condition).slogdet().logabsdet
    torch.testing.assert_close(run(x, condition)[1], expected[None], rtol=0, atol=1e-9)


@each
def test_shares_of_pixels_add_up_to_the_log_determinant(name: str) -> None:
    example = build(name)
    x, condition = draw(example, samples=3)
    z, log_det = example.bijection.encode(x, condition)
    by_pixel, shares = example.bijection.encode_by_pixel(x, condition)
    torch.testing.assert_close(by_pixel, z, rtol=0, atol=0)
    torch.testing.assert_close(shares.flatten(1).sum(1), log_det, rtol=0, atol=1e-9)
    assert name.startswith("flow") or shares.shape == (6, *z.shape[-2:])


@pytest.mark.parametrize("name", ["actnorm", "conv1x1", "injector", "coupling", "noise layer", "split"])
def test_the_share_of_a_pixel_is_the_log_determinant_of_its_own_block(name: str) -> None:
    """Of what a layer does to the numbers of one pixel, all others held: its diagonal block of the Jacobian."""
    example = build(name)
    x, condition = draw(example, batch=1)
    blocks = jacobian(example.bijection.encode, x, condition).reshape(4, 6, 4, 6)
    shares = example.bijection.encode_by_pixel(x, condition)[1].flatten()
    for pixel in range(6):
        expected = blocks[:, pixel, :, pixel].slogdet().logabsdet
        torch.testing.assert_close(shares[pixel], expected, rtol=0, atol=1e-9)


@both_directions
@pytest.mark.parametrize("name", [name for name in BIJECTIONS if name != "squeeze"])
def test_every_parameter_gets_a_gradient(name: str, direction: str) -> None:
    example = build(name)
    x, condition = draw(example, direction)
    y, log_det = getattr(example.bijection, direction)(x, condition)
    (y.square().sum() + log_det.sum()).backward()
    for key, parameter in example.bijection.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().max() > 0, key


@both_directions
@each
def test_samples_of_images_are_what_each_is_alone(name: str, direction: str) -> None:
    example = build(name)
    x, condition = draw(example, direction, samples=3)
    run = getattr(example.bijection, direction)
    together, log_dets = run(x, condition)
    for i in range(6):  # sample after sample: image i % 2
        alone, log_det = run(x[i : i + 1], [image[i % 2 : i % 2 + 1] for image in condition])
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-12)
        torch.testing.assert_close(log_dets[i : i + 1], log_det, rtol=0, atol=1e-10)


@each
def test_training_mode_equals_evaluation_mode(name: str) -> None:
    example = build(name)
    x, condition = draw(example)
    results = [example.bijection.train(mode).encode(x, condition) for mode in (True, False)]
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


@each
def test_saving_and_loading_change_nothing(name: str, tmp_path: Path) -> None:
    example = build(name)
    x, condition = draw(example)
    torch.save(example.bijection.state_dict(), tmp_path / "state.pt")
    fresh = BIJECTIONS[name]().bijection.double()
    fresh.load_state_dict(torch.load(tmp_path / "state.pt"))
    torch.testing.assert_close(fresh.encode(x, condition), example.bijection.encode(x, condition), rtol=0, atol=0)


# Folded forms: what sampling runs is the inverse of what the layers state, without noise


def folded_transition(layer: TransitionStep, z: Tensor, images: list[Tensor]) -> Tensor:
    matrix, offset = inverse_affine(layer)
    return F.conv2d(z, matrix[:, :, None, None], offset)


def folded_injector(layer: Adapter, z: Tensor, images: list[Tensor]) -> Tensor:
    subnet: Subnet = layer.layer.subnet
    hidden = share(subnet, images[0]) + subnet.first.folded()[1][:, None, None]
    shift, scale = FoldedSubnet(subnet, torch.float64, sign=1)(hidden.relu())
    return z / scale - shift


def folded_coupling(layer: Adapter, z: Tensor, images: list[Tensor]) -> Tensor:
    subnet: Subnet = layer.layer.subnet
    first = PrepackedConv(*subnet.first.folded(), torch.float64, slope=0)
    z1, z2 = z.chunk(2, 1)
    minus_shift, scale = FoldedSubnet(subnet, torch.float64, sign=-1)(first(z1, share(subnet, images[0])))
    return torch.cat((z1, minus_shift + z2 / scale), 1)


def folded_step(layer: Adapter, z: Tensor, images: list[Tensor]) -> Tensor:
    folded = FoldedStep(layer.layer, (), CONTEXT, False, torch.float64)
    u = images[0]
    return folded.decode(z.clone(), folded.condition_on_lr(LevelFeatures(u, u[:, :0])))


def folded_level(layer: Adapter, z: Tensor, images: list[Tensor]) -> Tensor:
    folded = FoldedLevel(layer.layer, True, torch.float64)
    features = LevelFeatures(*images[:2])
    return folded.decode(z, [step.condition_on_lr(features) for step in folded.steps])


def folded_flow(layer: FlowAdapter, z: Tensor, images: list[Tensor]) -> Tensor:
    folded = FoldedFlow(layer.flow, torch.float64)
    return folded.decode(layer.latents(z), folded.condition_on_lr(layer.features(images)))


FOLDED: dict[str, Callable[..., Tensor]] = {
    "transition": folded_transition,
    "injector": folded_injector,
    "coupling": folded_coupling,
    "coupling, atan": folded_coupling,
    "step": folded_step,
    "step, atan": folded_step,
    "step without noise layer": folded_step,
    "step without noise layer, atan": folded_step,
    "level": folded_level,
    "flow x4": folded_flow,
    "flow x8": folded_flow,
}


@pytest.mark.parametrize("name", FOLDED)
@torch.no_grad()
def test_the_folded_form_inverts_the_layer(name: str) -> None:
    example = build(name)
    x, condition = draw(example, samples=1 if name == "injector" else 3)
    condition = [image.zero_() if i == example.noise else image for i, image in enumerate(condition)]
    z, _ = example.bijection.encode(x, condition)
    torch.testing.assert_close(FOLDED[name](example.bijection, z, condition), x, rtol=0, atol=1e-9)


# What one layer does


def test_squeeze_orders_channels_by_row_then_column() -> None:
    image = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).expand(1, 2, 2, 2) + torch.tensor([0.0, 10.0])[:, None, None]
    assert Squeeze().encode(image)[0].flatten().tolist() == [1, 2, 3, 4, 11, 12, 13, 14]


def test_split_is_a_conditional_normal_density() -> None:
    example = build("split")
    split = example.bijection.split
    assert isinstance(split, Split)
    x, _ = draw(example)
    kept, latent, log_det = split.encode(x)
    prior = (
        F.conv2d(kept, split.prior.weight, split.prior.bias, padding=1)
        * (3 * split.prior.log_gain).exp()[:, None, None]
    )
    density = torch.distributions.Normal(prior[:, 0::2], prior[:, 1::2].exp()).log_prob(x[:, 2:])
    standard = torch.distributions.Normal(torch.zeros(()).double(), 1).log_prob(latent)
    torch.testing.assert_close(standard.sum((1, 2, 3)) + log_det, density.sum((1, 2, 3)))


@pytest.mark.parametrize(("bound", "low", "high"), [("sigmoid", 1e-4, 1 + 1e-4), ("atan", 0.606, 1.649)])
def test_scale_keeps_its_bound(bound: ScaleBound, low: float, high: float) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        subnet = enliven(Subnet(2, 0, 2, HIDDEN, bound)).double()
        shift, scale = affine(subnet(1e4 * torch.randn(2, 2, 4, 4).double(), None), torch.float64, bound)
    assert shift.abs().max() > 100  # the raw scale is as far out
    assert low <= scale.min() < low + 0.01
    assert high - 0.01 < scale.max() <= high


def test_fresh_flow_starts_with_zero_last_convolutions_and_rotations() -> None:
    model = NCSR(tiny_config())
    for key, value in model.flow.named_parameters():  # type: ignore[union-attr]
        if "last." in key or "prior." in key or "actnorm." in key:
            assert not value.any(), key
        if "conv1x1" in key:
            torch.testing.assert_close(value @ value.T, torch.eye(len(value)), rtol=0, atol=1e-5)


# The start of the actnorms


def batch(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hr, noise = (torch.rand(4, 3, 32, 32, generator=generator) for _ in range(2))
    return hr, torch.rand(4, 3, 8, 8, generator=generator), 0.03 * noise


def actnorms(model: nn.Module) -> dict[str, ActNorm]:
    return {name: module for name, module in model.named_modules() if isinstance(module, ActNorm)}


def test_start_gives_every_actnorm_zero_mean_and_unit_variance() -> None:
    model = NCSR(tiny_config()).double()
    data = [x.double() for x in batch()]
    assert not any(actnorm.started for actnorm in actnorms(model).values())
    model.start_actnorms(*data)
    assert all(actnorm.started for actnorm in actnorms(model).values())
    seen: set[ActNorm] = set()

    def check(module: nn.Module, inputs: object, output: Tensor) -> None:
        actnorm = output_actnorm(module)
        assert actnorm is not None
        seen.add(actnorm)
        width = output.shape[1]
        torch.testing.assert_close(output.mean((0, 2, 3)), torch.zeros(width).double(), rtol=0, atol=1e-6)
        torch.testing.assert_close(output.var((0, 2, 3), correction=0), torch.ones(width).double(), rtol=0, atol=1e-6)

    for module in model.modules():
        if output_actnorm(module) is not None:
            module.register_forward_hook(check)
    with torch.no_grad():
        model(*data)
    assert seen == set(actnorms(model).values())
    assert len(seen) == 3 * 2 + 6 * (1 + 2 * 2) + 3 * 2  # transitions; steps, injectors and couplings; noise layers


def test_start_is_once_and_never_again_after_loading() -> None:
    model, loaded = NCSR(tiny_config()), NCSR(tiny_config())
    before = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        model(*batch())  # a forward pass starts nothing
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    model.start_actnorms(*batch())
    started = copy.deepcopy(model.state_dict())
    loaded.load_state_dict(started)
    for again in (model, loaded):
        again.start_actnorms(*batch(seed=1))
        assert all(torch.equal(value, started[key]) for key, value in again.state_dict().items())


def test_only_what_has_not_started_starts() -> None:
    model = lively_model(dtype=torch.float32)
    assert model.flow is not None
    late = model.flow.levels[1].steps[0].coupling.subnet.second.actnorm
    late.started.fill_(False)
    before = copy.deepcopy(model.state_dict())
    model.start_actnorms(*batch())
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    name = "flow.levels.1.steps.0.coupling.subnet.second.actnorm"
    assert changed == {f"{name}.{part}" for part in ("bias", "log_scale", "started")}


def start_in_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.manual_seed(0)
    layers = nn.Sequential(ActNorm(3), nn.Conv2d(3, 4, 1), ActNorm(4))
    x = (rank + 1) * torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(rank)) + rank
    start_actnorms(layers, lambda: layers(x))
    torch.save(layers.state_dict(), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_all_processes_take_the_start_of_the_first(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(start_in_process, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    assert first["0.started"]
    assert second["2.started"]
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))  # process 0's batch
    torch.testing.assert_close(first["0.bias"], -x.mean((0, 2, 3)))
