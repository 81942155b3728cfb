"""The workers of a Ray cluster: how many there are, what they compute on, and how work is spread over them.

A worker is a process with one model: one per GPU or, without GPUs, one per CPU core, with one thread. Many single
threads give more photographs per second than few that share, and no bit of an image depends on the number of threads.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from ncsr.errors import InputError, needs_extra
from ncsr.runtime.device import bfloat16_pays

_RETRIES = 3  # of a piece of work whose worker died
_CONNECT_TIMEOUT = 10  # seconds until an address must answer
_Window = TypeVar("_Window")
_Group = TypeVar("_Group")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Workers:
    """What a cluster offers.

    Attributes:
        number: how many workers there are.
        machines: how many machines they run on.
        device: what they compute on, cpu or cuda.
    """

    number: int
    machines: int
    device: str

    def precision(self, asked_for: str) -> str:
        """One precision for all workers, so that they give the same images; `auto` asks one which pays there."""
        if asked_for != "auto":
            return asked_for
        ask = import_ray().remote(**self._resources)(bfloat16_pays)
        return "bfloat16" if import_ray().get(ask.remote(torch.device(self.device))) else "float32"

    def run(
        self,
        windows: Iterable[_Window],
        split: Callable[[_Window], Iterable[_Group]],
        make_work: Callable[[str], Callable[[_Group], _Result]],
    ) -> Iterator[_Result]:
        """Have work done; yields results as they come. Groups whose worker dies again and again give none.

        Args:
            windows: pieces of work, in order; each is split into groups.
            split: splits a window; called on any machine, ahead of the computation.
            make_work: called once per worker with its device; returns a function that computes a group's result.
        """
        ray = import_ray()
        look = ray.remote(num_cpus=0, max_retries=_RETRIES, scheduling_strategy="SPREAD")(_split)
        worker = ray.remote(**self._resources)(_Worker)
        shared_split, shared_work = ray.put(split), ray.put(make_work)  # sent to each machine once
        here, neighbours = os.getcwd(), -(-self.number // self.machines)  # workers on each machine
        left, groups = deque(windows), deque[tuple[_Group, int]]()  # a group, and how often it was tried
        splitting, working = set[Any](), dict[Any, tuple[Any, _Group, int]]()  # by the reference to what comes
        idle: list[Any] = []
        while left or splitting or groups or working:
            while left and len(splitting) < self.machines and len(groups) < 2 * self.number:
                splitting.add(look.remote(shared_split, here, left.popleft()))
            while groups and (idle or len(working) < self.number):
                group, tries = groups.popleft()
                actor = idle.pop() if idle else worker.remote(shared_work, self.device, neighbours, here)
                working[actor.work.remote(group)] = (actor, group, tries + 1)
            if not left and not splitting:
                idle.clear()  # where machines were lost, new workers wait for the cores of these
                actor = None  # the last reference to one of them, perhaps
            done = ray.wait([*splitting, *working])[0][0]
            try:
                result = ray.get(done)
            except ray.exceptions.RayError:  # its process died, nearly always
                splitting.discard(done)
                if done in working:
                    _, group, tries = working.pop(done)
                    groups.extend([(group, tries)] if tries <= _RETRIES else [])
                continue
            if done in splitting:
                splitting.remove(done)
                groups.extend((group, 0) for group in result)
            else:
                idle.append(working.pop(done)[0])
                yield result

    @property
    def _resources(self) -> dict[str, int]:
        """What Ray reserves for a worker."""
        return {"num_cpus": 1, "num_gpus": 1 if self.device == "cuda" else 0}


@contextmanager
def workers_at(address: str | None, device: str) -> Iterator[Workers | None]:
    """Join a Ray cluster, for as long as the context lasts.

    Args:
        address: HOST:PORT, `auto` for the cluster of this machine, `local` for workers that are started here and now,
            or None, for which there are no workers.
        device: what they are to compute on: cpu, cuda, or auto, which is cuda where any machine has it.

    Raises:
        InputError: if there is no Ray, no such cluster, or no such device.
    """
    if address is None:
        yield None
        return
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"the workers of a cluster compute on auto, cpu or cuda, got --device {device}")
    ray = import_ray()
    joined = not ray.is_initialized()
    if joined:
        _join(address)
    try:
        resources = ray.cluster_resources()
        if device == "auto":
            device = "cuda" if resources.get("GPU", 0) >= 1 else "cpu"
        kind = "GPU" if device == "cuda" else "CPU"
        number = int(resources.get(kind, 0))
        if not number:
            raise InputError(f"the Ray cluster has no {kind}: choose another --device")
        machines = sum(node["Alive"] and node["Resources"].get(kind, 0) > 0 for node in ray.nodes())
        yield Workers(number, machines, device)
    finally:
        if joined:
            ray.shutdown()


def import_ray() -> Any:
    """Import Ray, set up not to send usage statistics and not to print among the paths of results.

    Raises:
        InputError: if it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # of the lines about dead workers: all
    with needs_extra("ray", "--ray needs Ray on every machine", "ray"):
        import ray
    return ray


def _join(address: str) -> None:
    remedy = "name a cluster's HOST:PORT, or start workers here by --ray local"
    if address not in ("local", "auto"):
        if address.startswith("ray://"):
            raise InputError(f"--ray {address}: on a machine of the cluster, name HOST:PORT without ray://, or auto")
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise InputError(f"--ray {address} is no address: {remedy}")
        try:
            socket.create_connection((host, int(port)), _CONNECT_TIMEOUT).close()
        except (OSError, OverflowError) as error:
            raise InputError(f"no Ray cluster answers at {address} ({error}): {remedy}") from None
    dashboard = False if address == "local" else None  # None: as the cluster has it
    try:
        import_ray().init(address, log_to_driver=False, logging_level=logging.CRITICAL, include_dashboard=dashboard)
    except Exception as error:  # of many kinds, RuntimeError and ConnectionError among them
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"cannot join the Ray cluster {address}: {reason}; {remedy}") from None


def _split(split: Callable[[_Window], Iterable[_Group]], folder: str, window: _Window) -> list[_Group]:
    _go_to(folder)
    return list(split(window))


def _go_to(folder: str) -> None:
    """Change to the folder that the command was given in, if this machine has it, so that relative paths are right."""
    with suppress(OSError):
        os.chdir(folder)


class _Worker:
    """A process of the pool, with one thread, its share of the machine's memory, and one object that works."""

    def __init__(self, make_work: Callable[[str], Any], device: str, neighbours: int, folder: str) -> None:
        os.environ["LOCAL_WORLD_SIZE"] = str(neighbours)
        torch.set_num_threads(1)
        _go_to(folder)
        self._work = make_work(device)

    def work(self, group: Any) -> Any:
        """Do a group of work."""
        return self._work(group)
