"""What a probe is given, and what it says of it: votes, units, files and flags."""

import numpy as np
import pytest

from experiments.lab.probe import results

# --- top-5 of votes ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def votes():
    """Votes (300, 10) of one, or of up to seven neighbours, many of them ties."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 300)
    drawn = rng.integers(0, 10, (300, 7))
    return np.eye(10)[drawn[:, 0]], np.eye(10)[drawn].sum(axis=1), labels


def test_top_5_of_a_single_vote_is_top_1(votes):
    single, _, labels = votes
    found = results.among_first(single, labels, 5, votes=True)
    np.testing.assert_array_equal(found, single.argmax(axis=1) == labels)


def test_numbering_the_classes_anew_changes_no_top_5(votes):
    order = np.random.default_rng(1).permutation(10)
    for scores in votes[:2]:
        found = results.among_first(scores, votes[2], 5, votes=True)
        anew = results.among_first(scores[:, np.argsort(order)], order[votes[2]], 5, votes=True)
        np.testing.assert_array_equal(found, anew)


def test_ties_share_the_places_that_are_left_as_a_lot_would(votes):
    _, several, labels = votes
    rng = np.random.default_rng(2)
    voted = several[np.arange(300), labels] > 0
    lots = [(several + 0.5 * rng.random(several.shape)).argsort(axis=1)[:, -3:] for _ in range(400)]
    drawn = np.mean([(first == labels[:, None]).any(axis=1) & voted for first in lots], axis=0)
    found = results.among_first(several, labels, 3, votes=True)
    np.testing.assert_allclose(found, drawn, atol=0.1)
    assert found.mean() == pytest.approx(drawn.mean(), abs=0.005)
