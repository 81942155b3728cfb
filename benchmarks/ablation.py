"""The paper's ablation (tables 5 and 6) at a small budget: every variant trained by its recipe, and measured.

    python -m benchmarks.ablation --data bsds400 --extra extra --hr BSD100 -o ablation [--seeds 2] [--jobs 2]

All share one encoder, that of `x4-small` trained further by L1 and then kept as it is; the flow has three steps per
level. Each run is `ncsr train`, the measuring is `ncsr evaluate`; both go on where they were stopped. Hours on two
cores; with --jobs 2, two runs of one thread each train side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from typing import Any

VARIANTS = {
    "noise layer (NCSR)": ("ncsr-x4", "[0, 3, 3]"),
    "no layer": ("ncsr-x4-no-layer", "[0, 0, 0]"),
    "std layer": ("ncsr-x4-std", "[0, 3, 3]"),
    "no noise-free block": ("ncsr-x4-all-levels", "[3, 3, 3]"),
    "noise on HR only": ("ncsr-x4-hr-noise", "[0, 0, 0]"),
    "extra data (NCSR*)": ("ncsr-x4-extra", "[0, 3, 3]"),
    "no noise (SRFlow)": ("srflow-x4", "[0, 0, 0]"),
}
TEMPERATURE = 0.8
SMALL = {
    "model.encoder": "{features: 32, growth: 16, blocks: 6}",
    "model.flow.steps": 3,
    "model.flow.hidden": 32,
    "model.flow.stacked_blocks": "[1, 3, 4, 5]",
    "model.flow.scale_bound": "atan",
    "batch": 8,
    "crop": 128,
    "encoder_frozen": 1.0,
    "learning_rate": 1.0e-3,
    "schedule": "cosine",
    "warmup": 60,
    "clip": 20.0,
    "average": 0.98,
    "checkpoint_every": 100,
}
ENCODER = {"steps": 400, "learning_rate": 3.0e-4}
MEASURES = (
    ("lpips", "LPIPS", ".3f"),
    ("lr_psnr_mean", "LR-PSNR", ".2f"),
    ("lr_psnr_worst", "worst", ".2f"),
    ("bits_per_dim", "bits/dim", ".3f"),
    ("texture_distance", "texture distance", ".0f"),
    ("diversity", "diversity (NTIRE)", ".1f"),
)


def ncsr(*arguments: object) -> None:
    """Run a command; its progress goes to this one's."""
    subprocess.run([sys.executable, "-m", "ncsr", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def train(recipe: str, run: Path, data: list[Path], init: object, values: dict[str, object]) -> None:
    """One run, or the rest of it."""
    if (run / "done").exists():
        return
    changes = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    sources = [part for folder in data for part in ("--data", folder)]
    resume = ["--resume"] if any(run.glob("checkpoints/*")) else []
    ncsr("train", recipe, *sources, "-o", run, "--init", init, *changes, *resume)
    (run / "done").touch()


def main() -> None:
    """Train, measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="photographs to train on")
    parser.add_argument("--extra", type=Path, required=True, help="more, for the variant with extra data")
    parser.add_argument("--hr", type=Path, required=True, help="photographs to measure on")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=2, help="how many times to train each variant")
    parser.add_argument("--limit", type=int, default=20, help="how many photographs to measure on")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    options = parser.parse_args()
    if options.jobs > 1:
        os.environ["OMP_NUM_THREADS"] = "1"

    encoder = options.output / "encoder"
    train("rrdb-x4-small", encoder, [options.data], "x4-small", dict(ENCODER))
    runs = {
        (name, seed): options.output / f"{recipe}-{seed}"
        for name, (recipe, _) in VARIANTS.items()
        for seed in range(options.seeds)
    }

    def job(item: tuple[tuple[str, int], Path]) -> None:
        (name, seed), run = item
        recipe, noise_steps = VARIANTS[name]
        data = [options.data, options.extra] if recipe == "ncsr-x4-extra" else [options.data]
        values = {**SMALL, "model.flow.noise_steps": noise_steps, "steps": options.steps, "seed": seed}
        train(recipe, run, data, encoder / "model", values)

    in_turn = sorted(runs.items(), key=lambda item: item[0][1])  # every variant once, before any a second time
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(job, in_turn))

    report = options.output / "report"
    models = [run / "model" for run in runs.values()]
    ncsr("evaluate", *models, "--hr", options.hr, "-o", report, "-n", 10, "-t", TEMPERATURE, "--limit", options.limit)
    print_table(json.loads((report / "results.json").read_text(encoding="utf-8")), runs)


def print_table(results: dict[str, Any], runs: dict[tuple[str, int], Path]) -> None:
    """Markdown: a line for each variant, the mean of its seeds and in brackets each seed's figure."""
    rows = {(row["model"], row["temperature"]): row["figures"] for row in results["rows"]}
    print("| | " + " | ".join(["PSNR at temperature 0", *(label for _, label, _ in MEASURES)]) + " |")
    print("|---|" + "---|" * (1 + len(MEASURES)))
    for name in VARIANTS:
        models = [f"{run.name}/model" for (variant, _), run in runs.items() if variant == name]
        cells = [_cell([rows[model, 0.0]["luma_psnr"]["mean"] for model in models], ".2f")]
        cells += [_cell([rows[model, TEMPERATURE][m]["mean"] for model in models], form) for m, _, form in MEASURES]
        print(f"| {name} | " + " | ".join(cells) + " |")


def _cell(values: list[float], form: str) -> str:
    each = f" ({', '.join(format(value, form) for value in values)})" if len(values) > 1 else ""
    return f"{mean(values):{form}}{each}"


if __name__ == "__main__":
    main()
