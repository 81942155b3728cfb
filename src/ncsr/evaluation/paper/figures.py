"""The paper's figures: what is kept of every photograph, and drawing it (matplotlib, the `eval` extra)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import ImageDraw
from torch import Tensor

from ncsr.evaluation.crops import Crop, find_textured_crop
from ncsr.evaluation.pairs import Pair
from ncsr.evaluation.paper.differences import MethodForRow
from ncsr.evaluation.paper.items import Item
from ncsr.evaluation.pictures import RowImages, picture
from ncsr.evaluation.plots import figure_png
from ncsr.images.origin import together
from ncsr.images.sheet import thumbnail
from ncsr.metrics import lr_psnr
from ncsr.ops.resize import imresize

Panels = dict[str, Tensor]
"""Pictures (H, W, 3) uint8 by two digits for their order and a label; at `CROP`: top, left, side of the close-up."""

CROP = "crop"
_MOST = 5  # samples side by side
_ACROSS = 4  # photographs side by side
_FRAME = "#d62728"


class _Cell(NamedTuple):
    """A picture in a figure's grid: where it begins, how many lines and columns it spans, and what stands under it."""

    line: int
    column: int
    span: int
    label: str
    pixels: Any


def panels_of(item: Item, methods: list[MethodForRow], pair: Pair, shown: list[RowImages]) -> Panels:
    """The pictures of a photograph for a figure: those of `methods` among all rows of the evaluation, `shown`."""
    labels = {m.method.row.name: m.paper.label for m in methods}
    rows = [(labels[s.row.name], s.samples) for s in shown if s.row.name in labels]
    if item.kind == "worst":
        return _numbered([(label, _small(s[int(lr_psnr(s, pair.lr).argmin())])) for label, s in rows])
    crop = find_textured_crop(pair.hr, pair.scale)

    def close(image: Tensor) -> Tensor:
        return crop.of(image).permute(1, 2, 0).contiguous()

    lr = close(pair.lr_pixels)
    if item.kind == "comparison":
        crops = [("LR", lr), ("bicubic", close(imresize(pair.lr, pair.scale)))]
        crops += [(label, close(samples[0])) for label, samples in rows]
        panels = [("whole", _small(pair.hr, crop)), *crops, ("HR", close(pair.hr))]
    else:
        samples = [s for _, group in rows for s in group[:_MOST]]
        panels = [("LR", lr), *((f"sample {k}", close(s)) for k, s in enumerate(samples))]
    return _numbered(panels) | {CROP: torch.tensor(crop)}


def draw(item: Item, panels: dict[str, Panels], records: list[dict[str, Any]], methods: list[MethodForRow]) -> bytes:
    """The figure as PNG, from the photographs' panels by name and their records in order."""
    from matplotlib.figure import Figure

    cells: list[_Cell] = []
    for i, record in enumerate(records):
        name, found = record["name"], panels[record["name"]]
        shown = [(key[3:], found[key].numpy()) for key in sorted(found) if key != CROP]
        if item.kind == "worst":
            (column,), row = item.columns, methods[0].method.row.name
            under = f"{name}\n{column.label}: {record['figures'][row][column.measure]:.2f}"
            cells.append(_Cell(*divmod(i, _ACROSS), 1, under, shown[0][1]))
        elif item.kind == "samples":
            labels = [f"{label}, {name}" if label == "LR" else label for label, _ in shown]
            cells += [_Cell(i, k, 1, label, p) for k, (label, (_, p)) in enumerate(zip(labels, shown, strict=True))]
        else:  # the photograph at the left, close-ups in two lines beside it
            (_, whole), *rest = shown
            half = math.ceil(len(rest) / 2)
            cells.append(_Cell(2 * i, 0, 2, name, whole))
            cells += [_Cell(2 * i + k // half, 2 + k % half, 1, label, p) for k, (label, p) in enumerate(rest)]
    lines, across = max(c.line + c.span for c in cells), max(c.column + c.span for c in cells)
    side = 3.2 if item.kind == "worst" else 1.8
    figure = Figure(figsize=(across * side, lines * (side + 0.2)), layout="constrained")
    grid = figure.add_gridspec(lines, across)
    for cell in cells:
        ax = figure.add_subplot(grid[cell.line : cell.line + cell.span, cell.column : cell.column + cell.span])
        ax.imshow(cell.pixels, interpolation="nearest")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.set_xlabel(cell.label, fontsize=9, labelpad=3)
    origin = together((m.method.origin for m in methods), "part of a report")
    most = max(len(origin.samples), 1)
    seen = {"comparison": 1, "samples": min(most, _MOST), "worst": most}[item.kind]
    return figure_png(figure, 160, origin.model_copy(update={"samples": [*range(seen)]}).record())


def _numbered(panels: list[tuple[str, Tensor]]) -> Panels:
    return {f"{i:02d} {label}": image for i, (label, image) in enumerate(panels)}


def _small(image: Tensor, crop: Crop | None = None) -> Tensor:
    """(3, H, W) as (H', W', 3) of at most 512 pixels a side, with a frame around a square."""
    whole = picture(image)
    if crop:
        ImageDraw.Draw(whole).rectangle(crop.box, outline=_FRAME, width=max(2, max(whole.size) // 150))
    return torch.from_numpy(np.array(thumbnail(whole)))
