"""Reference optimal transport to hold critics against: distances with proof, and pairs with known answers."""

from onelip.transport.duality import dual, duality_gap, extend_potential, lipschitz_residual, primal
from onelip.transport.estimate import Estimate
from onelip.transport.evaluation import PotentialScore, evaluate_potential
from onelip.transport.funnel import FunnelPair, funnel_pair
from onelip.transport.pair import CoupledSamples, KnownPair, monte_carlo_w1
from onelip.transport.pair_file import load_pair
from onelip.transport.plan import Plan
from onelip.transport.wasserstein import TransportResult, sliced_wasserstein1, wasserstein1

__all__ = [
    "CoupledSamples",
    "Estimate",
    "FunnelPair",
    "KnownPair",
    "Plan",
    "PotentialScore",
    "TransportResult",
    "dual",
    "duality_gap",
    "evaluate_potential",
    "extend_potential",
    "funnel_pair",
    "lipschitz_residual",
    "load_pair",
    "monte_carlo_w1",
    "primal",
    "sliced_wasserstein1",
    "wasserstein1",
]
