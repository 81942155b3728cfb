"""How long a trainer waits for its batches, beside the time of its steps.

    python -m benchmarks.loader FOLDER            photographs in memory, decoded anew for each crop, and packed

Each batch is a whole one of its recipe. The steps beside it are real (forward, backward, Adam), but may take only the
first crops of a batch (--crops): the shorter the step, the harder for the loader; "of a whole step" scales up.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.timing import compare, machine
from ncsr.data.crops import CropSettings
from ncsr.data.listing import large_enough, list_photos
from ncsr.data.loader import Batch, batches
from ncsr.data.packing import pack_photos
from ncsr.data.photos import Photos, open_photos
from ncsr.model import NCSR
from ncsr.ops.resize import imresize
from ncsr.runtime.device import bfloat16_pays
from ncsr.training.recipe import Recipe, load_recipe


def loader(photos: Photos, recipe: Recipe, workers: int) -> Iterator[Batch]:
    """A recipe's batches without end."""
    settings = CropSettings(crop=recipe.crop, noise=recipe.noise)
    return batches(photos, settings, recipe.model.scale, range(1 << 40), range(recipe.batch), workers)


def training_step(recipe: Recipe, first: Batch, crops: int, device: str) -> Callable[[Batch], None]:
    """A step of the recipe's model, started from `first`, on the first `crops` of a batch."""
    model = NCSR(recipe.model, "bfloat16" if bfloat16_pays(torch.device(device)) else "float32")
    model = model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-6)

    def noisy(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        hr, lr, v = (values[:crops].to(device) for values in (batch.hr, batch.lr, batch.v) if values is not None)
        return hr + v, lr + imresize(v, 1 / recipe.model.scale), v

    def step(batch: Batch) -> None:
        loss = model(*noisy(batch)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss.item()  # waits for the device

    model.start_actnorms(*noisy(first))
    return step


def waited(batches: Iterator[Batch], step: Callable[[Batch], None], steps: int) -> tuple[float, float]:
    """(seconds in all, seconds of them spent waiting for batches) of some steps, after one that is not counted."""
    step(next(batches))
    started, waiting = time.perf_counter(), 0.0
    for _ in range(steps):
        asked = time.perf_counter()
        batch = next(batches)
        waiting += time.perf_counter() - asked
        step(batch)
    return time.perf_counter() - started, waiting


def measure(name: str, sources: dict[str, Photos], crops: int, steps: int, device: str) -> None:
    """Print a recipe's table."""
    recipe = load_recipe(name)
    crops = min(crops or recipe.batch, recipe.batch)
    step = training_step(recipe, next(loader(next(iter(sources.values())), recipe, 0)), crops, device)
    for source, photos in sources.items():
        endless = loader(photos, recipe, 0)
        made = compare({"batch": lambda endless=endless: next(endless)}, repeats=5)["batch"].best  # type: ignore[misc]
        whole, waiting = waited(loader(photos, recipe, 0), step, steps)
        ahead_whole, ahead_waiting = waited(loader(photos, recipe, 1), step, steps)
        seconds = (whole - waiting) / steps * recipe.batch / crops
        print(
            f"{name}, {recipe.batch} crops of {recipe.crop}, {source}: {1000 * made:.1f} ms per batch, "
            f"{made / (made + seconds):.2%} of a whole step of {seconds:.2f} s; waiting beside steps on {crops} crops: "
            f"{waiting / whole:.2%} without a thread, {ahead_waiting / ahead_whole:.2%} with one ahead",
            flush=True,
        )


def main() -> None:
    """Print how long the loader takes, and how long a trainer waits for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recipes", nargs="+", default=["x4-small", "ncsr-x4"])
    parser.add_argument("--crops", type=int, default=0, help="of each batch that the steps take; 0: all")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    crop = max(load_recipe(name).crop for name in options.recipes)
    files, _ = large_enough(list_photos(options.folder)[0], crop, [options.folder], [])
    print(f"{machine()}, {options.device}; {len(files)} photographs", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "photos.lmdb"
        pack_photos(files, packed)
        raw = sum(3 * file.height * file.width for file in files)
        print(
            f"packed: {packed.stat().st_size / 1e6:.0f} MB, {packed.stat().st_size / raw:.2f} of the pixels", flush=True
        )
        kept, _ = open_photos([options.folder], crop, budget=raw)
        for index in range(len(kept)):
            kept[index]
        sources = {
            "in memory": kept,
            "decoded each time": open_photos([options.folder], crop, budget=0)[0],
            "packed": open_photos([packed], crop)[0],
        }
        for name in options.recipes:
            measure(name, sources, options.crops, options.steps, options.device)


if __name__ == "__main__":
    main()
