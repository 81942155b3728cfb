"""JPEG files: their markers, looked at before anything is decoded, and a decoder that notices missing data.

libjpeg makes up data that are missing, in gray, and Pillow and imagecodecs do not pass its warning on. But it also
works with data that come piece by piece, and that shows where it stands: given all data but the end marker, it wants
more of them if some are missing, and waits for the marker if none are.
"""

from __future__ import annotations

import io
import math
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from ncsr.errors import InputError
from ncsr.images.pil import raster_from_pil
from ncsr.images.raster import Raster

_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # neither a stuffed byte nor a restart
_END, _SCAN, _BARE = 0xD9, 0xDA, (0x01, 0xD8)  # those in _BARE have no length
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_HUFFMAN, _PROGRESSIVE = (0xC0, 0xC1, 0xC2), (0xC2, 0xCA)
_COEFFICIENTS = 64  # of a block
_MOST_SCANS = 100  # encoders make about ten; each costs the time of one pass over the picture
_INCOMPLETE = "its data end early, so that a part of the picture is missing"
_AHEAD = b"\xff\0" * 8  # as far as libjpeg reads ahead; ones, which are no code


class _Layout(NamedTuple):
    frame: int  # the marker of the frame: what kind of JPEG
    precision: int
    components: int
    width: int
    height: int
    end: int  # where the compressed data end
    complete: bool  # as far as the markers tell


class JpegFile(JpegImageFile):
    """Pillow's reader without its look into the EXIF block for the resolution: it warns if the block is damaged."""

    def _read_dpi_from_exif(self) -> None:
        pass

    def decode(self, data: bytes, layout: _Layout) -> bool:
        """Decode the pixels; says whether all of their data were there.

        Raises:
            OSError: the data cannot be decoded.
        """
        ((codec, extents, _, arguments),) = self.tile
        self.load_prepare()
        decoder = Image._getdecoder(self.mode, codec, arguments, self.decoderconfig)
        decoder.setimage(self.im, extents)
        wary = layout.frame in _HUFFMAN  # others cannot be decoded piece by piece
        body = data[: layout.end] + (_AHEAD if wary else b"\xff\xd9")
        taken, error = decoder.decode(body)
        complete = taken == -1  # all rows are done
        if taken == len(body):  # waiting for the marker, it passes over what else comes; in a block, it keeps that
            complete = decoder.decode(_AHEAD[:2])[0] == 2
        if wary and taken >= 0 and error >= 0:
            _, error = decoder.decode(body[taken : layout.end] + b"\xff\xd9")
        if error < 0:
            raise OSError(f"the decoder gave up with code {error}")
        self.tile = []
        return complete


def read_jpeg(data: bytes, check_size: Callable[[int, int], None], *, allow_incomplete: bool = False) -> Raster:
    """Decode a whole file; `check_size(width, height)` is called before any pixel is decoded.

    Raises:
        InputError: a part of the picture is missing, and `allow_incomplete` does not say that this may be.
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
    """Make sure that the JPEG stream of a tile or strip is no larger than its place, and whole.

    Raises:
        ValueError: it is not, or it is damaged.
    """
    layout = _layout(data)
    if layout.width * layout.height > most_pixels:
        raise ValueError(f"a part has {layout.width} x {layout.height} pixels, and room for {most_pixels}")
    pillow_knows = layout.frame in _HUFFMAN and layout.precision == 8 and layout.components != 2
    if not layout.complete or (pillow_knows and not JpegFile(io.BytesIO(data)).decode(data, layout)):
        raise ValueError(_INCOMPLETE)


def _layout(data: bytes) -> _Layout:
    """What the markers of a file tell, up to its end marker.

    Raises:
        ValueError: there are too many scans, or no frame.
        IndexError, struct.error: a segment is cut short.
    """
    kind, frame, scans, coded, end, scan_start = 0, b"", list[bytes](), 0, 0, 0
    marker = 0
    for marker, body, start, after in _segments(data):
        if scan_start:
            end, coded, scan_start = start, coded + start - scan_start, 0
        if marker == _SCAN:
            scans.append(body)
            scan_start = after
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
    least = _blocks(width, height, components) * (1 if progressive else 2) if kind in _HUFFMAN else 0
    complete = marker == _END and 8 * coded >= least and _all_sent(components, scans, progressive)
    return _Layout(kind, precision, count, width, height, end or len(data), complete)


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int, int]]:
    """Each marker but restarts, with the content of its segment, where it starts, and where the segment ends."""
    after = 2
    while found := _MARKER.search(data, after):
        marker, start, after = found[1][0], found.start(), found.end()
        length = 0 if marker in (_END, *_BARE) else int.from_bytes(data[after : after + 2], "big")
        yield marker, data[after + 2 : after + length], start, (after := after + length)
        if marker == _END:
            return


def _blocks(width: int, height: int, components: Sequence[bytes]) -> int:
    """How many blocks the components of a frame (identifier, sampling across and down, table) have."""
    sampling = [(part[1] >> 4, part[1] & 15) for part in components]
    most_across, most_down = (max(factors) for factors in zip(*sampling, strict=True))
    return sum(
        math.ceil(width * across / (8 * most_across)) * math.ceil(height * down / (8 * most_down))
        for across, down in sampling
    )


def _all_sent(components: Sequence[bytes], scans: Sequence[bytes], progressive: bool) -> bool:
    """Whether the scans bring each bit of each coefficient of each component."""
    left = {(part[0], k): 1 for part in components for k in range(_COEFFICIENTS)}  # the lowest bit not sent
    for scan in scans:
        count = scan[0]
        first, last, bits = scan[1 + 2 * count : 4 + 2 * count] if progressive else (0, _COEFFICIENTS - 1, 0)
        for identifier in scan[1 : 1 + 2 * count : 2]:
            left.update({(identifier, k): bits & 15 for k in range(first, min(last, _COEFFICIENTS - 1) + 1)})
    return not any(left.values())
