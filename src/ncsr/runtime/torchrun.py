"""The processes that `torchrun` started, or just this one."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

_TIMEOUT = timedelta(days=7)  # how long a process waits for the slowest one


class Processes:
    """A context in which several processes share the work, and can gather their results.

    Attributes:
        rank: the number of this process, from 0 on.
        world: how many processes there are.
    """

    def __init__(self) -> None:
        self.rank, self.world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))

    def __enter__(self) -> Processes:
        if self.world > 1:
            dist.init_process_group("gloo", timeout=_TIMEOUT)
        return self

    def __exit__(self, *_: object) -> None:
        if self.world > 1:
            dist.destroy_process_group()

    def device(self, name: str) -> str:
        """The device to use for `name`: for `auto` and several processes, each has a GPU of its own."""
        if name == "auto" and self.world > 1 and torch.cuda.is_available():
            return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count()}"
        return name

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, by rank, in every process; it waits until all of them have called it."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values
