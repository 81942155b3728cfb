"""Work done by threads: ahead of its use (`prefetch_map`), or after the caller has gone on (`BackgroundWriter`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

_WAITING = 4  # pieces of work that may wait for the thread
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def prefetch_map(work: Callable[[_Item], _Result], items: Iterable[_Item], workers: int) -> Iterator[_Result]:
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


class BackgroundWriter(Generic[_Result]):
    """A context with a thread that does work in order while the caller goes on; only a few pieces may wait.

    When an exception leaves the context, pieces that have not begun are dropped; otherwise its end waits for all.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="behind")
        # It starts now: where memory has run out, Python waits for ever for a thread that dies as it starts.
        self._thread.submit(int).result()
        self._waiting: deque[Future[_Result]] = deque()

    def submit(self, work: Callable[[], _Result]) -> Iterator[_Result]:
        """Hand work over; yields the results that are ready, waiting for some if too many are not.

        Raises:
            Exception: of work handed over before.
        """
        self._waiting.append(self._thread.submit(work))
        while self._waiting and (self._waiting[0].done() or len(self._waiting) > _WAITING):
            yield self._waiting.popleft().result()

    def drain(self) -> Iterator[_Result]:
        """The results that were not yielded yet."""
        while self._waiting:
            yield self._waiting.popleft().result()

    def __enter__(self) -> BackgroundWriter[_Result]:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._thread.shutdown(cancel_futures=kind is not None)
