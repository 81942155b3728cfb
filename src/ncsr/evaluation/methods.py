"""Who makes the images that are measured: bicubic, a model, or somebody's files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ncsr.errors import InputError
from ncsr.evaluation.pairs import Pair, read_sample
from ncsr.evaluation.protocol import Row
from ncsr.images import Photo
from ncsr.metrics import dequantised_bits_per_dim
from ncsr.model import NCSR
from ncsr.ops.resize import imresize
from ncsr.serialization import fingerprint
from ncsr.upscaling.api import upscale_photo

ENCODER = ":encoder"
BICUBIC = "bicubic"


class Contestant:
    """One line of the table.

    Attributes:
        row: what it is.
    """

    def __init__(self, row: Row) -> None:
        self.row = row

    def samples(self, pair: Pair) -> Tensor:
        """(n, 3, s h, s w) uint8, or floating point in [0, 1], on the CPU."""
        raise NotImplementedError

    def bits_per_dim(self, pair: Pair) -> float | None:
        """Bits per dimension of the photograph; None without a likelihood."""
        return None


class Bicubic(Contestant):
    """MATLAB-compatible bicubic enlargement."""

    def __init__(self) -> None:
        super().__init__(Row(name=BICUBIC, model=BICUBIC, samples=1, deterministic=True))

    def samples(self, pair: Pair) -> Tensor:
        """One 8-bit image."""
        return imresize(pair.lr, pair.hr.shape[-1] // pair.lr.shape[-1])[None]


class Folder(Contestant):
    """Images that somebody made.

    Args:
        folder: where they lie.
        place: of the folder among those in `Files.samples`.
        name: of the line; None: the folder's.
    """

    def __init__(self, folder: Path, place: int, name: str | None = None) -> None:
        super().__init__(Row(name=name or str(folder), model=str(folder), samples=None))
        self._place = place

    def samples(self, pair: Pair) -> Tensor:
        """The files of a photograph, in order."""
        return torch.stack([read_sample(path, pair) for path in pair.files.samples[self._place]])


@dataclass(frozen=True)
class Drawing:
    """How models draw: seed, and side of the tiles in LR pixels."""

    seed: int
    tile: int


class Model(Contestant):
    """A model at one temperature.

    Args:
        row: what it is.
        model: in eval mode.
        drawing: how it draws.
    """

    def __init__(self, row: Row, model: NCSR, drawing: Drawing) -> None:
        super().__init__(row)
        self._model, self._drawing = model, drawing

    def samples(self, pair: Pair) -> Tensor:
        """Clamped to [0, 1], float32."""
        photo = Photo(pair.lr.float() / 255)  # a gray photograph is enlarged as any other
        temperature = 1.0 if self.row.temperature is None else self.row.temperature  # an encoder's: its noise is on
        n, seed, tile = self.row.samples or 1, self._drawing.seed, self._drawing.tile
        photos = upscale_photo(photo, self._model, n, temperature=temperature, seed=seed, tile=tile)
        return torch.stack([p.rgb for p in photos])

    def bits_per_dim(self, pair: Pair) -> float | None:
        """Of photographs that fit into a tile; whatever the temperature."""
        if self._model.flow is None or max(pair.lr.shape[-2:]) > self._drawing.tile:
            return None
        with torch.no_grad():
            space = self._model.training_space(pair.lr[None].float() / 255)  # by the layers, in float32
        return dequantised_bits_per_dim(space, pair.hr[None]).item()


def encoder_alone(model: NCSR) -> NCSR:
    """The encoder of a model as a model, sharing its weights."""
    alone = NCSR(model.config.model_copy(update={"flow": None}), model.precision)
    alone.encoder = model.encoder
    return alone.requires_grad_(False).eval()


def left_by_flow(argument: str) -> str:
    """What a reader must know of the encoder of a flow."""
    return (
        f"{argument} is the encoder as the flow's training left it. A flow that trains its encoder along keeps its "
        "features, not its image: the baseline RRDB is the model that the flow started from."
    )


def rows_of(argument: str, model: NCSR, samples: int, temperatures: list[float], drawing: Drawing) -> list[Model]:
    """The lines of one model: a flow at temperature 0 and at every other, an encoder once.

    Args:
        argument: as the command names it.
        model: in eval mode.
        samples: of each photograph, where the model draws any.
        temperatures: none takes the model's own.
        drawing: how they are drawn.
    """
    name = short_name(argument)
    if model.flow is None:
        return [row_of(name, argument, model, samples, None, drawing)]
    chosen = sorted({0.0, *(temperatures or [model.config.temperature])})
    return [row_of(f"{name}, t = {t:g}", argument, model, samples, t, drawing) for t in chosen]


def row_of(name: str, argument: str, model: NCSR, samples: int, temperature: float | None, drawing: Drawing) -> Model:
    """One line of one model.

    Args:
        name: of the line.
        argument: as the command names the model.
        model: in eval mode.
        samples: of each photograph, if the model draws any.
        temperature: of a flow; None for an encoder.
        drawing: how they are drawn.
    """
    noisy = model.config.encoder.dense_block == "esrgan+" if temperature is None else temperature > 0
    row = Row(
        name=name,
        model=argument,
        fingerprint=fingerprint(model.config, model.state_dict()),
        temperature=temperature,
        samples=samples if noisy else 1,
        deterministic=not noisy,
    )
    return Model(row, model, drawing)


def check_names(contestants: list[Contestant]) -> None:
    """Raise InputError if two lines would have the same name."""
    names = [c.row.name for c in contestants]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two of what is to be compared are called {twice!r}: rename one of the folders")


def short_name(argument: str) -> str:
    """A path without the folders that it lies in; RUN/model, as training leaves it, is called RUN."""
    path = Path(argument)
    if path.name == "model.safetensors":
        path = path.parent
    return path.parent.name if path.name == "model" and path.parent.name else path.name
