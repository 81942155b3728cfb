"""One HTML page that needs nothing else: the table, the plots, and every photograph's pictures."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Iterator
from html import escape

from ncsr.evaluation.pictures import DEVIATION_SCALE
from ncsr.evaluation.results import Interval, Measure, Results, arrow, caption, cell, json_text

_STYLE = """
:root { color-scheme: light }
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 1480px; margin: 2rem auto;
  padding: 0 1.5rem }
h1 { font-size: 1.6rem; margin: 0 0 .3rem } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem }
h3 { font-size: 1.05rem; margin: 0 0 .6rem } h3 small, .quiet { color: #666; font-weight: normal; font-size: .85rem }
h4 { font-size: .9rem; font-weight: 600; margin: 1.1rem 0 .35rem }
h4 i { display: inline-block; width: .75em; height: .75em; margin-right: .5em }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .82rem; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .5rem; text-align: right; border-bottom: 1px solid #e3e3e3; white-space: nowrap }
tr:first-child th { white-space: normal; vertical-align: bottom; font-weight: 600; border-bottom: 1.5px solid #444;
  border-top: 1.5px solid #444; min-width: 4.6rem }
tr:last-child > * { border-bottom: 1.5px solid #444 }
th:first-child { text-align: left; position: sticky; left: 0; background: #fff } td small { color: #777;
  display: block; font-weight: normal }
td.best { font-weight: 700 }
.note { border-left: 3px solid #d9a400; background: #fffbea; padding: .4rem .8rem; margin: .5rem 0 }
section { border-top: 1px solid #ccc; padding: 1.3rem 0; break-inside: avoid }
figure { margin: 0 } figcaption { font-size: .74rem; color: #444; text-align: center; padding-top: .15rem }
.whole { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: .7rem }
.whole img { width: 100% }
.close { display: flex; flex-wrap: wrap; gap: .3rem; align-items: flex-start; margin-bottom: .35rem }
.close b { flex-basis: 100%; font-size: .78rem; font-weight: 600 }
.close figure { width: 128px } .close img { width: 128px; height: 128px; image-rendering: pixelated; display: block }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; font-size: .85rem } dt { color: #666 }
dd { margin: 0 } img.plot { max-width: 100% } pre { font-size: .72rem; overflow: auto; max-height: 30rem }
code { overflow-wrap: anywhere }
@media print { details, .close { break-inside: avoid } }
"""


def page(results: Results, fragments: Iterable[str], plot: bytes | None, chapter: str = "") -> Iterator[str]:
    """The page, piece by piece.

    Args:
        results: what was measured.
        fragments: of `ncsr.evaluation.pictures`, one per photograph that is shown.
        plot: PNG of a sweep over temperatures, if there is one.
        chapter: HTML that comes first.
    """
    title = f"{results.folder}: {len(results.records)} photograph{'s' * (len(results.records) > 1)}, x"
    title += str(results.settings.protocol.scale)
    yield f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>\n'
    yield f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>\n<body>\n'
    yield f'<h1>{escape(title)}</h1>\n<p class="quiet">{escape(caption(results))}</p>\n'
    yield chapter
    yield f"<h2>Figures</h2>\n{_table(results)}\n"
    yield '<p class="quiet">↑ more is better, ↓ less; bold is best. Texture distance and grain are of the set.</p>\n'
    yield from (f'<p class="note">{escape(note)}</p>\n' for note in results.notes)
    if plot is not None:
        data = base64.b64encode(plot).decode()
        yield f'<h2>Against temperature</h2>\n<img class="plot" alt="sweep" src="data:image/png;base64,{data}">\n'
    yield f"<h2>Protocol</h2>\n{_protocol(results)}\n"
    yield f'<h2>Photographs</h2>\n<p class="quiet">Close-ups show every pixel; {DEVIATION_SCALE}.</p>\n'
    yield from fragments
    yield f"<details><summary>results.json</summary><pre>{escape(json_text(results))}</pre></details>\n</body></html>\n"


def _table(results: Results) -> str:
    measures = results.measures
    best = {m.name: _best(results, m) for m in measures}
    head = "".join(f"<th>{escape(m.label)}{arrow(m)}</th>" for m in measures)
    lines = []
    for row in results.settings.rows:
        cells = []
        for m in measures:
            value = results.table[row.name].get(m.name)
            mark = ' class="best"' if value is not None and value.mean == best[m.name] else ""
            number, _, spread = cell(value, m).partition(" ± ")
            cells.append(f"<td{mark}>{number}{f' <small>± {spread}</small>' if spread else ''}</td>")
        lines.append(f"<tr><th>{escape(row.name)}</th>{''.join(cells)}</tr>")
    return f'<div class="wide"><table><tr><th></th>{head}</tr>{"".join(lines)}</table></div>'


def _best(results: Results, measure: Measure) -> float | None:
    """The best mean of a measure that has one, if there are several to choose from."""
    found: list[Interval] = [row[measure.name] for row in results.table.values() if measure.name in row]
    means = [i.mean for i in found if not math.isnan(i.mean)]
    if not measure.better or len(means) < 2:
        return None
    return max(means) if measure.better > 0 else min(means)


def _protocol(results: Results) -> str:
    settings = results.settings
    named = {
        "LR images": settings.protocol.lr_images,
        "crop": settings.protocol.crop,
        "colour": settings.protocol.colour,
        "shaved": f"{settings.protocol.shave} pixels off each border for PSNR and SSIM",
        "rounding": settings.protocol.rounding,
        "LPIPS": settings.protocol.lpips,
        "NTIRE 2021": settings.protocol.ntire,
        "bits per dimension": settings.protocol.bits_per_dim,
        "models": "; ".join(dict.fromkeys(f"{r.model} ({r.fingerprint})" for r in settings.rows if r.fingerprint)),
        "computed": f"{settings.protocol.device}, {settings.protocol.precision}, ncsr {settings.ncsr}, "
        f"torch {settings.torch}",
    }
    lines = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in named.items() if v)
    return f"<dl>{lines}<dt>command</dt><dd><code>{escape(results.command)}</code></dd></dl>"
