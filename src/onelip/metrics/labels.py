"""Metrics of a classifier's labels: classifier score and distance of the classes' histograms.

T. Salimans, I. Goodfellow, W. Zaremba, V. Cheung, A. Radford, X. Chen, "Improved Techniques for Training
GANs", NeurIPS 2016: the score, there with Inception. S. Barratt, R. Sharma, "A Note on the Inception Score",
2018: no splits.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from onelip.errors import ArgumentError
from onelip.transport.divergence import histogram_divergences
from onelip.transport.estimate import Estimate


def classifier_score(logits: Float[Tensor, "n classes"]) -> Estimate:
    """exp of the mean KL(p(·|x) ‖ p̄), p̄ the mean of p(·|x): from 1 to the number of classes, best highest.

    Over all samples at once, where Salimans et al. average ten splits, which are more biased, being smaller.
    Standard error by the delta method: the mean of KL(p(·|x) ‖ p̄) moves with p̄ to second order only.
    Logits of −∞ are classes without any chance. Raises ArgumentError for NaN and +∞.

    >>> round(classifier_score(100 * torch.eye(10)).value, 6)
    10.0
    """
    _require_softmax(logits)
    log_p = logits.double().log_softmax(1)
    log_mean = torch.logsumexp(log_p, 0) - math.log(len(log_p))
    p = log_p.exp()
    mean = Estimate.of_mean(torch.where(p > 0, p * (log_p - log_mean), 0.0).sum(1))
    score = math.exp(mean.value)
    return Estimate(score, score * mean.standard_error)


def histogram_distance(x: Float[Tensor, "n classes"], y: Float[Tensor, "m classes"]) -> float:
    """Total variation, ½Σ|p − q| in [0, 1], between the histograms of predicted labels.

    Raises ArgumentError for logits that `classifier_score` refuses, and for other numbers of classes.

    >>> histogram_distance(torch.eye(2), torch.tensor([[1.0, 0.0]]))
    0.5
    """
    return histogram_divergences(_histogram(x), _histogram(y)).total_variation


def _histogram(logits: Float[Tensor, "n classes"]) -> Float[Tensor, "classes"]:
    _require_softmax(logits)
    counts = torch.bincount(logits.argmax(1), minlength=logits.shape[1])
    return counts.double() / len(logits)


def _require_softmax(logits: Float[Tensor, "n classes"]) -> None:
    """Where a row has none, its terms would vanish from the score, and its label be that of the first NaN."""
    without = int((~logits.amax(1).isfinite()).sum())  # the largest of NaN and others is NaN
    if without:
        received = f"{without} of {len(logits)} samples with NaN, +infinity or none above −infinity"
        remedy = "check the samples and the classifier"
        raise ArgumentError("logits", "numbers whose softmax is defined", received, remedy)
