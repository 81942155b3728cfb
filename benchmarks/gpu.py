"""Training steps and samples on a GPU: eager, captured as a graph, fused, and the yardstick's, in one run.

    python -m benchmarks.gpu [--only NAME]      one line of JSON per figure

`eager` launches kernel by kernel, `captured` replays a CUDA graph, `fused` is a graph with the flow's elementwise
operations as one kernel each. `marks` are the times to reach. `losses` takes the same two hundred steps, from the same
weights and crops, in all three ways and eagerly in float32: the losses of the ways may differ by no more than
bfloat16's do from float32's. --tiny runs all of it on tiny networks, on any device: on a CPU without graphs, and with
the functions that the kernels are.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable, Iterator
from typing import Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor

import ncsr
from benchmarks.yardstick import full_x4, training_step
from ncsr.config import EncoderConfig, FlowConfig, ModelConfig
from ncsr.data.loader import Batch, make_batch
from ncsr.flow.elementwise import UNFUSED
from ncsr.runtime.device import Precision
from ncsr.runtime.timing import machine, now, seconds_of
from ncsr.training.launch import launch
from ncsr.training.recipe import Recipe, load_recipe
from ncsr.training.trainer import Trainer

Way = Literal["eager", "captured", "fused"]
WAYS: tuple[Way, ...] = ("eager", "captured", "fused")
LOSS_STEPS = 200
FULL_MARKS = {"captured": 160, "fused": 90}  # milliseconds
MEDIUM_MARK, SAMPLING_MARK = 60, 15
TINY = ModelConfig(
    encoder=EncoderConfig(features=4, growth=2, blocks=2),
    flow=FlowConfig(steps=2, hidden=6, stacked_blocks=(0, 1), noise_steps=(0, 1, 2)),
)


def say(**figures: object) -> None:
    """Print a line of JSON."""
    print(json.dumps(figures), flush=True)


def full_recipe(tiny: bool) -> Recipe:
    """The paper's x4, 18 crops of 160."""
    recipe = load_recipe("ncsr-x4", {"average": 0.998})
    return recipe.model_copy(update={"model": TINY, "batch": 2, "crop": 32}) if tiny else recipe


def medium_recipe(tiny: bool) -> Recipe:
    """A network of 8 blocks, K = 8 and 18.1 million parameters, 32 crops of 160."""
    flow = FlowConfig(steps=8, hidden=64, stacked_blocks=(1, 3, 5, 7), noise_steps=(0, 8, 8), scale_bound="atan")
    model = ModelConfig(encoder=EncoderConfig(blocks=8), flow=flow)
    changes = {"model": TINY if tiny else model, "batch": 2 if tiny else 32, "clip": 20.0, "learning_rate": 6e-4}
    return full_recipe(tiny).model_copy(update=changes)


def started(recipe: Recipe, fabric: Fabric, precision: Precision, way: Way) -> Trainer:
    """A trainer that takes its steps in that way, its actnorms started."""
    trainer = Trainer(recipe.model_copy(update={"precision": precision}), fabric)
    trainer.static = way != "eager"
    trainer.fused = (trainer.fused or UNFUSED) if way == "fused" else None
    trainer.start(next(crops(trainer, 1)))
    return trainer


def crops(trainer: Trainer, steps: int) -> Iterator[Batch]:
    """Batches of smooth random photographs that lie on the device."""
    recipe, device = trainer.recipe, trainer.fabric.device
    small = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    photos = torch.nn.functional.interpolate(small, 2 * recipe.crop, mode="bicubic").clamp(0, 1).mul(255).byte()
    lying = list(photos.to(device))
    for step in range(trainer.step, trainer.step + steps):
        yield make_batch(lying, recipe, recipe.model.scale, step, range(recipe.batch))


def peak_gib(device: torch.device, job: Callable[[], object]) -> float | None:
    """The most memory that a job takes on a GPU."""
    if device.type != "cuda":
        return None
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    job()
    return torch.cuda.max_memory_reserved() / 2**30


def step_time(recipe: Recipe, fabric: Fabric, precision: Precision, way: Way, name: str) -> None:
    """Time a step, crops included, after those in which kernels are compiled and a graph is captured."""
    trainer = started(recipe, fabric, precision, way)

    def steps(count: int) -> None:
        for batch in crops(trainer, count):
            trainer.enqueue(batch)
        trainer.results()

    began = now(fabric.device)
    gib = peak_gib(fabric.device, lambda: steps(6))
    first = now(fabric.device) - began
    seconds = seconds_of(lambda: steps(10), fabric.device) / 10
    figures = {"ms": round(1e3 * seconds, 1), "gib": gib, "first_six_s": round(first, 1)}
    say(step=name, way=way, precision=precision, crops=recipe.batch, **figures)


def training(fabric: Fabric, tiny: bool) -> None:
    """Steps of the full network and of the medium one, and of the yardstick."""
    device, recipe = fabric.device, full_recipe(tiny)
    if not tiny:
        yardstick = full_x4().to(device)
        optimiser = torch.optim.Adam(yardstick.parameters(), lr=1e-6)
        hr, lr = (torch.rand(recipe.batch, 3, side, side, device=device) for side in (recipe.crop, recipe.crop // 4))
        noise = 0.03 * torch.randn_like(hr)

        def job() -> object:
            return training_step(yardstick, optimiser, hr, lr, noise, 100.0)

        gib = peak_gib(device, job)
        say(step="yardstick", ms=round(1e3 * seconds_of(job, device), 1), gib=gib)
        del yardstick, optimiser
    for way in WAYS:
        step_time(recipe, fabric, "bfloat16", way, "full")
        step_time(medium_recipe(tiny), fabric, "bfloat16", way, "medium")
    say(marks={"full": FULL_MARKS, "medium": MEDIUM_MARK})


def losses(fabric: Fabric, tiny: bool) -> None:
    """Whether captured steps learn what eager ones do."""
    recipe, steps = medium_recipe(tiny), 8 if tiny else LOSS_STEPS
    if not tiny:
        recipe = recipe.model_copy(update={"batch": 8})
    curves = {}
    kinds: list[tuple[Precision, Way]] = [("float32", "eager"), *(("bfloat16", way) for way in WAYS)]
    for precision, way in kinds:
        trainer = started(recipe, fabric, precision, way)
        for batch in crops(trainer, steps):
            trainer.enqueue(batch)
        name = way if precision == "bfloat16" else precision
        curves[name] = torch.tensor([result.loss for result in trainer.results()])
    for name in ("float32", "captured", "fused"):
        apart = (curves[name] - curves["eager"]).abs()
        say(losses=f"{name} from eager bfloat16", mean=apart.mean().item(), largest=apart.max().item())


def sampling(fabric: Fabric, tiny: bool) -> None:
    """Ten samples of 64 x 64 LR pixels by the bundled model, and how far float32's round trip is off."""
    model, device = ncsr.load("x4-small", device=str(fabric.device)), fabric.device
    lr = torch.rand(1, 3, 16 if tiny else 64, 16 if tiny else 64, device=device)
    drawn = []
    for way in ("eager", "captured") if device.type == "cuda" else ("eager",):
        folded = model.eval().folded()
        if way == "eager":
            folded.graphs = None

        def job() -> Tensor:
            return model.space(lr).sample(10, seed=0)

        gib = peak_gib(device, lambda job=job: [job() for _ in range(3)])  # of these, the second is captured
        drawn.append(job())
        ms = round(1e3 * seconds_of(job, device), 1)
        say(samples=10, way=way, ms=ms, gib=gib, precision=model.precision, mark=SAMPLING_MARK)
    space = model.space(lr)
    latents_ms = round(1e3 * seconds_of(lambda: space.latents(10, seed=0), device), 1)
    say(of_these_drawing_latents_ms=latents_ms, captured_from_eager=(drawn[-1] - drawn[0]).abs().max().item())
    with torch.no_grad():
        model.precision = "float32"
        space = model.space(lr)
        latents = space.encode(torch.rand(1, 3, 4 * lr.shape[-2], 4 * lr.shape[-1], device=device))
        again = space.encode(space.decode(latents))
        say(float32_round_trip=max((a - b).abs().max().item() for a, b in zip(latents, again, strict=True)))


def main(arguments: list[str] | None = None) -> None:
    """Print all figures."""
    parts = {"training": training, "losses": losses, "sampling": sampling}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", choices=parts)
    parser.add_argument("--tiny", action="store_true", help="tiny networks, to try the benchmark itself")
    options = parser.parse_args(arguments)
    fabric = launch(options.device)
    say(machine=machine(fabric.device))
    for name, part in parts.items():
        if options.only in (None, name):
            part(fabric, options.tiny)


if __name__ == "__main__":
    main()
