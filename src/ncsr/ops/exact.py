"""Numbers that do not depend on who asks: arithmetic without the caller's autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def exactly(device: torch.device) -> AbstractContextManager[object]:
    """In this context, what is computed on a device has its operands' precision, whatever autocast is on around it."""
    available = torch.amp.is_autocast_available(device.type)  # of "meta" it is not
    return torch.autocast(device.type, enabled=False) if available else nullcontext()
