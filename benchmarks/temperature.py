"""The sweep that chooses a model's default temperature: LPIPS first, diversity, texture and fidelity beside it.

    python -m benchmarks.temperature MODEL FOLDER... -o OUT [-n 10] [--limit 20] [-t 0.6 0.65 ...] [--share 1/2]

The features of a photograph are computed once for all temperatures, and so is its side of LPIPS, which makes this
quicker than `ncsr evaluate`, whose protocol it follows. Records go to OUT/SHARE.pt, photograph by photograph: a sweep
that was stopped goes on. --share 1/2 takes every second photograph, so that two processes do half each. The last line
says the choice: the lowest spatial LPIPS, ties within one per cent to the more diverse. --table gathers all shares,
and draws OUT/sweep.png.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from ncsr.evaluation.measuring import SetMeasures
from ncsr.evaluation.pairs import Pair, find_pairs, read_pair
from ncsr.metrics import LPIPS, crop_to_multiple, eight_bit
from ncsr.metrics.lpips import LPIPSReference
from ncsr.metrics.streaming import LRPSNR, LumaPSNR, LumaSSIM, NtireLPIPS, PixelDeviation
from ncsr.pretrained.load import load
from ncsr.runtime.files import atomic_path
from ncsr.space.base import Space

TEMPERATURES = (0.0, *(round(0.6 + 0.05 * i, 2) for i in range(10)))
TIE = 1.01

Figures = dict[str, float]


def measure(space: Space, reference: LPIPSReference, pair: Pair, temperature: float, n: int) -> tuple[Figures, Tensor]:
    """The figures of one photograph at one temperature, and its samples as 8-bit images."""
    with torch.no_grad():
        samples = space.sample(n if temperature else 1, temperature, seed=0)[:, 0]
    stored = eight_bit(samples)
    figures: Figures = {}
    for one in (LumaPSNR(pair.scale), LumaSSIM(pair.scale), LRPSNR(), *([PixelDeviation()] if temperature else [])):
        figures |= {name: float(value) for name, value in one.measure(stored, pair.hr, pair.lr).items()}
    scores = reference.compare(crop_to_multiple(stored, 8))
    values = zip(NtireLPIPS.figures, NtireLPIPS.of_scores(scores), strict=True)
    figures |= {name: float(value) for name, value in values}
    return figures, stored


def gather(folder: Path) -> tuple[dict[float, Figures], int]:
    """The means over the photographs of all shares, by temperature."""
    shares = [torch.load(path, weights_only=True) for path in sorted(folder.glob("*.pt"))]
    means: dict[float, Figures] = {}
    records: list[dict[str, Figures]] = [record for share in shares for record in share["records"].values()]
    for t in map(float, shares[0]["states"]):
        rows = [record[str(t)] for record in records]
        means[t] = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        gathered = SetMeasures()
        for share in shares:
            gathered.merge(share["states"][str(t)])
        means[t] |= gathered.figures()
    return means, len(records)


def choice(means: dict[float, Figures]) -> float:
    """The temperature of the lowest spatial LPIPS, ties within one per cent to the more diverse."""
    least = min(row["lpips"] for row in means.values())
    return max((t for t in means if means[t]["lpips"] <= TIE * least), key=lambda t: means[t].get("diversity", 0.0))


def draw(means: dict[float, Figures], path: Path, title: str) -> None:
    """LPIPS, diversity, texture and luma PSNR over the temperature, as PNG."""
    from matplotlib.figure import Figure

    drawn = [t for t in means if t > 0]
    names = {
        "lpips": "LPIPS, spatial",
        "diversity": "diversity (NTIRE)",
        "texture_distance": "texture distance",
        "luma_psnr": "PSNR, luma (dB)",
    }
    figure = Figure(figsize=(4 * len(names), 3), layout="constrained")
    chosen = choice(means)
    for ax, (name, label) in zip(figure.subplots(1, len(names)), names.items(), strict=True):
        ax.plot(drawn, [means[t][name] for t in drawn], marker="o", markersize=4)
        ax.axvline(chosen, color="0.6", linestyle="--", linewidth=1)
        ax.set_title(label, fontsize=10)
        ax.set_xlabel("temperature", fontsize=9)
        ax.grid(alpha=0.25)
    figure.suptitle(title, fontsize=11)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def sweep(options: argparse.Namespace) -> None:
    """Measure this share's photographs that have no record."""
    model, lpips = load(options.model, "cpu", "float32"), LPIPS()
    share, of = (int(part) for part in options.share.split("/"))
    pairs = [
        files for folder in options.folders for files in find_pairs(folder, None, model.config.scale, options.limit)[0]
    ]
    path: Path = options.output / f"{share}of{of}.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    gathered = {str(t): SetMeasures() for t in options.temperatures}
    records: dict[str, dict[str, Figures]] = {}
    if path.exists():
        kept = torch.load(path, weights_only=True)
        records = kept["records"]
        for t, state in kept["states"].items():
            gathered[t].merge(state)
    for files in pairs[share - 1 :: of]:
        key = str(files.hr)
        if key in records:
            continue
        pair = read_pair(files, model.config.scale)
        with torch.no_grad():
            space = model.space(pair.lr[None].float() / 255)
        reference = lpips.reference(crop_to_multiple(pair.hr, 8))
        record = {}
        for t in options.temperatures:
            record[str(t)], stored = measure(space, reference, pair, t, options.n)
            gathered[str(t)].add(stored, pair.hr)
        records[key] = record
        with atomic_path(path) as temporary:
            states = {t: measures.state() for t, measures in gathered.items()}
            torch.save({"records": records, "states": states}, temporary)
        print(files.name, {t: round(figures["lpips"], 4) for t, figures in record.items()}, flush=True)


def main() -> None:
    """Measure, print the table and the choice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("-n", type=int, default=10)
    parser.add_argument("-t", "--temperatures", type=float, nargs="+", default=TEMPERATURES)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--share", default="1/1")
    parser.add_argument("--table", action="store_true", help="print and draw what all shares have measured")
    options = parser.parse_args()
    if not options.table:
        sweep(options)
    means, count = gather(options.output)
    for t, figures in means.items():
        print(t, json.dumps({name: round(value, 4) for name, value in figures.items()}))
    draw(means, options.output / "sweep.png", f"{options.model}, {count} photographs")
    print(f"lowest LPIPS, ties within 1 % to the more diverse: {choice(means):g} ({count} photographs)")


if __name__ == "__main__":
    main()
