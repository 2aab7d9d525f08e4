"""Reference optimal transport to hold critics against: distances with proof, and pairs with known answers."""

from onelip.transport.closed_form import (
    ConePair,
    TranslationPair,
    absolute_value_pair,
    cone_pair,
    dirac_pair,
    squares_pair,
    three_cones_pair,
)
from onelip.transport.divergence import (
    Divergences,
    density_divergences,
    histogram_divergences,
    sample_divergences,
)
from onelip.transport.duality import dual, duality_gap, extend_potential, lipschitz_residual, primal
from onelip.transport.estimate import Estimate
from onelip.transport.evaluation import PotentialScore, evaluate_potential
from onelip.transport.funnel import FunnelPair, funnel_pair
from onelip.transport.gaussian import gaussian_w2
from onelip.transport.line_pair import LinePair, line_pair
from onelip.transport.pair import CoupledSamples, KnownPair, monte_carlo_w1
from onelip.transport.pair_file import load_pair
from onelip.transport.plan import Plan
from onelip.transport.wasserstein import TransportResult, sliced_wasserstein1, wasserstein1

__all__ = [
    "ConePair",
    "CoupledSamples",
    "Divergences",
    "Estimate",
    "FunnelPair",
    "KnownPair",
    "LinePair",
    "Plan",
    "PotentialScore",
    "TranslationPair",
    "TransportResult",
    "absolute_value_pair",
    "cone_pair",
    "density_divergences",
    "dirac_pair",
    "dual",
    "duality_gap",
    "evaluate_potential",
    "extend_potential",
    "funnel_pair",
    "gaussian_w2",
    "histogram_divergences",
    "line_pair",
    "lipschitz_residual",
    "load_pair",
    "monte_carlo_w1",
    "primal",
    "sample_divergences",
    "sliced_wasserstein1",
    "squares_pair",
    "three_cones_pair",
    "wasserstein1",
]
