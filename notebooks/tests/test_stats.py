"""Statistics against published numbers."""

from math import inf

import pytest

from wsp_notebooks.stats import coverage, fisher_exact, missed_by_chance, similarity, wilson


def test_wilson_as_published() -> None:
    # Newcombe 1998, table I.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 0) is None
    assert wilson(5, 5)[1] == 1.0


def test_fisher_as_r_gives_it() -> None:
    assert fisher_exact(3, 4, 1, 4) == pytest.approx(0.4857142857)  # the lady tasting tea
    assert fisher_exact(10, 10, 0, 10) == pytest.approx(1.0825088224e-5)
    assert fisher_exact(5, 10, 5, 10) == fisher_exact(0, 0, 0, 0) == 1.0
    assert 0 < fisher_exact(900, 1000, 100, 1000) < inf


def test_missed_by_chance() -> None:
    assert missed_by_chance(3, 3, 3) == pytest.approx(1 / 35)
    assert missed_by_chance(1, 3, 3) == pytest.approx(2 / 7)
    assert missed_by_chance(10, 10, 0) == 1.0


def test_similarity_of_hand_counts() -> None:
    assert similarity([(4, 4), (2, 4)]) == pytest.approx((12 + 2) / (12 + 10))
    assert similarity([]) is similarity([(1, 1)]) is None


def test_coverage_of_hand_counts() -> None:
    assert coverage([3, 3, 3], 3) == (1.0, 0.0)
    assert coverage([1, 2], 2) is coverage([], 9) is None
    # Q1 = 2, Q2 = 1, U = 7, t = 3: 2/7 · (2·2) / (2·2 + 2·1).
    assert coverage([3, 2, 1, 1], 3) == pytest.approx((1 - 2 / 7 * 4 / 6, 2 / 7 * 4 / 6 * 7 / 3))
    # Q2 = 0: 2/5 · (2·1) / (2·1 + 2).
    assert coverage([3, 1, 1], 3) == pytest.approx((1 - 2 / 5 / 2, 2 / 5 / 2 * 5 / 3))
