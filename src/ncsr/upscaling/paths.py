"""Which photographs an argument names, and where their results belong."""

from __future__ import annotations

from pathlib import Path, PurePath

from ncsr.errors import InputError
from ncsr.images import SUFFIXES, find_photos, is_photo_path
from ncsr.runtime.remote import Remote


def photos_in(folder: Path | Remote, recursive: bool = False) -> list[tuple[Path | Remote, PurePath]]:
    """The photographs in a folder, here or behind a URL, each with its path inside it; see `images.find_photos`."""
    if isinstance(folder, Path):
        return [(photo, photo.relative_to(folder)) for photo in find_photos(folder, recursive)]
    files = [(file, file.relative_to(folder)) for file in folder.files(recursive)]
    photos: list[tuple[Path | Remote, PurePath]] = [(file, inside) for file, inside in files if is_photo_path(inside)]
    if not photos:
        raise InputError(f"the folder {folder} holds no photographs ({' '.join(sorted(SUFFIXES))})")
    return photos
