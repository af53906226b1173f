"""The statistics of commonality, each with its source. Written anew, not translated: tests compare both."""

from collections.abc import Iterable
from math import comb, exp, lgamma, sqrt
from statistics import NormalDist

_Z = NormalDist().inv_cdf(0.975)


def wilson(n: int, total: int) -> tuple[float, float] | None:
    """Wilson's score interval of n / N at 95 % (Wilson 1927, doi:10.2307/2276774); none where N is 0."""
    if total == 0:
        return None
    share, z2 = n / total, _Z**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z * sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def fisher_exact(a: int, first: int, b: int, second: int) -> float:
    """Fisher's exact test, two-sided: `a` of `first` against `b` of `second`; in whole numbers."""
    hits = a + b
    ways = {
        k: comb(first, k) * comb(second, hits - k) for k in range(max(0, hits - second), min(first, hits) + 1)
    }
    return sum(way for way in ways.values() if way <= ways[a]) / sum(ways.values())


def missed_by_chance(n: int, total: int, others: int) -> float:
    """Probability that `others` containers all miss a node that n of N have.

    Every true share is equally likely beforehand (the rule of succession).
    """
    total = max(n, total)
    # Of the mean of (1 - share)^others over a Beta(n + 1, N - n + 1).
    log = (
        lgamma(total - n + 1 + others)
        - lgamma(total - n + 1)
        + lgamma(total + 2)
        - lgamma(total + 2 + others)
    )
    return exp(log)


def similarity(counts: Iterable[tuple[int, int]]) -> float | None:
    """Ratio-of-sums Jaccard over all pairs of containers: Σ n(n−1) / Σ [N(N−1) − (N−n)(N−n−1)]."""
    shared = either = 0
    for n, total in counts:
        shared += comb(n, 2)
        either += comb(total, 2) - comb(total - n, 2)
    return shared / either if either else None


def coverage(counts: Iterable[int], containers: int) -> tuple[float, float] | None:
    """Share of what a next container does that is known, and how many nodes of it are not.

    Good–Turing for incidences (Chao & Jost 2012, doi:10.1890/11-1952.1, equation 4a). `counts`: by node, the
    containers that have it. None below 3 containers.
    """
    counts = list(counts)
    total, once, twice = sum(counts), counts.count(1), counts.count(2)
    if containers < 3 or not total:
        return None
    if once == 0:
        unknown = 0.0
    elif twice == 0:
        unknown = once / total * ((containers - 1) * (once - 1) / ((containers - 1) * (once - 1) + 2))
    else:
        unknown = once / total * ((containers - 1) * once / ((containers - 1) * once + 2 * twice))
    return 1 - unknown, unknown * total / containers
