"""The part of the page on one photograph: pictures of everything, and two places close up."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from ncsr.evaluation.pairs import Pair
from ncsr.evaluation.protocol import Row
from ncsr.evaluation.results import MEASURES, arrow
from ncsr.images import picture_of
from ncsr.images.sheet import FULL_WHITE, deviation_map, fitted
from ncsr.ops.resize import imresize

SIDE = 64  # pixels of a close-up, at most
_STRIDE = 8  # between places that are looked at: LR pixels stay whole
_COLOURS = {"worst": "#d62728", "best": "#1f77b4"}


class Shown(NamedTuple):
    """One row's images of a photograph: (n, 3, H, W) uint8, and their mean error per pixel."""

    row: Row
    samples: Tensor
    error: Tensor


def fragment(pair: Pair, shown: list[Shown], figures: dict[str, dict[str, float]], lpips: bool) -> str:
    """HTML of one photograph.

    Args:
        pair: the photograph and its LR image.
        shown: all rows, in the order of the table.
        figures: by the row's name.
        lpips: whether errors are LPIPS; else squared grey levels.
    """
    height, width = pair.hr.shape[-2:]
    chosen = _chosen(shown)
    places = find_places(chosen.error, pair.hr)
    size = f"{pair.lr.shape[-1]} × {pair.lr.shape[-2]} → {width} × {height} pixels"
    by = "LPIPS" if lpips else "squared error"
    closeups = []
    for kind, place in places.items():
        said = f"{kind.capitalize()} place by {by} of {escape(chosen.row.name)}"
        rest = ", among places with texture" if kind == "best" else ""
        closeups.append(
            f'<h4><i style="background:{_COLOURS[kind]}"></i>{said}{rest}</h4>{_closeup(pair, shown, place)}'
        )
    return (
        f"<section><h3>{escape(pair.files.name)} <small>{size}</small></h3>\n"
        f'<div class="whole">{_whole(pair, shown, places)}</div>\n{"".join(closeups)}\n'
        f"<details><summary>Figures of this photograph</summary>{_table(shown, figures)}</details></section>\n"
    )


def find_places(error: Tensor, hr: Tensor) -> dict[str, tuple[int, int, int]]:
    """Where errors are greatest and least on average: "worst" and "best", each top, left and side in pixels.

    The least would be in flat sky: only the half of the places is looked at where the photograph varies more.

    Args:
        error: (H', W') per pixel, of at most the photograph's size.
        hr: (3, H, W) uint8.
    """
    height, width = error.shape
    side = min(SIDE, height // _STRIDE * _STRIDE, width // _STRIDE * _STRIDE)
    errors = F.avg_pool2d(error[None, None].double(), side, _STRIDE)[0, 0]
    y = hr[:, :height, :width].double().mean(0)[None, None]
    texture = (F.avg_pool2d(y * y, side, _STRIDE) - F.avg_pool2d(y, side, _STRIDE).square())[0, 0]
    textured = torch.where(texture >= texture.median(), errors, torch.inf)
    found = {}
    for kind, index in (("worst", errors.argmax()), ("best", textured.argmin())):
        row, column = divmod(int(index), errors.shape[1])
        found[kind] = (row * _STRIDE, column * _STRIDE, side)
    return found


def _chosen(shown: list[Shown]) -> Shown:
    """Whose errors decide what is looked at: the last row that draws samples, else the last."""
    several = [s for s in shown if len(s.samples) > 1]
    return (several or shown)[-1]


def _whole(pair: Pair, shown: list[Shown], places: dict[str, tuple[int, int, int]]) -> str:
    scale = pair.hr.shape[-1] // pair.lr.shape[-1]
    framed = picture(pair.hr)
    draw = ImageDraw.Draw(framed)
    for kind, (top, left, side) in places.items():
        draw.rectangle((left, top, left + side - 1, top + side - 1), outline=_COLOURS[kind], width=3)
    panels = [
        (framed, "photograph"),
        (picture(pair.lr.repeat_interleave(scale, 1).repeat_interleave(scale, 2)), "LR"),
        (picture(imresize(pair.lr, scale)), "bicubic"),
    ]
    for row, samples, _ in shown:
        if row.model == "bicubic":
            continue
        several = len(samples) > 1
        panels.append((picture(samples[0]), row.name + (", sample 0" if several else "")))
        if several:
            panels.append((_deviation(samples), f"{row.name}, standard deviation"))
    return "".join(_figure(fitted(picture), label, quality=88) for picture, label in panels)


def _closeup(pair: Pair, shown: list[Shown], place: tuple[int, int, int]) -> str:
    """A line of what is one image each, then a line of samples for each row that has several."""
    top, left, side = place
    scale = pair.hr.shape[-1] // pair.lr.shape[-1]

    def crop(images: Tensor) -> Tensor:
        return images[..., top : top + side, left : left + side]

    lr = pair.lr[:, top // scale : (top + side) // scale, left // scale : (left + side) // scale]
    singles = [(crop(pair.hr), "photograph"), (lr, "LR"), (crop(imresize(pair.lr, scale)), "bicubic")]
    singles += [(crop(s.samples[0]), s.row.name) for s in shown if len(s.samples) == 1 and s.row.model != "bicubic"]
    lines = ["".join(_figure(picture(image), label) for image, label in singles)]
    for row, samples, _ in shown:
        if len(samples) > 1:
            cells = [_figure(picture(crop(sample)), f"sample {k}") for k, sample in enumerate(samples)]
            cells.append(_figure(_deviation(crop(samples)), "std"))
            lines.append(f"<b>{escape(row.name)}</b>" + "".join(cells))
    return "".join(f'<div class="close">{line}</div>' for line in lines)


def _table(shown: list[Shown], figures: dict[str, dict[str, float]]) -> str:
    measures = [m for m in MEASURES if any(m.name in row for row in figures.values())]
    head = "".join(f"<th>{escape(m.label)}{arrow(m)}</th>" for m in measures)
    lines = []
    for row, _, _ in shown:
        values = figures[row.name]
        cells = "".join(
            f"<td>{values[m.name]:.{m.digits}f}</td>" if m.name in values else "<td>–</td>" for m in measures
        )
        lines.append(f"<tr><th>{escape(row.name)}</th>{cells}</tr>")
    return f'<div class="wide"><table><tr><th></th>{head}</tr>{"".join(lines)}</table></div>'


def picture(image: Tensor) -> Image.Image:
    """(3, H, W) uint8 as a picture."""
    return picture_of(image.permute(1, 2, 0).cpu().contiguous().numpy(), transparency=False).convert("RGB")


def _deviation(samples: Tensor) -> Image.Image:
    """Where samples differ; white is `FULL_WHITE` grey levels or more."""
    return deviation_map(samples.float().std(0).mean(0) / 255).convert("RGB")


def _figure(picture: Image.Image, label: str, quality: int | None = None) -> str:
    """A picture within the page: JPEG of a quality, else PNG."""
    buffer = io.BytesIO()
    if quality is None:
        picture.save(buffer, "PNG")
    else:
        picture.save(buffer, "JPEG", quality=quality, subsampling=0)
    kind, data = "png" if quality is None else "jpeg", base64.b64encode(buffer.getvalue()).decode()
    text = escape(label)
    return f'<figure><img alt="{text}" src="data:image/{kind};base64,{data}"><figcaption>{text}</figcaption></figure>'


DEVIATION_SCALE = f"standard deviation over samples: black 0, white {FULL_WHITE} grey levels of 255 or more"
