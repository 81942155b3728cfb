"""Activation checkpointing: what lies inside a part of the model is computed again in backward instead of kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.utils.checkpoint import checkpoint

_Result = TypeVar("_Result")


def run(function: Callable[..., _Result], *arguments: Any, recompute: bool) -> _Result:
    """function(*arguments), which must not be random; with `recompute`, only its arguments and its result are kept."""
    if not (recompute and torch.is_grad_enabled()):
        return function(*arguments)
    result: _Result = checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)
    return result
