"""Verdicts of choosing (slides 20-22) and of gradients (51-60) follow from their records."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from experiments import choose_k, choose_rate
from experiments.lab import intervals
from experiments.lab.experiment import AGREES, DIFFERS, OPEN


def folded(by_k, scatter=0.003):
    """A record of one distance: the mean accuracy of each k, and its scatter over five folds."""
    noise = np.random.default_rng(23).normal(scale=scatter, size=(len(by_k), 5))
    table = np.array(list(by_k.values()))[:, None] + noise
    best = {"metric": "l2", "k": list(by_k)[table.mean(axis=1).argmax()]}
    return SimpleNamespace(
        settings={"ks": list(by_k), "metrics": ["l2"]},
        numbers={"sizes": [100], "choices": [{"best": best}]},
        arrays={"l2": table[None]},
    )


@pytest.mark.parametrize(
    ("by_k", "verdict", "told"),
    [
        ({1: 0.5, 7: 0.6, 100: 0.5}, AGREES, "k = 7 beats k = 1 and k = 100 beyond chance."),
        ({1: 0.6, 7: 0.6, 100: 0.5}, OPEN, "k = 7 beats k = 100 beyond chance, but not k = 1."),
        ({1: 0.6, 7: 0.6, 100: 0.6}, OPEN, "k = 7 beats neither k = 1 nor k = 100 beyond chance."),
        ({1: 0.5, 7: 0.6, 20: 0.7, 100: 0.5}, DIFFERS, "k = 7 beats k = 1 and k = 100"),
        ({1: 0.7, 7: 0.6, 100: 0.5}, DIFFERS, "but not k = 1."),
    ],
)
def test_slide_22_a_k_of_7_is_no_worse_than_the_choice_and_better_than_both_ends(
    by_k, verdict, told
):
    sentence, found = choose_k._about_size(folded(by_k), 0)
    assert found == verdict
    assert told in sentence


def test_the_best_of_many_that_are_alike_is_not_above_the_others_on_a_fold_that_did_not_choose():
    rng = np.random.default_rng(21)
    ks = list(range(1, 41))
    nested, naive = [], []
    for _ in range(100):
        table = rng.normal(0.5, 0.01, size=(40, 5))
        record = SimpleNamespace(settings={"ks": ks, "metrics": ["l2"]}, arrays={"l2": table[None]})
        rates = SimpleNamespace(arrays={"accuracies": table.reshape(8, 5, 5)})
        found = (choose_k._below_choice(record, 0), *choose_rate._losses(rates))
        nested.append([(one.low + one.high) / 2 for one in found])
        naive.append(table.mean(axis=1).max() - table[6].mean())
    assert np.mean(naive) > 0.008
    np.testing.assert_allclose(np.mean(nested, axis=0), 0, atol=0.002)


def test_slide_20_what_a_choice_flatters_is_judged_from_parts_that_share_no_image():
    rng = np.random.default_rng(20)
    right = rng.random((20, 400)) < 0.5
    settings = choose_k.Settings(halvings=40, parts=10)
    noise = choose_k._flatteries(jax.random.key(0), right, settings)
    equal = choose_k._flatteries(jax.random.key(0), np.repeat(right[:1], 20, axis=0), settings)
    assert noise["flattery_of_parts"].shape == (10, 40)
    told = [SimpleNamespace(arrays=arrays | {"test_right": right}) for arrays in (noise, equal)]
    verdicts = [intervals.above_zero(choose_k._flattered(one)) for one in told]
    assert verdicts == [AGREES, OPEN]
    assert choose_k._images_of_a_part(told[0]) == 40
