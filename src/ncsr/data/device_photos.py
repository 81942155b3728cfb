"""Photographs in the memory of a GPU, which then cuts, turns, reduces and makes noisy the crops itself."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from ncsr.data.photos import Photos
from ncsr.errors import InputError
from ncsr.runtime.threads import prefetch_map


def photos_on(device: torch.device, photos: Photos) -> list[Tensor]:
    """Decode photographs, each once, into a device's memory; `Photos.decoded_bytes` says how much they take there.

    Args:
        device: where they go.
        photos: those that cannot be read are left out, with a warning of their own.

    Returns:
        uint8, (3, H, W) each, in the photographs' order.

    Raises:
        InputError: none can be read.
    """

    def decode(index: int) -> Tensor | None:
        try:
            return photos[index][:, :, :]
        except InputError:
            return None

    decoded = prefetch_map(decode, range(len(photos)), workers=os.cpu_count() or 1)
    whole = [photo.to(device) for photo in decoded if photo is not None]
    if not whole:
        raise InputError("none of the photographs can be read: check the disk")
    return whole
