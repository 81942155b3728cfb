"""Model files: a folder with `config.json` and `model.safetensors`, or the latter alone (it holds the config too)."""

from __future__ import annotations

import hashlib
import json
import math
import os
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ncsr.config import MAX_PARAMETERS, ModelConfig, check_limit, explain
from ncsr.errors import InputError, brief
from ncsr.runtime.files import atomic_path, make_folder, read_small
from ncsr.runtime.memory import is_exhaustion

Weights = dict[str, Tensor]

WEIGHTS, CONFIG = "model.safetensors", "config.json"
# Their inverses and exponentials act on the image itself, step after step: half precision would show.
_CONV1X1 = "conv1x1.weight"
_ALWAYS_FLOAT32 = (_CONV1X1, "actnorm.bias", "actnorm.log_scale")
_CHECKSUM = "sha256"  # in the metadata: of the configuration's text and the tensors
_SMALL = 2**20  # bytes: reading an honest file up to this size cannot run out of memory
_MAX_PICKLE, _MAX_LEGACY = 2**22, 2**26  # bytes of a checkpoint that are searched before it is read
_MAX_HEADER = 2**24  # bytes; the library stops at 100 MB, which take a gigabyte to read


def write_model(folder: Path, config: ModelConfig, weights: dict[str, Tensor], *, half: bool = False) -> None:
    """Write a model folder; even if this is interrupted, the folder holds either the old model or the new one.

    Args:
        folder: made if it does not exist.
        config: the architecture.
        weights: the state dict.
        half: store float16, except for 1x1 convolutions and actnorms.

    Raises:
        InputError: the folder cannot be made, or a weight is too large for float16.
        OSError: a file cannot be written.
    """
    stored = {key: _stored(key, value, half) for key, value in weights.items()}
    make_folder(folder)
    text = config.model_dump_json(indent=2)
    metadata = {"config": text, "format": "pt", _CHECKSUM: digest(text, stored)}
    with atomic_path(folder / CONFIG) as config_path, atomic_path(folder / WEIGHTS) as weights_path:
        weights_path.write_bytes(_ordered(save(stored, metadata=metadata)))
        config_path.write_text(text + "\n", encoding="utf-8")
        # until the new one is in place, the configuration inside the weights, which are replaced first, counts
        (folder / CONFIG).unlink(missing_ok=True)


def read_model(source: Path) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Read a model folder or its safetensors file; the weights come in float32.

    Raises:
        InputError: no such file, not a model, damaged, or of a configuration that this version does not know.
    """
    path = _weights_of(source)
    with open_tensors(path, "model") as file:
        metadata = file.metadata() or {}
        config = _read_config(source, path, metadata)
        names = list(file.keys())
        _check_size(source, config, (file.get_slice(name).get_shape() for name in names))
        weights = {name: file.get_tensor(name) for name in names}
    if metadata.get(_CHECKSUM, checksum := digest(metadata.get("config", ""), weights)) != checksum:
        raise InputError(f"{path} is damaged: its content is not what its checksum says; copy or download it again")
    weights = {key: value.float() if value.is_floating_point() else value for key, value in weights.items()}
    check_weights(weights, path)
    return config, weights


def read_config(source: Path) -> ModelConfig:
    """The configuration of a model folder or its safetensors file; its weights are not looked at.

    Raises:
        InputError: as `read_model`.
    """
    path = _weights_of(source)
    with open_tensors(path, "model") as file:
        return _read_config(source, path, file.metadata() or {})


def _weights_of(source: Path) -> Path:
    path = source / WEIGHTS if source.is_dir() else source
    if not os.path.isfile(path):
        raise InputError(f"no model in {source}: expected a folder with {CONFIG} and {WEIGHTS}, or a .safetensors file")
    return path


@contextmanager
def open_tensors(path: Path, what: str) -> Iterator[Any]:
    """A safetensors file, open for reading as `safetensors.safe_open` does it; `what` it is, for messages.

    Raises:
        InputError: in the body, too: it cannot be read, is no such file, or is too large to be sensible.
    """
    try:
        check_limit(f"the bytes of the {what} {brief(str(path))}", path.stat().st_size, 8 * MAX_PARAMETERS)
        with path.open("rb") as head:
            if int.from_bytes(head.read(8), "little") > _MAX_HEADER:
                raise SafetensorError("not a safetensors file, or its header is too large")
        with safe_open(path, framework="pt") as file:
            yield file
    except InputError:
        raise
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        if is_exhaustion(error):  # a file is mapped
            raise
        raise InputError(f"cannot read the {what} {path}: {str(error)[:200]}; copy or download it again") from None


def check_weights(weights: Weights, source: Path | str) -> None:
    """Raise InputError if a weight is no real, finite number, or a 1x1 convolution of the flow has no inverse.

    A 1x1 convolution counts as singular if its condition number is at least 1 / eps of float32 (8.4e6): then no digit
    of its inverse is right.
    """
    for key, value in weights.items():
        if not (value.is_floating_point() or value.dtype == torch.bool):
            raise InputError(f"{source} cannot be used: {brief(key)} is {value.dtype}, expected floating point")
        if value.is_floating_point() and value.numel() and not all(bool(end.isfinite()) for end in value.aminmax()):
            raise InputError(
                f"{source} cannot be used: {brief(key)} holds numbers that are not finite, as a training that diverged "
                "leaves them; take an earlier checkpoint or another copy"
            )
        square = key.endswith(_CONV1X1) and value.dim() == 2
        if square and not torch.linalg.cond(value.double()).item() < 1 / torch.finfo(torch.float32).eps:
            raise InputError(
                f"{source} cannot be used: the 1x1 convolution {brief(key)} is singular, it has no inverse"
            )


def fingerprint(config: ModelConfig, weights: dict[str, Tensor]) -> str:
    """The first 16 hexadecimal digits of `digest`: equal for models with equal configuration and weights."""
    return digest(config.model_dump_json(), weights)[:16]


def digest(text: str, weights: dict[str, Tensor]) -> str:
    """The SHA-256 of a configuration and of the names, types, shapes and values of tensors."""
    checksum = hashlib.sha256(text.encode())
    for key in sorted(weights):
        value = weights[key].detach().cpu()
        checksum.update(f"{key} {value.dtype} {list(value.shape)}".encode())
        checksum.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return checksum.hexdigest()


def _ordered(content: bytes) -> bytes:
    """A safetensors file with sorted metadata, so that equal models are equal files; the library does not sort them."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


def _read_config(source: Path, path: Path, metadata: dict[str, str]) -> ModelConfig:
    """The configuration beside the weights, else the one in their metadata; only their temperatures may differ."""
    own, beside = metadata.get("config"), source / CONFIG
    try:
        text = read_small(beside) if beside.is_file() else own
        if text is None:
            raise InputError(f"{path} holds no configuration: it is not a model of this package (see `ncsr convert`)")
        config = ModelConfig.model_validate_json(text)
        if _CHECKSUM in metadata and own is not None:  # older files did not tell which of the two is right
            inside = ModelConfig.model_validate_json(own)
            if config.model_copy(update={"temperature": inside.temperature}) != inside:
                raise InputError(
                    f"the weights in {source} do not fit their configuration: {beside.name} may change the temperature "
                    "alone; save or download the model again"
                )
    except ValidationError as error:
        raise InputError(f"the configuration of {source} is not valid: {explain(error, ModelConfig)}") from None
    return config


def _check_size(source: Path, config: ModelConfig, shapes: Iterable[list[int]]) -> None:
    """Raise InputError, before weights are read, unless they are as many numbers as the model has parameters."""
    found = sum(math.prod(shape) for shape in shapes if shape)  # tensors without axes are flags
    if found != config.parameters:
        raise InputError(
            f"the weights in {source} do not fit their configuration: {found} numbers instead of {config.parameters}; "
            "copy or download the model again"
        )


def _stored(key: str, value: Tensor, half: bool) -> Tensor:
    value = value.detach().cpu()
    if half and value.is_floating_point() and not key.endswith(_ALWAYS_FLOAT32):
        if value.numel() and value.abs().max() > torch.finfo(torch.float16).max:
            raise InputError(f"{key} holds numbers too large for float16: save the model without half")
        value = value.to(torch.float16)
    return value.contiguous()


def read_checkpoint(path: Path) -> Weights:
    """Read a `.pth` file without running code in it; wrappers and `module.` prefixes are removed.

    Returns:
        The state dict, on the CPU.

    Raises:
        InputError: no such file, not a checkpoint, or one that holds more than dense tensors of real numbers.
    """
    try:
        if os.path.exists(path):
            _check_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"no file {path}") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except Exception as error:  # a damaged pickle ends in errors of every kind
        if is_exhaustion(error) and path.stat().st_size > _SMALL:  # a smaller one that needs so much is hostile
            raise
        raise InputError(
            f"{path} is not a checkpoint that can be read safely: expected a file of tensors only, all of it, plain"
        ) from None
    for wrapper in ("params_ema", "params", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(f"{path} holds no state dict: expected names and tensors, got {type(content).__name__}")
    for key, value in content.items():
        dense = value.layout == torch.strided and not (value.is_quantized or value.is_nested or value.is_complex())
        if not dense or value.device.type != "cpu":
            kind = f"{value.dtype}, {value.layout}, {value.device.type}"
            raise InputError(f"{path} holds {brief(key)} as {kind}: expected real numbers, dense and all there")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def _check_file(path: Path) -> None:
    """Raise ValueError for a file that would take more memory than it holds, or has changed since it was written."""
    if not path.is_file():
        raise ValueError("a folder, or a pipe without an end")
    with path.open("rb") as opened:
        start = opened.read(_MAX_LEGACY)
    if start[:4] != b"PK\x03\x04":  # as files from before PyTorch 1.6, whose pickles come first
        pickles = [start]
    else:
        with zipfile.ZipFile(path) as file:
            members = file.infolist()
            if sum(member.file_size for member in members) > path.stat().st_size or file.testzip():
                raise ValueError("compressed, or damaged")
            pickles = [file.read(member) for member in members if member.filename.endswith(".pkl")]
        if sum(map(len, pickles)) > _MAX_PICKLE:
            raise ValueError("more than names and shapes")
    if any(b"bytearray" in each for each in pickles):  # PyTorch lets a pickle make one of any size
        raise ValueError("more than tensors")
