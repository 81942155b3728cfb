"""Check that the wheel in dist/ holds every file of the package, and names the licences of all that it holds."""

from __future__ import annotations

import sys
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

LICENCES = {"Apache-2.0", "CC-BY-NC-4.0", "CC-BY-SA-4.0", "BSD-2-Clause", "BSD-3-Clause"}
"""Of the code, the models (two), the layers of LPIPS, and AlexNet's."""
MOST = 99_000_000
"""Bytes of the wheel: package indexes take 100 MB."""


def main() -> None:
    """Compare the wheel's names with the files under src/, and its metadata with the licences there."""
    (wheel,) = Path("dist").glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    packed = set(archive.namelist())
    (metadata,) = (name for name in packed if name.endswith(".dist-info/METADATA"))
    check_licences(message_from_bytes(archive.read(metadata)))
    files = {
        path.relative_to("src").as_posix()
        for path in Path("src/ncsr").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    wanted = [
        "ncsr/py.typed",
        "ncsr/licences.md",
        "ncsr/recipes/*.yaml",
        "ncsr/weights/*/config.json",
        "ncsr/weights/*/model.safetensors",
        "ncsr/evaluation/paper/published/*.yaml",
        "ncsr/app/example.png",
        "ncsr/app/static/*.css",
        "ncsr/app/static/*.html",
        "ncsr/app/static/*.js",
        "ncsr/evaluation/templates/*.html",
        "ncsr/metrics/lpips_alex/*.safetensors",
    ]
    absent = sorted(files - packed) + [
        pattern for pattern in wanted if not any(Path(name).match(pattern) for name in packed)
    ]
    if absent:
        sys.exit(f"{wheel} lacks {', '.join(absent)}")
    if wheel.stat().st_size > MOST:
        sys.exit(f"{wheel} has {wheel.stat().st_size / 1e6:.1f} MB, more than {MOST / 1e6:.0f}")
    print(f"{wheel}: {len(packed)} files, {wheel.stat().st_size / 1e6:.1f} MB, nothing lacking")


def check_licences(metadata: Message) -> None:
    """Compare the licences that the metadata name with those of the files."""
    named = set(str(metadata["License-Expression"]).split(" AND "))
    if named != LICENCES:
        sys.exit(f"the wheel's licences are {' AND '.join(sorted(LICENCES))}, its metadata say {' AND '.join(named)}")
    texts = {"LICENSE", *(path.as_posix() for path in Path("src").rglob("LICENSE*"))}
    unnamed = texts - set(metadata.get_all("License-File") or [])
    if unnamed:
        sys.exit(f"the wheel's metadata do not name {', '.join(sorted(unnamed))}")


if __name__ == "__main__":
    main()
