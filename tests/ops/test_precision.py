"""What products of float32 tensors may be rounded to, by PyTorch's flags, while something is computed and after it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from ncsr.ops.precision import float32_products

FLAGS = [("cuda", "conv"), ("cuda", "matmul"), ("mkldnn", "conv"), ("mkldnn", "matmul")]
EXACT, TF32 = ["ieee"] * 4, ["tf32", "ieee", "ieee", "ieee"]


def flags() -> list[str]:
    return [torch._C._get_fp32_precision_getter(*flag) for flag in FLAGS]


@pytest.fixture(params=["none", "lowest"], autouse=True)
def own(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """The process's own flags: as PyTorch starts, and with all permitted."""
    before = flags()
    for flag in FLAGS if request.param == "lowest" else ():
        torch._C._set_fp32_precision_setter(*flag, "tf32" if flag[0] == "cuda" else "bf16")
    yield flags()
    for flag, value in zip(FLAGS, before, strict=True):
        torch._C._set_fp32_precision_setter(*flag, value)


def exact(values: list[str]) -> list[str]:
    """With `none`, nothing is permitted."""
    return ["ieee" if value == "none" else value for value in values]


def test_nothing_is_permitted_inside_and_what_was_is_after(own: list[str]) -> None:
    with float32_products():
        assert exact(flags()) == EXACT
        with float32_products(tf32=True):
            assert exact(flags()) == EXACT
    assert flags() == own
    with pytest.raises(ZeroDivisionError), float32_products():
        1 / 0  # noqa: B018
    assert flags() == own


def test_tf32_is_of_gpus_and_not_where_something_inside_is_exact(own: list[str]) -> None:
    with float32_products(tf32=True):
        assert exact(flags()) == TF32
        with float32_products():
            assert exact(flags()) == EXACT
        assert exact(flags()) == TF32
    assert flags() == own


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_threads_may_leave_in_any_order(own: list[str], order: tuple[int, ...]) -> None:
    contexts = [float32_products(tf32=tf32) for tf32 in (True, False, True)]
    leave, threads = [threading.Event() for _ in contexts], []

    def compute(index: int, entered: threading.Event) -> None:
        with contexts[index]:
            entered.set()
            leave[index].wait(60)

    for index in range(3):
        entered = threading.Event()
        threads.append(threading.Thread(target=compute, args=(index, entered)))
        threads[-1].start()
        assert entered.wait(60)
    for place, index in enumerate(order):
        assert exact(flags()) == (TF32 if 1 in order[:place] else EXACT)
        leave[index].set()
        threads[index].join()
    assert flags() == own
