"""The precision that a model's products have, whatever PyTorch's flags permit in the process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ncsr import NCSR
from ncsr.runtime.device import Precision
from tests.models import lively_encoder, lively_model
from tests.training.conftest import L1, advance, make_recipe, started_trainer

FLAGS = {("cuda", "conv"): "tf32", ("cuda", "matmul"): "tf32", ("mkldnn", "conv"): "bf16", ("mkldnn", "matmul"): "bf16"}
LR, HR = (torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(side)) for side in (6, 24))


def flags() -> list[str]:
    return [torch._C._get_fp32_precision_getter(*flag) for flag in FLAGS]


@pytest.fixture(autouse=True)
def _lowest() -> Iterator[None]:
    """The process permits all that PyTorch knows."""
    before = flags()
    for flag, value in FLAGS.items():
        torch._C._set_fp32_precision_setter(*flag, value)
    yield
    assert flags() == list(FLAGS.values())
    for flag, value in zip(FLAGS, before, strict=True):
        torch._C._set_fp32_precision_setter(*flag, value)


class Watch(TorchDispatchMode):
    """What float32 products were permitted, and the shapes of their factors, forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[list[str], list[torch.Size]]] = []

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(word in str(op) for word in ("conv", "mm")):
            factors = [x for x in args if isinstance(x, Tensor)]
            if all(x.dtype == torch.float32 for x in factors):
                self.seen.append((flags(), [x.shape for x in factors]))
        return op(*args, **(kwargs or {}))


def work(model: NCSR) -> dict[str, Callable[[], object]]:
    """All that is computed with a model."""
    space = model.training_space(LR)
    tasks: dict[str, Callable[[], object]] = {"sample": lambda: model.space(LR).sample(2, seed=0)}
    if model.flow is not None:
        latents = model.space(LR).encode(HR)
        tasks |= {
            "encode": lambda: space.encode(HR),
            "decode": lambda: space.decode(latents),
            "log_prob": lambda: space.log_prob(HR, 0.03 * HR),
            "forward": lambda: model(HR, LR),
        }
    return tasks


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
@pytest.mark.parametrize("make", [lively_model, lively_encoder])
def test_what_is_float32_is_not_rounded_to_less(make: Callable[..., NCSR], precision: Precision) -> None:
    model = make(dtype=torch.float32).requires_grad_(False)
    model.precision = precision
    for name, task in work(model).items():
        with Watch() as watch:
            task()
        assert watch.seen, name
        assert all(seen == ["ieee"] * 4 for seen, _ in watch.seen), name


@pytest.mark.parametrize("make", [lively_model, lively_encoder])
def test_tf32_is_for_encoder_and_subnets_alone(make: Callable[..., NCSR]) -> None:
    model = make(dtype=torch.float32).requires_grad_(False)
    model.precision = "tf32"
    for name, task in work(model).items():
        with Watch() as watch:
            task()
        for seen, shapes in watch.seen:
            of_flow = any(len(s) == 4 and s[0] == s[1] >= 12 and s[2] == 1 for s in shapes[1:])  # subnets are narrower
            of_image = torch.Size((4, 3, 3, 3)) in shapes[1:]
            if of_flow or of_image:
                assert seen == ["ieee"] * 4, (name, shapes)
        assert ["tf32", "ieee", "ieee", "ieee"] in [seen for seen, _ in watch.seen], name


@pytest.mark.parametrize("objective", [{}, L1], ids=["likelihood", "l1"])
@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_training_and_its_gradients(precision: Precision, objective: dict[str, Any]) -> None:
    recipe = make_recipe(precision=precision, **objective)
    trainer = started_trainer(recipe, Fabric(accelerator="cpu", devices=1))
    with Watch() as watch:
        advance(trainer, 1)
    permitted = {tuple(seen) for seen, _ in watch.seen}
    assert ("ieee",) * 4 in permitted
    assert (("tf32", "ieee", "ieee", "ieee") in permitted) == (precision == "tf32")
    assert len(permitted) == (2 if precision == "tf32" else 1)
