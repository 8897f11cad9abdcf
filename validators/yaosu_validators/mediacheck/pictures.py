"""Numbers of one picture: its hash, sharpness, brightness and noise, in numpy alone.

Everything is counted on the grey picture Y = 0.299 R + 0.587 G + 0.114 B in 0…255.
"""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.float32]
Hashes = npt.NDArray[np.uint64]

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")  # none that starts a program
SIDE = 512  # sharpness is compared at one size: the longer side after shrinking
_HASH_SIDE = 32
_BOX: Any = 4  # of Pillow: the mean of all that lies under a new pixel
_FLAT = 2.0  # standard deviation of a picture that is one colour: its hash says nothing
_MAX_BUCKET = 4096  # neighbours in a bucket that are compared, so that no set can stall us

_GPS, _EXIF = 0x8825, 0x8769
_PERSON_TAGS = (0x013B, 0x9C9D)  # Artist, XPAuthor
_PERSON_EXIF_TAGS = (0xA430, 0xA431)  # CameraOwnerName, BodySerialNumber


@dataclass(frozen=True, slots=True)
class Picture:
    """What decoding one picture gave."""

    width: int
    height: int
    hash: int
    flat: bool
    sharpness: float  # variance of the Laplacian
    brightness: float  # mean, 0…1
    snr_db: float  # NaN where there is no noise to measure
    gps: bool
    person: bool


class Undecodable(Exception):
    """The picture does not decode; `reason` is one of ours, never the decoder's words."""

    def __init__(self, reason: str, width: int = 0, height: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.width, self.height = width, height


def decoded(data: bytes, max_pixels: int) -> Picture:
    """Decode a whole picture; Undecodable says why not, too many pixels before any is made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a picture is worth a warning for is ours to say
        return _decoded(data, max_pixels)


def _decoded(data: bytes, max_pixels: int) -> Picture:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise Undecodable("too-large", width, height)
            gps, person = _people(image)
            image.load()
            whole = _grey(image)
            grey = np.asarray(whole)
            small = np.asarray(_shrunk(whole), np.float32)
    except (Undecodable, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise Undecodable("too-large", *_size(data)) from None
    except UnidentifiedImageError:
        raise Undecodable("unknown") from None
    except Exception as why:  # decoders of strangers' bytes raise anything
        cut = "truncated" in str(why) or isinstance(why, EOFError)
        raise Undecodable("truncated" if cut else "broken") from None
    return Picture(
        width=width,
        height=height,
        hash=perceptual_hash(small),
        flat=float(small.std()) < _FLAT,
        sharpness=sharpness(small),
        brightness=float(grey.mean(dtype=np.float64) / 255),
        snr_db=snr_db(_centre(grey).astype(np.float32)),
        gps=gps,
        person=person,
    )


def _size(data: bytes) -> tuple[int, int]:
    import imagesize

    try:
        width, height = imagesize.get(io.BytesIO(data))
    except Exception:  # the same: a header of a stranger
        return 0, 0
    return max(0, int(width)), max(0, int(height))


def _people(image: Any) -> tuple[bool, bool]:
    """Say whether Exif holds a position, and whether it names a person or one camera."""
    try:
        exif = image.getexif()
        gps = bool(exif.get_ifd(_GPS))
        inner = exif.get_ifd(_EXIF)
    except Exception:  # broken metadata does not make a broken picture
        return False, False
    named = any(exif.get(t) for t in _PERSON_TAGS) or any(inner.get(t) for t in _PERSON_EXIF_TAGS)
    return gps, named


def _grey(image: Any) -> Any:
    from PIL import Image

    if image.mode in ("L", "1"):
        return image.convert("L")
    if image.mode.startswith(("I", "F")):  # 16 and 32 bits: stretched from its range to 0…255
        low, high = image.getextrema()
        values = np.asarray(image, np.float64) - float(low)
        stretched = values * (255.0 / max(float(high) - float(low), 1e-12))
        return Image.fromarray(np.nan_to_num(stretched, posinf=255, neginf=0).astype(np.uint8))
    if image.mode in ("P", "PA") or image.mode.endswith("A") or image.mode == "La":
        return image.convert("RGBA").convert("L")
    return image.convert("L")


def _shrunk(grey: Any) -> Any:
    longer = max(grey.size)
    if longer <= SIDE:
        return grey
    return grey.resize(tuple(max(1, round(s * SIDE / longer)) for s in grey.size), _BOX)


def _centre(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the middle of the picture at its own size: shrinking would take the noise away."""
    height, width = grey.shape
    top, left = max(0, (height - SIDE) // 2), max(0, (width - SIDE) // 2)
    return grey[top : top + SIDE, left : left + SIDE]


def sharpness(grey: Grey) -> float:
    """Return the variance of the Laplacian with the kernel 0 1 0 / 1 -4 1 / 0 1 0."""
    if min(grey.shape) < 3:
        return 0.0
    edges = (
        grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    )
    return float(edges.var(dtype=np.float64))


def snr_db(grey: Grey) -> float:
    """Return 20·log10(σ/σₙ), with Immerkær's estimate σₙ = √(π/2)·mean|Y∗N|/6 of the noise.

    N = 1 -2 1 / -2 4 -2 / 1 -2 1. Fine texture counts as noise: a bound from below.
    """
    if min(grey.shape) < 3:
        return math.nan
    rows = grey[:-2] - 2 * grey[1:-1] + grey[2:]
    both = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    noise = math.sqrt(math.pi / 2) * float(np.abs(both).mean(dtype=np.float64)) / 6
    signal = float(grey.std(dtype=np.float64))
    if noise < 1e-3 or signal < 1e-3:
        return math.nan
    return 20 * math.log10(signal / noise)


def _cosines(size: int, count: int) -> npt.NDArray[np.float64]:
    k, n = np.arange(count)[:, None], np.arange(size)[None, :]
    return np.cos(np.pi * k * (2 * n + 1) / (2 * size))


_DCT = _cosines(_HASH_SIDE, 8)


def perceptual_hash(grey: Grey) -> int:
    """Return pHash: the signs of the 8×8 lowest DCT-II terms of 32×32 means against their median.

    The term of mean brightness is left out of the median; bit 63 is the first term.
    """
    from PIL import Image

    means = Image.fromarray(np.ascontiguousarray(grey)).resize((_HASH_SIDE, _HASH_SIDE), _BOX)
    small = np.asarray(means, np.float64)  # fractions of pixels count at the edges
    low = (_DCT @ small @ _DCT.T).reshape(-1)
    bits = low > np.median(low[1:])
    return int(np.packbits(bits).view(">u8")[0])


def clusters(hashes: Hashes, distance: int) -> list[list[int]]:
    """Return the groups of positions whose hashes hang together by at most `distance` bits.

    Two hashes that differ in d bits agree in one of d + 1 bands (pigeonhole): all pairs are found
    by comparing within equal bands, as long as no band holds more than 4,096 distinct hashes.
    """
    unique, back = np.unique(hashes, return_inverse=True)
    parent = np.arange(len(unique), dtype=np.int64)
    for first, second in _near(unique, distance):
        a, b = _root(parent, first), _root(parent, second)
        if a != b:
            parent[max(a, b)] = min(a, b)
    roots = np.array([_root(parent, i) for i in range(len(unique))], np.int64)
    groups = roots[back]
    order = np.argsort(groups, kind="stable")
    cuts = np.flatnonzero(np.diff(groups[order])) + 1
    found = [run.tolist() for run in np.split(order, cuts) if len(run) > 1]
    return sorted(found)


def _near(unique: Hashes, distance: int) -> list[tuple[int, int]]:
    edges = np.linspace(0, 64, distance + 2).astype(int).tolist()
    pairs: set[tuple[int, int]] = set()
    for low, high in zip(edges, edges[1:], strict=False):
        band = (unique >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(band, kind="stable")
        ordered, keys = unique[order], band[order]
        for step in range(1, min(len(unique), _MAX_BUCKET)):
            same = np.flatnonzero(keys[step:] == keys[:-step])
            if not len(same):
                break
            apart = np.bitwise_count(ordered[same + step] ^ ordered[same])
            near = same[apart <= distance]
            pairs.update(zip(order[near].tolist(), order[near + step].tolist(), strict=True))
    return sorted(pairs)


def _root(parent: npt.NDArray[np.int64], at: int) -> int:
    while parent[at] != at:
        parent[at] = parent[parent[at]]
        at = int(parent[at])
    return at
