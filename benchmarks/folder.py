"""A folder of small photographs: `ncsr upscale FOLDER` against the plain loop that reads, enlarges and writes each.

    python -m benchmarks.folder [--model x4-small] [--photos 200] [-n 1] [--precision auto] [--rounds 2] [--ray]

The photographs are crops of the example, of six sizes. The ways run in this process, in turns, each with the time to
load its model; the best round of each counts.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.timing import machine
from ncsr.cli.options import load_model
from ncsr.cli.upscale import upscale
from ncsr.images import find_photos, read_photo, write_photo
from ncsr.upscaling.api import upscale_photo
from ncsr.upscaling.tiling import SampleRequest

PHOTOGRAPH = Path(__file__).parent.parent / "examples" / "cat.png"
_SIZES = ((32, 32), (48, 32), (32, 48), (48, 48), (64, 48), (64, 64))  # width, height


def make_photos(folder: Path, count: int) -> None:
    """Crops of the example, at places that differ, in sizes that come by chance."""
    random = np.random.default_rng(0)
    cat = Image.open(PHOTOGRAPH).convert("RGB")
    for index in range(count):
        width, height = _SIZES[random.integers(len(_SIZES))]
        left, top = random.integers(cat.width - width + 1), random.integers(cat.height - height + 1)
        cat.crop((left, top, left + width, top + height)).save(folder / f"{index:05d}.png")


def plain(photos: Path, out: Path, model: str, samples: int, precision: str) -> None:
    """What one writes first."""
    network = load_model(model, None, "cpu", precision)
    request = SampleRequest(samples, network.config.temperature, 0)
    out.mkdir()
    for path in find_photos(photos):
        for k, photo in enumerate(upscale_photo(read_photo(path), network, request)):
            write_photo(out / f"{path.stem}_s{k}.png", photo)


def folder(photos: Path, out: Path, model: str, samples: int, precision: str) -> None:
    """What the command does, its lines unprinted."""
    with contextlib.redirect_stdout(io.StringIO()):
        upscale([str(photos)], str(out), model=model, samples=samples, seed=0, device="cpu", precision=precision)


def workers(photos: Path, out: Path, model: str, samples: int, precision: str) -> None:
    """What the command does with a cluster of this machine: the time to start it and its workers counts."""
    with contextlib.redirect_stdout(io.StringIO()):
        upscale(
            [str(photos)],
            str(out),
            model=model,
            samples=samples,
            seed=0,
            device="cpu",
            precision=precision,
            ray="local",
        )


def seconds(
    way: Callable[[Path, Path, str, int, str], None], photos: Path, model: str, n: int, precision: str
) -> float:
    """The time of one round."""
    with tempfile.TemporaryDirectory() as place:
        start = time.perf_counter()
        way(photos, Path(place) / "out", model, n, precision)
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="x4-small")
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("-n", type=int, default=1)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ray", action="store_true", help="also with a Ray cluster of this machine")
    asked = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as place:
        photos = Path(place)
        make_photos(photos, asked.photos)
        times: dict[str, float] = {}
        for _ in range(asked.rounds):
            for way in (plain, folder, workers) if asked.ray else (plain, folder):
                taken = seconds(way, photos, asked.model, asked.n, asked.precision)
                times[way.__name__] = min(taken, times.get(way.__name__, taken))
    for name, best in times.items():
        print(f"{name:7} {best:8.2f} s  {asked.photos / best:7.2f} photographs per second")
    print(f"ratio   {times['plain'] / times['folder']:8.2f}")


if __name__ == "__main__":
    main()
