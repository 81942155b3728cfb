"""XMP and PNG's texts of a photograph stay in its results, true again, beside the record of the origin."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ncsr.images import open_photo, read_photo, read_record, to_pil, write_photo, write_pixels
from ncsr.images.xmp import KEPT, carried, packet_of
from tests.images.samples import HEIGHT, WIDTH, noise

pytestmark = pytest.mark.filterwarnings("error")

_RECORD = '{"ncsr":"2"}'
_NAMES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "tiff": "http://ns.adobe.com/tiff/1.0/",
    "exif": "http://ns.adobe.com/exif/1.0/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "xmpNote": "http://ns.adobe.com/xmp/note/",
    "ncsr": "urn:ncsr:",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}
_DECLARED = " ".join(f'xmlns:{name}="{uri}"' for name, uri in _NAMES.items())
_PACKET = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {_DECLARED}>
<rdf:Description rdf:about="" tiff:Orientation="6" exif:PixelXDimension='99' xmpNote:HasExtendedXMP="0123">
<tiff:ImageLength>98</tiff:ImageLength><dc:creator><rdf:Seq><rdf:li>Zoë</rdf:li></rdf:Seq></dc:creator>
<ncsr:provenance>{{"ncsr":"1"}}</ncsr:provenance>
<Iptc4xmpExt:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture</Iptc4xmpExt:DigitalSourceType>
<xmp:Thumbnails><rdf:Alt><rdf:li>AAAA</rdf:li></rdf:Alt></xmp:Thumbnails>
</rdf:Description></rdf:RDF></x:xmpmeta>{" " * 2000}
<?xpacket end="w"?>""".encode()


def _photograph(path: Path) -> None:
    image = Image.fromarray(noise(3))
    if path.suffix == ".png":
        texts = PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", _PACKET.decode())
        image.save(path, pnginfo=texts)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, noise(3), photometric="rgb", extratags=[(700, 1, None, _PACKET, True)])
    else:
        image.save(path, xmp=_PACKET)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif"])
def test_xmp_goes_from_every_format_into_every_other(tmp_path: Path, suffix: str) -> None:
    _photograph(tmp_path / f"photo{suffix}")
    photo, source = read_photo(tmp_path / f"photo{suffix}"), open_photo(tmp_path / f"photo{suffix}")
    assert photo.xmp == source.xmp == _PACKET
    for written in (".png", ".jpg", ".webp", ".tif", ".avif", ".jxl"):
        path = tmp_path / f"result{written}"
        write_pixels(path, noise(3), None, None, None, _RECORD, xmp=photo.xmp)
        again = read_photo(path)
        assert again.size == (HEIGHT, WIDTH)
        assert read_record(path) == _RECORD
        root = ET.fromstring(again.xmp or b"")
        (creator,) = root.findall(".//dc:creator//rdf:li", _NAMES)
        assert creator.text == "Zoë"
        write_photo(path, replace(photo, xmp=None))
        assert b"Zo" not in path.read_bytes()


def test_what_a_packet_says_of_the_picture_is_made_true() -> None:
    packet = carried(_PACKET, _RECORD, 40, 30)
    root = ET.fromstring(packet)
    own, theirs = root.findall(".//rdf:Description", _NAMES)
    assert theirs.attrib[f"{{{_NAMES['tiff']}}}Orientation"] == "1"
    assert theirs.attrib[f"{{{_NAMES['exif']}}}PixelXDimension"] == "30"
    assert f"{{{_NAMES['xmpNote']}}}HasExtendedXMP" not in theirs.attrib
    assert [element.text for element in root.findall(".//tiff:ImageLength", _NAMES)] == ["40"]
    assert [element.text for element in root.findall(".//ncsr:provenance", _NAMES)] == [_RECORD]
    (kind,) = root.findall(".//Iptc4xmpExt:DigitalSourceType", _NAMES)
    assert "compositeWithTrained" in str(kind.text)
    assert kind in own
    assert root.findall(".//xmp:Thumbnails", _NAMES) == []
    assert len(packet) < len(_PACKET)  # without the room at its end
    again = carried(packet, _RECORD, 40, 30)
    assert again.count(b"ncsr:provenance>") == packet.count(b"ncsr:provenance>")
    kept = ET.fromstring(carried(_PACKET, None, 40, 30))
    assert kept.findall(".//ncsr:provenance", _NAMES) == []


@pytest.mark.parametrize(
    "packet",
    [
        None,
        b"",
        b"no XML",
        _PACKET.replace(b"</dc:creator>", b""),
        _PACKET.decode().encode("utf-16"),
        b'<!DOCTYPE x [<!ENTITY a "b">]>' + _PACKET,
        _PACKET.replace(b"<dc:creator>", b"<dc:creator><!-- <ncsr:provenance> -->"),
        b"<?x " + b"<rdf:RDF " * 100_000 + b"?>" + _PACKET,
        b"<rdf:RDF " * 100_000,
        b"<ncsr:provenance>" * 50_000,
        _PACKET.replace(b"<dc:creator>", b" " * 900_000 + b"<dc:creator><"),
    ],
)
def test_a_packet_that_is_not_sound_is_left_out_at_once(packet: bytes | None) -> None:
    began = time.process_time()
    assert carried(packet, _RECORD, 4, 4) == packet_of(_RECORD)
    assert carried(packet, None, 4, 4) == b""
    assert time.process_time() - began < 5  # what is quadratic in these takes minutes


def test_a_packet_too_large_for_jpeg_leaves_the_record(tmp_path: Path) -> None:
    large = _PACKET.replace(b"Zo", b"Z" + b"o" * 70_000)
    write_pixels(tmp_path / "a.jpg", noise(3), None, None, None, _RECORD, xmp=large)
    assert read_record(tmp_path / "a.jpg") == _RECORD
    assert b"dc:creator" not in (tmp_path / "a.jpg").read_bytes()
    write_pixels(tmp_path / "a.png", noise(3), None, None, None, _RECORD, xmp=large)
    assert b"dc:creator" in (read_photo(tmp_path / "a.png").xmp or b"")
    huge = _PACKET.replace(b"Zo", b"Z" + b"o" * KEPT)
    write_pixels(tmp_path / "b.png", noise(3), None, None, None, None, xmp=huge)
    assert read_photo(tmp_path / "b.png").xmp is None


def test_texts_of_png_stay_but_for_an_earlier_record(tmp_path: Path) -> None:
    texts = PngInfo()
    texts.add_text("Title", "Ein Café")
    texts.add_text("Comment", "long " * 500, zip=True)
    texts.add_itxt("Author", "日本", "ja", "著者")
    texts.add_text("ncsr", '{"ncsr":"1"}')
    Image.fromarray(noise(3)).save(tmp_path / "photo.png", pnginfo=texts)
    photo = read_photo(tmp_path / "photo.png")
    write_pixels(tmp_path / "result.png", noise(3), None, None, None, _RECORD, texts=photo.texts)
    with Image.open(tmp_path / "result.png") as image:
        image.load()
        found = dict(image.text)
    assert found.pop("XML:com.adobe.xmp")
    assert found == {"Title": "Ein Café", "Comment": "long " * 500, "Author": "日本", "ncsr": _RECORD}
    assert read_record(tmp_path / "result.png") == _RECORD
    assert open_photo(tmp_path / "photo.png").texts == photo.texts


def test_pil_images_carry_the_packet(tmp_path: Path) -> None:
    _photograph(tmp_path / "photo.jpg")
    photo = read_photo(tmp_path / "photo.jpg")
    assert b"Zo" in to_pil(photo).info["xmp"]
    assert b"Zo" in to_pil(photo, _RECORD).info["xmp"]
    assert to_pil(replace(photo, xmp=None)).info.get("xmp") is None
