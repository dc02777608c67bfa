"""Draws the demo's product pictures: what `flows/demo_data.py` calls once an article.

The silhouette follows the product type: a small network can learn the product group from it.
Colour, pattern, light, size, place and angle vary, and some types look alike across groups
(leggings and tights, a nightgown and a dress), so that it does not get all of them right.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 96, 128
Floats = NDArray[np.float64]
Point = tuple[float, float]
Pattern = Callable[[Floats, Floats, np.random.Generator], NDArray[np.floating[Any]]]

# H&M's colour groups, as red, green and blue from 0 to 255.
COLOURS: dict[str, tuple[int, int, int]] = {
    "Black": (32, 32, 36),
    "Dark Blue": (36, 48, 92),
    "White": (238, 238, 234),
    "Light Pink": (240, 196, 204),
    "Grey": (138, 140, 144),
    "Light Beige": (222, 204, 176),
    "Blue": (66, 118, 190),
    "Red": (190, 40, 48),
    "Dark Green": (38, 84, 62),
    "Yellow": (236, 198, 70),
}

# H&M's graphical appearances: how much of a second colour shows at the pixel (x, y), 0 to 1.
PATTERNS: dict[str, Pattern] = {
    "Solid": lambda x, y, rng: np.zeros_like(x),
    "All over pattern": lambda x, y, rng: 1.0 * (np.sin(x / 2.5) + np.sin(y / 3 + x / 6) > 0.8),
    "Stripe": lambda x, y, rng: 1.0 * (y % 9 < rng.uniform(2, 5)),
    "Melange": lambda x, y, rng: rng.uniform(0, 0.5, x.shape),
    "Dot": lambda x, y, rng: 1.0 * ((x % 9 - 4.5) ** 2 + (y % 9 - 4.5) ** 2 < rng.uniform(4, 9)),
    "Check": lambda x, y, rng: 0.5 * (x % 12 < 5) + 0.5 * (y % 12 < 5),
}


class Silhouette(NamedTuple):
    """Outlines to fill and lines to draw upon them; the centre is (0, 0) and y points down."""

    solids: tuple[Floats, ...]
    seams: tuple[Floats, ...] = ()


def _whole(*points: Point) -> Floats:
    return np.array(points, dtype=np.float64)


def _mirror(*points: Point) -> Floats:
    """Complete the right half of a symmetric outline, given from its top to its bottom."""
    right = _whole(*points)
    return np.concatenate([right, right[::-1] * (-1, 1)])


def _pair(*points: Point) -> tuple[Floats, Floats]:
    """An outline on the right and its mirror image on the left."""
    right = _whole(*points)
    return right, right * (-1, 1)


def _moved(outline: Floats, scale: float, x: float, y: float) -> Floats:
    return np.asarray(outline * scale + np.array([x, y]))


_TEE = _mirror(
    (0, -0.62), (0.14, -0.76), (0.32, -0.7), (0.68, -0.36), (0.52, -0.16), (0.37, -0.32),
    (0.37, 0.7), (0, 0.7),
)  # fmt: skip
_LONG_SLEEVES = _mirror(
    (0, -0.66), (0.13, -0.76), (0.31, -0.7), (0.54, -0.3), (0.68, 0.46), (0.52, 0.5), (0.38, -0.1),
    (0.38, 0.64), (0, 0.64),
)  # fmt: skip
_VEST = _mirror(
    (0, -0.32), (0.14, -0.42), (0.17, -0.78), (0.27, -0.78), (0.27, -0.4), (0.38, -0.22),
    (0.39, 0.66), (0, 0.66),
)  # fmt: skip
_TROUSERS = _mirror(
    (0, -0.86), (0.32, -0.86), (0.38, -0.4), (0.33, 0.9), (0.12, 0.9), (0.03, -0.25), (0, -0.25)
)
_SHORTS = _mirror((0, -0.5), (0.38, -0.5), (0.52, 0.36), (0.1, 0.4), (0.02, 0.02), (0, 0.02))
_SKIRT = _mirror((0, -0.58), (0.25, -0.58), (0.54, 0.58), (0, 0.64))
_DRESS = _mirror(
    (0, -0.66), (0.12, -0.76), (0.15, -0.9), (0.23, -0.9), (0.3, -0.52), (0.19, -0.14),
    (0.54, 0.86), (0, 0.9),
)  # fmt: skip
_JUMPSUIT = _mirror(
    (0, -0.7), (0.12, -0.88), (0.27, -0.82), (0.3, -0.5), (0.21, -0.2), (0.34, 0.06), (0.35, 0.92),
    (0.12, 0.92), (0.03, 0.2), (0, 0.2),
)  # fmt: skip
_NIGHT_GOWN = _mirror(
    (0, -0.76), (0.11, -0.86), (0.24, -0.82), (0.5, -0.42), (0.39, -0.32), (0.25, -0.52),
    (0.48, 0.9), (0, 0.92),
)  # fmt: skip
_BAG = _mirror((0, -0.12), (0.52, -0.12), (0.62, 0.6), (0, 0.62))
_BAG_HANDLE = _mirror((0, -0.72), (0.26, -0.64), (0.37, -0.08), (0.27, -0.08), (0.19, -0.54), (0, -0.62))
_BEANIE = _mirror((0, -0.6), (0.32, -0.5), (0.5, 0), (0.56, 0.06), (0.56, 0.38), (0, 0.4))
_SCARF = _mirror((0, -0.78), (0.3, -0.7), (0.36, 0.8), (0.15, 0.8), (0.13, -0.46), (0, -0.54))
_BELT = _whole((-0.46, -0.09), (0.74, -0.09), (0.74, 0.09), (-0.46, 0.09))
_BUCKLE = _whole(
    (-0.4, -0.2), (-0.4, 0.2), (-0.76, 0.2), (-0.76, -0.2), (-0.47, -0.2), (-0.47, -0.12),
    (-0.68, -0.12), (-0.68, 0.12), (-0.48, 0.12), (-0.48, -0.2),
)  # fmt: skip
_CUPS = _pair((0, -0.02), (0.1, -0.2), (0.3, -0.3), (0.46, -0.06), (0.4, 0.2), (0.2, 0.26), (0, 0.1))
_STRAPS = _pair((0.26, -0.2), (0.3, -0.72), (0.37, -0.72), (0.36, -0.2))
_BAND = _pair((0.38, -0.04), (0.7, -0.02), (0.7, 0.1), (0.38, 0.18))
_BRIEFS = _mirror((0, -0.34), (0.56, -0.36), (0.56, -0.2), (0.3, 0.04), (0.14, 0.32), (0, 0.36))
_SWIMSUIT = _mirror(
    (0, -0.34), (0.12, -0.46), (0.15, -0.82), (0.24, -0.82), (0.28, -0.4), (0.31, -0.18),
    (0.2, 0.1), (0.36, 0.42), (0.12, 0.74), (0, 0.8),
)  # fmt: skip
_TRIANGLES = _pair((0.03, -0.22), (0.2, -0.6), (0.25, -0.6), (0.44, -0.22))
_STRINGS = _pair((0.2, -0.54), (0.04, -0.92), (0.08, -0.92), (0.25, -0.54))
_STRING = _mirror((0, -0.26), (0.62, -0.26), (0.62, -0.2), (0, -0.2))
_SNEAKER = _whole(
    (-0.68, 0.32), (-0.66, -0.28), (-0.42, -0.36), (-0.2, -0.16), (0.24, 0), (0.6, 0.1), (0.7, 0.32)
)
_SNEAKER_SOLE = _whole((-0.72, 0.26), (0.74, 0.26), (0.72, 0.42), (-0.7, 0.42))
_BOOT = _whole((-0.36, -0.78), (0.1, -0.78), (0.1, 0.1), (0.54, 0.3), (0.62, 0.56), (-0.36, 0.56))
_BOOT_HEEL = _whole((-0.38, 0.5), (-0.12, 0.5), (-0.14, 0.72), (-0.36, 0.72))
_PUMP = _whole(
    (-0.64, -0.34), (-0.48, -0.26), (-0.12, 0.12), (0.3, 0.12), (0.7, 0.4), (0.66, 0.5),
    (0.2, 0.48), (-0.22, 0.3), (-0.5, 0.14), (-0.54, 0.54), (-0.62, 0.54),
)  # fmt: skip
_SANDAL_SOLE = _whole((-0.72, 0.3), (0.74, 0.3), (0.7, 0.44), (-0.7, 0.44))
_SANDAL_TOE = _whole(
    (0.06, 0.34), (0.2, -0.06), (0.42, -0.02), (0.62, 0.34), (0.5, 0.34), (0.36, 0.1), (0.26, 0.08),
    (0.18, 0.34),
)  # fmt: skip
_SANDAL_HEEL = _whole(
    (-0.66, 0.34), (-0.6, -0.3), (-0.28, -0.3), (-0.2, 0.34), (-0.3, 0.34), (-0.36, -0.18),
    (-0.52, -0.18), (-0.56, 0.34),
)  # fmt: skip
_SOCK = _whole(
    (-0.2, -0.75), (0.12, -0.75), (0.12, 0.16), (0.44, 0.42), (0.4, 0.62), (0.1, 0.62), (-0.2, 0.36)
)
_TIGHTS = _mirror(
    (0, -0.88), (0.26, -0.88), (0.28, -0.4), (0.17, 0.7), (0.36, 0.84), (0.34, 0.94), (0.12, 0.92),
    (0.06, 0.7), (0.02, -0.36), (0, -0.36),
)  # fmt: skip
_FRONT = (_whole((-0.13, -0.74), (0, -0.58), (0.13, -0.74)), _whole((0, -0.58), (0, 0.64)))
_LACES = (_whole((-0.2, -0.1), (-0.04, 0.1)), _whole((-0.04, -0.06), (0.1, 0.12)))


def _across(half: float, y: float) -> Floats:
    """A level seam from -half to half."""
    return _whole((-half, y), (half, y))


# One silhouette a product type, by H&M's names for them.
SILHOUETTES: dict[str, Silhouette] = {
    "T-shirt": Silhouette((_TEE,)),
    "Sweater": Silhouette((_LONG_SLEEVES,), (_across(0.36, 0.52),)),
    "Shirt": Silhouette((_LONG_SLEEVES,), _FRONT),
    "Vest top": Silhouette((_VEST,)),
    "Trousers": Silhouette((_TROUSERS,), (_across(0.33, -0.74), _whole((0, -0.86), (0, -0.3)))),
    "Leggings": Silhouette((_TROUSERS * (0.75, 1),)),
    "Shorts": Silhouette((_SHORTS,), (_across(0.38, -0.38),)),
    "Skirt": Silhouette((_SKIRT,), (_across(0.27, -0.46),)),
    "Dress": Silhouette((_DRESS,)),
    "Jumpsuit/Playsuit": Silhouette((_JUMPSUIT,)),
    "Bag": Silhouette((_BAG, _BAG_HANDLE)),
    "Hat/beanie": Silhouette((_BEANIE,), (_across(0.54, 0.08),)),
    "Belt": Silhouette((_BELT, _BUCKLE)),
    "Scarf": Silhouette((_SCARF,), (_whole((0.15, 0.66), (0.36, 0.66)),)),
    "Bra": Silhouette((*_CUPS, *_STRAPS, *_BAND)),
    "Underwear bottom": Silhouette((_BRIEFS,), (_across(0.54, -0.27),)),
    "Sneakers": Silhouette((_SNEAKER, _SNEAKER_SOLE), (_across(0.7, 0.29), *_LACES)),
    "Boots": Silhouette((_BOOT, _BOOT_HEEL), (_whole((-0.36, 0.48), (0.58, 0.48)),)),
    "Pumps": Silhouette((_PUMP,)),
    "Sandals": Silhouette((_SANDAL_SOLE, _SANDAL_TOE, _SANDAL_HEEL)),
    "Swimsuit": Silhouette((_SWIMSUIT,)),
    "Bikini set": Silhouette((*_TRIANGLES, *_STRINGS, _STRING, _moved(_BRIEFS, 0.8, 0, 0.5))),
    "Socks": Silhouette((_moved(_SOCK, 1, -0.34, -0.06), _moved(_SOCK, 1, 0.2, 0.08))),
    "Underwear Tights": Silhouette((_TIGHTS,)),
    "Pyjama set": Silhouette(
        (_moved(_LONG_SLEEVES, 0.66, 0, -0.46), _moved(_TROUSERS, 0.56, 0, 0.5)),
        (_whole((0, -0.84), (0, -0.06)),),
    ),
    "Night gown": Silhouette((_NIGHT_GOWN,), (_across(0.46, 0.8),)),
}


def draw(product_type: str, colour: str, appearance: str, rng: np.random.Generator) -> Image.Image:
    """Draw one product, 96 x 128 pixels; its type, colour and appearance are keys of the tables."""
    place = _placing(rng)
    shape = _mask([place(outline) for outline in SILHOUETTES[product_type].solids])
    seams = _lines([place(seam, closed=False) for seam in SILHOUETTES[product_type].seams])
    cloth = _cloth(COLOURS[colour], PATTERNS[appearance], rng) * (1 - 0.35 * seams)
    # Without its shadow a white shirt on a white wall could not be seen at all.
    wall = _wall(rng) * (1 - 0.4 * np.roll(shape, (3, 2), (0, 1)))
    pixels = wall + shape * (cloth - wall)
    pixels += rng.normal(0, rng.uniform(3, 12), (HEIGHT, WIDTH, 1))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _placing(rng: np.random.Generator) -> Callable[..., Floats]:
    """Choose how a product lies; the function returned takes its outlines to pixels."""
    angle, size = rng.normal(0, 0.1), rng.uniform(36, 58)
    stretch = rng.uniform(0.85, 1.15, 2) * (rng.choice([-1, 1]), 1)
    taper, bend = rng.normal(0, 0.1), rng.normal(0, 0.05)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    centre = np.array([WIDTH, HEIGHT]) / 2 + rng.uniform(-7, 7, 2)

    def place(outline: Floats, closed: bool = True) -> Floats:
        points = _rounded(outline) if closed else outline
        x, y = (points * stretch).T
        bent = np.stack([x * (1 + taper * y) + bend * y * y, y], axis=1)
        return np.asarray(bent @ turn * size + centre)

    return place


def _rounded(outline: Floats) -> Floats:
    """Cut every corner of a closed outline twice (Chaikin's algorithm, cutting a sixth)."""
    for _ in range(2):
        ahead = np.roll(outline, -1, axis=0)
        outline = np.stack([outline * 5 + ahead, outline + ahead * 5], axis=1).reshape(-1, 2) / 6
    return outline


def _mask(outlines: Sequence[Floats]) -> Floats:
    """How much of each pixel the outlines cover, 0 to 1."""
    image = Image.new("L", (2 * WIDTH, 2 * HEIGHT))  # at twice the size, for smooth edges
    pen = ImageDraw.Draw(image)
    for outline in outlines:
        pen.polygon((outline * 2).ravel().tolist(), fill=255)
    return np.asarray(image.reduce(2), dtype=np.float64)[..., None] / 255


def _lines(lines: Sequence[Floats]) -> Floats:
    image = Image.new("L", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(image)
    for line in lines:
        pen.line(line.ravel().tolist(), fill=255, width=1)
    return np.asarray(image, dtype=np.float64)[..., None] / 255


def _cloth(colour: tuple[int, int, int], pattern: Pattern, rng: np.random.Generator) -> Floats:
    """A sheet of cloth as large as the picture, its pattern turned and its light uneven."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    angle = rng.normal(0, 0.15)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    first = np.array(colour) + rng.normal(0, 12, 3)
    second = rng.uniform(20, 240, 3)
    share = pattern(along, across, rng)[..., None]
    light = 1 + 0.12 * np.sin(x / rng.uniform(8, 20) + rng.uniform(0, 6))[..., None]
    return np.asarray((first + share * (second - first)) * light)


def _wall(rng: np.random.Generator) -> Floats:
    """What lies behind: a wall lit from one side and, one time in three, a floor."""
    tone = rng.uniform(150, 245) + rng.normal(0, 8, 3)
    light = np.linspace(rng.uniform(0.85, 1), 1, WIDTH)
    wall = np.tile(light[:, None] * tone, (HEIGHT, 1, 1))
    if rng.random() < 1 / 3:
        wall[rng.integers(80, 120) :] *= rng.uniform(0.6, 0.9, 3)
    return wall
