"""Classifier score, class histograms and mode coverage against known answers."""

import math

import numpy as np
import pytest
import torch

from onelip.data import load
from onelip.errors import ArgumentError
from onelip.metrics import (
    classifier_score,
    digit_classifier,
    histogram_distance,
    planar_coverage,
    stacked_coverage,
    stacked_modes,
)
from onelip.metrics.modes import PLANAR_SAMPLES, STACKED_SAMPLES


def logits_of(probabilities):
    return torch.tensor(probabilities).log()


@pytest.mark.parametrize(
    ("logits", "score"),
    [
        (50 * torch.eye(10).repeat(3, 1), 10.0),
        (torch.zeros(20, 10), 1.0),
        (logits_of([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), 2.0),
        (50 * torch.eye(10)[:4], 4.0),
        (
            logits_of([[0.5, 0.5], [0.5, 0.5], [0.9, 0.1], [0.1, 0.9]]),
            2 * math.exp(0.5 * (0.9 * math.log(0.9) + 0.1 * math.log(0.1)) - 0.5 * math.log(2)),
        ),
    ],
    ids=["sure and uniform", "one answer for all", "classes without any chance", "four classes", "by hand"],
)
def test_classifier_score_of_known_cases(logits, score):
    assert classifier_score(logits).value == pytest.approx(score, rel=1e-6)


def test_classifier_score_and_its_error_over_many_draws():
    """The stated error is the spread over draws; the score is that of the definition."""
    random = torch.Generator().manual_seed(0)
    draws, stated = [], []
    for _ in range(300):
        logits = 2 * torch.randn(200, 5, generator=random)
        p = logits.softmax(1).double().numpy()
        plain = np.exp(np.mean(np.sum(p * np.log(p / p.mean(0)), 1)))
        found = classifier_score(logits)
        assert found.value == pytest.approx(plain, rel=1e-5)
        draws.append(found.value)
        stated.append(found.standard_error)
    assert np.mean(stated) == pytest.approx(np.std(draws), rel=0.15)


def test_histogram_distance_counts_labels():
    x = torch.eye(4)[[0, 0, 1, 2]]
    y = torch.eye(4)[[0, 3, 3, 3]]
    assert histogram_distance(x, y) == pytest.approx(0.75)
    assert histogram_distance(x, x) == 0
    assert histogram_distance(x, 100 * x) == 0


@pytest.mark.parametrize("broken", [math.nan, math.inf])
@pytest.mark.parametrize("metric", [classifier_score, lambda x: histogram_distance(torch.eye(2), x)])
def test_logits_without_a_softmax_are_refused(metric, broken):
    logits = torch.tensor([[0.0, 1.0], [broken, 0.0], [broken, broken], [-math.inf, -math.inf]])
    with pytest.raises(ArgumentError, match=r"logits must be numbers whose .* got 3 of 4") as error:
        metric(logits)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_the_data_themselves_capture_every_mode_with_the_gaussians_share(name):
    """In the plane 1 − exp(−9/2) of a Gaussian is within three standard deviations."""
    data = load(name)
    points = data.batch(torch.Generator().manual_seed(0), 100_000)
    found = planar_coverage(points, data.centres, data.sigma)
    assert found.modes == found.of == len(data.centres)
    expected = 1 - math.exp(-4.5)
    assert abs(found.share - expected) < 4 * math.sqrt(expected * (1 - expected) / 100_000)


def test_planar_modes_are_captured_by_near_points_alone():
    data = load("ring")
    collapsed = data.centres[:1].expand(PLANAR_SAMPLES, 2)
    assert planar_coverage(collapsed, data.centres, data.sigma).modes == 1
    between = (data.centres + data.centres.roll(1, 0)) / 2
    assert planar_coverage(between, data.centres, data.sigma).share == 0
    just = data.centres * (1 + 2.99 * data.sigma)
    beyond = data.centres * (1 + 3.01 * data.sigma)
    found = planar_coverage(torch.cat([just[:3], beyond[3:]]), data.centres, data.sigma)
    assert (found.modes, found.share) == (3, 3 / 8)


def test_the_protocol_is_named_and_a_departure_from_it():
    data = load("ring")
    points = data.batch(torch.Generator().manual_seed(0), PLANAR_SAMPLES)
    assert planar_coverage(points, data.centres, data.sigma).protocol == "VEEGAN, PacGAN (2,500 samples)"
    modes = torch.zeros(10, dtype=torch.int64)
    assert "here 10" in stacked_coverage(modes).protocol


def test_stacked_kl_of_known_cases():
    assert stacked_coverage(torch.tensor([7] * 5)).kl == pytest.approx(math.log(1000))
    assert stacked_coverage(torch.tensor([7, 8] * 5)).kl == pytest.approx(math.log(500))
    assert stacked_coverage(torch.tensor([7, 8] * 5)).modes == 2


def test_stacked_kl_of_the_uniform_law_is_the_stated_bias():
    random = torch.Generator().manual_seed(0)
    draws = [
        stacked_coverage(torch.randint(1000, (STACKED_SAMPLES,), generator=random)).kl for _ in range(50)
    ]
    assert np.mean(draws) == pytest.approx(999 / (2 * STACKED_SAMPLES), rel=0.03)


def test_stacked_digits_are_read_channel_by_channel():
    data = load("stacked-mnist", split="test")
    indices = data.draw(torch.Generator().manual_seed(0), 300)
    found = stacked_modes(data.images(indices), digit_classifier())
    assert (found == data.modes(indices)).double().mean() > 0.95


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_stacked_digits_of_every_precision_are_read(kind):
    data = load("stacked-mnist", split="test")
    images = data.images(torch.arange(40)).to(kind)
    assert torch.equal(
        stacked_modes(images, digit_classifier()), stacked_modes(images.float(), digit_classifier())
    )


def test_bytes_are_no_images():
    with pytest.raises(ArgumentError, match=r"images must be numbers in \[−1, 1\], got torch.uint8: take"):
        stacked_modes(torch.zeros(2, 3, 28, 28, dtype=torch.uint8), digit_classifier())


def test_samples_that_are_not_finite_are_no_mode():
    data = load("ring")
    with pytest.raises(ArgumentError, match=r"points must be finite .* got 1 of 2 samples"):
        planar_coverage(torch.tensor([[0.0, 1.0], [math.nan, 0.0]]), data.centres, data.sigma)
    with pytest.raises(ArgumentError, match=r"images must be finite .* got 2 of 2"):
        stacked_modes(torch.full((2, 3, 28, 28), math.inf), digit_classifier())


@pytest.mark.parametrize(
    ("modes", "received"),
    [([0, 999, 1000, -1], "2 of 4"), ([5.0, 7.0], "2 of 2"), ([True, False, True], "3 of 3")],
    ids=str,
)
def test_what_is_no_mode_is_refused(modes, received):
    with pytest.raises(ArgumentError, match=f"modes must be integers from 0 to 999, got {received}"):
        stacked_coverage(torch.tensor(modes))


def test_modes_are_integers_of_any_size():
    for kind in (torch.uint8, torch.int32, torch.int64):
        assert stacked_coverage(torch.tensor([7, 8, 8], dtype=kind)).modes == 2


def stacked(images):
    return stacked_modes(images, digit_classifier())


def planar(points):
    return planar_coverage(points, torch.zeros(1, 2), 1.0)


def coverage(modes):
    return stacked_coverage(modes.long())


@pytest.mark.parametrize(
    ("call", "shape", "message"),
    [
        (stacked, (6, 1, 28, 28), r"images must be \[n, 3, 28, 28\], .* got shape \[6, 1, 28, 28\]"),
        (stacked, (2, 9, 28, 28), r"images must be \[n, 3, 28, 28\]"),
        (stacked, (2, 3, 32, 32), r"images must be \[n, 3, 28, 28\]"),
        (stacked, (0, 3, 28, 28), "one sample at least"),
        (planar, (0, 2), r"points must be \[n, 2\], one sample at least"),
        (planar, (5, 3), r"points must be \[n, 2\]"),
        (coverage, (0,), r"modes must be \[n\], one sample at least"),
        (coverage, (5, 1), r"modes must be \[n\]"),
    ],
)
def test_other_shapes_and_no_samples_are_refused(call, shape, message):
    with pytest.raises(ArgumentError, match=message) as error:
        call(torch.zeros(shape))
    assert "\n" not in str(error.value)
