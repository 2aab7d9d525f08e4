"""Numbers and words as TeX: three significant digits, special characters escaped."""

from __future__ import annotations

import re

from onelip.rounding import Bound, rounded

_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    character: "\\" + character for character in "&%#_{}$"
}


def number(value: float, digits: int = 3, bound: Bound = "") -> str:
    r"""`digits` significant digits; \num only where TeX has to set a sign, a power of ten or groups.

    bound: a bound is rounded in its own direction, and stays one.

    >>> number(10.2345), number(0.5), number(1234.4), number(12000), number(1.2e-7), number(-3)
    ('10.2', '0.500', '1234', '\\num{12000}', '\\num{1.2e-07}', '\\num{-3}')
    >>> number(1.00001), number(1.00001, bound="upper"), number(1015102.5, bound="upper")
    ('1.00', '1.01', '\\num{1.02e+06}')
    """
    if isinstance(value, int):
        return str(value) if 0 <= value < 10_000 else rf"\num{{{value}}}"
    if bound:
        value = rounded(value, digits, bound)
    if 1e-3 <= abs(value) < 10 ** (digits + 3):
        text = f"{value:#.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"
        text = text.rstrip(".")
    else:
        text = f"{value:.{digits}g}"
    plain = re.fullmatch(r"\d{1,4}(\.\d+)?", text)
    return text if plain else rf"\num{{{text}}}"


def percent(value: float, digits: int = 3, bound: Bound = "") -> str:
    r"""A share as a percentage.

    >>> percent(0.1234)
    '12.3\\,\\%'
    """
    return number(100 * value, digits, bound) + r"\,\%"


def escape(text: str) -> str:
    r"""Words as TeX sets them; letters beyond ASCII are declared in onelip.sty.

    >>> escape("5 % of A_1 & B")
    '5 \\% of A\\_1 \\& B'
    """
    return "".join(_SPECIAL.get(character, character) for character in text)


def code(text: str) -> str:
    r"""A command in typewriter, its double hyphens kept apart, with leave to break at spaces.

    >>> code("onelip theory --only power")
    '\\texttt{onelip theory -{}-only power}'
    """
    return rf"\texttt{{{escape(text).replace('--', '-{}-')}}}"


def slug(name: str) -> str:
    """A name as a part of a key.

    >>> slug("Gaussian / two bumps, 1-D"), slug("geometric, σ₂/σ₁ = 0.5")
    ('gaussian-two-bumps-1-d', 'geometric-0.5')
    """
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


def runs_of(names: list[str]) -> str:
    """Numbered names as an enumeration, three and more in a row as a range.

    >>> runs_of(["C1", "C3", "C4", "C5"])
    'C1 and C3 to C5'
    """
    found: list[list[str]] = []
    for name in names:
        if found and int(name[1:]) == int(found[-1][-1][1:]) + 1:
            found[-1].append(name)
        else:
            found.append([name])
    spans = [[f"{row[0]} to {row[-1]}"] if len(row) > 2 else row for row in found]
    return listing([word for span in spans for word in span])


def listing(words: list[str]) -> str:
    """Words as an enumeration.

    >>> listing(["a"]), listing(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
