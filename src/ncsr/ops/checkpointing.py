"""Activation checkpointing: backward computes the inside of a part of the model again instead of keeping it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.utils.checkpoint import checkpoint

_Result = TypeVar("_Result")


def checkpointed(function: Callable[..., _Result], *arguments: Any, enabled: bool) -> _Result:
    """function(*arguments), which must not be random; if enabled, only its arguments and its result are kept."""
    if not (enabled and torch.is_grad_enabled()):
        return function(*arguments)
    result: _Result = checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)
    return result
