"""New networks without random starting weights, for those whose weights are in a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class SkipInit(TorchFunctionMode):
    """A context in which new weights are left uninitialised, because a file's are loaded into them next.

    Drawing the random starting weights of `x4` takes half a second. PyTorch's own way, the meta device, takes longer
    at its first use (it imports SymPy).
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Leave out what draws numbers, as of PyTorch."""
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"]
        if func is Tensor.normal_:
            return args[0]
        return torch.empty(*args, **kwargs) if func is torch.randn else func(*args, **kwargs)
