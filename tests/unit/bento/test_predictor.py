import io

import numpy as np
import pytest
from PIL import Image

from services.bento.manifest import ImageInput
from services.bento.predictor import UnreadableImageError, as_input, decode, descriptors


def encoded(
    kind: str,
    size: tuple[int, int] = (40, 60),
    colour: object = (200, 30, 90),
    mode: str = "RGB",
    **more: object,
) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size, colour).save(stream, kind, **more)  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_decoded_at_the_models_size(kind: str) -> None:
    data = encoded(kind)
    picture = decode(data, 30, 20)
    assert picture.pixels.shape == (30, 20, 3)
    assert picture.pixels.dtype == np.uint8
    assert np.abs(picture.pixels.reshape(-1, 3).mean(axis=0) - (200, 30, 90)).max() < 6
    assert (picture.width, picture.height, picture.bytes) == (40, 60, len(data))


@pytest.mark.parametrize(
    ("mode", "colour"), [("L", 90), ("RGBA", (200, 30, 90, 128)), ("P", 3), ("CMYK", (0, 0, 0, 0))]
)
def test_other_modes_become_rgb(mode: str, colour: object) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    assert decode(encoded(kind, mode=mode, colour=colour), 8, 8).pixels.shape == (8, 8, 3)


def test_a_picture_is_turned_as_its_camera_was() -> None:
    image = Image.new("RGB", (60, 40), "black")
    image.paste("white", (0, 0, 60, 20))
    exif = Image.Exif()
    exif[0x0112] = 3
    stream = io.BytesIO()
    image.save(stream, "JPEG", exif=exif)
    pixels = decode(stream.getvalue(), 40, 60).pixels
    assert pixels[:15].mean() < 10
    assert pixels[25:].mean() > 245


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a JPEG, PNG or WebP"),
        (b"GIF89a" + bytes(100), "not a JPEG, PNG or WebP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a JPEG, PNG or WebP"),
        (encoded("PNG")[:60], "damaged"),
        (encoded("JPEG", (400, 400))[:300], "damaged"),
        (encoded("GIF", colour=1, mode="P"), "not a JPEG, PNG or WebP"),
    ],
)
def test_what_is_no_picture_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(UnreadableImageError, match=message):
        decode(data, 8, 8)


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(UnreadableImageError, match="pixels; at most"):
        decode(encoded("PNG", (9000, 9000), 0, "1"), 8, 8)


def test_descriptors_say_what_a_person_sees() -> None:
    dark, light = (decode(encoded("PNG", colour=(v, v, v)), 16, 16) for v in (20, 220))
    assert descriptors(dark)["brightness"] == pytest.approx(20, abs=0.5)
    assert descriptors(light)["brightness"] == pytest.approx(220, abs=0.5)
    assert descriptors(light)["colourfulness"] == pytest.approx(0, abs=1e-3)
    assert descriptors(decode(encoded("PNG", colour=(255, 0, 0)), 16, 16))["colourfulness"] > 50
    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")
    assert descriptors(decode(stream.getvalue(), 16, 16))["sharpness"] > descriptors(light)["sharpness"] + 100


def test_the_inputs_scale_and_offset_are_the_manifests() -> None:
    pixels = np.full((2, 4, 4, 3), 255, np.uint8)
    batch = as_input(pixels, ImageInput(height=4, width=4, scale=1 / 255, offset=-0.5))
    assert batch.dtype == np.float32
    assert batch == pytest.approx(np.full((2, 4, 4, 3), 0.5))
