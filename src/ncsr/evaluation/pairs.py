"""Finding the files that belong together, and reading them: photographs, their LR images, samples made elsewhere."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from ncsr.errors import InputError, brief
from ncsr.images import find_photos, is_photo_path, photo_size, read_eight_bit
from ncsr.metrics.fidelity import psnr
from ncsr.metrics.pixels import crop_to_multiple
from ncsr.ops.resize import imresize
from ncsr.runtime.files import file_hash

SAME_KERNEL = 45.0
"""PSNR in dB from which on an LR image counts as the bicubic reduction (rounding alone leaves 55 or more)."""

_NTIRE = re.compile(r"(\d{6})_sample(\d{5})")
_BESIDE = ("_std", "_sheet")  # what `ncsr upscale` adds to the names of maps and sheets


@dataclass(frozen=True)
class PhotographFiles:
    """The files that belong to one photograph.

    Attributes:
        index: the photograph's index in its sorted folder.
        hr: the photograph.
        lr: its LR image; None makes it.
        samples: per folder of samples, their files in order.
    """

    index: int
    hr: Path
    lr: Path | None = None
    samples: tuple[tuple[Path, ...], ...] = ()

    @property
    def name(self) -> str:
        """The photograph's file name."""
        return self.hr.name

    def fingerprint(self) -> str:
        """12 hexadecimal digits of a hash of the contents of all files.

        Raises:
            InputError: one cannot be read.
        """
        digest = hashlib.sha256()
        for path in (self.hr, *([self.lr] if self.lr else []), *(p for group in self.samples for p in group)):
            digest.update(bytes.fromhex(file_hash(path)))
        return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Pair:
    """A photograph and its LR image, as they are measured.

    Attributes:
        files: the files that they were read from.
        hr: (3, s h, s w) uint8, cropped to a multiple of the scale.
        lr: (3, h, w) uint8.
        agreement: PSNR in dB between a given LR image and the bicubic reduction of the photograph; None if the LR image
            was made by that reduction.
    """

    files: PhotographFiles
    hr: Tensor
    lr: Tensor
    agreement: float | None

    @property
    def scale(self) -> int:
        """The factor between the LR image and the photograph."""
        return self.hr.shape[-1] // self.lr.shape[-1]

    @property
    def lr_pixels(self) -> Tensor:
        """The LR image at the photograph's size, every pixel a square."""
        return self.lr.repeat_interleave(self.scale, 1).repeat_interleave(self.scale, 2)


def find_pairs(
    hr: Path, lr: Path | None, scale: int, limit: int | None = None
) -> tuple[list[PhotographFiles], list[str]]:
    """The photographs of a folder with their LR images, and a sentence for each that lacks one.

    An LR image has the photograph's name or, as in DIV2K, that name followed by x4 or x8, and any suffix. Of several
    the one with exactly the photograph's name is taken; one with exactly the name of another photograph is not.

    Args:
        hr: folder of the photographs.
        lr: folder of their LR images; None: they will be made.
        scale: 4 or 8.
        limit: take only so many photographs, the first by name.

    Raises:
        InputError: a folder without photographs.
    """
    every = find_photos(hr)
    photographs = every[:limit]
    if lr is None:
        return [PhotographFiles(i, path) for i, path in enumerate(photographs)], []
    reduced: dict[str, list[Path]] = defaultdict(list)
    for path in find_photos(lr):
        reduced[path.stem].append(path)
        reduced[path.name].append(path)
    owners = {f"{path.stem}x{scale}{path.suffix}": path for path in every} | {path.name: path for path in every}
    pairs, problems = [], []
    for i, path in enumerate(photographs):
        names = path.name, f"{path.stem}x{scale}{path.suffix}", path.stem, f"{path.stem}x{scale}"
        fitting = (file for name in names for file in reversed(reduced.get(name, [])))
        found = next((file for file in fitting if owners.get(file.name, path) == path), None)
        if found is None:
            problems.append(f"{path.name} has no LR image in {lr}: expected {path.stem}.png or {path.stem}x{scale}.png")
        else:
            pairs.append(PhotographFiles(i, path, found))
    return pairs, problems


def check_pattern(pattern: str) -> None:
    """Raise InputError unless a pattern names the photograph of a file, by {stem}."""
    rest = pattern.replace("{scale}", "").replace("{stem}", "", 1)
    if "{stem}" not in pattern or set(rest) & set("{}/"):
        raise InputError(
            "a pattern of file names needs {stem} once, the photograph's name without its suffix, and may have "
            f"{{scale}}, as in {{stem}}x{{scale}}_out, got {brief(pattern)}"
        )
    if is_photo_path(Path(pattern)):
        raise InputError(f"a pattern of file names is without the suffix, which may be any, got {brief(pattern)}")


def match_samples(
    pairs: list[PhotographFiles],
    folders: list[Path],
    scale: int,
    pattern: str | None = None,
    others: Sequence[PhotographFiles] = (),
) -> tuple[list[PhotographFiles], list[str]]:
    """Find every photograph's samples in every folder.

    A file is named as in NTIRE 2021, 000000_sample00000.png (the first number is the photograph's index in its sorted
    folder), or by the photograph's name, with or without x4, followed by _s0, _s1, ... or nothing. If names of
    photographs differ only in their suffixes, a file belongs to the photograph with its own suffix.

    Args:
        pairs: the photographs.
        folders: of samples.
        scale: 4 or 8.
        pattern: replaces the photograph's name in names of files; see `check_pattern`.

    Args:
        pairs: the photographs whose samples are wanted.
        folders: with samples, one for each method.
        scale: of the samples.
        pattern: stands for the photograph's name in those of files.
        others: further photographs, whose samples may be in the folders, too, and are left alone.

    Returns:
        The photographs whose samples are complete, and a sentence for each that is missing or misnamed.
    """
    problems: list[str] = []
    patterns = ["{stem}x{scale}", "{stem}"] if pattern is None else [pattern]
    names = [each.replace("{scale}", str(scale)) for each in patterns]
    tables = [_by_photograph([*others, *pairs], folder, names, problems) for folder in folders]
    complete = []
    for files in pairs:
        groups = []
        for folder, table in zip(folders, tables, strict=True):
            expected = max(len(table.get(other.index, {})) for other in pairs)
            numbers = table.get(files.index, {})
            missing = [k for k in range(expected) if k not in numbers]
            if not numbers:
                example = f"{files.index:06d}_sample00000.png or {names[-1].replace('{stem}', files.hr.stem)}_s0.png"
                problems.append(f"{folder} has no image of {files.name}: expected {example}")
            elif missing:
                problems.append(
                    f"{folder} lacks sample {', '.join(map(str, missing))} of {files.name}: others have {expected}"
                )
            else:
                groups.append(tuple(numbers[k] for k in sorted(numbers)))
        if len(groups) == len(folders):
            complete.append(replace(files, samples=tuple(groups)))
    return complete, problems


def read_pair(files: PhotographFiles, scale: int) -> Pair:
    """Read a photograph and read or make its LR image.

    Raises:
        InputError: a file that cannot be read, or of another size than it must have; it is named.
    """
    hr = crop_to_multiple(read_eight_bit(files.hr), scale)
    if min(hr.shape[-2:]) < 4 * scale:
        raise InputError(
            f"{files.hr} is too small: a photograph needs {4 * scale} x {4 * scale} pixels at scale {scale}"
        )
    reduced = imresize(hr, 1 / scale)
    if files.lr is None:
        return Pair(files, hr, reduced, None)
    lr = _read_like(reduced, files.lr, f"the LR image of {files.name} at scale {scale}")
    return Pair(files, hr, lr, psnr(lr.double() / 255, reduced.double() / 255).item())


def read_sample(path: Path, pair: Pair) -> Tensor:
    """One image of a photograph, (3, s h, s w) uint8.

    Raises:
        InputError: as `read_pair`.
    """
    return _read_like(pair.hr, path, f"{pair.files.name}, cropped to a multiple of the scale")


def _by_photograph(
    pairs: list[PhotographFiles], folder: Path, names: list[str], problems: list[str]
) -> dict[int, dict[int, Path]]:
    """The files of a folder by the photograph's index and the sample's number.

    Of `names`, with {stem} for the photograph's, later ones take precedence. Sentences about files that belong to no
    photograph are added to `problems`.
    """
    stems: dict[str, int] = {}
    for files in pairs:
        for name in names:
            stem = name.replace("{stem}", files.hr.stem)
            stems[stem] = stems[stem + files.hr.suffix] = files.index  # with the suffix, it takes precedence
    known = {files.index for files in pairs}
    paths = find_photos(folder)
    # "a_s0" is sample 0 of "a", rather than the only image of a photograph "a_s0", if there is an "a_s0_s0".
    with_numbers = {path.stem.rpartition("_s")[0] for path in paths if path.stem not in stems}
    table: dict[int, dict[int, Path]] = {}
    for path in paths:
        ntire = _NTIRE.fullmatch(path.stem)
        stem, _, number = path.stem.rpartition("_s")
        numbered = stem in stems and number.isdecimal()
        if path.stem in stems and not (numbered and path.stem in with_numbers):
            index, k = stems.get(path.name, stems[path.stem]), 0
        elif numbered:
            index, k = stems.get(stem + path.suffix, stems[stem]), int(number)
        elif ntire and int(ntire[1]) in known:
            index, k = int(ntire[1]), int(ntire[2])
        else:
            if path.stem.endswith(_BESIDE) and path.stem.rpartition("_")[0] in stems:
                continue  # what `upscale` made besides samples
            examples = [names[-1].replace("{stem}", files.hr.stem) for files in pairs[:1]]
            expected = "".join(f": neither {name}_s0 nor NTIRE's 000000_sample00000" for name in examples)
            problems.append(f"{path} belongs to no photograph{expected}")
            continue
        owner = table.setdefault(index, {}).setdefault(k, path)
        if owner != path:
            problems.append(f"{path} and {owner.name} are both sample {k} of one photograph: the latter counts")
    return table


def _read_like(like: Tensor, path: Path, what: str) -> Tensor:
    """Read an image that must have the size of `like`, (3, H, W) uint8; one of another size is not even decoded.

    Raises:
        InputError: it cannot be read, or has another size; `what` names in the sentence what the size is that of.
    """
    expected, size = tuple(like.shape[-2:]), photo_size(path)
    if sorted(size) == sorted(expected):  # sides may be exchanged: the header has them before EXIF's orientation
        image = read_eight_bit(path)
        size = image.shape[-2], image.shape[-1]
        if size == expected:
            return image
    (height, width), (h, w) = size, expected
    raise InputError(f"{path} is {width} x {height} pixels: {what}, is {w} x {h}")
