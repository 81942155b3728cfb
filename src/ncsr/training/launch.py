"""The device and the processes of a run."""

from __future__ import annotations

import os

from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from ncsr.errors import InputError
from ncsr.runtime.device import pick_device


def launch(device: str) -> Fabric:
    """Connect the processes that `torchrun` started; there is one if it started none.

    Args:
        device: `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        InputError: there is no such device here.
    """
    kind = pick_device(device).type
    if kind not in ("cpu", "cuda", "mps"):
        raise InputError(f"training runs on cpu, cuda or mps, got {device!r}")
    local, nodes = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), int(os.environ.get("GROUP_WORLD_SIZE", 1))
    # The encoder's own SR head takes no part in a likelihood, nor does a frozen encoder.
    strategy = DDPStrategy(find_unused_parameters=True) if local * nodes > 1 else "auto"
    fabric = Fabric(accelerator=kind, devices=local, num_nodes=nodes, strategy=strategy)
    fabric.launch()
    return fabric
