"""Images as people have them: 16 bits, float, transparent, turned, huge, broken, or named by a path in a CSV file."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from harness.data.load import Encoder, load_data
from harness.data.source import find_source
from harness.ledger.errors import DataError
from harness.models.loaded import ImageProcessor
from harness.tasks.build import bind
from harness.tasks.images import decode
from tests.data.cards import card

PROCESSOR = ImageProcessor(size=8, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
PICTURES = {
    "kind": "image_classification", "image": "image", "label": "label", "labels": ["dark", "light"],
    "image_size": None, "flip": False,
}  # fmt: skip


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def pixels(raw, channels: int = 3) -> np.ndarray:
    processor = ImageProcessor(size=8, channels=channels, mean=(0.5,) * channels, std=(0.5,) * channels)
    example = decode(raw, processor, 1 << 20)
    return np.frombuffer(example["pixels"], np.uint8).reshape(example["height"], example["width"], channels)


def test_sixteen_bit_and_float_greys_keep_their_share_of_white():
    shares = np.linspace(0, 1, 16).reshape(4, 4)
    wanted = np.rint(shares * 255)
    sixteen = Image.fromarray(np.rint(shares * 65535).astype(np.uint16))
    for raw in (saved(sixteen), saved(sixteen, "TIFF"), saved(Image.fromarray(shares.astype(np.float32)), "TIFF")):
        assert np.abs(pixels(raw)[..., 0] - wanted).max() <= 1 and (pixels(raw, 1)[..., 0] == pixels(raw)[..., 0]).all()


@pytest.mark.parametrize("values", [[-1.0, 0.5], [0.0, 255.0], [float("nan"), 0.0]])
def test_a_float_image_of_another_range_is_refused(values):
    with pytest.raises(DataError, match="are not within 0 to 1"):
        pixels(saved(Image.fromarray(np.array([values], np.float32)), "TIFF"))


def test_what_is_transparent_is_white_and_what_is_opaque_stays():
    image = Image.new("RGBA", (2, 1), (10, 20, 30, 255))
    image.putpixel((1, 0), (10, 20, 30, 0))
    assert pixels(saved(image)).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.putpixel((1, 0), 1)
    assert pixels(saved(palette, transparency=0)).tolist() == [[[255] * 3, [9] * 3]]
    assert pixels(saved(Image.new("LA", (1, 1), (0, 127)))).tolist() == [[[128] * 3]]


def test_a_photograph_stands_as_its_exif_says():
    image = Image.new("RGB", (4, 2))
    image.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    assert pixels(saved(image, exif=exif)).shape == (4, 2, 3)
    assert pixels(saved(image, exif=exif))[0, 1].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "LAB", "HSV", "I"])
def test_every_mode_is_read_or_refused(mode):
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "TIFF"
    try:
        raw = saved(Image.new(mode, (3, 3)), kind)
    except (OSError, KeyError):
        pytest.skip(f"PIL writes no {mode}")
    try:
        assert pixels(raw).shape == (3, 3, 3)
    except DataError as error:
        assert "not a readable image" in str(error)


def test_an_image_of_too_many_pixels_and_a_cut_one_are_refused():
    with pytest.raises(DataError, match="of more than 89,478,485 pixels is not read"):
        pixels(saved(Image.new("1", (20_000, 20_000))))
    with pytest.raises(DataError, match="of more than 89,478,485 pixels is not read"):
        pixels(saved(Image.new("1", (10_000, 10_000))))
    whole = saved(Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)))
    for end in (10, 40, len(whole) // 2):
        with pytest.raises(DataError, match="not a readable image"):
            pixels(whole[:end])


@pytest.fixture
def listed(tmp_path):
    """20 images beside a CSV file that names them."""
    (tmp_path / "pictures").mkdir()
    for i in range(20):
        Image.new("L", (4, 4), 200 * (i % 2)).save(tmp_path / "pictures" / f"{i}.png")
    rows = [f"pictures/{i}.png,{('dark', 'light')[i % 2]}\n" for i in range(20)]
    (tmp_path / "train.csv").write_text("image,label\n" + "".join(rows))
    return tmp_path


def encoded(spec, cache):
    task = bind(spec, PROCESSOR, decoder=False)
    return load_data(spec, Encoder(task.encode, task.length, "image-8"), cache)


def test_a_csv_file_names_images_beside_it_and_a_changed_image_is_read_anew(listed, tmp_path):
    spec = card(listed, PICTURES)
    data = encoded(spec, tmp_path / "cache")
    rows = [row for split in (data.train, data.validation, data.test) for row in split]
    assert all(set(row["pixels"].tolist()) == {200 * row["target"]} for row in rows) and len(rows) == 20
    before = find_source(spec)
    Image.new("L", (5, 5), 7).save(listed / "pictures" / "3.png")
    after = find_source(spec)
    assert before.signature != after.signature
    assert after.read()[1]["sha256"] != data.facts["source"]["sha256"]


def test_an_image_file_that_is_not_there_is_named(listed, tmp_path):
    (listed / "pictures" / "3.png").unlink()
    with pytest.raises(DataError, match=r"3.png cannot be read: No such file"):
        encoded(card(listed, PICTURES), tmp_path / "cache")
    pq.write_table(pa.table({"image": [None] * 20, "label": ["dark"] * 20}), listed / "x.parquet")
    with pytest.raises(DataError, match=r"row train:\d+: the image column holds None"):
        encoded(card(listed, PICTURES, source={"files": {"train": "x.parquet"}}), tmp_path / "cache")
