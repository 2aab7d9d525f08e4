"""A batch is a pure function of the generator, and has the law that the data set announces."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from onelip.data import DATASETS, DataSet, ImageSet, from_pixels, load, to_pixels
from onelip.errors import ArgumentError

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
PLANAR = {"ring": (8, 0.01), "grid": (25, 0.05)}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def numbered():
    """Picture i holds the byte i in its single pixel, and is of class i mod 10."""
    index = torch.arange(30)
    return ImageSet("numbered", index.to(torch.uint8).reshape(30, 1, 1, 1), index % 10)


@pytest.mark.parametrize("name", ["mnist", "stacked-mnist", "ring", "grid"])
def test_a_batch_depends_on_the_state_of_the_generator_alone(name):
    data = load(name, split="test")
    g = generator()
    data.batch(g, 3)
    state = g.get_state()
    interrupted = data.batch(g, 5)
    resumed = torch.Generator()
    resumed.set_state(state)
    assert torch.equal(interrupted, load(name, split="test").batch(resumed, 5))
    assert not torch.equal(interrupted, data.batch(g, 5))
    assert interrupted.shape == (5, *data.sample_shape)
    assert interrupted.dtype == torch.float32


def test_bytes_become_the_range_of_tanh_and_back():
    byte = torch.arange(256).to(torch.uint8)
    value = from_pixels(byte)
    assert (value.min(), value.max()) == (-1, 1)
    assert torch.equal(to_pixels(value), byte)
    assert to_pixels(torch.tensor([-3.0, 1.5])).tolist() == [0, 255]


def test_every_picture_is_drawn_equally_often(numbered):
    drawn = to_pixels(numbered.batch(generator(), 30_000)).flatten().long()
    frequency = torch.bincount(drawn, minlength=30) / 1000
    # Five standard deviations of a binomial count with mean 1000.
    torch.testing.assert_close(frequency, torch.ones(30), rtol=0, atol=5 * 1000**-0.5)


def test_stacked_pictures_are_the_digits_of_their_index(numbered):
    stacked = ImageSet("stacked", numbered.pixels, numbered.labels, stack=3)
    indices = torch.tensor([0, 7, 30, 30 * 30, 4 * 900 + 12 * 30 + 29, 30**3 - 1])
    pictures = to_pixels(stacked.images(indices)).flatten(1).tolist()
    assert pictures == [[0, 0, 0], [0, 0, 7], [0, 1, 0], [1, 0, 0], [4, 12, 29], [29, 29, 29]]
    assert stacked.modes(indices).tolist() == [0, 7, 10, 100, 429, 999]
    assert (stacked.sample_shape, stacked.count) == ((3, 1, 1), 27_000)


def test_stacked_batch_has_a_thousand_modes_and_independent_channels(numbered):
    stacked = ImageSet("stacked", numbered.pixels, numbered.labels, stack=3)
    indices = stacked.draw(generator(), 26_000)
    assert len(stacked.modes(indices).unique()) == 1000
    batch = stacked.batch(generator(), 26_000)
    assert torch.equal(batch, stacked.images(indices))
    correlation = torch.corrcoef(batch.flatten(1).T) - torch.eye(3)
    assert correlation.abs().max() < 5 * 26_000**-0.5


def test_stacked_mnist_shows_three_digits_with_their_labels():
    digits, stacked = load("mnist", split="test"), load("stacked-mnist", split="test")
    assert isinstance(digits, ImageSet)
    assert isinstance(stacked, ImageSet)
    first, last = 10_000 * 10_000 * 3, 5
    image = stacked.images(torch.tensor([first + last]))
    assert torch.equal(image[0, :, None], digits.images(torch.tensor([3, 0, 5])))
    assert digits.labels is not None
    hundreds, tens, ones = digits.labels[torch.tensor([3, 0, 5])].tolist()
    assert stacked.modes(torch.tensor([first + last])).tolist() == [100 * hundreds + 10 * tens + ones]


@pytest.mark.parametrize(("name", "modes", "sigma"), [(name, *law) for name, law in PLANAR.items()])
def test_planar_samples_follow_the_mixture(name, modes, sigma):
    data = load(name)
    x = data.batch(generator(), 40_000)
    distance, mode = torch.cdist(x, data.centres).min(1)
    share = torch.bincount(mode, minlength=modes) / len(x) * modes
    torch.testing.assert_close(share, torch.ones(modes), rtol=0, atol=5 * (modes / len(x)) ** 0.5)
    # The squared distance over sigma² is chi-squared with two degrees of freedom: mean 2, variance 4.
    squared = (distance / sigma) ** 2
    torch.testing.assert_close(squared.mean(), torch.tensor(2.0), rtol=0, atol=5 * 2 / len(x) ** 0.5)
    assert torch.equal(x, load(name, split="test").batch(generator(), 40_000))


def test_the_modes_are_as_many_and_as_far_apart_as_published():
    ring, grid = load("ring").centres, load("grid").centres
    assert float(torch.pdist(ring).min()) == pytest.approx(2 * math.sin(math.pi / 8), rel=1e-5)
    assert torch.pdist(grid).min() == 2
    assert (grid.amin(), grid.amax()) == (-4, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "mnits"}, "did you mean mnist"),
        ({"name": "Fashion"}, "did you mean fashion-mnist"),
        ({"name": ""}, "data set must be one of mnist, "),
        ({"name": "mnist", "split": "validation"}, "split must be one of train, test, got 'validation'"),
        ({"name": "images"}, "folder must be the folder of your pictures, got None"),
        ({"name": "images", "folder": "x", "split": "test"}, "split must be train for a folder of pictures"),
        ({"name": "ring", "folder": "x"}, "folder must be left out for ring"),
    ],
)
def test_arguments_without_a_meaning_are_refused_in_one_line(arguments, message):
    with pytest.raises(ArgumentError, match=message) as refusal:
        load(**arguments)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", DATASETS)
def test_every_name_loads(name, tmp_path):
    Image.new("L", (3, 2)).save(tmp_path / "picture.png")
    if name == "fashion-mnist" and not DEBIAN.is_dir():
        pytest.skip("needs Debian's package dataset-fashion-mnist")
    folder = {"images": tmp_path, "fashion-mnist": DEBIAN}.get(name)
    data = load(name, folder)
    assert isinstance(data, DataSet)
    assert data.name == name


def test_names_are_known_without_loading_torch():
    code = "import sys; from onelip.data import DATASETS; print(len(DATASETS), 'torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["6", "False"]
