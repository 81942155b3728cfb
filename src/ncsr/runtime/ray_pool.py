"""The workers of a Ray cluster: how many there are, what they compute on, and how work is spread over them.

A worker is a process with one model: one per GPU or, without GPUs, one per CPU core, with one thread. Many single
threads give more photographs per second than few that share, and no bit of an image depends on the number of threads.
"""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import torch

from ncsr.errors import InputError
from ncsr.runtime.device import bfloat16_pays

_RETRIES = 3  # of a piece of work whose worker died
_PATIENCE = 10  # seconds until an address must answer


@dataclass(frozen=True)
class Workers:
    """What a cluster offers.

    Attributes:
        number: of workers.
        machines: that they run on.
        device: that they compute on, cpu or cuda.
    """

    number: int
    machines: int
    device: str

    @property
    def _gpus(self) -> int:
        return 1 if self.device == "cuda" else 0

    def precision(self, asked_for: str) -> str:
        """What `auto` is: what pays for one of them, for all, that they give the same images."""
        import ray

        if asked_for != "auto":
            return asked_for

        ask = ray.remote(num_cpus=1, num_gpus=self._gpus)(bfloat16_pays)
        return "bfloat16" if ray.get(ask.remote(torch.device(self.device))) else "float32"

    def run(
        self,
        pieces: list[str],
        split: Callable[[str], Iterator[str]] | None,
        work: Callable[..., Callable[[str], str]],
        arguments: tuple[Any, ...],
    ) -> Iterator[str]:
        """Have pieces of work done; yields results as they come. Work whose worker dies again and again gives none.

        Work and results are text: what Ray would infer of lists that are empty here and full there, it need not.

        Args:
            pieces: in the order of their turns.
            split: tells the pieces that a piece falls into, on any machine, ahead of their turns; None: itself.
            work: makes, once per worker, what takes a piece and gives its result.
            arguments: of `work`; the last one that it gets is the device.
        """
        import ray.data

        logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # tells of every step
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.target_max_block_size = 1  # byte: every piece is a block, so that no worker gets a whole row of them
        context.max_errored_blocks = -1  # one piece that kills its workers does not end all others
        shared = ray.put(arguments)  # sent to each machine once
        many = min(self.number, len(pieces)) if split is None else self.number
        data: ray.data.Dataset = ray.data.from_items(pieces)
        if split is not None:  # takes no core, for the workers have them all
            ahead = ray.data.TaskPoolStrategy(size=self.machines)
            data = data.flat_map(partial(_split, split, os.getcwd()), num_cpus=0, compute=ahead)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray 2.64 is to find another way of saying max_task_retries
            data = data.map(
                _Worker,  # type: ignore[arg-type]  # Ray's types know functions only
                fn_constructor_args=(work, shared, self.device, -(-self.number // self.machines), os.getcwd()),
                compute=ray.data.ActorPoolStrategy(size=many),
                num_cpus=1,
                num_gpus=self._gpus,
                max_task_retries=_RETRIES,
            )
        for row in data.iter_rows():
            yield row["item"]


@contextmanager
def workers_at(address: str | None, device: str) -> Iterator[Workers | None]:
    """Join a Ray cluster, for as long as the context lasts.

    Args:
        address: HOST:PORT, `auto` for the cluster of this machine, `local` for workers that are started here and now;
            None: none is wanted.
        device: what they are to compute on: cpu, cuda, or auto, cuda where any machine has it.

    Raises:
        InputError: no Ray, no such cluster, no such device.
    """
    if address is None:
        yield None
        return
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"the workers of a cluster compute on auto, cpu or cuda, got --device {device}")
    ray = _ray()
    joined = not ray.is_initialized()
    if joined:
        _join(address)
    vars(import_module("ray._private.worker"))["_worker_logs_enabled"] = False  # it prints dead workers among the paths
    try:
        yield _workers(device)
    finally:
        if joined:
            ray.shutdown()


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise InputError("--ray needs Ray: pip install 'ncsr[ray]' (on every machine)") from None
    return ray


def _join(address: str) -> None:
    import ray

    remedy = "name a cluster's HOST:PORT, or start workers here by --ray local"
    if address not in ("local", "auto"):
        if address.startswith("ray://"):
            raise InputError(f"--ray {address}: on a machine of the cluster, name HOST:PORT without ray://, or auto")
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise InputError(f"--ray {address} is no address: {remedy}")
        try:
            socket.create_connection((host, int(port)), _PATIENCE).close()
        except (OSError, OverflowError) as error:
            raise InputError(f"no Ray cluster answers at {address} ({error}): {remedy}") from None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # tells nobody
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    here: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    try:
        with _quiet():
            ray.init(address, log_to_driver=False, logging_level=logging.CRITICAL, **here)
    except Exception as error:  # of many kinds, RuntimeError and ConnectionError among them
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"cannot join the Ray cluster {address}: {reason}; {remedy}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Close standard error to code that is not Python: Ray's tells that it was told to be silent."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _workers(device: str) -> Workers:
    import ray

    resources = ray.cluster_resources()
    cores, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    if device == "auto":
        device = "cuda" if gpus else "cpu"
    number = gpus if device == "cuda" else cores
    if not number:
        raise InputError(f"the Ray cluster has no {'GPU' if device == 'cuda' else 'CPU'}: choose another --device")
    kind = "GPU" if device == "cuda" else "CPU"
    machines = sum(node["Alive"] and node["Resources"].get(kind, 0) > 0 for node in ray.nodes())
    return Workers(number, machines, device)


def _split(split: Callable[[str], Iterator[str]], folder: str, row: dict[str, str]) -> list[dict[str, str]]:
    _go_to(folder)
    return [{"item": piece} for piece in split(row["item"])]


def _go_to(folder: str) -> None:
    """Be where the command was given, so that relative paths mean the same; where it is not, they mean nothing."""
    with suppress(OSError):
        os.chdir(folder)


class _Worker:
    """A process of the pool, with one thread, its share of the machine's memory, and one object that works."""

    def __init__(
        self, work: Callable[..., Callable[[str], str]], shared: Any, device: str, neighbours: int, folder: str
    ) -> None:
        import ray

        os.environ["LOCAL_WORLD_SIZE"] = str(neighbours)
        torch.set_num_threads(1)
        _go_to(folder)
        self._work = work(*ray.get(shared), device)

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        return {"item": self._work(row["item"])}
