"""The tables of reports, which are written as Markdown here and as HTML by the templates."""

from __future__ import annotations

import csv
import html
import io
import json
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from ncsr.errors import printable


class Measure(NamedTuple):
    """How a measure is shown.

    Attributes:
        name: its name in JSON and CSV.
        label: its name in tables and plots.
        digits: decimal places.
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
    Measure("crps", "CRPS (grey levels)", 3, -1),
    Measure("spread_skill", "Spread over error (1 is ideal)", 2, 0),
    Measure("coverage_50", "Coverage of 50 % intervals", 3, 0),
    Measure("coverage_90", "Coverage of 90 % intervals", 3, 0),
    Measure("texture_distance", "Texture distance", 0, -1),
    Measure("grain", "Grain (1 is ideal)", 2, 0),
    Measure("bits_per_dim", "Bits per dimension", 3, -1),
)


class Interval(NamedTuple):
    """Mean over images, with half the width of its 95 % confidence interval (None: of a set, or of one image)."""

    mean: float
    half: float | None = None
    images: int = 1

    def as_json(self) -> dict[str, Any]:
        """The interval as JSON reports hold it."""
        return {"mean": plain(self.mean), "ci95": plain(self.half), "images": self.images}


NONE = "–"
"""Shown in place of a figure that does not exist or was not measured."""


class Cell(NamedTuple):
    """A cell of a table: its text, a smaller note behind it, and whether it is the best of its line."""

    text: str
    note: str = ""
    best: bool = False


class Table(NamedTuple):
    """The head of every column but the first, and the lines: a label and the cells of those columns."""

    head: list[Cell]
    lines: list[tuple[str, list[Cell]]]

    def markdown(self) -> list[str]:
        """The table as lines of Markdown, in which nothing is marked as best."""
        lines = [
            "| | " + " | ".join(", ".join(filter(None, map(_safe, cell[:2]))) for cell in self.head) + " |",
            "|---|" + "---:|" * len(self.head),
        ]
        for label, cells in self.lines:
            texts = [" ".join(filter(None, cell[:2])) for cell in cells]
            lines.append(f"| {_safe(label)} | " + " | ".join(texts) + " |")
        return lines


def _safe(text: str) -> str:
    """A name as a cell of a Markdown table shows it."""
    return html.escape(printable(text.replace("\N{NO-BREAK SPACE}", " ")), quote=False).replace("|", "/")


def table_of(rows: dict[str, dict[str, Interval]], mark_best: bool = True) -> Table:
    """A table of figures by the row's name and the measure's, with a line per measure and a column per row.

    It is turned like this because there are usually more measures than rows. Measures that no row has are left out.
    """
    lines = []
    for measure in measures_of(rows):
        best = _best(measure, rows) if mark_best else None
        values = [row.get(measure.name) for row in rows.values()]
        cells = [figure_cell(measure, value, value is not None and value.mean == best) for value in values]
        lines.append((heading(measure), cells))
    return Table([Cell(name) for name in rows], lines)


def measures_of(rows: dict[str, dict[str, Interval]]) -> list[Measure]:
    """The measures that some row has, in the order of reports."""
    return [m for m in MEASURES if any(m.name in row for row in rows.values())]


def figure_cell(measure: Measure, value: Interval | None, best: bool = False) -> Cell:
    """A figure, with its confidence interval as the note."""
    if value is None or math.isnan(value.mean):
        return Cell(NONE)
    note = "" if value.half is None else f"± {value.half:.{measure.digits}f}"
    return Cell(f"{value.mean:.{measure.digits}f}", note, best)


def heading(measure: Measure, label: str | None = None) -> str:
    """A measure's label (or another), then a non-breaking space and an arrow for the better direction, if any."""
    arrow = {1: "\N{NO-BREAK SPACE}↑", -1: "\N{NO-BREAK SPACE}↓", 0: ""}[measure.better]
    return (label or measure.label) + arrow


def _best(measure: Measure, rows: dict[str, dict[str, Interval]]) -> float | None:
    """The best mean of a measure that has one, if there are several to choose from."""
    means = [row[measure.name].mean for row in rows.values() if measure.name in row]
    means = [mean for mean in means if not math.isnan(mean)]
    if not measure.better or len(means) < 2:
        return None
    return max(means) if measure.better > 0 else min(means)


def plain(value: float | None) -> float | str | None:
    """A figure for JSON: infinity as text, None for what is no number."""
    if value is None or math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)


def csv_text(columns: list[str], lines: Iterable[dict[str, Any]]) -> str:
    """These columns as CSV: missing values are empty, values of other columns are left out.

    Texts are made printable; those that a spreadsheet would take for a formula begin with an apostrophe.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _text(value) for key, value in line.items()} for line in lines)
    return buffer.getvalue()


def _text(value: Any) -> Any:
    """A cell of a CSV file."""
    if not isinstance(value, str):
        return value
    return f"'{printable(value)}" if value.startswith(("=", "+", "-", "@")) else printable(value)


def json_of(content: dict[str, Any]) -> str:
    """A report's content as the text of a JSON file."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
