"""ncsr: one photograph in, many plausible high-resolution photographs out.

An implementation of NCSR (Kim and Son, "Noise Conditional Flow Model for Learning the Super-Resolution Space", CVPR
workshops 2021).
"""

from ncsr.config import EncoderConfig, FlowConfig, ModelConfig
from ncsr.errors import InputError, SamplingError
from ncsr.model import NCSR
from ncsr.pretrained.load import load
from ncsr.space import Space
from ncsr.upscaling.api import upscale

__version__ = "0.1.0"

__all__ = [
    "NCSR",
    "EncoderConfig",
    "FlowConfig",
    "InputError",
    "ModelConfig",
    "SamplingError",
    "Space",
    "load",
    "upscale",
]
