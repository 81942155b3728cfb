"""From a model's name to the model."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from textwrap import shorten

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from ncsr.errors import InputError, brief
from ncsr.model import NCSR
from ncsr.runtime.device import Precision, pick_device
from ncsr.runtime.memory import explain_exhaustion, is_exhaustion
from ncsr.serialization import CONFIG, WEIGHTS, read_model

BUNDLED = Path(__file__).parents[1] / "weights"


@explain_exhaustion()
@torch.inference_mode(False)
def load(model: str | os.PathLike[str] = "x4", device: str = "auto", precision: Precision = "auto") -> NCSR:
    """Open a model, in eval mode, its parameters without gradients (gradients still flow to latents and images).

    It is float32 on the device asked for, whatever the default dtype and device are.

    Args:
        model: a bundled name, a model folder, its `.safetensors` file, or the id of a repository on the Hugging Face
            hub. As text, a bundled name goes before a folder of that name, which `./x4-small` names.
        device: `auto` (the first accelerator, else the CPU) or a torch device name.
        precision: of the encoder and the subnets: `float32`, `tf32`, `bfloat16`, or `auto`: bfloat16 for sampling where
            this machine gains by it, float32 otherwise.

    Raises:
        InputError: no such model or device; a damaged file; weights that do not fit their configuration.
        MemoryError: there is not enough memory for it.
    """
    source = find_model(model)
    config, weights = read_model(source)
    with torch.device("cpu"):
        network = NCSR(config, precision)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        if is_exhaustion(error):
            raise
        problem = shorten(str(error), 200, placeholder=" ...")
        raise InputError(f"the weights in {source} do not fit their configuration: {problem}") from None
    network.requires_grad_(False).eval()
    return network.to(device=pick_device(device), memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def find_model(model: str | os.PathLike[str]) -> Path:
    """The folder or file of a model; one on the hub is fetched.

    Raises:
        InputError: there is none of this name.
    """
    path, name = Path(model), os.fspath(model)
    bundled = name in bundled_models()
    if os.path.exists(path) and not (bundled and isinstance(model, str)):  # a run may have its recipe's name
        return path
    if bundled:
        return BUNDLED / name
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        try:
            return Path(snapshot_download(name, allow_patterns=[CONFIG, WEIGHTS]))
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError):
            raise InputError(
                f"no model {brief(name)}: no such folder or file here, and the hub did not give it"
            ) from None
    close = difflib.get_close_matches(name, bundled_models(), 1)
    hint = f"did you mean {close[0]}?" if close else f"bundled models: {', '.join(bundled_models())}"
    raise InputError(f"no model {brief(name)}, neither bundled nor a folder or file: {hint}")


def bundled_models() -> list[str]:
    """The names of the models that come with the package."""
    return sorted(folder.parent.name for folder in BUNDLED.glob(f"*/{WEIGHTS}"))


def default_model(scale: int) -> str:
    """The name of the bundled model that enlarges by `scale` where none is asked for.

    Raises:
        InputError: there is none.
    """
    names = bundled_models()
    for name in (f"x{scale}", f"x{scale}-small"):
        if name in names:
            return name
    raise InputError(f"no bundled model enlarges by {scale}: give one with -m (bundled: {', '.join(names)})")
