"""`ncsr prepare`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ncsr.data.known_sets import KnownSet, deviations
from ncsr.errors import InputError, printable


def prepare(
    data: Annotated[list[Path], typer.Argument(metavar="DATA", help="Folders of photographs, searched recursively.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Packed file to write, for `ncsr train --data`.")
    ] = None,
    check: Annotated[
        KnownSet | None, typer.Option(help="Check that DATA is this set, all of it; if not, nothing is packed.")
    ] = None,
    smallest: Annotated[
        int, typer.Option(min=1, help="Leave out photographs with a side shorter than this, the crop of the training.")
    ] = 160,
    side: Annotated[
        int, typer.Option(min=1, max=16_383, help="Side of the tiles that photographs are stored as.")
    ] = 128,
) -> None:
    """Pack photographs for fast training, or check that a set of them is complete.

    A packed file gives the same crops as its folders, but whole photographs are no longer decoded for them.
    """
    from rich.progress import MofNCompleteColumn

    from ncsr.data.listing import find_all, large_enough, list_photos, map_decoded
    from ncsr.data.packing import pack_photos
    from ncsr.runtime.progress import ProgressBar

    if output is None and check is None:
        raise InputError("nothing to do: give -o FILE.lmdb to pack the photographs, --check SET to check them, or both")
    listed, broken = list_photos(*data)
    files, problems = large_enough(listed, smallest, data, broken)
    names = [path.name for path in find_all(*data)[0]]
    deviates = [] if check is None else deviations(check, names)
    failed: list[str] = []
    with ProgressBar(len(files), MofNCompleteColumn()) as bar:
        if output is None:
            for outcome in map_decoded(lambda photo: None, files):
                failed += [str(outcome)] if outcome else []
                bar.advance()
        elif not deviates:
            failed += pack_photos(files, output, side=side, progress=bar.advance)
    if output is not None and not deviates:
        print(f"{output}: {len(files) - len(failed)} photographs, {output.stat().st_size / 1e6:.0f} MB")
    problems = deviates + problems + failed
    for problem in problems:
        print(f"ncsr: {printable(problem)}", file=sys.stderr)
    if check is not None and not problems:
        print(f"{check.value} is complete: {len(names)} photographs")
    if problems:
        raise typer.Exit(2 if deviates and output is not None else 1)
