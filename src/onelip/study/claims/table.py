"""The claims in their order, and the table of their criteria."""

from __future__ import annotations

from onelip.study.claims.constant import GLOBAL_CONSTANT, PRODUCT, UNDERFITTING
from onelip.study.claims.cost import COST
from onelip.study.claims.evidence import required_runs
from onelip.study.claims.preferred import PREFERRED
from onelip.study.claims.stability import EXPLODING, OVERCORRECTING, STABLE
from onelip.study.claims.tuning import FEW_ITERATIONS, UNTUNED
from onelip.study.claims.vanishing import VANISHING
from onelip.study.claims.verdict import Claim
from onelip.study.markdown import LEFT, markdown_table

CLAIMS: tuple[Claim, ...] = (
    *(COST, EXPLODING, UNTUNED, GLOBAL_CONSTANT, UNDERFITTING, OVERCORRECTING),
    *(STABLE, FEW_ITERATIONS, VANISHING, PRODUCT, PREFERRED),
)


def sources(claim: Claim) -> str:
    """What a claim stands on, in words.

    >>> sources(PRODUCT)
    '30 runs of main; experiment product'
    """
    said = []
    if claim.needs.groups:
        said.append(f"{len(required_runs(claim.needs))} runs of {', '.join(claim.needs.groups)}")
    return "; ".join([*said, *(f"experiment {name}" for name in claim.needs.experiments)])


def markdown() -> str:
    """The claims and their criteria in Markdown."""
    rows = [(c.key, c.sentence, c.criterion, sources(c)) for c in CLAIMS]
    return markdown_table(("", "claim", "criterion", "decided by"), (LEFT,) * 4, rows)
