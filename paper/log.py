"""What in a LaTeX log means that the PDF is not as it should be."""

from __future__ import annotations

import re

# Written by LaTeX, BibTeX and pdfTeX, one to a line where the lines are not broken (max_print_line).
FAULTS = (
    r"^! .*",
    r"^\S+\.(tex|sty|cls):\d+: .*",
    r"^Overfull \\[hv]box .*",
    r"^LaTeX Warning: .*(undefined|multiply defined|may have changed).*",
    r"^LaTeX Font Warning: (Font shape .* undefined|Some font shapes).*",
    r"^Package \w+ Warning: .*(undefined|Token not allowed|multiply).*",
    r"^(LaTeX|Package \w+) Warning: .*[Cc]itation.*undefined.*",
    r"^Missing character: .*",
    r"^(pdfTeX|pdflatex) warning.*",
    r"^Warning--.*",
    r"^(LaTeX Warning: Float too large|LaTeX Warning: Text page \d+ contains only floats).*",
)
_FAULT = re.compile("|".join(f"(?:{fault})" for fault in FAULTS), re.MULTILINE)


def faults(log: str) -> list[str]:
    r"""The lines that speak of a fault, each once.

    >>> faults("Underfull \\hbox (badness 10000)\nOverfull \\hbox (0.5pt too wide) in paragraph")
    ['Overfull \\hbox (0.5pt too wide) in paragraph']
    """
    return list(dict.fromkeys(match.group() for match in _FAULT.finditer(log)))
