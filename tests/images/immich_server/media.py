# Copyright (c) 2026, the patriark.homelab maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures: what may be uploaded, and thumbnails by Pillow. Failures are told in the words of the original's libvips."""

from __future__ import annotations

import os
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

IMAGES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".bmp": "image/bmp",
    ".heic": "image/heic",
    ".dng": "image/dng",
}
VIDEOS = {".mp4": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm", ".mkv": "video/x-matroska", ".avi": "video/x-msvideo"}


class MediaError(Exception):
    """A picture that cannot be used."""


def kind(name: str) -> tuple[str, str] | None:
    """Asset type and media type by extension, None for what is not taken."""
    extension = os.path.splitext(name)[1].lower()
    if extension in IMAGES:
        return "IMAGE", IMAGES[extension]
    if extension in VIDEOS:
        return "VIDEO", VIDEOS[extension]
    return None


def load(path: str) -> Image.Image:
    """The whole picture, upright. Raises C(MediaError)."""
    if not os.path.exists(path):
        raise MediaError(f"Input file is missing: {path}")
    with open(path, "rb") as handle:
        is_jpeg = handle.read(2) == b"\xff\xd8"
    broken = "VipsJpeg: premature end of JPEG image" if is_jpeg else "Input file has corrupt header: bad image data"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                picture.load()
                upright = ImageOps.exif_transpose(picture) or picture
                return upright.convert("RGB")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MediaError("Input image exceeds pixel limit") from error
    except UnidentifiedImageError as error:
        raise MediaError(broken if is_jpeg else "Input file contains unsupported image format") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise MediaError(broken) from error


def dimensions(path: str) -> tuple[int | None, int | None]:
    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, SyntaxError, ValueError):
        return None, None


def make_thumbnails(path: str, preview: tuple[str, int, int], thumbnail: tuple[str, int, int]) -> None:
    """Write both files; each is (path, size of the shorter side at most, quality). A half written file is never seen."""
    picture = load(path)
    for target, size, quality in (preview, thumbnail):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        small = picture.copy()
        # The given size is that of the shorter side, and nothing is enlarged.
        scale = min(1.0, size / max(1, min(picture.size)))
        small = small.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
        partial = target + ".tmp"
        small.save(partial, "WEBP" if target.endswith(".webp") else "JPEG", quality=quality)
        os.replace(partial, target)
