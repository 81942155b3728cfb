"""Every measure against temperature, and calibration (matplotlib, the `eval` extra)."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import Tensor

from ncsr.errors import needs_extra
from ncsr.evaluation.protocol import Row
from ncsr.evaluation.results import Results
from ncsr.evaluation.tables import Measure, heading, measures_of
from ncsr.metrics import coverage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS, _WIDTH, _HEIGHT = 3, 3.6, 2.7  # inches of a panel


def is_sweep(rows: Iterable[Row]) -> bool:
    """Whether some model was measured at two temperatures above 0."""
    return any(len({row.temperature for row in of_model} - {0.0}) > 1 for of_model in _models(rows).values())


def sweep_png(results: Results, record: str) -> bytes:
    """A panel per measure: a line per model with its confidence interval, dashed lines for rows without temperature.

    Args:
        results: of the evaluation.
        record: of the plot's origin, stored in the file.

    Raises:
        InputError: matplotlib is not installed.
    """
    check_matplotlib()
    from matplotlib.figure import Figure

    measures = [m for m in measures_of(results.table) if m.name != "bits_per_dim"]  # not a matter of temperature
    lines = math.ceil(len(measures) / _COLUMNS)
    figure = Figure(figsize=(_COLUMNS * _WIDTH, lines * _HEIGHT + 0.4), layout="constrained")
    axes = figure.subplots(lines, _COLUMNS, squeeze=False).flatten()
    for ax, measure in zip(axes, measures, strict=False):
        _panel(ax, measure, results)
    for ax in axes[len(measures) :]:
        ax.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5), frameon=False, fontsize=9)
    return figure_png(figure, 150, record)


def calibration_png(gathered: dict[str, tuple[Tensor, Tensor]], record: str) -> bytes:
    """Two panels with a line for each row that has several samples; calibrated ones lie on the dashed diagonals.

    Error against spread by the samples' deviation (bins of at least 1 in 10000 values), and the share of values inside
    central intervals.

    Args:
        gathered: by row what `spread_and_error` and `pit_histogram` have counted.
        record: what the file says of its origin.

    Raises:
        InputError: matplotlib is not installed.
    """
    check_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2 * 4.2, 4.2), layout="constrained")
    spread_ax, interval_ax = figure.subplots(1, 2)
    longest = 1.0
    for row, (table, pit) in gathered.items():
        if not table.any():
            continue
        count, variance, error = table[table[:, 0] * 1e4 >= table[:, 0].sum()].T
        spread, skill = (variance / count).sqrt(), (error / count).sqrt()
        longest = max(longest, spread.max().item(), skill.max().item())
        spread_ax.plot(spread, skill, marker=".", label=row)
        interval_ax.plot(range(0, 101, 10), [0.0, *(100 * coverage(pit)).tolist()], marker=".")
    for ax, end, title, x, y in (
        (spread_ax, longest, "Error against spread (grey levels)", "deviation of the samples", "error of their mean"),
        (interval_ax, 100, "Coverage (%)", "central interval of the samples", "photographs inside"),
    ):
        ax.plot([0, end], [0, end], color="0.5", linestyle="--", linewidth=1)
        ax.set(title=title, xlabel=x, ylabel=y, xlim=(0, end), ylim=(0, end))
        ax.grid(alpha=0.25, linewidth=0.6)
        ax.spines[["top", "right"]].set_visible(False)
    handles, labels = spread_ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure_png(figure, 150, record)


def figure_png(figure: Figure, dpi: int, record: str) -> bytes:
    """A figure as PNG with a record of its origin; matplotlib's own version is left out of the file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None, "ncsr": record})
    return buffer.getvalue()


def check_matplotlib() -> None:
    """Raise InputError unless matplotlib is there."""
    with needs_extra("eval", "plots need matplotlib", "matplotlib"):
        import matplotlib  # noqa: F401


def _panel(ax: Axes, measure: Measure, results: Results) -> None:
    for i, (model, rows) in enumerate(_models(results.settings.rows).items()):
        points = [(row.temperature, results.table[row.name].get(measure.name)) for row in rows]
        known = [(t, v) for t, v in points if t is not None and v is not None and math.isfinite(v.mean)]
        label = rows[0].name.rpartition(", t = ")[0] or model
        errors = [v.half or 0.0 for _, v in known]
        drawn_at, means = [t for t, _ in known], [v.mean for _, v in known]
        ax.errorbar(drawn_at, means, errors, label=label, color=f"C{i}", marker="o", markersize=4, capsize=2.5)
    for i, row in enumerate(row for row in results.settings.rows if row.temperature is None):
        value = results.table[row.name].get(measure.name)
        if value is not None and math.isfinite(value.mean):
            ax.axhline(value.mean, color=f"{0.35 + 0.15 * (i % 3)}", linestyle="--", linewidth=1, label=row.name)
    ax.set_title(heading(measure), fontsize=10)
    ax.set_xlabel("temperature", fontsize=9)
    ax.tick_params(labelsize=8)
    ax.grid(alpha=0.25, linewidth=0.6)
    ax.spines[["top", "right"]].set_visible(False)


def _models(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.temperature is not None:
            found.setdefault(row.model, []).append(row)
    return found
