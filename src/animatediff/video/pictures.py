"""Read pictures as a viewer shows them; every still and animation is read through here.

A file can ask to be rotated (EXIF), have its own colour space (an ICC profile), be transparent,
have 16 bits or CMYK inks, or contain a second picture that no viewer shows. Everything that reads a
picture takes its pixels from ``shown``.
"""

from __future__ import annotations

import functools
import io
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageCms, UnidentifiedImageError

from animatediff.errors import FileError, reason_of

Pixels = UInt8[np.ndarray, "height width 3"]
Colour = tuple[int, int, int]

WHITE: Colour = (255, 255, 255)
PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "BMP")
"""Formats that Pillow may open."""
MAX_PIXELS = 1 << 26

_ANIMATED = frozenset({"GIF", "PNG", "WEBP", "AVIF"})
"""Formats whose further pictures are frames.

In TIFF they are pages; in JPEG (MPO) a gain map, a depth map or the other eye's view. Viewers show
only the first.
"""
_ORIENTATION, _SUBFILE = 0x0112, 0x00FE
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PLAIN = {"1": "L", "LA": "L", "La": "L", "P": "RGB", "PA": "RGB", "RGBA": "RGB", "RGBa": "RGB"}
"""For each mode, the mode with only its colours."""
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_UNSUPPORTED = (
    (0, b"8BPS", "a Photoshop file"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (4, b"JXL \r\n", "a JPEG XL picture"),
    (4, b"jP  \r\n", "a JPEG 2000 picture"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (0, b"#?RADIANCE", "a Radiance HDR picture"),
    (8, b"CR\x02", "a camera's raw file"),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw file"),
    (4, b"ftypcrx", "a camera's raw file"),
    (0, b"DDS ", "a texture (DDS)"),
    (0, b"%PDF", "a PDF"),
)


def read_picture(path: Path, *, max_pixels: int = MAX_PIXELS, background: Colour = WHITE) -> Pixels:
    """Read the pixels of a picture file as a viewer shows it; of an animation, the first frame.

    Args:
        path: the file; its format is recognised from its content.
        max_pixels: largest width x height that is decoded.
        background: colour behind transparent pixels.

    Raises:
        FileError: the file is missing, broken, too large, or not a readable picture.
    """
    try:
        with path.open("rb") as file:
            known = unsupported_picture(file.read(64))
            if known:
                raise FileError(f"{path} is {known}.")
            file.seek(0)
            with open_picture(file) as picture:
                if picture.width * picture.height > max_pixels:
                    raise FileError(
                        f"{path} has {picture.width * picture.height:,} pixels, and at most "
                        f"{max_pixels:,} are decoded; make it smaller."
                    )
                return shown(picture, background=background)
    except UnidentifiedImageError:
        raise FileError(f"{path} is not a picture that can be read; give a PNG or JPEG.") from None
    except Image.DecompressionBombError:
        raise FileError(f"{path} is too large a picture; make it smaller.") from None
    except FileError:
        raise
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise FileError(f"{path} cannot be read: {reason_of(error)}.") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        reason = " ".join(str(error).split())[:120].rstrip(".")
        raise FileError(f"{path} is broken ({reason}); get it again.") from None


def open_picture(file: BinaryIO) -> Image.Image:
    """Open a picture by its content without reading its pixels; Pillow's warnings are ignored.

    Raises:
        UnidentifiedImageError, OSError, SyntaxError, ValueError: it is none of ``PICTURE_FORMATS``.
    """
    with warnings.catch_warnings(action="ignore"):
        return Image.open(file, formats=PICTURE_FORMATS)


def unsupported_picture(head: bytes) -> str | None:
    """Describe a file that viewers show but this package does not read, and what to do about it.

    Args:
        head: its first 64 bytes.
    """
    others = {head[i : i + 4] for i in range(16, 64, 4)}
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS and not others & {b"avif", b"avis"}:
        return "a HEIC picture, which is not supported; save it as JPEG or PNG"
    for place, magic, title in _UNSUPPORTED:
        if head[place : place + len(magic)] == magic:
            return f"{title}, which is not supported; save it as PNG or JPEG"
    return None


def count_frames(picture: Image.Image) -> int:
    """Return the number of frames of an opened picture; 1 if the other pictures are not frames."""
    return int(getattr(picture, "n_frames", 1)) if picture.format in _ANIMATED else 1


def shown(picture: Image.Image, *, background: Colour = WHITE) -> Pixels:
    """Return the current frame of an opened picture as a viewer shows it.

    It is rotated by its EXIF, converted to 8-bit sRGB by its ICC profile, and put on
    ``background``.

    Raises:
        OSError, SyntaxError, ValueError: what Pillow raises on a broken file.
    """
    picture.load()
    if picture.format == "TIFF" and getattr(picture, "tag_v2", {}).get(_SUBFILE) == 1:
        raise ValueError("its first picture is a preview, as in a camera's raw file")
    alpha = _alpha_of(picture)
    pixels = np.asarray(_in_srgb(_in_eight_bits(picture), picture.info.get("icc_profile")))
    if alpha is not None:
        pixels = on_background(np.dstack([pixels, alpha]), background)
    turn = _TURNS.get(_orientation_of(picture))
    return pixels if turn is None else np.asarray(Image.fromarray(pixels).transpose(turn))


def on_background(rgba: UInt8[np.ndarray, "height width 4"], background: Colour = WHITE) -> Pixels:
    """Put a picture with transparency on a plain colour."""
    alpha = rgba[..., 3:].astype(np.uint16)
    behind = np.array(background, np.uint16)
    return ((rgba[..., :3] * alpha + behind * (255 - alpha) + 127) // 255).astype(np.uint8)


def _orientation_of(picture: Image.Image) -> int:
    try:
        with warnings.catch_warnings(action="ignore"):
            return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - viewers ignore tables that cannot be read
        return 1


def _alpha_of(picture: Image.Image) -> UInt8[np.ndarray, "height width"] | None:
    key = picture.info.get("transparency")
    if picture.mode.startswith(("I", "F")):
        if not isinstance(key, int):
            return None
        return np.where(np.asarray(picture) == key, 0, 255).astype(np.uint8)
    if not picture.has_transparency_data:
        return None
    alpha = np.asarray(picture.convert("RGBA").getchannel("A"))
    return None if alpha.min() == 255 else alpha


def _in_eight_bits(picture: Image.Image) -> Image.Image:
    """Return the colours as 8-bit values, still in the file's own colour space."""
    mode = picture.mode
    if mode.startswith("I"):
        values = np.asarray(picture).astype(np.int64)
        most = 65535 if mode.startswith("I;16") or values.max(initial=0) <= 65535 else 2**32 - 1
        return Image.fromarray((np.clip(values, 0, most) * 255 // most).astype(np.uint8))
    if mode == "F":
        values = np.nan_to_num(np.asarray(picture))
        return Image.fromarray((np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8))
    if mode in ("La", "RGBa"):
        picture = picture.convert("LA" if mode == "La" else "RGBA")
    return picture.convert(_PLAIN[mode]) if mode in _PLAIN else picture


def _in_srgb(picture: Image.Image, profile: object) -> Image.Image:
    embedded = profile if isinstance(profile, bytes) else b""
    if embedded or picture.mode == "LAB":
        change = _change_to_srgb(embedded, picture.mode)
        if change is not None:
            done = ImageCms.applyTransform(picture, change)
            assert done is not None
            return done
    return picture.convert("RGB")


@functools.lru_cache(maxsize=16)
def _change_to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a profile; ``None`` if it is sRGB, broken, or for another mode."""
    if mode not in ("L", "RGB", "CMYK", "LAB"):
        return None
    try:
        source: Any = (
            ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if profile
            else ImageCms.createProfile("LAB")
        )
        change = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return change if mode in ("CMYK", "LAB") or _changes_colours(change, mode) else None


def _changes_colours(change: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Return whether a transform is more than rounding; sRGB profiles have many names."""
    steps = np.linspace(0, 255, 6 if mode == "RGB" else 216).astype(np.uint8)
    if mode == "RGB":
        samples = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    else:
        samples = steps.reshape(1, -1)
    patches = Image.fromarray(samples)
    done = ImageCms.applyTransform(patches, change)
    before = np.asarray(patches.convert("RGB")).astype(int)
    return bool(np.abs(np.asarray(done) - before).max() > 3)
