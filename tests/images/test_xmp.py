"""What pictures say of their origin: it comes back out of every format, and what was there stays there."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ncsr.errors import InputError
from ncsr.images import read_photo, read_record, write_pixels
from ncsr.images.xmp import LIMIT, packet_of, record_in
from tests.images.samples import SRGB_PROFILE, exif_block, exif_fields, noise

pytestmark = pytest.mark.filterwarnings("error")

_RECORD = '{"ncsr":"1","model":"<a>&\\"b\\"","tile":null}'
_COMMENT = b"ASCII\0\0\0" + _RECORD.encode()


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_a_record_comes_back_beside_all_else(tmp_path: Path, suffix: str, channels: int, endian: str) -> None:
    exif = exif_fields()
    exif.endian = endian
    path, pixels = tmp_path / f"photo{suffix}", noise(channels)
    for block, icc in ((None, None), (exif_block(exif), SRGB_PROFILE if channels > 1 else None)):
        write_pixels(path, pixels, icc, block, (300, 150), _RECORD)
        assert read_record(path) == _RECORD
        with Image.open(path) as image:
            fields, camera = image.getexif(), image.getexif().get_ifd(0x8769)
            assert image.info["ncsr"] == _RECORD if suffix == ".png" else camera[0x9286] == _COMMENT
            if block is not None:
                assert (fields[0x010F], camera[0x927C]) == ("Maker of cameras", b"maker's note")
                assert fields.get_ifd(0x8825)[1] == "N"
            packet = image.info["xmp"]
            assert image.info.get("icc_profile") == icc
        source = ET.fromstring(packet).find(".//{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
        assert source is not None
        assert str(source.text).endswith("digitalsourcetype/compositeWithTrainedAlgorithmicMedia")
        assert read_photo(path).dpi == (pytest.approx((300, 150), abs=0.02) if suffix != ".webp" else None)
    write_pixels(path, pixels, None, None)
    assert read_record(path) is None


def test_bmp_holds_none(tmp_path: Path) -> None:
    write_pixels(tmp_path / "photo.bmp", noise(3), None, None, None, _RECORD)
    assert read_record(tmp_path / "photo.bmp") is None


def test_a_comment_of_others_stays_and_an_older_one_of_ours_goes(tmp_path: Path) -> None:
    for stored, expected in ((b"ASCII\0\0\0my cat", b"ASCII\0\0\0my cat"), (b"ASCII\0\0\0 \0", _COMMENT)):
        exif = exif_fields()
        exif.get_ifd(0x8769)[0x9286] = stored
        write_pixels(tmp_path / "a.jpg", noise(3), None, exif_block(exif), None, _RECORD)
        assert read_record(tmp_path / "a.jpg") == _RECORD
        with Image.open(tmp_path / "a.jpg") as image:
            assert image.getexif().get_ifd(0x8769)[0x9286] == expected
    newer = _RECORD.replace('"1"', '"2"')
    write_pixels(tmp_path / "b.jpg", noise(3), None, read_photo(tmp_path / "a.jpg").exif, None, newer)
    assert read_record(tmp_path / "b.jpg") == newer
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.getexif().get_ifd(0x8769)[0x9286] == b"ASCII\0\0\0" + newer.encode()


def test_a_long_exif_block_stays_without_the_comment(tmp_path: Path) -> None:
    exif = exif_fields()
    exif[0x010E] = "x" * 65_200
    block = exif_block(exif)
    write_pixels(tmp_path / "photo.jpg", noise(3), None, block, None, _RECORD)
    assert read_record(tmp_path / "photo.jpg") == _RECORD
    assert len(read_photo(tmp_path / "photo.jpg").exif or b"") == len(block)


def test_a_big_tiff_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ncsr.images.tiff._CLASSIC_LIMIT", 0)
    write_pixels(tmp_path / "photo.tif", noise(3), None, None, None, _RECORD)
    assert (tmp_path / "photo.tif").read_bytes()[2] == 43
    assert read_record(tmp_path / "photo.tif") == _RECORD


def test_others_may_write_the_packet_in_their_way() -> None:
    assert record_in(b'<rdf:Description ncsr:provenance="{&quot;ncsr&quot;:&#34;1&#34;}"/>') == '{"ncsr":"1"}'
    assert record_in(b"<x:xmpmeta/>") is None
    assert record_in(packet_of(_RECORD) + bytes(LIMIT)) is None


def test_a_text_made_to_fill_the_memory_is_left_out(tmp_path: Path) -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    path = tmp_path / "photo.png"
    write_pixels(path, noise(3), None, None)
    plain = path.read_bytes()
    bomb = b"ncsr\0\0" + zlib.compress(bytes(2**26))
    path.write_bytes(plain[:33] + chunk(b"zTXt", bomb) + plain[33:])
    assert read_record(path) == ""
    path.write_bytes(plain[:33] + struct.pack(">I", 2**31) + b"tEXtncsr\0{}")
    assert read_record(path) is None
    path.write_bytes(b"")
    with pytest.raises(InputError, match="it is empty"):
        read_record(path)


def test_pixels_are_as_without(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg", ".webp", ".tif"):
        for name, record in (("a", None), ("b", _RECORD)):
            write_pixels(tmp_path / f"{name}{suffix}", noise(3), None, None, None, record)
        with Image.open(tmp_path / f"a{suffix}") as plain, Image.open(tmp_path / f"b{suffix}") as described:
            np.testing.assert_array_equal(np.asarray(plain), np.asarray(described))
