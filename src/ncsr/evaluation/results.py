"""From per-image figures to files: CSV, JSON, a Markdown table."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from dataclasses import dataclass
from typing import Any, NamedTuple

from ncsr.evaluation.protocol import Settings


class Measure(NamedTuple):
    """How a measure is shown.

    Attributes:
        name: its name in JSON and CSV.
        label: its name in tables and plots.
        digits: behind the decimal point.
        better: 1 if more is better, -1 if less is, 0 if neither.
    """

    name: str
    label: str
    digits: int
    better: int


MEASURES = (
    Measure("luma_psnr", "PSNR, luma (dB)", 2, 1),
    Measure("rgb_psnr", "PSNR, RGB (dB)", 2, 1),
    Measure("luma_ssim", "SSIM, luma", 4, 1),
    Measure("rgb_ssim", "SSIM, RGB", 4, 1),
    Measure("lpips", "LPIPS", 4, -1),
    Measure("lpips_plain", "LPIPS, plain", 4, -1),
    Measure("lr_psnr_mean", "LR-PSNR (dB)", 2, 1),
    Measure("lr_psnr_worst", "LR-PSNR, worst (dB)", 2, 1),
    Measure("ntire_lr_psnr_mean", "LR-PSNR, NTIRE (dB)", 2, 1),
    Measure("ntire_lr_psnr_worst", "LR-PSNR, NTIRE, worst (dB)", 2, 1),
    Measure("diversity", "Diversity, LPIPS", 2, 1),
    Measure("diversity_squared_error", "Diversity, squared error", 2, 1),
    Measure("pixel_deviation", "Deviation (grey levels)", 2, 0),
    Measure("texture_distance", "Texture distance", 0, -1),
    Measure("grain", "Grain (1 is ideal)", 2, 0),
    Measure("bits_per_dim", "Bits per dimension", 3, -1),
)
OF_SETS = ("texture_distance", "grain")

Record = dict[str, Any]
"""One photograph: "name", "agreement", "samples" and "figures" by the name of the row."""


class Interval(NamedTuple):
    """Mean over images, with half the width of its 95 % confidence interval (None: of a set, or of one image)."""

    mean: float
    half: float | None
    images: int

    def as_json(self) -> dict[str, Any]:
        """The interval as JSON reports hold it."""
        return {"mean": plain(self.mean), "ci95": plain(self.half), "images": self.images}


@dataclass(frozen=True)
class Results:
    """A whole evaluation.

    Attributes:
        settings: what decided it.
        command: the command line that made it.
        folder: name of the photographs' folder.
        records: one per photograph, in order.
        fingerprints: hashes of the photographs' files, in the same order.
        table: figures by the row's name and the measure's.
        notes: sentences that a reader must know: what was not measured, and why; which files failed.
    """

    settings: Settings
    command: str
    folder: str
    records: list[Record]
    fingerprints: list[str]
    table: dict[str, dict[str, Interval]]
    notes: list[str]

    @property
    def measures(self) -> list[Measure]:
        """The measures that some row has."""
        return [m for m in MEASURES if any(m.name in row for row in self.table.values())]


def summarise(records: list[Record], row: str, of_set: dict[str, float]) -> dict[str, Interval]:
    """The figures of one row over all images, in the order of `MEASURES`.

    Args:
        records: the images' records.
        row: the row's name.
        of_set: the figures of the set as a whole.
    """
    found = {}
    for measure in MEASURES:
        if measure.name in of_set:
            found[measure.name] = Interval(of_set[measure.name], None, len(records))
            continue
        values = [r["figures"][row][measure.name] for r in records if measure.name in r["figures"][row]]
        if values:
            found[measure.name] = interval(values)
    return found


def interval(values: list[float]) -> Interval:
    """Mean and 95 % confidence interval of independent figures, by Student's t; at least one."""
    n = len(values)
    if n == 1 or not all(map(math.isfinite, values)):
        return Interval(math.fsum(values) / n, None, n)
    mean = math.fsum(values) / n
    return Interval(mean, student(n - 1) * statistics.stdev(values) / math.sqrt(n), n)


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, within 1e-3."""
    if freedom <= len(_STUDENT):
        return _STUDENT[freedom - 1]
    z = statistics.NormalDist().inv_cdf(0.975)  # Abramowitz and Stegun, 26.7.5
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2 + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384 / freedom**3


_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def csv_text(results: Results) -> str:
    """One line per photograph and row of the table."""
    names = [m.name for m in results.measures if m.name not in OF_SETS]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["image", "row", "model", "fingerprint", "temperature", "samples", *names])
    for record in results.records:
        for row in results.settings.rows:
            figures = record["figures"][row.name]
            about = [record["name"], row.name, row.model, row.fingerprint, row.temperature, record["samples"][row.name]]
            writer.writerow([*about, *(figures.get(name) for name in names)])
    return buffer.getvalue()


def json_text(results: Results) -> str:
    """All settings, all figures of the set, and where they come from; infinity is "inf", not a number null."""
    images = [
        {"name": r["name"], "sha256": f, "lr_agreement_db": plain(r["agreement"])}
        for r, f in zip(results.records, results.fingerprints, strict=True)
    ]
    content = {
        "command": results.command,
        "folder": results.folder,
        **results.settings.model_dump(exclude={"rows", "pictures"}),
        "notes": results.notes,
        "rows": [
            {**row.model_dump(), "figures": {n: i.as_json() for n, i in results.table[row.name].items()}}
            for row in results.settings.rows
        ],
        "images": images,
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def markdown_text(results: Results) -> str:
    """The table, its protocol in a sentence, and the notes."""
    measures, protocol = results.measures, results.settings.protocol
    lines = [
        "| | " + " | ".join(m.label + arrow(m) for m in measures) + " |",
        "|---|" + "---:|" * len(measures),
    ]
    for row in results.settings.rows:
        cells = [cell(results.table[row.name].get(m.name), m) for m in measures]
        lines.append(f"| {row.name.replace('|', '/')} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"{caption(results)} LR images: {protocol.lr_images}.", *results.notes, ""])


def caption(results: Results) -> str:
    """A sentence on the photographs, samples and intervals of the table."""
    protocol, n = results.settings.protocol, len(results.records)
    counts = sorted({k for r in results.records for k in r["samples"].values() if k > 1})
    drawn = f", {' or '.join(map(str, counts))} samples of each where a method has several" if counts else ""
    seed = "" if protocol.seed is None else f", seed {protocol.seed}"
    interval = "; mean over photographs ± half of the 95 % confidence interval" if n > 1 else ""
    return f"{results.folder}, {n} photograph{'s' * (n > 1)}, x{protocol.scale}{drawn}{seed}{interval}."


def cell(value: Interval | None, measure: Measure) -> str:
    """A figure as tables print it."""
    if value is None or math.isnan(value.mean):
        return "–"
    spread = "" if value.half is None else f" ± {value.half:.{measure.digits}f}"
    return f"{value.mean:.{measure.digits}f}{spread}"


def arrow(measure: Measure) -> str:
    """An arrow up or down for the way that is better, behind a space that does not break."""
    return {1: "\N{NO-BREAK SPACE}↑", -1: "\N{NO-BREAK SPACE}↓", 0: ""}[measure.better]


def plain(value: float | None) -> float | str | None:
    """A figure for JSON: infinity as text, None for what is no number."""
    if value is None or math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)
