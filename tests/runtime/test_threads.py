"""Work done by threads: results ahead of their use, and files written behind their computing."""

from __future__ import annotations

import threading
from itertools import islice

import pytest

from ncsr.errors import InputError
from ncsr.runtime.threads import BackgroundWriter, prefetch_map


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


def test_a_background_writer_works_in_order_while_the_caller_goes_on() -> None:
    gate, done = threading.Event(), []

    def work(i: int) -> int:
        gate.wait(10)
        done.append(i)
        return i

    with BackgroundWriter[int]() as writer:
        for i in range(4):
            assert list(writer.submit(lambda i=i: work(i))) == []  # type: ignore[misc]
        assert done == []
        gate.set()
        results = [r for i in range(4, 9) for r in writer.submit(lambda i=i: work(i))]  # type: ignore[misc]
        results += writer.drain()
    assert results == done == list(range(9))


def test_a_background_writer_raises_and_drops_what_has_not_begun() -> None:
    gate, done = threading.Event(), []

    def broken() -> None:
        raise ValueError("broken")

    def interrupted() -> None:
        with BackgroundWriter[None]() as writer:
            list(writer.submit(lambda: gate.wait(10) and None))
            list(writer.submit(lambda: done.append(1)))
            threading.Timer(0.2, gate.set).start()
            raise KeyboardInterrupt

    def failing() -> None:
        with BackgroundWriter[None]() as writer:
            list(writer.submit(broken))
            list(writer.drain())

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done == []
    with pytest.raises(ValueError, match="broken"):
        failing()


def test_the_writers_thread_is_there_before_memory_is_taken() -> None:
    """Python waits for ever for a thread that finds no memory as it starts."""
    with BackgroundWriter[int]():
        assert "behind_0" in {thread.name for thread in threading.enumerate()}
