"""What many photographs allow: those of one size are gathered, and files are written while the next are computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_WAITING = 4  # pieces of work that may wait for the thread


def gathered(
    items: Iterable[_Item], key: Callable[[_Item], Hashable], most: Callable[[_Item], int], window: int
) -> Iterator[list[_Item]]:
    """Items with equal keys together, among every `window` of them; a group comes when it is full, or after the last.

    So what is together depends on these items alone: another machine that has only them finds the same groups.

    Args:
        items: taken one by one.
        key: tells what belongs together; None is alone, and not kept waiting.
        most: the size of the group that this item may be in.
        window: of how many items in a row.
    """
    items = iter(items)
    count = window
    while count == window:
        groups: dict[Hashable, list[_Item]] = {}
        count = 0
        for item in islice(items, window):
            count += 1
            name = key(item)
            if name is None:
                yield [item]
                continue
            groups.setdefault(name, []).append(item)
            if len(groups[name]) >= most(item):
                yield groups.pop(name)
        yield from groups.values()


class Behind(Generic[_Result]):
    """Work that a thread does behind its caller, in order; at most a few pieces are kept waiting.

    Left by an exception, what has not begun is not done; left otherwise, all of it has been.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="behind")
        self._waiting: deque[Future[_Result]] = deque()

    def do(self, work: Callable[[], _Result]) -> Iterator[_Result]:
        """Hand work over; yields the results that are ready, waiting for some if too many are not.

        Raises:
            Exception: of work handed over before.
        """
        self._waiting.append(self._thread.submit(work))
        while self._waiting and (self._waiting[0].done() or len(self._waiting) > _WAITING):
            yield self._waiting.popleft().result()

    def rest(self) -> Iterator[_Result]:
        """The results that were not yielded yet."""
        while self._waiting:
            yield self._waiting.popleft().result()

    def __enter__(self) -> Behind[_Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=kind is not None)
