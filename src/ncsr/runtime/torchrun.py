"""The processes that `torchrun` started, or just this one."""

from __future__ import annotations

import os
from datetime import timedelta
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist

_PATIENCE = timedelta(days=7)  # until the slowest process is done


class Processes:
    """A context in which `rank` of `world` processes share the work.

    Attributes:
        rank: of this process.
        world: number of processes.
    """

    def __init__(self) -> None:
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))

    def __enter__(self) -> Processes:
        if self.world > 1:
            dist.init_process_group("gloo", timeout=_PATIENCE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.world > 1:
            dist.destroy_process_group()

    def device(self, name: str) -> str:
        """The device for `auto`: with several processes, each its own GPU."""
        if name == "auto" and self.world > 1 and torch.cuda.is_available():
            return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count()}"
        return name

    def gather(self, value: Any) -> list[Any]:
        """Every process' value, in all of them, once all have come here."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values
