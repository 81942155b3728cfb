"""JPEG files: their markers, checked before anything is decoded, and a decoder that notices missing data.

libjpeg fills missing data with gray, and neither Pillow nor imagecodecs passes its warning on. But libjpeg can also be
given the data in pieces, and then shows what it lacks: given all data but the end marker, it asks for more data if some
blocks are missing, and waits for the marker if none is. Because it reads a few bytes ahead of the block that it
decodes, some filling must follow the data. Two different fillings are tried: if no block is missing, the pixels do not
depend on the filling (`JpegFile._has_all_blocks`).
"""

from __future__ import annotations

import io
import math
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from ncsr.errors import InputError
from ncsr.images.pil import raster_from_pil
from ncsr.images.raster import Raster

_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # neither a stuffed byte nor a restart
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_END, _SCAN, _INTERVAL, _BARE = 0xD9, 0xDA, 0xDD, (0x01, 0xD8)  # markers; those in _BARE have no length
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_HUFFMAN, _PROGRESSIVE = (0xC0, 0xC1, 0xC2), (0xC2, 0xCA)
_COEFFICIENTS = 64  # of a block
_MOST_SCANS = 100  # encoders make about ten; each costs the time of one pass over the picture
_INCOMPLETE = "its data end early, so that a part of the picture is missing"
_EOI = b"\xff\xd9"
_FILLINGS = b"\x55" * 8, b"\xaa" * 8  # as long as libjpeg reads ahead; they differ in every bit
_LOWEST = 32  # rows of pixels at the bottom that the last blocks can change


class _Layout(NamedTuple):
    frame: int  # the marker of the frame header: the kind of JPEG
    precision: int
    components: int
    width: int
    height: int
    end: int  # where the compressed data end
    ended: bool  # whether an end marker follows them
    complete: bool  # whether no data are missing as far as the other markers tell


class _Scan(NamedTuple):
    header: bytes
    interval: int  # of restarts, in units; 0 for none
    restarts: int = 0  # markers in the data

    @property
    def identifiers(self) -> bytes:
        """Of its components."""
        return self.header[1 : 1 + 2 * self.header[0] : 2]


class JpegFile(JpegImageFile):
    """Pillow's reader, but it does not read the resolution from the EXIF block: that warns of damaged blocks."""

    def _read_dpi_from_exif(self) -> None:
        pass

    def decode(self, data: bytes, layout: _Layout) -> bool:
        """Decode the pixels; returns whether all of their data were there.

        Raises:
            OSError: the data cannot be decoded.
        """
        self.load_prepare()
        body = data[: layout.end].rstrip(b"\xff")
        in_pieces = layout.frame in _HUFFMAN  # whether libjpeg can decode it piece by piece
        complete = layout.complete and (self._has_all_blocks(body) if in_pieces else layout.ended)
        if complete and not layout.ended:  # the data may be cut and padded: the last byte must belong to a block
            complete = not (body.endswith(b"\0\0") or self._has_all_blocks(body[:-1]))
        if not (complete and in_pieces and layout.ended):
            taken, error = self._new_decoder().decode(body + _EOI)
            if error < 0:
                raise OSError(f"the decoder gave up with code {error}")
            complete = complete and (in_pieces or taken == -1)
        self.tile = []
        return complete

    def _has_all_blocks(self, body: bytes) -> bool:
        """Decode the pixels; returns whether they are the same whichever filling follows the data."""
        lowest = []
        for filling in _FILLINGS:
            decoder = self._new_decoder()
            taken, error = decoder.decode(body + filling)
            ended = taken == -1
            if taken == len(body + filling):  # it skips further bytes if it waits for the marker, not within a block
                ended = decoder.decode(filling[:2])[0] == 2
            if error < 0 or not ended:
                return False
            decoder.decode(_EOI)
            rows = self.im.crop((0, max(0, self.height - _LOWEST), *self.size))
            lowest.append(self._new(rows).tobytes())
        return lowest[0] == lowest[1]

    def _new_decoder(self) -> Any:
        ((codec, extents, _, arguments),) = self.tile
        decoder = Image._getdecoder(self.mode, codec, arguments, self.decoderconfig)
        decoder.setimage(self.im, extents)
        return decoder


def read_jpeg(data: bytes, check_size: Callable[[int, int], None], *, allow_incomplete: bool = False) -> Raster:
    """Decode a whole file; `check_size(width, height)` is called before any pixel is decoded.

    Raises:
        InputError: a part of the picture is missing, and not `allow_incomplete`.
        OSError, ValueError, IndexError, struct.error: it is damaged.
    """
    image = JpegFile(io.BytesIO(data))
    check_size(*image.size)
    layout = _layout(data)
    complete = layout.complete
    if complete or allow_incomplete:
        complete = image.decode(data, layout) and complete
    if not (complete or allow_incomplete):
        raise InputError(f"{_INCOMPLETE}: take another copy, or allow it (--allow-incomplete)")
    return raster_from_pil(image, () if complete else (_INCOMPLETE,))


def check_segment(data: bytes, most_pixels: int) -> None:
    """Check that the JPEG stream of a TIFF tile or strip is whole and has at most `most_pixels`.

    Raises:
        ValueError: it is not, or it is damaged.
    """
    layout = _layout(data)
    if layout.width * layout.height > most_pixels:
        raise ValueError(f"a part has {layout.width} x {layout.height} pixels, and room for {most_pixels}")
    pillow_knows = layout.frame in _HUFFMAN and layout.precision == 8 and layout.components != 2
    whole = JpegFile(io.BytesIO(data)).decode(data, layout) if pillow_knows else layout.complete and layout.ended
    if not whole:
        raise ValueError(_INCOMPLETE)


def _layout(data: bytes) -> _Layout:
    """What the markers of a file say, up to its end marker.

    Raises:
        ValueError: there are too many scans, or no frame.
        IndexError, struct.error: a segment is cut short.
    """
    kind, frame, scans, coded, interval, end, scan_start = 0, b"", list[_Scan](), 0, 0, len(data), 0
    ended = False
    for marker, body, start, after in chain(_segments(data), [(0, b"", len(data), len(data))]):
        if scan_start:
            end, coded = start, coded + start - scan_start
            scans[-1] = scans[-1]._replace(restarts=len(_RESTART.findall(data, scan_start, end)))
            scan_start = 0
        if marker == _SCAN:
            scans.append(_Scan(body, interval))
            scan_start = after
        elif marker == _INTERVAL:
            interval = int.from_bytes(body[:2], "big")
        elif marker == _END:
            ended = True
        elif marker in _FRAMES and not frame:
            kind, frame = marker, body
        if len(scans) > _MOST_SCANS:
            raise ValueError(f"it has more than {_MOST_SCANS} scans")
    if not frame:
        raise ValueError("it has no frame")
    precision, height, width, count = struct.unpack_from(">BHHB", frame)
    components = [frame[6 + 3 * i : 9 + 3 * i] for i in range(count)]
    progressive = kind in _PROGRESSIVE
    # a block takes two codes of a bit or more each, of which progressive scans may omit one
    least = sum(_blocks(width, height, components)) * (1 if progressive else 2) if kind in _HUFFMAN else 0
    complete = 8 * coded >= least and _all_sent(components, scans, progressive)
    complete = complete and all(_has_all_restarts(width, height, components, scan) for scan in scans)
    return _Layout(kind, precision, count, width, height, end, ended, complete)


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int, int]]:
    """Each marker but restarts, with the content of its segment, where it starts, and where the segment ends."""
    after = 2
    while found := _MARKER.search(data, after):
        marker, start, after = found[1][0], found.start(), found.end()
        length = 0 if marker in (_END, *_BARE) else int.from_bytes(data[after : after + 2], "big")
        yield marker, data[after + 2 : after + length], start, (after := after + length)
        if marker == _END:
            return


def _blocks(width: int, height: int, components: Sequence[bytes]) -> list[int]:
    """How many blocks each component of a frame (identifier, sampling across and down, table) has, alone in a scan."""
    sampling = [(part[1] >> 4, part[1] & 15) for part in components]
    most_across, most_down = (max(factors) for factors in zip(*sampling, strict=True))
    return [
        math.ceil(width * across / (8 * most_across)) * math.ceil(height * down / (8 * most_down))
        for across, down in sampling
    ]


def _has_all_restarts(width: int, height: int, components: Sequence[bytes], scan: _Scan) -> bool:
    """Whether a restart marker stands behind every interval of a scan but the last."""
    if not scan.interval:
        return True
    blocks = zip(components, _blocks(width, height, components), strict=True)
    units = [number for part, number in blocks if part[0] in scan.identifiers]
    if len(units) > 1:  # of several components, a unit takes as many blocks as their sampling factors say
        across, down = (8 * max(part[1] >> shift & 15 for part in components) for shift in (4, 0))
        units = [math.ceil(width / across) * math.ceil(height / down)]
    return scan.restarts >= math.ceil(sum(units) / scan.interval) - 1


def _all_sent(components: Sequence[bytes], scans: Sequence[_Scan], progressive: bool) -> bool:
    """Whether the scans bring each bit of each coefficient of each component."""
    left = {(part[0], k): 1 for part in components for k in range(_COEFFICIENTS)}  # the lowest bit not sent
    for scan in scans:
        first, last, bits = scan.header[1 + 2 * scan.header[0] :][:3] if progressive else (0, _COEFFICIENTS - 1, 0)
        for identifier in scan.identifiers:
            left.update({(identifier, k): bits & 15 for k in range(first, min(last, _COEFFICIENTS - 1) + 1)})
    return not any(left.values())
