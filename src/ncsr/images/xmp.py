"""XMP packets: those that photographs bring, and the origin of a picture written into one.

The origin is written twice: as a record that this package reads, and as IPTC's Digital Source Type "composite with
trained algorithmic media", the standard mark of pictures partly made by a trained model, which other programs read.
"""

from __future__ import annotations

import html
import re
from xml.parsers import expat

LIMIT, KEPT = 2**24, 2**20  # bytes of a packet that is searched for a record, and of one that is kept
_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
_START = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">"""
_DESCRIPTION = """
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:ncsr="urn:ncsr:">
%s<ncsr:provenance>%s</ncsr:provenance>
</rdf:Description>"""
_MARK = f"<Iptc4xmpExt:DigitalSourceType>{_SOURCE}</Iptc4xmpExt:DigitalSourceType>\n"
_UNMARKED = '"notice":null'  # in the record of a picture that shows nothing that a model made
_END = """</rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""
_OPENED = re.compile(rb"<rdf:RDF\b[^>]*[^/>]>")
_LAST, _LONGEST_INSTRUCTION = b"<?xpacket end", 100
# No longer true of the written picture: an earlier record, previews, a second part elsewhere in a JPEG file.
_STALE = rb"(ncsr:provenance|Iptc4xmpExt:DigitalSourceType|xmp:Thumbnails|xmpNote:HasExtendedXMP)"
_STALE_ELEMENT = re.compile(rb"<" + _STALE + rb"(?:\s[^>]*)?(?:/>|(?<!/)>.*?</\1\s*>)", re.DOTALL)
_STALE_ATTRIBUTE = re.compile(rb"\s" + _STALE + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')")
_VALUE = rb"(\s*(?:=\s*[\"']|>)\s*)\d+"
_ORIENTATION = re.compile(rb"(tiff:Orientation)" + _VALUE)
_WIDTH = re.compile(rb"(tiff:ImageWidth|exif:PixelXDimension)" + _VALUE)
_HEIGHT = re.compile(rb"(tiff:ImageLength|exif:PixelYDimension)" + _VALUE)
_RECORD = re.compile(rb"ncsr:provenance(?:>([^<]*)<|=\"([^\"]*)\")")  # others may make it an attribute


def packet_of(record: str) -> bytes:
    """The packet of a record: the record itself and, unless its notice is null, IPTC's Digital Source Type."""
    return (_START + _described(record) + "\n" + _END).encode()


def carried(packet: bytes | None, record: str | None, height: int, width: int) -> bytes:
    """A photograph's packet, updated for an upright picture made from it.

    Args:
        packet: of the photograph; one that is not well-formed, or not UTF-8, is left out.
        record: of the picture's origin, added to the packet; None adds none.
        height: of the picture.
        width: of the picture.

    Returns:
        The packet; empty if there is neither packet nor record.
    """
    alone = b"" if record is None else packet_of(record)
    packet = (packet or b"").strip(b" \0\r\n\t")
    opened = _OPENED.search(packet) if _is_sound(packet) else None
    if opened is None:
        return alone
    rest = packet[opened.end() :]
    for pattern, value in ((_ORIENTATION, 1), (_WIDTH, width), (_HEIGHT, height)):
        rest = pattern.sub(rb"\g<1>\g<2>%d" % value, rest)
    rest = _STALE_ATTRIBUTE.sub(b"", _STALE_ELEMENT.sub(b"", rest))
    before, last, after = rest.rpartition(_LAST)  # kilobytes of padding may stand before it
    rest = before.rstrip() + b"\n" * bool(last) + last + after  # without the padding
    merged = packet[: opened.end()] + ("" if record is None else _described(record)).encode() + rest
    return merged if _is_sound(merged) else alone


def _is_sound(packet: bytes) -> bool:
    """Whether a packet is well-formed, and holds nothing by which a small file can take much memory or time."""

    def look_at_instruction(_: str, content: str) -> None:
        if len(content) > _LONGEST_INSTRUCTION:
            raise ValueError

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.ProcessingInstructionHandler = look_at_instruction
    try:
        parser.Parse(packet, True)
    except (ValueError, expat.ExpatError):
        return False
    return b"<!" not in packet  # entities, and comments


def _described(record: str) -> str:
    return _DESCRIPTION % ("" if _UNMARKED in record else _MARK, html.escape(record, quote=False))


def record_in(packet: bytes) -> str | None:
    """The record in a packet; None where there is none."""
    found = _RECORD.search(packet) if len(packet) <= LIMIT else None
    return None if found is None else html.unescape((found[1] or found[2] or b"").decode(errors="replace"))


def record_of_comment(comment: bytes) -> str | None:
    """The record that a GIF file, which has no XMP, holds as its comment; None where it says something else."""
    return comment.decode(errors="replace") if comment.startswith(b'{"ncsr":') else None
