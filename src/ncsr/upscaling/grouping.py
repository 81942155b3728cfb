"""Gathering photographs of equal size into batches."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TypeVar

_Item = TypeVar("_Item")


def group_by_key(
    items: Iterable[_Item], key: Callable[[_Item], Hashable], most: Callable[[_Item], int], window: int
) -> Iterator[list[_Item]]:
    """Group the items of every `window` in a row by key; yields a group when it is full, the others after the window.

    The groups depend on the items of their window alone, so a machine that has only these finds the same groups.

    Args:
        items: taken one by one.
        key: equal for items that belong together; an item whose key is None is yielded at once, alone.
        most: the largest group that an item may be in.
        window: how many items in a row are grouped.
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
