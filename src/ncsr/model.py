"""The model: encoder and flow, p(HR | LR)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten

import torch
from torch import Tensor

from ncsr.errors import InputError, brief
from ncsr.flow.actnorm import ActNorm, start_actnorms
from ncsr.hub.card import Card
from ncsr.hub.fetching import fetch, parse_id
from ncsr.hub.pushing import push
from ncsr.networks import Networks
from ncsr.ops.skip_init import SkipInit
from ncsr.runtime.device import Precision, pick_device
from ncsr.runtime.memory import explain_exhaustion, is_exhaustion
from ncsr.serialization import read_model, write_model
from ncsr.space.base import Space
from ncsr.space.encoder_space import EncoderSpace
from ncsr.space.flow_space import FlowSpace


class NCSR(Networks):
    """A conditional normalizing flow over HR images, given an LR image (paper, section 3).

    With `config.flow` None it is the encoder alone: RRDB, ESRGAN or ESRGAN+. The arguments are those of
    `Networks`, which also explains what is cached of the weights for sampling.
    """

    _reminded = False  # of actnorms that have not started

    def space(self, lr: Tensor, *, origin: tuple[int, int] = (0, 0)) -> Space:
        """The super-resolution space of LR images: whatever depends on them alone is computed here, once.

        Samples keep the weights as they are now; after a change make a new space. They call no modules, so hooks on
        these see nothing.

        Args:
            lr: (B, 3, h, w) float in [0, 1], any sides from 4 up.
            origin: (top, left) of these LR pixels in the whole image, even numbers: samples of tiles of one image
                agree.

        Raises:
            InputError: not such a tensor.
        """
        _check_lr(lr, (0, 1))
        pair = isinstance(origin, tuple | list) and len(origin) == 2 and all(isinstance(at, Integral) for at in origin)
        if not pair or origin[0] % 2 or origin[1] % 2 or min(origin) < 0:
            raise InputError(f"a tile's origin must be two even LR pixels, from 0, got {brief(origin)}")
        space = self._space(lr, origin, training=False)
        space.prepare()
        return space

    def training_space(self, lr: Tensor) -> Space:
        """`space` for training: y+ leaves [0, 1], nothing is computed before it is asked for, and nothing is kept."""
        _check_lr(lr)
        return self._space(lr, (0, 0), training=True)

    def _space(self, lr: Tensor, origin: tuple[int, int], *, training: bool) -> Space:
        lr = lr.to(self.device, self.dtype, copy=not training)  # as the caller may write to it later
        if self.flow is None:
            return EncoderSpace(self, lr, origin)
        return FlowSpace(self, self.flow, lr, origin, training=training)

    def forward(self, hr: Tensor, lr: Tensor, noise: Tensor | None = None) -> Tensor:
        """The training loss -log p(hr | lr, noise) in bits per dimension, (B,).

        Call `start_actnorms` before the first step of a new model; a model in training mode whose actnorms have not
        started warns once. The model's precision decides how the loss is computed, whatever autocast is on.

        Args:
            hr: (B, 3, s h, s w), x+ of the paper in training.
            lr: (B, 3, h, w), y+ of the paper in training.
            noise: v, (B, 3, s h, s w), or its standard deviations (B,) for the std variant; None is zero.

        Raises:
            InputError: shapes that do not belong together; a model without a flow.
        """
        if self.training and not self._reminded and not torch.compiler.is_compiling():
            self._reminded = True
            if any(not bool(module.started) for module in self.modules() if isinstance(module, ActNorm)):
                warnings.warn(
                    "the actnorms of this model have not started: before the first step, call "
                    "model.start_actnorms(hr, lr, noise) with one batch",
                    stacklevel=4,  # the caller of the module
                )
        return self.training_space(lr).bits_per_dim(hr, noise)

    def log_prob_parts(self, hr: Tensor, lr: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The two terms of log p(hr | lr, noise) in nats, (B,) each; see `Space.log_prob_parts`, `forward`."""
        return self.training_space(lr).log_prob_parts(hr, noise)

    def start_actnorms(self, hr: Tensor, lr: Tensor, noise: Tensor | None = None) -> None:
        """Start every actnorm that has not started from one batch; in several processes all take process 0's start.

        The arguments are those of `forward`.

        Raises:
            InputError: LR images far outside [0, 1], which no training noise explains.
        """
        _check_lr(lr, (-0.5, 1.5))
        self._reminded = True
        start_actnorms(self, lambda: self(hr, lr, noise))

    def save(self, folder: str | os.PathLike[str], *, half: bool = False) -> None:
        """Write a model folder that `ncsr.load` opens.

        Args:
            folder: made when missing; a model that it held before is replaced.
            half: store weights in float16, except those of 1x1 convolutions and actnorms.

        Raises:
            InputError: it cannot be written there.
        """
        write_model(Path(folder), self.config, self.state_dict(), half=half)

    # Users of huggingface_hub know these three from its ModelHubMixin. The mixin itself would write config.json from
    # the constructor's arguments, load weights past their checksum, and be imported with every model (0.4 s).
    save_pretrained = save

    @classmethod
    @explain_exhaustion()
    @torch.inference_mode(False)
    def from_pretrained(
        cls,
        source: str | os.PathLike[str],
        device: str = "auto",
        precision: Precision = "auto",
        *,
        revision: str | None = None,
    ) -> NCSR:
        """Load a model from a folder, a `.safetensors` file or a repository on the hub, as `ncsr.load` does.

        Args:
            source: a model folder, a `.safetensors` file, or a repository's id.
            device: `auto` is the first accelerator, or else the CPU.
            precision: as of `Networks`.
            revision: branch, tag or commit of a repository; None takes that in the id, if any.

        Raises:
            InputError: no such model or device, a damaged file, or weights that do not fit their configuration.
        """
        path, parsed = Path(source), parse_id(os.fspath(source))
        if parsed and not os.path.exists(path):
            path = fetch(parsed[0], revision or parsed[1])
        config, weights = read_model(path)
        with torch.device("cpu"), SkipInit():
            network = cls(config, precision)
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            if is_exhaustion(error):
                raise
            problem = shorten(str(error), 200, placeholder=" ...")
            raise InputError(f"the weights in {source} do not fit their configuration: {problem}") from None
        network.requires_grad_(False).eval()
        return network.to(device=pick_device(device), memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def push_to_hub(
        self,
        repo_id: str,
        *,
        licence: str | None = None,
        base_model: str | None = None,
        datasets: Sequence[str] = (),
        half: bool = False,
        private: bool | None = None,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool = False,
        commit_message: str | None = None,
    ) -> str:
        """Push the model to the Hugging Face hub, with a card; `ncsr.load(repo_id)` opens it.

        `ncsr push` pushes a model folder with what lies beside it: the card that you wrote, a licence, pictures.

        Args:
            repo_id: "owner/name"; repository and branch are made where they are missing.
            licence: SPDX identifier of the weights' licence, as "CC-BY-4.0".
            base_model: the model that this one was fine-tuned from, as the hub names it.
            datasets: what it was trained on, as the hub names it.
            half: as of `save`.
            private: of a repository that is made; None is as its owner has it.
            token: None takes that of `hf auth login` or HF_TOKEN.
            branch: to push to; None is `main`.
            create_pr: ask by a pull request.
            commit_message: None has one written.

        Returns:
            The address of the commit, or of the pull request.

        Raises:
            InputError: the hub does not take it: no token, no permission, no such owner, no network.
        """
        card = Card(licence=licence, base_model=base_model, datasets=tuple(datasets))
        with TemporaryDirectory() as folder:
            self.save(folder, half=half)
            return push(
                Path(folder),
                repo_id,
                card,
                private=private,
                token=token,
                branch=branch,
                create_pr=create_pr,
                commit_message=commit_message,
            )


def _check_lr(lr: Tensor, bounds: tuple[float, float] | None = None) -> None:
    """Raise InputError unless lr is a batch of images, with values within `bounds` if these are given."""
    if not isinstance(lr, Tensor):
        raise InputError(f"lr must be a tensor (B, 3, h, w), got {type(lr).__name__}: torch.as_tensor makes one")
    if lr.dim() != 4 or lr.shape[1] != 3 or min(lr.shape[-2:]) < 4 or not lr.shape[0] or not lr.is_floating_point():
        raise InputError(f"lr must be (B, 3, h, w) floating point with sides from 4, got {tuple(lr.shape)} {lr.dtype}")
    if bounds is None:
        return
    low, high = (value.item() for value in lr.aminmax())
    if not bounds[0] <= low <= high <= bounds[1]:
        raise InputError(
            f"lr must lie in [0, 1], got values from {low:.9g} to {high:.9g}: bring [-1, 1] to (x + 1) / 2, divide "
            "8-bit images by 255, and clamp(0, 1) what lies just beyond"
        )
