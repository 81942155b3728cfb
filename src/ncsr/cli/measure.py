"""`ncsr measure`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ncsr.cli.evaluate import HR, LR, LpipsWeights, Output, Pictures
from ncsr.errors import InputError

if TYPE_CHECKING:
    from ncsr.evaluation.methods import Contestant


def measure(
    hr: HR,
    sr: Annotated[
        list[Path],
        typer.Option("--sr", metavar="DIR", help="Folder of images to measure; repeated, they are compared."),
    ],
    scale: Annotated[int, typer.Option("-s", "--scale", help="4 or 8.")],
    output: Output,
    lr: LR = None,
    lpips_weights: LpipsWeights = None,
    pictures: Pictures = 20,
) -> None:
    """Measure images that anything made, by the same protocol and with the same report as evaluate.

    Names: 000000_sample00000.png, ... (NTIRE: the number counts the sorted photographs), or the photograph's name with
    _s0, _s1, ... or nothing behind it. Bicubic is measured as well.
    """
    from ncsr.cli.reporting import conclude, find_lpips, work_of
    from ncsr.evaluation import methods as who
    from ncsr.evaluation.pairs import find_pairs, match_samples
    from ncsr.evaluation.protocol import protocol
    from ncsr.runtime.torchrun import Processes

    if scale not in (4, 8):
        raise InputError(f"the scale must be 4 or 8, got {scale}")
    with Processes() as processes:
        pairs, without = find_pairs(hr, lr, scale)
        pairs, problems = match_samples(pairs, sr, scale)
        contestants: list[Contestant] = [who.Bicubic(), *(who.Folder(folder, i) for i, folder in enumerate(sr))]
        lpips, words = find_lpips(lpips_weights, "cpu", processes)
        how = protocol(scale=scale, seed=None, given_lr=lr is not None, truncate=False, lpips=words)
        work = work_of(how, contestants, pairs, output, hr, lpips, truncate=False, pictures=pictures)
        code = conclude(work, processes, [*without, *problems])
    if code:
        raise typer.Exit(code)
