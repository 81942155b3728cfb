"""`prefetch_map`: results are made ahead of their use, by threads."""

from __future__ import annotations

import threading
from itertools import islice

import pytest

from ncsr.errors import InputError
from ncsr.runtime.threads import prefetch_map


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_are_in_order_bounded_and_stops(workers: int) -> None:
    started: list[int] = []
    endless = iter(range(10**9))

    def work(item: int) -> int:
        started.append(item)
        return item * item

    results = prefetch_map(work, endless, workers)
    assert list(islice(results, 5)) == [0, 1, 4, 9, 16]
    results.close()  # type: ignore[attr-defined]
    assert len(started) <= 5 + 2 * workers
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_errors_are_passed_on_when_they_are_due() -> None:
    def work(item: int) -> int:
        if item == 2:
            raise InputError("two")
        return item

    results = prefetch_map(work, range(5), 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(InputError, match="two"):
        next(results)
