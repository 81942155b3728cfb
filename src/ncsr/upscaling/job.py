"""What a run does to every photograph, the photographs in the queue, and the result of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ncsr.errors import InputError, SamplingError
from ncsr.images import Source
from ncsr.images.origin import Provenance
from ncsr.model import NCSR
from ncsr.runtime.memory import is_exhaustion, tightest
from ncsr.runtime.remote import Remote
from ncsr.upscaling.final_size import FinalSize
from ncsr.upscaling.paths import Location, tagged
from ncsr.upscaling.provenance import provenance_of, sidecar_path
from ncsr.upscaling.tiling import SampleRequest


@dataclass(frozen=True)
class Job:
    """What is done to every photograph.

    Attributes:
        model: in eval mode.
        request: which samples are wanted.
        sheet: whether a contact sheet is written.
        std: whether a map of the samples' standard deviation is written.
        strip: whether EXIF, colour profile and provenance are left out of the pictures.
        max_pixels: the largest photograph that is read as a whole.
        model_name: the model's name in provenance records; None for a model without one.
        sidecar: whether each picture's provenance is also written beside it.
        settings: everything that decides the results, for manifests; None writes no manifests.
        allow_incomplete: whether JPEG files whose data end early are enlarged, too.
        size: the final size of the results; None for all that the model gives.
        measure: whether LR-PSNR is measured of every sample.
        quality: 1 to 100, for results in formats that have a quality; None is the format's default.
        std_suffix: of the map: `.png` for a picture, `.tif` or `.npy` for the numbers.
        page: the page or frame of the photograph's file, 1 the first; None is the first, with a note if there are more.
        pages: the page by the path of the result, where results are made from different pages.
    """

    model: NCSR
    request: SampleRequest
    sheet: bool
    std: bool
    strip: bool
    max_pixels: int
    model_name: str | None = None
    sidecar: bool = False
    settings: Mapping[str, Any] | None = None
    allow_incomplete: bool = False
    size: FinalSize | None = None
    measure: bool = False
    quality: int | None = None
    std_suffix: str = ".png"
    page: int | None = None
    pages: Mapping[Path | Remote, int] = field(default_factory=dict)

    @cached_property
    def provenance(self) -> Provenance:
        """The origin of all pictures, without the facts that depend on the photograph."""
        return provenance_of(self.model, self.model_name, self.request)

    def final_size(self, source: Source) -> tuple[int, int] | None:
        """(H, W) that the results of a photograph are reduced to; None for what the model gives, as `FinalSize.of`."""
        return None if self.size is None else self.size.of(source.size, self.model.config.scale)

    def names(self, target: Location) -> list[Location]:
        """The files that a photograph becomes: its pictures and, if asked for, the sidecars of these."""
        pictures = self.pictures(target)
        return pictures + [sidecar_path(picture) for picture in pictures if self.sidecar]

    def pictures(self, target: Location) -> list[Location]:
        """The pictures that a photograph becomes: its samples, then the map and the sheet, if asked for."""
        n = self.request.samples
        samples = [target] if n == 1 else [tagged(target, f"s{k}") for k in range(n)]
        extras = (("std", self.std_suffix, self.std), ("sheet", ".png", self.sheet))
        return samples + [tagged(target, tag).with_suffix(suffix) for tag, suffix, wanted in extras if wanted]

    def page_of(self, target: Path | Remote) -> int | None:
        """The page that the result at `target` is made from; None as in `page`."""
        return self.pages.get(target, self.page)


@dataclass(frozen=True)
class QueuedPhoto:
    """A photograph, and what is known of it before it is computed.

    Attributes:
        path: of its file.
        target: path of its result, before `_s0` and the like.
        source: the opened photograph; None for a large one, which is opened when it is computed.
        batch_limit: how many photographs of its size may be computed in one batch.
        settings: for its manifest; None writes none.
        done: whether its manifest says that it is done.
        failure: a sentence about what is wrong with it; None if nothing is.
    """

    path: Path
    target: Path
    source: Source | None = None
    batch_limit: int = 1
    settings: Mapping[str, Any] | None = None
    done: bool = False
    failure: str | None = None


class UpscaleResult(NamedTuple):
    """The outcome for one photograph.

    Attributes:
        path: of the photograph.
        skipped: whether it was done before with the same settings.
        paths: the files that were written: samples, map, sheet, sidecars, in this order.
        notes: sentences for the user about the photograph and these files.
        failure: the sentence about what went wrong; None if nothing did.
        seconds: the time it took; for a photograph of a batch, an equal share.
        lr_psnr: of each sample in dB; empty if it was not measured.
    """

    path: Path | Remote
    skipped: bool = False
    paths: Sequence[Path | Remote] = ()
    notes: Sequence[str] = ()
    failure: str | None = None
    seconds: float = 0.0
    lr_psnr: Sequence[float] = ()


def error_message(path: Path, target: Path, error: Exception) -> str:
    """The sentence for an error that is due to the photograph or to want of memory; any other is raised again."""
    message = str(error)
    if isinstance(error, (InputError, SamplingError)):
        named = any(re.search(rf"(?<![\w./-]){re.escape(str(name))}(?![\w/-])", message) for name in (path, target))
        return message if named else f"{path}: {message}"
    if not is_exhaustion(error):
        raise error
    free, where, remedy = tightest()
    return f"{path}: not enough memory: {free / 2**20:.0f} MiB are free{where}; {remedy} or ask for a smaller --tile"
