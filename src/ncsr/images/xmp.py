"""XMP packets: those that photographs bring, and what a picture says of its origin in one.

That is a record for this package, and a mark that others understand.
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
# What is no longer true: an earlier record, previews, and a second part that was in another place of a JPEG file.
_STALE = rb"(ncsr:provenance|Iptc4xmpExt:DigitalSourceType|xmp:Thumbnails|xmpNote:HasExtendedXMP)"
_STALE_ELEMENT = re.compile(rb"<" + _STALE + rb"(?:\s[^>]*)?(?:/>|(?<!/)>.*?</\1\s*>)", re.DOTALL)
_STALE_ATTRIBUTE = re.compile(rb"\s" + _STALE + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')")
_VALUE = rb"(\s*(?:=\s*[\"']|>)\s*)\d+"
_ORIENTATION = re.compile(rb"(tiff:Orientation)" + _VALUE)
_WIDTH = re.compile(rb"(tiff:ImageWidth|exif:PixelXDimension)" + _VALUE)
_HEIGHT = re.compile(rb"(tiff:ImageLength|exif:PixelYDimension)" + _VALUE)
_RECORD = re.compile(rb"ncsr:provenance(?:>([^<]*)<|=\"([^\"]*)\")")  # others may make it an attribute


def packet_of(record: str) -> bytes:
    """The packet of a record: it is in there whole, beside IPTC's word for pictures in part made by a trained model.

    That word is left out of a record without a notice.
    """
    return (_START + _described(record) + "\n" + _END).encode()


def carried(packet: bytes | None, record: str | None, height: int, width: int) -> bytes:
    """A photograph's packet for an upright picture of this size, with the record of that in it.

    One that is not well-formed, or not UTF-8, is left out; without a packet and a record there is nothing.
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
    before, last, after = rest.rpartition(_LAST)  # before it there may be kilobytes of room
    rest = before.rstrip() + b"\n" * bool(last) + last + after
    merged = packet[: opened.end()] + ("" if record is None else _described(record)).encode() + rest
    return merged if _is_sound(merged) else alone


def _is_sound(packet: bytes) -> bool:
    """Whether a packet is well-formed, and without what can be made to fill the memory or take for ever."""

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
