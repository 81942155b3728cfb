"""The settings that decide the figures of a report, as its JSON file holds them."""

from __future__ import annotations

import hashlib

from ncsr.config import FrozenModel

MADE = (
    "made from the cropped photographs by MATLAB's bicubic kernel (a = -0.5, antialiased, symmetric border), "
    "8 bits, rounded after each pass"
)
ROUNDED = "8 bits, to the nearest level"
TRUNCATED = f"{ROUNDED}; for LR-PSNR truncated, as the published references save"


class Row(FrozenModel):
    """One line of the table: a model at a temperature, a baseline, or a folder of images."""

    name: str
    """The name, unique in its table."""
    model: str
    """The model, or the folder, as the command names it."""
    fingerprint: str | None = None
    """Hash of configuration and weights (`ncsr.serialization.fingerprint`); None for what is no model."""
    temperature: float | None = None
    """The sampling temperature; None where there is none to choose."""
    samples: int | None
    """Samples of each photograph; None: as many as there are files."""
    deterministic: bool = False
    """Whether the method always makes the same image, which then stands for any number of equal samples."""


class Protocol(FrozenModel):
    """The measuring protocol of a report; see docs/measures.md."""

    scale: int
    seed: int | None
    lr_images: str
    crop: str
    colour: str = "PSNR and SSIM on BT.601 luma (16 to 235, not rounded) and on RGB; everything else on RGB"
    shave: int
    """Pixels left out along each border for PSNR and SSIM."""
    rounding: str
    lpips: str
    """The network and its weights."""
    ntire: str = "lpips, lpips_plain, diversity, diversity_squared_error, ntire_lr_psnr: cropped to multiples of 8"
    bits_per_dim: str = "dequantised by one grey level (seed 0), zero noise condition, 8-bit convention"
    interval: str = "mean over images with the 95 % confidence interval of Student's t"
    tile: int | None
    """Side of the tiles that models compute, LR pixels; bits per dimension only of photographs that fit into one."""
    device: str
    precision: str


class Settings(FrozenModel):
    """All settings of an evaluation."""

    ncsr: str
    torch: str
    protocol: Protocol
    rows: tuple[Row, ...]
    pictures: int
    """Photographs that are shown on the page."""
    calibration: bool = False
    """Whether CRPS, spread against error and coverage are measured as well."""
    reproduces: str | None = None
    """The table or figure of the paper that it is for."""

    @property
    def key(self) -> str:
        """12 hexadecimal digits that tell evaluations apart."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]
