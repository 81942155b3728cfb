"""The section of the page on one photograph: pictures of everything, and two squares close up."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from ncsr.evaluation.crops import Crop, find_crops
from ncsr.evaluation.html import data_url, render
from ncsr.evaluation.methods import BICUBIC
from ncsr.evaluation.pairs import Pair
from ncsr.evaluation.protocol import Row
from ncsr.evaluation.tables import Interval, table_of
from ncsr.images import picture_of
from ncsr.images.origin import Provenance, plain
from ncsr.images.png import encode_png
from ncsr.images.sheet import FULL_WHITE, deviation_map, thumbnail
from ncsr.images.xmp import packet_of
from ncsr.ops.resize import imresize

DEVIATION_SCALE = f"standard deviation over samples: black 0, white {FULL_WHITE} grey levels of 255 or more"
_PHOTOGRAPH, _ENLARGED = plain("photograph").record(), plain("bicubic enlargement").record()
_COLOURS = {"worst": "#d62728", "best": "#1f77b4"}


class RowImages(NamedTuple):
    """One row's images of a photograph: (n, 3, H, W) uint8, their mean LPIPS per pixel, and where they come from."""

    row: Row
    samples: Tensor
    error: Tensor
    origin: Provenance

    def record(self, *samples: int) -> str:
        """What a picture of these samples says of its origin."""
        shown = {"picture": "part of a report", "samples": [*samples]}
        return self.origin.model_copy(update=shown).record()


class _Picture(NamedTuple):
    """A picture of the page: the text under it, and a data URL."""

    label: str
    source: str


def photograph_section(pair: Pair, shown: list[RowImages], figures: dict[str, dict[str, float]]) -> str:
    """HTML of one photograph: all rows and, by name, their figures."""
    height, width = pair.hr.shape[-2:]
    chosen = ([s for s in shown if len(s.samples) > 1] or shown)[-1]  # its errors decide what is looked at
    crops = find_crops(chosen.error, pair.hr)
    by = f"place by LPIPS of {chosen.row.name}"
    titles = {"worst": f"Worst {by}", "best": f"Best {by}, among places with texture"}
    return render(
        "photograph.html",
        name=pair.files.name,
        size=f"{pair.lr.shape[-1]} × {pair.lr.shape[-2]} → {width} × {height} pixels",
        whole=_whole(pair, shown, crops),
        closeups=[(_COLOURS[kind], titles[kind], _closeup(pair, shown, crop)) for kind, crop in crops.items()],
        table=table_of(
            {row: {n: Interval(v) for n, v in found.items()} for row, found in figures.items()}, mark_best=False
        ),
    )


def _whole(pair: Pair, shown: list[RowImages], crops: dict[str, Crop]) -> list[_Picture]:
    framed = picture(pair.hr)
    draw = ImageDraw.Draw(framed)
    for kind, crop in crops.items():
        draw.rectangle(crop.box, outline=_COLOURS[kind], width=3)
    panels = [
        (framed, "photograph", _PHOTOGRAPH),
        (picture(pair.lr_pixels), "LR", _PHOTOGRAPH),
        (picture(imresize(pair.lr, pair.scale)), BICUBIC, _ENLARGED),
    ]
    for s in shown:
        name, samples = s.row.name, s.samples
        if s.row.model == BICUBIC:
            continue
        several = len(samples) > 1
        panels.append((picture(samples[0]), name + (", sample 0" if several else ""), s.record(0)))
        if several:
            panels.append((_deviation(samples), f"{name}, standard deviation", s.record(*range(len(samples)))))
    return [_Picture(label, data_url(_file(thumbnail(p), "JPEG", record), "jpeg")) for p, label, record in panels]


def _closeup(pair: Pair, shown: list[RowImages], crop: Crop) -> list[tuple[str, list[_Picture]]]:
    """The lines of a close-up: one of all single images, then one of samples for each row with several.

    Each line is a heading and its pictures.
    """
    lr = Crop(*(value // pair.scale for value in crop)).of(pair.lr)
    singles = [
        (crop.of(pair.hr), "photograph", _PHOTOGRAPH),
        (lr, "LR", _PHOTOGRAPH),
        (crop.of(imresize(pair.lr, pair.scale)), BICUBIC, _ENLARGED),
    ]
    alone = [s for s in shown if len(s.samples) == 1 and s.row.model != BICUBIC]
    singles += [(crop.of(s.samples[0]), s.row.name, s.record(0)) for s in alone]
    lines = [("", [_exact(picture(image), label, record) for image, label, record in singles])]
    for s in shown:
        if len(s.samples) > 1:
            cropped = crop.of(s.samples)
            pictures = [_exact(picture(sample), f"sample {k}", s.record(k)) for k, sample in enumerate(cropped)]
            lines.append((s.row.name, [*pictures, _exact(_deviation(cropped), "std", s.record(*range(len(cropped))))]))
    return lines


def picture(image: Tensor) -> Image.Image:
    """(3, H, W) uint8 as a picture."""
    return picture_of(image.permute(1, 2, 0).cpu().contiguous().numpy(), transparency=False).convert("RGB")


def _deviation(samples: Tensor) -> Image.Image:
    """A picture of where samples differ; white is `FULL_WHITE` grey levels or more."""
    return deviation_map(samples.float().std(0, correction=0).mean(0) / 255).convert("RGB")


def _exact(image: Image.Image, label: str, record: str) -> _Picture:
    return _Picture(label, data_url(_file(image, "PNG", record)))


def _file(image: Image.Image, kind: str, record: str) -> bytes:
    """A picture as the bytes of a file that says where it comes from."""
    packet = packet_of(record)
    if kind == "PNG":
        return encode_png(np.asarray(image), None, None, None, packet, record=record)
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=88, subsampling=0, xmp=packet)
    return buffer.getvalue()
