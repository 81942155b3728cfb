"""Photographs: from files, PIL images and arrays to tensors, and back.

The image contract, for the whole package:

- A photograph is a `Photo`. Its `rgb` is (3, H, W) float32 in [0, 1], row 0 on top, as a viewer shows it: the EXIF
  orientation has been applied. The values are those stored in the file divided by the largest one (255 or 65535): no
  gamma is undone, and colours stay in the colour space of the ICC profile (sRGB where there is none), which is kept but
  not applied. CMYK is the exception: it is converted to sRGB by its profile, which is then dropped.
- Gray photographs have three equal channels and `gray` set; writing one averages its channels. Palettes become
  colours (gray, if they hold only grays and no profile); one bit per pixel becomes gray.
- A `Source` is a photograph that is read in windows, each a `Photo`: large TIFF files need not fit in memory.
- `alpha` is straight (not premultiplied), (1, H, W) float32, 1 = opaque, or None. Enlarge `premultiplied(photo)` and
  undo it with `straight`, so that the invisible colour of transparent pixels cannot bleed.
- `bits` is 16 for files and arrays with more than 8 bits per channel. Writing rounds to the nearest level and clips.
- EXIF is kept byte for byte (field by field, from and to TIFF), except that the orientation becomes 1, the sizes are
  corrected and the preview image is removed. XMP is kept, too, and a written picture's record of its origin is merged
  into it (`write_pixels`, `read_record`). If EXIF has no orientation, XMP's counts; in AVIF, HEIF and JPEG XL the
  container's counts instead of both. The resolution that PNG, JPEG, TIFF and BMP state outside of EXIF is kept, and the
  texts of PNG in PNG. Other metadata (comments, PNG gamma) is not kept. docs/formats.md has a table by format.
- The kind of file is recognised by its content, so a JPEG named .png, or without a suffix, opens; suffixes decide which
  files in a folder are read, and how results are written. The first page, frame or picture of a file is read; `notes`
  say so if there are more.
- Whatever is wrong with a file raises one `InputError` that names it; want of memory raises `MemoryError`. Sizes are
  checked before pixels are decoded: those in the file's header, and those in the headers of tiles and strips.
- Reading as a whole takes at most 12 bytes a pixel (24 for 16 bits, 16 for JPEG 2000), not counting the file itself.
  `open_photo` keeps 1 to 8 of them; `read_photo` converts them to floating point, for 12 to 16 bytes a pixel more.
- A JPEG file whose data end early is refused, unless `allow_incomplete` accepts it, with a note.
"""

from ncsr.images.convert import photo_from_array, picture_of, to_array
from ncsr.images.finding import SUFFIXES, WRITABLE, find_photos, is_photo, is_photo_path
from ncsr.images.photo import Photo, Source, premultiplied, source_of, straight
from ncsr.images.pil import photo_from_pil, to_pil
from ncsr.images.reading import (
    MAX_PIXELS,
    count_pages,
    open_photo,
    photo_size,
    read_eight_bit,
    read_photo,
    read_record,
)
from ncsr.images.writing import check_writable_folder, check_writable_size, write_photo, write_pixels, write_values

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "WRITABLE",
    "Photo",
    "Source",
    "check_writable_folder",
    "check_writable_size",
    "count_pages",
    "find_photos",
    "is_photo",
    "is_photo_path",
    "open_photo",
    "photo_from_array",
    "photo_from_pil",
    "photo_size",
    "picture_of",
    "premultiplied",
    "read_eight_bit",
    "read_photo",
    "read_record",
    "source_of",
    "straight",
    "to_array",
    "to_pil",
    "write_photo",
    "write_pixels",
    "write_values",
]
