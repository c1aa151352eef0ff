"""Numbers as pictures: which axis holds the channels and what the values mean; converted where both are certain, else refused."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import UInt8

from dataprune.blocks import slices
from dataprune.errors import invalid

Layout = Literal["unknown", "torch", "last"]
MOST_CHANNELS = 4  # of gray, with alpha, RGB and RGBA: more is no usual picture, fewer pixels a side no usual side
_NARROW = 3  # bits that values far from 0 would leave unused
_BLOCK_BYTES = 2**26  # numbers looked at together
FAINT = 32  # a largest value below this, of 255, would leave next to nothing of what was given
UNIT_NOTE = "{} is {} in [0, 1]: multiplied by 255"
_CURE = "Give them as they were before, or scale them: np.interp({0}, ({0}.min(), {0}.max()), (0, 255)).round().astype('uint8')."


def as_pictures(
    arrays: Mapping[str, np.ndarray], layout: Layout = "unknown"
) -> tuple[dict[str, UInt8[np.ndarray, "n height width channels"]], tuple[str, ...]]:
    """Make uint8 pictures with channels last of arrays (N, H, W), (N, H, W, channels) or (N, channels, H, W); say what was done.

    Arrays of one kind of number are read alike: what is white in one is white in all. uint8 is taken as it is; whole numbers from
    0 by the fewest bits, at least 8, that hold the largest; other numbers in [0, 1] times 255, from 0 to between 128 and 255 as
    they are, rounded. Everything else is refused with what would help.

    Args:     layout: `torch` has its channels first by custom, `last` is known to have them last.
    """
    notes: list[str] = []
    upright = {}
    for name, x in arrays.items():
        first = x.ndim == 4 and layout != "last" and _has_channels_first(x.shape, name, layout)
        if layout == "torch" and x.ndim == 4 and not first:
            notes.append(f"`{name}` has its channels last, as {x.shape}, and is read so")
        if first and (layout != "torch"):
            n_channels, height, width = x.shape[1:]
            notes.append(f"`{name}` has its channels first: read as pictures of {height} × {width} with {n_channels} channels")
        upright[name] = np.moveaxis(x, 1, 3) if first else x if x.ndim == 4 else x[:, :, :, None]
    kinds: dict[str, list[str]] = {}
    for name, x in upright.items():
        kinds.setdefault("bytes" if x.dtype == np.uint8 else x.dtype.kind.replace("i", "u"), []).append(name)
    for kind, names in kinds.items():
        if kind != "bytes":
            convert, said = _conversion(kind, names, upright)
            notes.append(said)
            for name in names:
                x, made = upright[name], np.empty(upright[name].shape, np.uint8)
                for rows in slices(len(x), x[:1].nbytes, _BLOCK_BYTES):
                    made[rows] = convert(x[rows])
                upright[name] = made
    return {name: np.require(x, np.uint8, "C") for name, x in upright.items()}, tuple(notes)


class Scale(NamedTuple):
    """Whole numbers of more than a byte as bytes: `start` becomes black and `top`, `bits` higher, white. By whole bits, and not by
    the extreme values themselves, a part of the data, or more of it, is read as the whole was."""

    start: int
    bits: int

    @property
    def top(self) -> int:
        """The value that becomes white."""
        return self.start + (1 << self.bits) - 1

    def to_bytes(self, x: np.ndarray) -> UInt8[np.ndarray, "..."]:
        """Scale and round; what lies beyond becomes black or white."""
        scaled: np.ndarray = np.rint((np.clip(x, self.start, self.top) - float(self.start)) * (255 / (2**self.bits - 1)))
        return scaled.astype(np.uint8)


def scale_of(low: float, high: float) -> Scale:
    """Return the scale for values from `low` to `high`: from 0, unless they would share an eighth of the range or less.

    Example:
        >>> scale_of(20, 3050), scale_of(200, 250), scale_of(30_000, 30_100)
        (Scale(start=0, bits=12), Scale(start=0, bits=8), Scale(start=29952, bits=8))
    """
    whole, used = (max(8, int(most).bit_length()) for most in (high, high - low))
    if whole - used < _NARROW:
        return Scale(0, whole)
    start = int(low) >> (used - 1) << (used - 1)
    return Scale(start, max(8, (int(high) - start).bit_length()))


def _has_channels_first(shape: tuple[int, ...], name: str, layout: Layout) -> bool:
    """Tell by the lengths of the axes: channels are few, and where two axes are equal they are the sides."""
    one, two, three = shape[1:]
    could_be_first, could_be_last = one <= MOST_CHANNELS, three <= MOST_CHANNELS
    if layout == "torch":
        return could_be_first or not could_be_last or two == three
    square_first, square_last = two == three != one, one == two != three
    if could_be_first and could_be_last and square_first != square_last:
        return square_first
    if could_be_first != could_be_last and not (square_last if could_be_first else square_first):
        return could_be_first
    if (square_last and not could_be_first) or one == two == three == 1:
        return False
    cure = f"Put them last; pad to {MOST_CHANNELS + 1} pixels a side, and to squares where there are over {MOST_CHANNELS} channels."
    raise invalid(name, "show by its shape where the channels are", f"shape {shape}", cure)


def _conversion(kind: str, names: list[str], arrays: Mapping[str, np.ndarray]) -> tuple[Callable[[np.ndarray], np.ndarray], str]:
    """Return how numbers of one kind become 0…255, and that in words."""
    called, types = " and ".join(f"`{name}`" for name in names), "/".join(sorted({str(arrays[name].dtype) for name in names}))
    if kind == "b":
        return lambda x: x * np.uint8(255), f"{called} holds true and false: read as white and black"
    low, high, are_whole = _values(names[0], [arrays[name] for name in names])
    given, cure = f"{types} from {low:.6g} to {high:.6g}", _CURE.format(names[0] if names[0].isidentifier() else "x")
    is_unit = kind == "f" and high <= 1
    if low < 0 or high > 65535 or 0 < high * (255 if is_unit else 1) < FAINT:
        raise invalid(names[0], "be pictures of 0…255, 0…1 or up to 16 bits", given, cure)
    if is_unit:
        return lambda x: np.rint(x * 255.0), UNIT_NOTE.format(called, types)
    if not are_whole and not 128 <= high <= 255:
        raise invalid(names[0], "be in [0, 1], or up to 255, where it is floating point", given, cure)
    scale = scale_of(low, high)
    if scale == (0, 8):
        rounded = "" if are_whole else ", rounded"
        return np.rint if not are_whole else lambda x: x, f"{called} is {given}: read as 0…255{rounded}"
    return scale.to_bytes, f"{called} is {given}: scaled so that {scale.start:,} is black and {scale.top:,} white"


def _values(name: str, arrays: list[np.ndarray]) -> tuple[float, float, bool]:
    """Return the smallest and the largest number, and whether all are whole."""
    low, high, are_whole = np.inf, -np.inf, True
    for x in arrays:
        for block in (x[rows] for rows in slices(len(x), x[:1].nbytes, _BLOCK_BYTES)):
            if x.dtype.kind == "f" and not np.isfinite(block).all():
                raise invalid(name, "be finite", "NaN or infinity")
            low, high = min(low, float(block.min())), max(high, float(block.max()))
            are_whole = are_whole and (x.dtype.kind in "iu" or bool((block == np.floor(block)).all()))
    return (low, high, are_whole) if low <= high else (0, 0, True)
