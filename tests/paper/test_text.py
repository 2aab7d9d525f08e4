import random
import re

import pytest

from paper.text import number

RANDOM = random.Random(0)
VALUES = [RANDOM.choice((-1, 1)) * 10 ** RANDOM.uniform(-9, 9) for _ in range(2000)]


def read(text):
    return float(re.sub(r"\\num\{(.*)\}", r"\1", text))


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_a_printed_bound_is_still_a_bound(digits):
    for value in [*VALUES, 1015102.55, 999.9, 0.0009996, 1.0]:
        assert read(number(value, digits, "lower")) <= value <= read(number(value, digits, "upper"))


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_a_number_keeps_its_digits(digits):
    for value in VALUES:
        assert read(number(value, digits)) == pytest.approx(value, rel=0.51 * 10 ** (1 - digits))
