"""Folders of small PNG and JPEG files, good and bad."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from onelip.data import ImageSet, load
from onelip.data.pictures import load_pictures
from onelip.errors import DataError

WIDTH, HEIGHT = 7, 5


def picture(mode="L", value=0, size=(WIDTH, HEIGHT)):
    rng = np.random.default_rng(value)
    colour = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    return colour.convert(mode)


@pytest.mark.parametrize(
    ("mode", "suffix", "channels"),
    [
        ("1", "png", 1),
        ("L", "png", 1),
        ("L", "jpg", 1),
        ("LA", "png", 1),
        ("P", "png", 3),
        ("RGB", "png", 3),
        ("RGB", "JPEG", 3),
        ("RGBA", "png", 3),
        ("CMYK", "jpg", 3),
    ],
)
def test_grey_is_one_channel_and_colour_three(tmp_path, mode, suffix, channels):
    for i in range(2):
        picture(mode, i).save(tmp_path / f"{i}.{suffix}")
    data = load("images", tmp_path)
    assert isinstance(data, ImageSet)
    assert (data.sample_shape, data.count, data.labels) == ((channels, HEIGHT, WIDTH), 2, None)
    batch = data.batch(torch.Generator().manual_seed(0), 8)
    assert batch.shape == (8, channels, HEIGHT, WIDTH)
    assert -1 <= batch.min() < batch.max() <= 1


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_pixels_are_those_of_the_files_in_the_order_of_their_names(tmp_path, mode):
    for name in (2, 0, 1):
        picture(mode, name).save(tmp_path / f"{name}.png")
    expected = np.stack([np.array(picture(mode, i)).reshape(HEIGHT, WIDTH, -1) for i in range(3)])
    assert torch.equal(load_pictures(tmp_path).pixels, torch.from_numpy(expected).permute(0, 3, 1, 2))


def test_transparency_is_dropped_and_not_blended(tmp_path):
    opaque = picture("RGB")
    hidden = opaque.copy()
    hidden.putalpha(0)
    hidden.save(tmp_path / "hidden.png")
    expected = torch.from_numpy(np.array(opaque)).permute(2, 0, 1)
    assert torch.equal(load_pictures(tmp_path).pixels[0], expected)


def test_a_transparent_palette_warns_of_nothing(tmp_path):
    picture("P").save(tmp_path / "palette.png", transparency=bytes(range(256)))
    assert load_pictures(tmp_path).sample_shape == (3, HEIGHT, WIDTH)


def test_photographs_are_turned_upright(tmp_path):
    quarter_turn = Image.Exif()
    quarter_turn[0x0112] = 6
    picture("L").save(tmp_path / "turned.png", exif=quarter_turn)
    upright = np.rot90(np.array(picture("L")), -1).copy()
    assert torch.equal(load_pictures(tmp_path).pixels[0, 0], torch.from_numpy(upright))


@pytest.mark.parametrize(
    ("odd", "found"),
    [
        (picture("L", size=(WIDTH, HEIGHT + 1)), "7×6 grey"),
        (picture("L", size=(HEIGHT, WIDTH)), "5×7 grey"),
        (picture("RGB"), "7×5 colour"),
    ],
)
def test_mixed_pictures_are_refused_with_two_offenders(tmp_path, odd, found):
    for name in ("a", "b", "d"):
        picture("L").save(tmp_path / f"{name}.png")
    odd.save(tmp_path / "c.png")
    message = f"{tmp_path / 'a.png'} is 7×5 grey, {tmp_path / 'c.png'} is {found}"
    with pytest.raises(DataError, match=message) as refusal:
        load_pictures(tmp_path)
    assert "\n" not in str(refusal.value)


def test_sixteen_bits_are_refused_rather_than_clipped(tmp_path):
    Image.fromarray(np.full((HEIGHT, WIDTH), 40_000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep.png has pixels of Pillow's mode I;16.*8 bits"):
        load_pictures(tmp_path)


def png(depth, colour, channels):
    """A PNG by its specification: Pillow writes none of 16 bits in colour."""

    def chunk(name, content):
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    rows = (b"\0" + bytes(WIDTH * channels * depth // 8)) * HEIGHT
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_are_refused_in_every_colour_type(tmp_path, colour, channels):
    (tmp_path / "flat.png").write_bytes(png(8, colour, channels))
    assert load_pictures(tmp_path).count == 1
    (tmp_path / "deep.png").write_bytes(png(16, colour, channels))
    with pytest.raises(DataError, match=r"deep.png has pixels of .* at 16 bits: convert it to 8 bits"):
        load_pictures(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.9])
def test_a_truncated_picture_is_named(tmp_path, suffix, keep):
    path = tmp_path / f"cut.{suffix}"
    picture("RGB", size=(64, 64)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: keep if keep == 0 or keep >= 1 else int(keep * len(content))])
    with pytest.raises(DataError, match=f"cut.{suffix} cannot be read as a picture") as refusal:
        load_pictures(tmp_path)
    assert "\n" not in str(refusal.value)


def test_damaged_orientation_is_refused_rather_than_guessed(tmp_path):
    path = tmp_path / "photo.jpg"
    orientation = Image.Exif()
    orientation[0x0112] = 6
    picture("L").save(path, exif=orientation.tobytes()[:-6])
    with pytest.raises(DataError, match=r"photo\.jpg cannot be read as a picture"):
        load_pictures(tmp_path)


def test_a_folder_without_pictures_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(DataError, match=f"{tmp_path} has no PNG or JPEG file"):
        load_pictures(tmp_path)


@pytest.mark.parametrize("place", ["nowhere", "file"])
def test_what_is_no_folder_is_named(tmp_path, place):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=f"{place} is no folder that can be read"):
        load("images", tmp_path / place)
