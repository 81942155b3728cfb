"""The methods whose images are measured: bicubic, models, and folders of images that somebody made."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from ncsr.errors import InputError
from ncsr.evaluation.pairs import Pair, read_sample
from ncsr.evaluation.protocol import Row
from ncsr.images import Photo
from ncsr.images.origin import Provenance, plain
from ncsr.metrics import dequantised_bits_per_dim
from ncsr.model import NCSR
from ncsr.ops.resize import imresize
from ncsr.serialization import fingerprint
from ncsr.upscaling.api import upscale_photo
from ncsr.upscaling.provenance import model_name, provenance_of
from ncsr.upscaling.tiling import SampleRequest

ENCODER = ":encoder"
BICUBIC = "bicubic"


class Method:
    """The base of all methods: each makes the images of one row of the table, `row`."""

    origin: Provenance
    """The provenance of its images, as far as it is known."""

    def __init__(self, row: Row) -> None:
        self.row = row

    def samples(self, pair: Pair) -> Tensor:
        """Its images of a photograph, (n, 3, s h, s w) uint8, or floating point in [0, 1], on the CPU."""
        raise NotImplementedError

    def bits_per_dim(self, pair: Pair) -> float | None:
        """Bits per dimension of the photograph; None without a likelihood."""
        return None


class Bicubic(Method):
    """MATLAB-compatible bicubic enlargement."""

    def __init__(self) -> None:
        super().__init__(Row(name=BICUBIC, model=BICUBIC, samples=1, deterministic=True))
        self.origin = plain("bicubic enlargement")

    def samples(self, pair: Pair) -> Tensor:
        """One 8-bit image."""
        return imresize(pair.lr, pair.scale)[None]


class ImageFolder(Method):
    """Images that somebody made, in a folder.

    Args:
        folder: the folder, for the row of the table.
        index: its index in `PhotographFiles.samples`, which lists the files.
        name: of the row; None is the folder.
    """

    def __init__(self, folder: Path, index: int, name: str | None = None) -> None:
        super().__init__(Row(name=name or str(folder), model=str(folder), samples=None))
        self.origin = Provenance(ncsr=version("ncsr"), picture="part of a report")
        self._index = index

    def samples(self, pair: Pair) -> Tensor:
        """The images of a photograph's files, in order."""
        return torch.stack([read_sample(path, pair) for path in pair.files.samples[self._index]])


class ModelMethod(Method):
    """A model at one temperature.

    Args:
        name: of the row.
        argument: the model as the command names it.
        model: in eval mode.
        request: which samples. Its temperature applies to flows only; a model that draws no noise makes one image.
    """

    def __init__(self, name: str, argument: str, model: NCSR, request: SampleRequest) -> None:
        temperature: float | None = request.temperature
        noisy = request.temperature > 0
        if model.flow is None:  # its noise, if it has any, is on or off
            temperature, noisy = None, model.config.encoder.dense_block == "esrgan+"
            request = request._replace(temperature=1.0)
        request = request if noisy else request._replace(samples=1)
        row = Row(
            name=name,
            model=argument,
            fingerprint=fingerprint(model.config, model.state_dict()),
            temperature=temperature,
            samples=request.samples,
            deterministic=not noisy,
        )
        super().__init__(row)
        self._model, self._request = model, request
        self.origin = provenance_of(model, model_name(argument), request)

    def samples(self, pair: Pair) -> Tensor:
        """Its images, clamped to [0, 1], float32."""
        photo = Photo(pair.lr.float() / 255)  # a gray photograph is enlarged as any other
        return torch.stack([p.rgb for p in upscale_photo(photo, self._model, self._request)])

    def bits_per_dim(self, pair: Pair) -> float | None:
        """Bits per dimension of a photograph that fits into a tile, whatever the temperature; None of larger ones."""
        tile = self._request.tile
        if self._model.flow is None or (tile is not None and max(pair.lr.shape[-2:]) > tile):
            return None
        lr = pair.lr[None].float() / 255
        with torch.no_grad():
            space = self._model.training_space(lr)  # unlike `space`, it prepares no sampling, and "auto" is float32
        return dequantised_bits_per_dim(space, pair.hr[None]).item()


def encoder_alone(model: NCSR) -> NCSR:
    """The encoder of a model as a model, sharing its weights."""
    alone = NCSR(model.config.model_copy(update={"flow": None}), model.precision)
    alone.encoder = model.encoder
    return alone.requires_grad_(False).eval()


def methods_of(argument: str, model: NCSR, request: SampleRequest, temperatures: list[float]) -> list[ModelMethod]:
    """The rows of one model: an encoder once; a flow at 0 and at each temperature given or, if none is, its default."""
    name = short_name(argument)
    if model.flow is None:
        return [ModelMethod(name, argument, model, request)]
    chosen = sorted({0.0, *(temperatures or [model.config.temperature])})
    return [ModelMethod(f"{name}, t = {t:g}", argument, model, request._replace(temperature=t)) for t in chosen]


def check_unique_names(methods: Sequence[Method]) -> None:
    """Raise InputError if two rows would have the same name."""
    names = [method.row.name for method in methods]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two of what is to be compared are called {twice!r}: rename one of the folders")


def short_name(argument: str) -> str:
    """The last part of a model's path; for RUN/model, as training writes it, that is RUN."""
    path = Path(argument)
    if path.name == "model.safetensors":
        path = path.parent
    return path.parent.name if path.name == "model" and path.parent.name else path.name
