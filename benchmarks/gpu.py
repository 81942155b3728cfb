"""Training steps and samples on a GPU: eager, captured as a graph, and the yardstick's, in one run.

    python -m benchmarks.gpu [--only NAME]      one line of JSON per figure; not run on a GPU yet

`marks` are the times that a captured step is to reach. `losses` takes the same two hundred steps, from the same
weights and crops, eagerly twice (once in float32) and captured: the captured losses may differ from the eager ones of
the same precision by no more than bfloat16's do from float32's. --tiny runs all of it on tiny networks, on any device.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Callable, Iterator

import torch
from lightning_fabric import Fabric

import ncsr
from benchmarks.yardstick import full_x4, training_step
from ncsr.config import EncoderConfig, FlowConfig, ModelConfig
from ncsr.data.loader import Batch, make_batch
from ncsr.runtime.device import Precision
from ncsr.runtime.timing import machine, seconds_of
from ncsr.training.launch import launch
from ncsr.training.recipe import Recipe, load_recipe
from ncsr.training.trainer import Trainer

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


def started(recipe: Recipe, fabric: Fabric, precision: Precision, *, static: bool) -> Trainer:
    """A trainer that takes eager or static steps, its actnorms started."""
    trainer = Trainer(recipe.model_copy(update={"precision": precision}), fabric)
    trainer.static = static
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


def step_time(recipe: Recipe, fabric: Fabric, precision: Precision, *, static: bool, name: str) -> None:
    """Time a step, crops included, after those in which a graph is captured."""
    trainer = started(recipe, fabric, precision, static=static)

    def steps(count: int) -> None:
        for batch in crops(trainer, count):
            trainer.enqueue(batch)
        trainer.results()

    gib = peak_gib(fabric.device, lambda: steps(6))
    seconds = seconds_of(lambda: steps(10), fabric.device) / 10
    say(step=name, precision=precision, static=static, ms=round(1e3 * seconds, 1), gib=gib, crops=recipe.batch)


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
    for static in (False, True):
        step_time(recipe, fabric, "bfloat16", static=static, name="full")
        step_time(medium_recipe(tiny), fabric, "bfloat16", static=static, name="medium")
    say(marks={"full": FULL_MARKS, "medium": MEDIUM_MARK})


def losses(fabric: Fabric, tiny: bool) -> None:
    """Whether captured steps learn what eager ones do."""
    recipe, steps = medium_recipe(tiny), 8 if tiny else LOSS_STEPS
    if not tiny:
        recipe = recipe.model_copy(update={"batch": 8})
    curves = {}
    for name, precision, static in (
        ("float32", "float32", False),
        ("eager", "bfloat16", False),
        ("captured", "bfloat16", True),
    ):
        trainer = started(recipe, fabric, precision, static=static)  # type: ignore[arg-type]
        for batch in crops(trainer, steps):
            trainer.enqueue(batch)
        curves[name] = torch.tensor([result.loss for result in trainer.results()])
    for name in ("float32", "captured"):
        apart = (curves[name] - curves["eager"]).abs()
        say(losses=f"{name} from eager bfloat16", mean=apart.mean().item(), largest=apart.max().item())


def sampling(fabric: Fabric, tiny: bool) -> None:
    """Ten samples of 64 x 64 LR pixels by the bundled model, and how far float32's round trip is off."""
    model = ncsr.load("x4-small", device=str(fabric.device))
    lr = torch.rand(1, 3, 16 if tiny else 64, 16 if tiny else 64, device=fabric.device)
    with torch.no_grad():
        model.space(lr).sample(10, seed=0)
        seconds = seconds_of(lambda: model.space(lr).sample(10, seed=0), fabric.device)
        say(samples=10, ms=round(1e3 * seconds, 1), precision=model.precision, mark=SAMPLING_MARK)
        model.precision = "float32"
        space = model.space(lr)
        latents = space.encode(torch.rand(1, 3, 4 * lr.shape[-2], 4 * lr.shape[-1], device=fabric.device))
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
