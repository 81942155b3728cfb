"""The kinds of input that `ncsr.upscale` takes (files, PIL images, arrays, tensors), and results of the same kind."""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ncsr.errors import InputError, brief
from ncsr.images import Photo, photo_from_array, photo_from_pil, read_photo, to_array
from ncsr.images.pil import is_deep
from ncsr.runtime.files import file_hash

File: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO
Picture: TypeAlias = File | Image.Image | NDArray[Any] | Tensor

_WHOLE = {torch.uint8: np.uint8, torch.uint16: np.uint16}


def open_any(photo: Picture, stacklevel: int = 3) -> tuple[Photo, str | None]:
    """Open what `upscale` was given.

    Args:
        photo: the photograph, as one of those kinds.
        stacklevel: which caller the warnings about a file name, as in `warnings.warn`.

    Returns:
        The photograph, and the SHA-256 of its file; None for one that did not come as a file.

    Raises:
        InputError: it is of another kind, or no photograph.
    """
    if isinstance(photo, Tensor):
        if photo.dim() != 3 or photo.shape[0] > 4 or photo.layout != torch.strided or photo.is_meta:
            given = f"{tuple(photo.shape)}, {photo.layout} on {photo.device}"
            raise InputError(f"a photograph as a tensor is one dense (3, H, W), got {given}")
        values = photo.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values  # NumPy has no such type
        return photo_from_array(values.movedim(0, -1).numpy()), None
    if isinstance(photo, np.ndarray):
        return photo_from_array(photo), None
    if isinstance(photo, Image.Image):
        return photo_from_pil(photo), None
    if isinstance(photo, str | os.PathLike):
        read, name, digest = read_photo(photo), os.fspath(photo), file_hash(Path(photo))
    else:
        content = photo if isinstance(photo, bytes) else _content(photo)
        read, name, digest = _photo_of(content), "photograph", hashlib.sha256(content).hexdigest()
    for note in read.notes:
        warnings.warn(f"{name}: {note}", stacklevel=stacklevel)
    return read, digest


def pixel_type_like(given: Picture, read: Photo) -> type[np.generic]:
    """The type of the pixels of a result that is to be of the kind of `given`, from which `read` was read."""
    if isinstance(given, Tensor):
        return _WHOLE.get(given.dtype, np.float32)
    if isinstance(given, np.ndarray):
        return {1: np.uint8, 2: np.uint16}[given.itemsize] if given.dtype.kind == "u" else np.float32
    return np.uint16 if is_deep(read) else np.uint8


def array_like(photo: Photo, given: NDArray[Any]) -> NDArray[Any]:
    """A photo as an array with the dtype and layout of `given`."""
    return to_array(photo, given.dtype, flat_gray=given.ndim == 2)


def tensor_like(photo: Photo, given: Tensor) -> Tensor:
    """A photo as a tensor (C, H, W) with the dtype and device of `given`."""
    array = to_array(photo, _WHOLE.get(given.dtype, np.float32), flat_gray=False)
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 0))).to(given)


def _content(file: object) -> bytes:
    """The bytes left to read in a file object."""
    read = getattr(file, "read", None)
    if read is None:
        raise InputError(
            f"a photograph is a path, bytes, a file object, a PIL image, an array or a tensor, got {brief(file)}"
        )
    content = read()
    if not isinstance(content, bytes):
        raise InputError("a file object gives text: open it in binary mode, open(path, 'rb')")
    return content


def _photo_of(content: bytes) -> Photo:
    """The photograph in the content of a file, which is written to a temporary one for `read_photo`."""
    with TemporaryDirectory(prefix="ncsr-") as folder:
        path = Path(folder, "photograph")
        path.write_bytes(content)
        try:
            return read_photo(path)
        except InputError as error:
            raise InputError(str(error).replace(str(path), "the photograph")) from error
