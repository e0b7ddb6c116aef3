"""Image files by Pillow: the frames of a TIFF, the first of any other; always grey or RGB on white, upright by EXIF.

A damaged image is an error, not half a page of grey: Pillow's LOAD_TRUNCATED_IMAGES stays off.
"""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image, ImageOps, Jpeg2KImagePlugin, UnidentifiedImageError, WebPImagePlugin
from PIL.TiffImagePlugin import TiffImageFile

from ocrwatch.errors import CorruptFile, EmptyDocument, OversizedPage
from ocrwatch.ocr.engine import PdfText
from ocrwatch.ocr.pages import DEFAULT_DPI, Bounds, Rendered, TextLayer

# A list of our own: Pillow knows formats that start other programs. It loads only the plugins of common ones by itself.
_FORMATS = (
    "JPEG", "PNG", "BMP", "GIF", TiffImageFile.format,
    WebPImagePlugin.WebPImageFile.format, Jpeg2KImagePlugin.Jpeg2KImageFile.format,
)  # fmt: skip
# What Pillow raises on files that break its readers; it documents OSError and SyntaxError, broken files bring the others.
_BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError,
    RuntimeError, AssertionError, EOFError, struct.error, zlib.error,
)  # fmt: skip
_SUBFILE_TYPE = 254
_REDUCED_OR_MASK = 0b101
_LONG_SIDE_IN = 11.7  # of A4, to guess a resolution by
_PLAUSIBLE_DPI = (50.0, 2400.0)
_PLAUSIBLE_SIDE_IN = 45.0  # A0; a camera's 72 dpi would make larger pages
_GUESS_DPI = (70.0, 600.0)
_ORIENTATION = 0x0112
_TURNS_DEG = {1: 0, 3: 180, 6: 90, 8: 270}  # the others are mirrored
_SIDEWAYS = frozenset({5, 6, 7, 8})


class ImageDocument:
    """An image file. See `Document`."""

    def __init__(self, file: BinaryIO, format_: str) -> None:
        self.format = format_
        with self._translated("the scan cannot be opened"):
            self._image = Image.open(file, formats=_FORMATS)
            try:
                self._frames = _page_frames(self._image)
            except BaseException:
                self._image.close()
                raise
        self.pages = len(self._frames)
        if not self.pages:
            raise EmptyDocument("the scan has no page")

    def render(self, page: int, bounds: Bounds) -> Rendered:
        """See `Document.render`."""
        with self._translated(f"page {page} cannot be decoded"):
            self._image.seek(self._frames[page - 1])
            dpi_x, dpi_y = _resolution(self._image)
            width, height = self._image.size
            dpi = max(dpi_x, dpi_y)
            # A fax has twice as many dots across as down: its pixels are made square, or no engine reads it.
            square = (width * dpi / dpi_x, height * dpi / dpi_y)
            scale = bounds.scale(*square)
            if scale < 1 and self.format == "jpeg":
                self._image.draft(None, (math.ceil(width * scale), math.ceil(height * scale)))
            upright = ImageOps.exif_transpose(_flattened(self._image))
            if (upright.width > upright.height) != (width > height):
                width, height = height, width
                square = square[::-1]
            target = (max(1, round(square[0] * scale)), max(1, round(square[1] * scale)))
            if target != upright.size:
                upright = upright.resize(target, Image.Resampling.LANCZOS, reducing_gap=2.0)
        notes = () if scale == 1 else (f"scaled from {width} x {height} pixels to {target[0]} x {target[1]}",)
        return Rendered(upright, dpi * scale, notes)

    @property
    def is_plain(self) -> bool:
        """Whether the whole file can be put into a PDF as it is: every frame is a page, and no page is mirrored."""
        if self.format not in {"jpeg", "png", "tiff"}:
            return False
        upright = {1} if self.format == "tiff" else set(_TURNS_DEG)  # Pillow turns the frames of a TIFF, and others do not
        orientations = set()
        with self._translated("the scan cannot be opened"):
            for frame in self._frames:
                self._image.seek(frame)
                orientations.add(self._image.getexif().get(_ORIENTATION, 1))
        return len(self._frames) == getattr(self._image, "n_frames", 1) and orientations <= upright

    @property
    def turn_deg(self) -> int:
        """By how much a plain file says that its image is to be turned clockwise."""
        return _TURNS_DEG.get(self._image.getexif().get(_ORIENTATION, 1), 0)

    def resolution(self, page: int) -> tuple[float, float]:
        """Dots per inch of a page across and down, as its image is stored in a plain file, else as `upright` gives it."""
        with self._translated(f"page {page} cannot be decoded"):
            self._image.seek(self._frames[page - 1])
            across, down = _resolution(self._image)
            turned = self._image.getexif().get(_ORIENTATION, 1) in _SIDEWAYS and not self.is_plain
        return (down, across) if turned else (across, down)

    def upright(self, page: int) -> Image.Image:
        """The image of a page as it is, pixel by pixel, upright by EXIF."""
        with self._translated(f"page {page} cannot be decoded"):
            self._image.seek(self._frames[page - 1])
            if self._image.mode == "1":
                return ImageOps.exif_transpose(self._image)
            return ImageOps.exif_transpose(_flattened(self._image))

    def text_layer(self, page: int, mode: PdfText, *, dpi: float = DEFAULT_DPI) -> TextLayer | None:
        """An image has none."""
        return None

    def close(self) -> None:
        """See `Document.close`."""
        self._image.close()

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                yield
        except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError) as error:
            raise OversizedPage(f"{what}: the image is too large", "scan it at a lower resolution") from error
        except UnidentifiedImageError as error:
            raise CorruptFile(f"{what}: it begins like a {self.format} file and is none") from error
        except _BROKEN as error:
            # The words of the system alone: with its number comes the path of our copy.
            detail = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise CorruptFile(f"{what}: {detail}") from error


def _page_frames(image: Image.Image) -> list[int]:
    """The frames that are pages: of a TIFF all but thumbnails and masks, of an animation or a camera's set the first."""
    if not isinstance(image, TiffImageFile):
        return [0]
    frames = []
    for number in range(image.n_frames):
        image.seek(number)
        if not int(image.tag_v2.get(_SUBFILE_TYPE, 0)) & _REDUCED_OR_MASK:
            frames.append(number)
    return frames or [0]


def _resolution(image: Image.Image) -> tuple[float, float]:
    """Dots per inch across and down: what the file says if a page of paper could be so, else guessed from its size."""
    long_side = max(image.size)
    stated = image.info.get("dpi")
    try:
        across, down = (float(value) for value in stated)  # type: ignore[union-attr] # None and nonsense end in the except
        low, high = _PLAUSIBLE_DPI
        if low <= min(across, down) and max(across, down) <= high and long_side / min(across, down) <= _PLAUSIBLE_SIDE_IN:
            # Only a fax's pixels are oblong; a small difference is a rounding.
            return (across, down) if 1.3 < max(across, down) / min(across, down) < 4.5 else (across, across)
    except (TypeError, ValueError, ArithmeticError):
        pass
    guess = min(max(long_side / _LONG_SIDE_IN, _GUESS_DPI[0]), _GUESS_DPI[1])
    return guess, guess


def _flattened(image: Image.Image) -> Image.Image:
    """The image as L or RGB, transparency on white, deep samples scaled to eight bits."""
    image.load()
    if image.mode in {"L", "RGB"} and "transparency" not in image.info:
        return image.copy()
    if image.mode == "1":
        return _with_orientation(image.convert("L"), image)
    if image.mode == "F" or image.mode.startswith("I"):
        return _with_orientation(_eight_bits(image), image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        return _with_orientation(Image.alpha_composite(paper, layer).convert("RGB"), image)
    return _with_orientation(image.convert("RGB"), image)


def _with_orientation(result: Image.Image, source: Image.Image) -> Image.Image:
    # `exif_transpose` asks the image itself, and a new one has forgotten.
    if orientation := source.getexif().get(_ORIENTATION):
        result.getexif()[_ORIENTATION] = orientation
    return result


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        values = image
        low, high = _extrema(image)
    else:
        values = image.convert("I")
        # The scale is that of the sample's depth (10, 12, 16 bits), not of the page: a blank page must stay blank.
        low, high = 0.0, float(2 ** max(8, int(_extrema(values)[1]).bit_length()) - 1)
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        raise ValueError("its samples have no range")
    factor = 255.0 / (high - low)
    return values.point(lambda value: value * factor - low * factor).convert("L")


def _extrema(image: Image.Image) -> tuple[float, float]:
    low, high = image.getextrema()
    if isinstance(low, tuple) or isinstance(high, tuple):
        raise TypeError("it has several channels of deep samples")
    return float(low), float(high)
