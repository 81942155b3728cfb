"""CMYK becomes sRGB, through its profile where it has a usable one."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from ncsr.images import photo_from_pil, read_photo, to_array
from tests.images.samples import SRGB_PROFILE

pytestmark = pytest.mark.filterwarnings("error")


def _cmyk_profile() -> bytes:
    """A CMYK profile that knows one thing: paper is white, a full ink of any kind is black, linear (in L*) between."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    ramp = bytes(range(256))
    grid = bytes([255, 128, 128]) + bytes([0, 128, 128]) * 15
    identity = fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"inks\0" + bytes(78 + 1),
        b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249),
        b"A2B0": b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + grid + ramp * 3,
    }
    offset, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4xI4s4s4s12x4s28x", offset + len(body), 0x02100000, b"prtr", b"CMYK", b"Lab ", b"acsp")
    return (header + fixed(0.9642, 1, 0.8249)).ljust(128, b"\0") + table + body


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_goes_through_its_profile_which_is_then_spent(tmp_path: Path, suffix: str) -> None:
    image = Image.new("CMYK", (16, 16), (0, 127, 0, 0))
    image.save(
        tmp_path / f"photo{suffix}", icc_profile=_cmyk_profile(), **({"quality": 100} if suffix == ".jpg" else {})
    )
    for photo in (read_photo(tmp_path / f"photo{suffix}"), photo_from_pil(Image.open(tmp_path / f"photo{suffix}"))):
        assert photo.icc is None
        assert np.abs(to_array(photo).astype(int) - 119).max() <= 1  # L* = 50; without the profile, (255, 128, 255)


@pytest.mark.parametrize("profile", [None, _cmyk_profile(), _cmyk_profile()[:300], SRGB_PROFILE])
def test_cmyk_of_16_bits(tmp_path: Path, profile: bytes | None) -> None:
    stored = np.array([[[0, 0, 0, 0], [0, 32768, 0, 0], [65535, 0, 0, 0], [0, 0, 0, 65535]]], np.uint16)
    tifffile.imwrite(tmp_path / "photo.tif", stored, photometric="separated", iccprofile=profile)
    photo = read_photo(tmp_path / "photo.tif")
    levels = to_array(photo, np.uint16)[0].astype(int).tolist()
    assert (photo.bits, photo.icc) == (16, None)
    assert levels[0] == [65535] * 3
    assert levels[3] == [0] * 3
    if profile == _cmyk_profile():
        assert levels[2] == [0] * 3
        assert all(30300 < level < 30800 for level in levels[1])
    else:
        assert levels[1:3] == [[65535, 32767, 65535], [0, 65535, 65535]]
