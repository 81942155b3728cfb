"""ncsr: one photograph in, many plausible high-resolution photographs out.

An implementation of NCSR (Kim and Son, "Noise Conditional Flow Model for Learning the Super-Resolution Space", CVPR
workshops 2021).

Importing the package is cheap: each name of `__all__` is imported when it is read for the first time, and PyTorch with
it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

__all__ = [
    "NCSR",
    "EncoderConfig",
    "FlowConfig",
    "InputError",
    "Latents",
    "ModelConfig",
    "Pictures",
    "Provenance",
    "SamplingError",
    "Space",
    "Uncertainty",
    "grid",
    "load",
    "provenance",
    "uncertainty",
    "upscale",
]

if TYPE_CHECKING:
    from ncsr.config import EncoderConfig, FlowConfig, ModelConfig
    from ncsr.errors import InputError, SamplingError
    from ncsr.images.origin import Provenance
    from ncsr.images.sheet import grid
    from ncsr.latents import Latents
    from ncsr.model import NCSR
    from ncsr.pretrained.load import load
    from ncsr.sampling.uncertainty import Uncertainty
    from ncsr.space.base import Space
    from ncsr.upscaling.api import Pictures, upscale
    from ncsr.upscaling.provenance import provenance
    from ncsr.upscaling.uncertainty import uncertainty

    __version__: str
else:  # hidden from type checkers, to which a module with `__getattr__` has every attribute
    _MODULES = {
        "NCSR": "ncsr.model",
        "EncoderConfig": "ncsr.config",
        "FlowConfig": "ncsr.config",
        "InputError": "ncsr.errors",
        "Latents": "ncsr.latents",
        "ModelConfig": "ncsr.config",
        "Pictures": "ncsr.upscaling.api",
        "Provenance": "ncsr.images.origin",
        "SamplingError": "ncsr.errors",
        "Space": "ncsr.space.base",
        "Uncertainty": "ncsr.sampling.uncertainty",
        "grid": "ncsr.images.sheet",
        "load": "ncsr.pretrained.load",
        "provenance": "ncsr.upscaling.provenance",
        "uncertainty": "ncsr.upscaling.uncertainty",
        "upscale": "ncsr.upscaling.api",
    }

    def __getattr__(name):
        """Import a public name when it is first read (PEP 562)."""
        if name == "__version__":
            return import_module("importlib.metadata").version("ncsr")
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value = getattr(import_module(_MODULES[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
