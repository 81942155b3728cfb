"""Work done ahead of its use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def ahead(work: Callable[[_Item], _Result], items: Iterable[_Item], workers: int) -> Iterator[_Result]:
    """`map(work, items)`, in this order, by `workers` threads that keep two results per thread ready.

    Threads and not processes: decoders, random numbers and tensor arithmetic let go of Python's lock, photographs in
    memory need not be copied or sent, and there is nothing to fork or spawn.

    Args:
        work: called from several threads at once.
        items: taken one by one, never far ahead, so they may be endless.
        workers: 0 does the work where the result is asked for.

    Raises:
        Exception: of `work`, when its result is due.
    """
    if workers == 0:
        yield from map(work, items)
        return
    items = iter(items)
    with_threads = ThreadPoolExecutor(workers, thread_name_prefix="ahead")
    try:
        waiting = deque(with_threads.submit(work, item) for item in islice(items, 2 * workers))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(with_threads.submit(work, item) for item in islice(items, 1))
            yield result
    finally:  # also when the caller stops in the middle
        with_threads.shutdown(cancel_futures=True)
