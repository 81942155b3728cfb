"""PNG files: pixels by libpng, which keeps all 16 bits; profile, EXIF, XMP, texts and resolution are handled here."""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from ncsr.images.colour import described_colours
from ncsr.images.convert import Array
from ncsr.images.photo import Dpi
from ncsr.images.raster import Raster, gray_if_equal, upright_raster

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER_LENGTH = 33  # signature and IHDR, which is always first
_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_PALETTE = 3  # a kind of colour
_METADATA_LIMIT = 1 << 24  # bytes of a profile, EXIF or XMP; larger ones are attacks
_RAW_EXIF, _RAW_APP1, _XMP = b"Raw profile type exif", b"Raw profile type APP1", b"XML:com.adobe.xmp"
_RECORD = b"ncsr"  # the keyword of the record of a picture's origin
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_NOT_KEPT = (_RECORD, _XMP, _RAW_EXIF, _RAW_APP1)  # keywords of texts that become other metadata
_PER_METRE, _INCHES = 1, 0.0254  # a unit of resolution; inches in it
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by kind of colour
_LONGEST = 2**26  # bytes of compressed data that are handed to libpng in one chunk
_ONE_PASS = ((0, 0, 1, 1),)  # first row and column, steps down and across
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_LONGEST_SIDE = 1_000_000  # libpng's limit
_PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def png_size(header: bytes) -> tuple[int, int]:
    """(width, height) from the first 33 bytes of a file."""
    width, height = struct.unpack_from(">II", header, 16)
    return width, height


def decode_png(data: bytes) -> Raster:
    """Decode a whole file. Palettes, transparent colours and fewer than 8 bits become plain channels of 8 bits.

    Raises:
        ValueError, zlib.error, imagecodecs.PngError: if it is damaged or truncated.
    """
    chunks = list(_chunks(data))
    raster = _described(_pixels([chunk for chunk in chunks if chunk[4:8] in _PIXELS]), chunks)
    control = next((chunk[8:-4] for chunk in chunks if chunk[4:8] == b"acTL"), b"")
    (frames,) = struct.unpack_from(">I", control.ljust(4, b"\0"))
    note = "it is an animation, of which the first frame is taken (--page)"
    return replace(raster, notes=(*raster.notes, note)) if frames > 1 else raster


def with_metadata(pixels: Array, data: bytes) -> Raster:
    """Pixels as a file stores them, turned upright, with the metadata of that file."""
    return _described(pixels, list(_chunks(data)))


def _described(pixels: Array, chunks: Sequence[bytes]) -> Raster:
    """`with_metadata`, from the chunks of a file."""
    colour_type = chunks[0][17]
    metadata = {chunk[4:8]: chunk[8:-4] for chunk in chunks if chunk[4:8] not in _PIXELS}
    icc, notes = _inflated(metadata.get(b"iCCP", b"").partition(b"\0")[2][1:]), tuple[str, ...]()
    if len(codes := metadata.get(b"cICP", b"")) == 4:  # it takes precedence over a profile, unless it is not known here
        described, unknown = described_colours(codes[0], codes[1], gray=colour_type in (0, 4))
        icc, notes = (icc, ()) if unknown and icc else (described, unknown)
    if colour_type == _PALETTE and icc is None:
        pixels = gray_if_equal(pixels)
    texts = dict(filter(None, map(_text, chunks)))
    block = metadata.get(b"eXIf") or unpacked_raw_profile(texts.get(_RAW_EXIF) or texts.get(_RAW_APP1) or b"")
    kept = tuple(chunk[4:-4] for chunk in chunks if chunk[4:8] in _TEXTS and _keyword(chunk) not in _NOT_KEPT)
    kept = kept if sum(map(len, kept)) <= _METADATA_LIMIT else ()
    raster = Raster(pixels, icc, dpi=_dpi(metadata.get(b"pHYs", b"")), notes=notes, texts=kept)
    return upright_raster(raster, block, xmp=texts.get(_XMP))


def read_record(file: BinaryIO) -> str | None:
    """The record of its origin in an open file, found without reading the pixels; None if there is none."""
    file.seek(len(SIGNATURE))
    while len(start := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", start)
        if name in _TEXTS and length <= _METADATA_LIMIT:
            keyword, text = _text(start + file.read(length + 4)) or (b"", b"")
            if keyword == _RECORD:
                return text.decode(errors="replace")
        else:
            file.seek(length + 4, os.SEEK_CUR)
    return None


def encode_png(
    pixels: NDArray[Any],
    icc: bytes | None,
    exif: bytes | None,
    dpi: Dpi | None,
    xmp: bytes = b"",
    texts: Sequence[bytes] = (),
    record: str | None = None,
) -> bytes:
    """The file of (H, W, C) pixels, uint8 or uint16; C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.

    Args:
        pixels: the pixels.
        icc: the colour profile.
        exif: the EXIF block.
        dpi: the resolution.
        xmp: the XMP packet, or nothing.
        texts: further text chunks, each its name and content.
        record: of the picture's origin, in ASCII; becomes the text "ncsr".
    """
    plain = np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    # Photographs have no repeated strings for zlib to find: looking for runs alone takes a third of the time.
    data = bytes(
        imagecodecs.png_encode(plain, strategy=imagecodecs.PNG.STRATEGY.RLE, filter=imagecodecs.PNG.FILTER.ALL)
    )
    metadata = b""
    if icc is not None:
        metadata += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))
    if dpi is not None:
        metadata += _chunk(b"pHYs", struct.pack(">IIB", *(round(value / _INCHES) for value in dpi), _PER_METRE))
    if exif is not None:
        metadata += _chunk(b"eXIf", exif)
    if record is not None:
        metadata += _chunk(b"tEXt", _RECORD + b"\0" + record.encode("ascii"))
    if xmp:
        metadata += _chunk(b"iTXt", _XMP + bytes(5) + xmp)  # not compressed, of no language
    metadata += b"".join(_chunk(text[:4], text[4:]) for text in texts)
    return data[:HEADER_LENGTH] + metadata + data[HEADER_LENGTH:]


def _chunks(data: bytes) -> Iterator[bytes]:
    """Each chunk: length (4 bytes), name (4), content, checksum (4). The last may be cut short."""
    start = len(SIGNATURE)
    while start + 12 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        yield data[start:end]
        start = end


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _inflated(packed: bytes) -> bytes | None:
    """What a whole zlib stream holds; None if it is damaged or made to fill the memory."""
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(packed, _METADATA_LIMIT)
    except zlib.error:
        return None
    return content if stream.eof else None


def _keyword(chunk: bytes) -> bytes:
    return chunk[8:-4].partition(b"\0")[0]


def _text(chunk: bytes) -> tuple[bytes, bytes] | None:
    """Keyword and text of a chunk, if its keyword is in `_NOT_KEPT`; None for all others."""
    name, (keyword, _, body) = chunk[4:8], chunk[8:-4].partition(b"\0")
    if keyword not in _NOT_KEPT:
        return None
    if name == b"iTXt":  # whether it is compressed, how, language, 0, keyword in that language, 0
        text = body[2:].split(b"\0", 2)[-1]
        return keyword, (_inflated(text) or b"") if body[:1] == b"\1" else text
    return keyword, (_inflated(body[1:]) or b"") if name == b"zTXt" else body


def unpacked_raw_profile(text: bytes) -> bytes:
    """The EXIF block in a text as ImageMagick writes it: a line with a name, one with a length, hexadecimal digits."""
    try:
        return bytes.fromhex(b"".join(text.split()[2:]).decode("ascii"))
    except ValueError:
        return b""


def _dpi(body: bytes) -> Dpi | None:
    """The resolution in a pHYs chunk; None if there is none, or none in metres."""
    if len(body) != 9 or body[8] != _PER_METRE:
        return None
    across, down = struct.unpack_from(">II", body)
    return across * _INCHES, down * _INCHES


def _pixels(chunks: list[bytes]) -> NDArray[Any]:
    """(H, W, C) pixels, decoded by libpng from a file that is made anew from the necessary chunks.

    libpng prints warnings on the terminal: about odd compressed data, about misplaced chunks and, as imagecodecs calls
    it, about interlaced files. To avoid them the data are unpacked and checked here, and each pass of an interlaced
    file is decoded as a file of its own.
    """
    for chunk in chunks:
        if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise ValueError("a checksum is wrong")
    header = chunks[0][8:-4]
    width, height, bits, colour, packing, filtering, interlaced = struct.unpack(">IIBBBBB", header)
    sound = bits in _DEPTHS.get(colour, ()) and max(width, height) <= _LONGEST_SIDE
    if chunks[0][4:8] != b"IHDR" or packing or filtering or interlaced > 1 or not sound:
        raise ValueError("its header makes no sense")
    passes = [grid for grid in (_PASSES if interlaced else _ONE_PASS) if grid[0] < height and grid[1] < width]
    sizes = [(math.ceil((width - x) / across), math.ceil((height - y) / down)) for y, x, down, across in passes]
    lengths = [h * (1 + math.ceil(w * bits * _CHANNELS[colour] / 8)) for w, h in sizes]
    stream = zlib.decompressobj()
    packed = b"".join(chunk[8:-4] for chunk in chunks if chunk[4:8] == b"IDAT")
    rows = stream.decompress(packed, sum(lengths)) if passes else b""
    stream.decompress(stream.unconsumed_tail, 1)  # checks the checksum at the end
    if len(rows) < sum(lengths) or not passes:
        raise ValueError("its data end early")
    colours = _first(chunks, b"PLTE") if colour == _PALETTE else b""
    if colour == _PALETTE and not colours:
        raise ValueError("its palette is missing")
    colours += _first(chunks, b"tRNS") if colour in (0, 2, _PALETTE) else b""
    whole = None
    for (y, x, down, across), size, length in zip(passes, sizes, lengths, strict=True):
        stored = zlib.compress(rows[:length], 0)
        rows = rows[length:]
        part = imagecodecs.png_decode(
            b"".join(
                (
                    SIGNATURE,
                    _chunk(b"IHDR", struct.pack(">II", *size) + header[8:12] + b"\0"),
                    colours,
                    *(_chunk(b"IDAT", stored[start : start + _LONGEST]) for start in range(0, len(stored), _LONGEST)),
                    _chunk(b"IEND", b""),
                )
            )
        )
        part = part[..., None] if part.ndim == 2 else part
        if len(passes) == 1:
            return part
        whole = np.empty((height, width, part.shape[2]), part.dtype) if whole is None else whole
        whole[y::down, x::across] = part
    assert whole is not None  # there was a pass
    return whole


def _first(chunks: list[bytes], name: bytes) -> bytes:
    """The first chunk with a name; empty if there is none."""
    return next((chunk for chunk in chunks if chunk[4:8] == name), b"")
