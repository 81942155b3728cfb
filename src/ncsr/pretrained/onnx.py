"""The sampler as one ONNX file: an LR image and latents in, HR images out, of any size.

The file computes `FlowSpace.decode` in float32, clamped to [0, 1], from the same layers. Three things are computed in
another way, with the same result: the inverses of the 1x1 convolutions are constants, since ONNX cannot invert
matrices; odd sides are padded by gathering indices computed from the latents' size; and a level's features are enlarged
before they are convolved.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ncsr.errors import InputError, needs_extra
from ncsr.flow.bijection import Bijection
from ncsr.flow.conv1x1 import Conv1x1
from ncsr.flow.level import LevelCondition
from ncsr.flow.step import step_conditions
from ncsr.model import NCSR
from ncsr.ops.upsampled_conv import LevelFeatures
from ncsr.runtime.files import atomic_path, explain_write_errors
from ncsr.serialization import fingerprint

TOLERANCE = 1e-4  # largest difference allowed between the file's images and the package's, checked when it is made
_TRACED = (3, 7, 9)  # samples, LR rows and columns: odd, so that no side is a multiple of another
_CHECKED = ((1, 7, 10), (3, 12, 5))  # samples, LR rows and columns


class Sampler(nn.Module):
    """The image of an encoder-only model, or `FlowSpace.decode`, clamped, as a function that ONNX can express.

    Args:
        model: in float32; it is copied.
    """

    def __init__(self, model: NCSR) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        for parent in list(self.model.modules()):
            for name, child in parent.named_children():
                if isinstance(child, Conv1x1):
                    setattr(parent, name, _Inverted(child))

    def forward(self, lr: Tensor, latents: Sequence[Tensor]) -> Tensor:
        """(1, 3, h, w) in [0, 1] and latents (n, C, H, W), fine to coarse, to (n, 3, s h, s w) in [0, 1]."""
        flow, config, (height, width) = self.model.flow, self.model.config, lr.shape[-2:]
        if flow is None or config.flow is None:
            image: Tensor = self.model.encoder(lr)
            return image.clamp(0, 1)
        cell = 2 ** len(flow.levels)
        rows, columns = (side * cell // flow.scale for side in latents[-1].shape[-2:])
        padded = lr.index_select(-2, _reflected(rows, height)).index_select(-1, _reflected(columns, width))
        features = self.model.encoder.features(padded, stacked=config.flow.stacked_blocks, largest=flow.scale // 2)
        conditions: list[LevelCondition] = []
        for level, (up, stack) in zip(flow.levels, flow.feature_pairs(features), strict=True):
            u = torch.cat((up, F.interpolate(stack, up.shape[-2:], mode="nearest")), 1)
            conditions.append(step_conditions(level.steps, LevelFeatures(u, u[:, :0])))
        image, _ = flow.decode(latents, conditions)
        return image[..., : flow.scale * height, : flow.scale * width].clamp(0, 1)


class _Inverted(Bijection):
    """A 1x1 convolution that can only be decoded, without its log-determinant."""

    weight: Tensor

    def __init__(self, layer: Conv1x1) -> None:
        super().__init__()
        self.register_buffer("weight", layer.inverse().to(layer.weight)[:, :, None, None])

    def decode(self, z: Tensor, condition: Any = None) -> tuple[Tensor, Tensor]:
        return F.conv2d(z, self.weight), z.new_zeros(z.shape[0])


@torch.no_grad()
def export(model: NCSR, path: str | os.PathLike[str]) -> float:
    """Write the sampler of a model, or the image of an encoder-only one, as an ONNX file, and check it.

    Inputs `lr` (1, 3, h, w) and `latent_0`, ... (n, C, H, W), fine to coarse, output `hr` (n, 3, s h, s w) in [0, 1],
    (1, 3, s h, s w) for an encoder; n, h and w are free. The file's metadata holds scale, temperature (the model's
    default), cells (for each latent, the HR pixels along the side of what one of its elements covers), model
    (`ncsr.serialization.fingerprint`) and version.

    Args:
        model: on the CPU, in float32.
        path: of the file, ending in .onnx; it appears when it is whole and checked.

    Returns:
        The largest difference from the package's images that onnxruntime found, on a few small LR images.

    Raises:
        InputError: another name, no such folder, packages that are not installed, a difference above `TOLERANCE`.
    """
    path = Path(path)
    if path.suffix != ".onnx":
        raise InputError(f"the exported file must be named *.onnx, got {path}")
    if not path.parent.is_dir():
        raise InputError(f"no folder {path.parent} to write {path.name} into: make it, or name another")
    _runtime()
    program = _program(model)
    flow = model.flow
    cells = [] if flow is None else [*(2 ** (i + 1) for i in range(len(flow.splits))), 2 ** len(flow.levels)]
    program.model.metadata_props.update(
        scale=str(model.config.scale),
        temperature=str(model.config.temperature),
        cells=json.dumps(cells),
        model=fingerprint(model.config, model.state_dict()),
        version=version("ncsr"),
    )
    with explain_write_errors(path, "choose another place"), atomic_path(path) as temporary:
        program.save(temporary)
        difference = check(model, temporary)
        if not difference <= TOLERANCE:
            raise InputError(
                f"the exported model gave images that differ by {difference:.1e}, more than {TOLERANCE:.0e}: "
                "nothing was written; its numbers need more than float32"
            )
    return difference


@torch.no_grad()
def check(model: NCSR, path: Path) -> float:
    """The largest difference between the images of an exported file and those of `model`, on a few small LR images."""
    session = _runtime().InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    worst = []
    for samples, height, width in _CHECKED:
        corners = torch.rand(1, 3, 2, 2, generator=generator)  # a smooth image: noise would give extreme values
        lr = F.interpolate(corners, (height, width), mode="bilinear", align_corners=True)
        latents = draw_latents(model, samples, height, width, generator)
        space = model.space(lr)
        expected = space.decode(latents) if latents else space.sample(1, 0.0, 0)[0]
        named = {"lr": lr, **{f"latent_{i}": z for i, z in enumerate(latents)}}
        (actual,) = session.run(None, {name: value.numpy() for name, value in named.items()})
        worst.append((torch.from_numpy(actual) - expected.clamp(0, 1)).abs().max())
    return torch.stack(worst).max().item()  # NaN if one of them is


def draw_latents(model: NCSR, samples: int, height: int, width: int, generator: torch.Generator) -> list[Tensor]:
    """Latents (n, C, H, W) at the model's temperature for an LR image of this size; none for an encoder alone."""
    even = (model.config.scale * (side + side % 2) for side in (height, width))
    shapes = [] if model.flow is None else model.flow.latent_shapes(*even)
    return [model.config.temperature * torch.randn(samples, *shape, generator=generator) for shape in shapes]


def _runtime() -> Any:
    """The module onnxruntime.

    Raises:
        InputError: it, or what writes ONNX files, is not installed.
    """
    with needs_extra("onnx", "exporting needs more packages", "onnx", "onnxruntime", "onnxscript"):
        import onnxruntime  # type: ignore[import-untyped]
        import onnxscript  # noqa: F401
    return onnxruntime


def _program(model: NCSR) -> Any:
    """The ONNX program of the sampler with free sizes, in memory."""
    samples, rows, columns = _TRACED
    latents = draw_latents(model, samples, rows, columns, torch.Generator())
    free = torch.export.Dim.AUTO
    traced = torch.export.export(
        Sampler(model),
        (torch.rand(1, 3, rows, columns), latents),
        dynamic_shapes=({2: free, 3: free}, [{0: free, 2: free, 3: free}] * len(latents)),
        prefer_deferred_runtime_asserts_over_guards=True,
    )
    names = ["lr", *(f"latent_{i}" for i in range(len(latents)))]
    return torch.onnx.export(traced, dynamo=True, input_names=names, output_names=["hr"], verbose=False)


def _reflected(length: int, size: int) -> Tensor:
    """Indices into a row of `size` pixels that give `length`: all, and if `length` is one more, a reflected one."""
    index = torch.arange(length)
    return torch.minimum(index, 2 * (size - 1) - index)
