"""Check that the wheel in dist/ holds every file of the package, its recipes and its weights among them."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path


def main() -> None:
    """Compare the wheel's names with the files under src/."""
    (wheel,) = Path("dist").glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    files = {
        path.relative_to("src").as_posix()
        for path in Path("src/ncsr").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    wanted = ["ncsr/py.typed", "ncsr/recipes/*.yaml", "ncsr/weights/*/config.json", "ncsr/weights/*/model.safetensors"]
    wanted += ["ncsr/evaluation/paper/published/*.yaml", "ncsr/evaluation/templates/*.html"]
    absent = sorted(files - packed) + [
        pattern for pattern in wanted if not any(Path(name).match(pattern) for name in packed)
    ]
    if absent:
        sys.exit(f"{wheel} lacks {', '.join(absent)}")
    print(f"{wheel}: {len(packed)} files, {wheel.stat().st_size / 1e6:.1f} MB, nothing lacking")


if __name__ == "__main__":
    main()
