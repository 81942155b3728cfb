"""One HTML page that needs nothing else: the table, the plots, and every photograph's pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from markupsafe import Markup

from ncsr.evaluation.html import Cell, Table, data_url, figure_cell, render_in_pieces
from ncsr.evaluation.pictures import DEVIATION_SCALE
from ncsr.evaluation.results import Interval, Measure, Results, arrow, caption, cell, json_text


def page(results: Results, sections: Iterable[str], plot: bytes | None, chapter: str = "") -> Iterator[str]:
    """The page, piece by piece.

    Args:
        results: what was measured.
        sections: HTML of `ncsr.evaluation.pictures`, one for each photograph that is shown.
        plot: PNG of a sweep over temperatures, if there is one.
        chapter: HTML that comes first.
    """
    count = len(results.records)
    scale = results.settings.protocol.scale
    return render_in_pieces(
        "page.html",
        title=f"{results.folder}: {count} photograph{'s' * (count > 1)}, x{scale}",
        caption=caption(results),
        chapter=Markup(chapter),
        table=_table(results),
        notes=results.notes,
        plot=plot and data_url(plot),
        settings=results.settings,
        models=dict.fromkeys(f"{row.model} ({row.fingerprint})" for row in results.settings.rows if row.fingerprint),
        command=results.command,
        deviation_scale=DEVIATION_SCALE,
        sections=map(Markup, sections),
        json=json_text(results),
    )


def _table(results: Results) -> Table:
    measures = results.measures
    best = {m.name: _best(results, m) for m in measures}
    lines = []
    for row in results.settings.rows:
        values = [(m, results.table[row.name].get(m.name)) for m in measures]
        cells = [figure_cell(cell(v, m), v is not None and v.mean == best[m.name]) for m, v in values]
        lines.append((row.name, cells))
    return Table([Cell(m.label + arrow(m)) for m in measures], lines)


def _best(results: Results, measure: Measure) -> float | None:
    """The best mean of a measure that has one, if there are several to choose from."""
    found: list[Interval] = [row[measure.name] for row in results.table.values() if measure.name in row]
    means = [i.mean for i in found if not math.isnan(i.mean)]
    if not measure.better or len(means) < 2:
        return None
    return max(means) if measure.better > 0 else min(means)
