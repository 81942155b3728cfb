"""AlexNet's weights for LPIPS: where they lie, how they get there, and the network made of them.

The file is torchvision's `alexnet-owt-7be5be79.pth`; its name ends in the first digits of its SHA-256. It is kept
where `torch.hub` keeps such files (`$TORCH_HOME/hub/checkpoints`, by default `~/.cache/torch/hub/checkpoints`), so that
whoever has used LPIPS or torchvision before has it already.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor

from ncsr.errors import InputError
from ncsr.metrics.lpips import LPIPS, SHAPES
from ncsr.runtime.files import atomic_path, make_folder
from ncsr.serialization import read_checkpoint

NAME = "alexnet-owt-7be5be79.pth"
HASH = "7be5be79"
URL = f"https://download.pytorch.org/models/{NAME}"  # 244 MB

_LAYERS = (0, 3, 6, 8, 10)  # of torchvision's `features`
_BLOCK = 2**20  # bytes


def load_lpips(weights: Path | None = None, device: str | torch.device = "cpu") -> LPIPS:
    """The LPIPS network.

    Args:
        weights: file of AlexNet's weights; None takes the cached ones, or downloads them.
        device: to compute on.

    Raises:
        InputError: no weights here and no network; a file that does not hold AlexNet's weights.
    """
    path = weights or fetch_weights()
    convolutions = read_convolutions(path)
    digits = sha256(path)
    known = f"published weights {NAME}" if digits.startswith(HASH) else f"other weights, SHA-256 {digits}"
    return LPIPS(convolutions, f"AlexNet v0.1, {known}").to(device)


def read_convolutions(path: Path) -> dict[str, Tensor]:
    """The five convolutions of a torchvision AlexNet file, "0.weight" to "4.bias"; nothing in the file is run.

    Raises:
        InputError: no such file, not a checkpoint, or another network's.
    """
    state = read_checkpoint(path)
    found = {}
    for i, (layer, shape) in enumerate(zip(_LAYERS, SHAPES, strict=True)):
        for part, expected in (("weight", shape), ("bias", shape[:1])):
            value = state.get(f"features.{layer}.{part}")
            if value is None or tuple(value.shape) != expected:
                got = "nothing" if value is None else f"{tuple(value.shape)}"
                raise InputError(
                    f"{path} does not hold AlexNet's weights: expected features.{layer}.{part} of shape {expected}, "
                    f"got {got}; LPIPS needs {NAME}"
                )
            found[f"{i}.{part}"] = value
    return found


def cached_weights() -> Path:
    """The path where the weights are looked for."""
    return Path(torch.hub.get_dir()) / "checkpoints" / NAME


def fetch_weights(folder: Path | None = None, source: Path | None = None) -> Path:
    """Put the published weights into a folder, unless they lie there already, and return their path.

    Args:
        folder: None is the cache.
        source: the file to copy; None downloads it.

    Raises:
        InputError: no network, or a file that is not the published one; it says what to put where.
    """
    path = folder / NAME if folder else cached_weights()
    if source is None and path.is_file():
        if not sha256(path).startswith(HASH):
            raise InputError(f"{path} is damaged: expected a SHA-256 that starts with {HASH}; delete it and fetch anew")
        return path
    make_folder(path.parent)
    with atomic_path(path) as temporary:
        if source is None:
            _download(temporary, path)
        else:
            _copy(source, temporary)
        digits = sha256(temporary)
        if not digits.startswith(HASH):
            raise InputError(
                f"{source or URL} is not {NAME}: expected a SHA-256 that starts with {HASH}, got {digits[:8]}"
            )
    return path


def sha256(path: Path) -> str:
    """Hexadecimal digits of a file's SHA-256."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _download(temporary: Path, path: Path) -> None:
    try:
        torch.hub.download_url_to_file(URL, str(temporary), progress=sys.stderr.isatty())
    except (OSError, HTTPException) as error:
        raise InputError(
            f"LPIPS needs AlexNet's weights, {NAME} (244 MB), and they could not be downloaded from {URL} "
            f"({getattr(error, 'reason', error)}): put that file at {path} (`ncsr fetch` does so where there is a "
            "network, `ncsr fetch --from FILE` from a copy), or name it with --lpips-weights FILE"
        ) from None


def _copy(source: Path, temporary: Path) -> None:
    try:
        shutil.copyfile(source, temporary)
    except OSError as error:
        raise InputError(f"cannot copy {source} to {temporary.parent}: {error.strerror}") from None
