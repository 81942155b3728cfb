"""Model files: a folder with `config.json` and `model.safetensors`, or the latter alone (it holds the config too)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ncsr.config import ModelConfig
from ncsr.errors import InputError
from ncsr.runtime.files import atomic_path, make_folder

Weights = dict[str, Tensor]

WEIGHTS, CONFIG = "model.safetensors", "config.json"
# Their inverses and exponentials act on the image itself, step after step: half precision would show.
_ALWAYS_FLOAT32 = ("conv1x1.weight", "actnorm.bias", "actnorm.log_scale")


def write_model(folder: Path, config: ModelConfig, weights: dict[str, Tensor], *, half: bool = False) -> None:
    """Write a model folder; whenever this is stopped, the folder opens as the old model or as the new one.

    Args:
        folder: made when missing.
        config: the architecture.
        weights: the state dict.
        half: store in float16, but for 1x1 convolutions and actnorms.
    """
    make_folder(folder)
    stored = {key: _stored(key, value, half) for key, value in weights.items()}
    text = config.model_dump_json(indent=2)
    with atomic_path(folder / CONFIG) as config_path, atomic_path(folder / WEIGHTS) as weights_path:
        # One key alone: safetensors writes several in an order that is random, and equal models would differ.
        weights_path.write_bytes(save(stored, metadata={"config": text}))
        config_path.write_text(text + "\n", encoding="utf-8")
        (folder / CONFIG).unlink(missing_ok=True)  # the weights, replaced first, hold a configuration of their own


def read_model(source: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Read a model folder or its safetensors file; the weights come in float32.

    Raises:
        InputError: no such file, not a model, damaged, or of a configuration that this version does not know.
    """
    path = source / WEIGHTS if source.is_dir() else source
    if not path.is_file():
        raise InputError(f"no model in {source}: expected a folder with {CONFIG} and {WEIGHTS}, or a .safetensors file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise InputError(f"cannot read the model {path}: {error}; copy or download it again") from None
    text = (source / CONFIG).read_bytes() if (source / CONFIG).is_file() else metadata.get("config")
    if text is None:
        raise InputError(f"{path} holds no configuration: it is not a model of this package (see `ncsr convert`)")
    try:
        config = ModelConfig.model_validate_json(text)
    except ValidationError as error:
        raise InputError(f"the configuration of {source} is not valid: {' '.join(str(error).split())}") from None
    return config, {key: value.float() if value.is_floating_point() else value for key, value in weights.items()}


def fingerprint(config: ModelConfig, weights: dict[str, Tensor]) -> str:
    """16 hexadecimal digits that tell models apart by what they hold, wherever they come from."""
    digest = hashlib.sha256(config.model_dump_json().encode())
    for key in sorted(weights):
        value = weights[key].detach().cpu()
        digest.update(f"{key} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _stored(key: str, value: Tensor, half: bool) -> Tensor:
    value = value.detach().cpu()
    if half and value.is_floating_point() and not key.endswith(_ALWAYS_FLOAT32):
        value = value.to(torch.float16)
    return value.contiguous()


def read_checkpoint(path: Path) -> Weights:
    """Read a `.pth` file without running code in it; wrappers and `module.` prefixes are taken off.

    Raises:
        InputError: no such file, not a checkpoint, or one that holds more than tensors.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"no file {path}") from None
    except Exception:  # a damaged pickle ends in errors of every kind
        raise InputError(
            f"{path} is not a checkpoint that can be read safely: expected a file of tensors only"
        ) from None
    for wrapper in ("params_ema", "params", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(f"{path} holds no state dict: expected names and tensors, got {type(content).__name__}")
    return {str(key).removeprefix("module."): value for key, value in content.items()}
