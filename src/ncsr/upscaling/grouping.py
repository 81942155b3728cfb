"""Gather photographs of equal size into batches."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

_Item = TypeVar("_Item")


def group_by_key(
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
    groups: dict[Hashable, list[_Item]] = {}
    for count, item in enumerate(items, 1):
        name = key(item)
        if name is None:
            yield [item]
        else:
            groups.setdefault(name, []).append(item)
            if len(groups[name]) >= most(item):
                yield groups.pop(name)
        if count % window == 0:
            yield from groups.values()
            groups.clear()
    yield from groups.values()
