"""What a picture says of its origin, as an XMP packet: a record for this package, and a mark that others understand."""

from __future__ import annotations

import html
import re

LIMIT = 2**24  # bytes of a packet that is searched; larger ones are attacks
_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
_PACKET = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:ncsr="urn:ncsr:">
<Iptc4xmpExt:DigitalSourceType>{_SOURCE}</Iptc4xmpExt:DigitalSourceType>
<ncsr:provenance>%s</ncsr:provenance>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""
_RECORD = re.compile(rb"ncsr:provenance(?:>([^<]*)<|=\"([^\"]*)\")")  # others may make it an attribute


def packet_of(record: str) -> bytes:
    """The packet of a record: it is in there whole, beside IPTC's word for pictures in part made by a trained model."""
    return (_PACKET % html.escape(record, quote=False)).encode()


def record_in(packet: bytes) -> str | None:
    """The record in a packet; None where there is none."""
    found = _RECORD.search(packet) if len(packet) <= LIMIT else None
    return None if found is None else html.unescape((found[1] or found[2] or b"").decode(errors="replace"))
