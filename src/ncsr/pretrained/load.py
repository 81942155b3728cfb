"""Opening a model by its name: bundled, in a folder or file, or on the hub."""

from __future__ import annotations

import difflib
import os
from numbers import Real
from pathlib import Path
from typing import get_args

from ncsr.errors import InputError, brief
from ncsr.hub.fetching import fetch, parse_id
from ncsr.model import NCSR
from ncsr.runtime.device import Precision
from ncsr.serialization import WEIGHTS

BUNDLED = Path(__file__).parents[1] / "weights"


def load(
    model: str | os.PathLike[str] = "x4",
    device: str = "auto",
    precision: Precision = "auto",
    *,
    revision: str | None = None,
) -> NCSR:
    """Open a model, in eval mode, its parameters without gradients (gradients still flow to latents and images).

    Its weights are float32 on the device asked for, whatever torch's default dtype and device are.

    Args:
        model: a bundled name, a model folder, its `.safetensors` file, or a repository on the Hugging Face hub:
            "owner/name" or "owner/name@revision", which is fetched once. A string that is a bundled name means the
            bundled model; write `./x4-small` for a folder of that name.
        device: `auto` (the first accelerator, else the CPU) or a torch device name.
        precision: of the encoder and the subnets: `float32`, `tf32`, `bfloat16`, or `auto`: bfloat16 for sampling if it
            is faster on this device, float32 otherwise.
        revision: of a model on the hub: a branch, a tag or a commit; None is the one in its name, else `main`.

    Raises:
        InputError: no such model, revision or device; the hub cannot be read; a damaged file; weights that do not fit
            their configuration.
        MemoryError: there is not enough memory for it.
    """
    return NCSR.from_pretrained(find_model(model, revision), device, precision)


def find_model(model: str | os.PathLike[str], revision: str | None = None) -> Path:
    """The folder or file of a model; one on the hub is fetched.

    Raises:
        InputError: there is none of this name.
    """
    if not isinstance(model, str | os.PathLike):
        raise InputError(f"a model is a name, a path or an id on the hub, got {brief(model)}")
    path, name = Path(model), os.fspath(model)
    bundled = name in bundled_models()
    if os.path.exists(path) and not (bundled and isinstance(model, str)):  # a run may have its recipe's name
        found = path
    elif bundled:
        found = BUNDLED / name
    elif parsed := parse_id(name):
        repo, named = parsed
        if revision is not None and named not in (None, revision):
            raise InputError(f"{brief(name)} names one revision, revision={brief(revision)} another: give one")
        try:
            return fetch(repo, revision or named)
        except InputError as error:
            raise InputError(f"no model {brief(name)} in a folder or file here, and {error}") from error
    else:
        close = difflib.get_close_matches(name, bundled_models(), 1)
        hint = f"did you mean {close[0]}?" if close else f"bundled models: {', '.join(bundled_models())}"
        raise InputError(f"no model {brief(name)}, neither bundled nor a folder or file: {hint}")
    if revision is not None:
        raise InputError(f"the model {brief(name)} is on this machine and has no revisions: leave revision out")
    return found


def load_for(
    model: str | os.PathLike[str] | None, scale: int | None, device: str = "auto", precision: Precision = "auto"
) -> NCSR:
    """`load`, but None as model is the bundled one for `scale`, and None as scale is 4 then.

    Raises:
        InputError: as `load`; no such precision; the model has another scale than the one given.
    """
    if precision not in get_args(Precision):
        raise InputError(f"precision must be auto, float32, tf32 or bfloat16, got {precision!r}")
    network = load(default_model(4 if scale is None else scale) if model is None else model, device, precision)
    check_scale(scale, network, model)
    return network


def check_scale(scale: int | None, network: NCSR, name: object) -> None:
    """Raise InputError if a scale is given that is not the model's."""
    if scale is not None and scale != network.config.scale:
        raise InputError(
            f"scale {brief(scale)} does not match the model {name}, which enlarges by {network.config.scale}"
        )


def scale_for(model: object, scale: int | None, factor: float | None) -> int | None:
    """The scale asked for; if neither model nor scale is given, a factor above 4 asks for 8."""
    return 8 if scale is None and model is None and isinstance(factor, Real) and factor > 4 else scale


def bundled_models() -> list[str]:
    """The names of the models that come with the package."""
    return sorted(folder.parent.name for folder in BUNDLED.glob(f"*/{WEIGHTS}"))


def default_model(scale: int) -> str:
    """The name of the bundled model for `scale` that is used if none is named.

    Raises:
        InputError: there is none.
    """
    names = bundled_models()
    if scale not in (4, 8):
        raise InputError(f"the scale must be 4 or 8, got {brief(scale)}; factor (--factor) gives other sizes")
    for name in (f"x{scale}", f"x{scale}-small"):
        if name in names:
            return name
    raise InputError(f"no bundled model enlarges by {scale}: give one with -m (bundled: {', '.join(names)})")
