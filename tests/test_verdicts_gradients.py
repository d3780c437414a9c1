"""Verdicts of choosing (slides 20-22) and of gradients (51-60) follow from their records."""

import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import choose_k, gradient_check
from experiments.lab.experiment import Classifier
from experiments.report import choose_k as choose_k_report
from experiments.report import choose_rate as choose_rate_report
from experiments.report import gradient_check as gradient_check_report
from experiments.report import gradient_descent as gradient_descent_report
from experiments.report import intervals
from experiments.report.findings import AGREES, DIFFERS, ELSEWHERE, UNDECIDED
from lincls.structs import Examples, LinearParams

pytestmark = pytest.mark.usefixtures("quick_compiles")


def folded(by_k, scatter=0.003):
    """A record of one distance: the mean accuracy of each k, and its scatter over five folds."""
    noise = np.random.default_rng(23).normal(scale=scatter, size=(len(by_k), 5))
    table = np.array(list(by_k.values()))[:, None] + noise
    best = {"metric": "l2", "k": list(by_k)[table.mean(axis=1).argmax()]}
    return SimpleNamespace(
        settings={"ks": list(by_k), "metrics": ["l2"]},
        numbers={"sizes": [100], "choices": [{"best": best}]},
        arrays={"l2": table[None]},
        data={"name": "cifar10"},
    )


@pytest.mark.parametrize(
    ("by_k", "verdict", "above_ends"),
    [
        ({1: 0.5, 7: 0.6, 100: 0.5}, AGREES, "++"),
        ({1: 0.6, 7: 0.6, 100: 0.5}, UNDECIDED, "?+"),
        ({1: 0.6, 7: 0.6, 100: 0.6}, UNDECIDED, "??"),
        ({1: 0.5, 7: 0.6, 20: 0.7, 100: 0.5}, DIFFERS, "++"),
        ({1: 0.7, 7: 0.6, 100: 0.5}, DIFFERS, "-+"),
    ],
)
def test_slide_22_a_k_of_7_is_no_worse_than_the_choice_and_better_than_both_ends(
    by_k, verdict, above_ends
):
    answer = choose_k_report._of_seven(folded(by_k))
    assert answer.verdict == verdict
    ends = re.findall(r"minus k = \d+: ([-+])[\d.]+ to ([-+])[\d.]+ points", answer.because)
    assert ["?" if low != high else low for low, high in ends] == list(above_ends)


def test_slide_22_speaks_of_cifar10():
    record = folded({1: 0.5, 7: 0.6, 100: 0.5})
    record.data = {"name": "mnist"}
    assert choose_k_report._of_seven(record).verdict == ELSEWHERE


def test_a_difference_of_nothing_is_told_as_0_points():
    record = folded({1: 0.5, 7: 0.9, 100: 0.5})  # every four folds choose 7
    assert "k = 7 minus the choice: 0 points" in choose_k_report._of_seven(record).because


def test_the_best_of_many_that_are_alike_is_not_above_the_others_on_a_fold_that_did_not_choose():
    rng = np.random.default_rng(21)
    ks = list(range(1, 41))
    nested, naive = [], []
    for _ in range(100):
        table = rng.normal(0.5, 0.01, size=(40, 5))
        record = SimpleNamespace(settings={"ks": ks, "metrics": ["l2"]}, arrays={"l2": table[None]})
        rates = SimpleNamespace(arrays={"accuracies": table.reshape(8, 5, 5)})
        costs = [choose_rate_report._cost(rates, end) for end in choose_rate_report.ENDS.values()]
        found = (choose_k_report._minus_choice(record, 0), *costs)
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
    verdicts = [intervals.above_zero(choose_k_report._overstated(one)) for one in told]
    assert verdicts == [AGREES, UNDECIDED]


def test_findings_of_choose_k_tell_the_choice_its_test_and_on_how_many_examples_one_chose():
    record = folded({1: 0.5, 7: 0.9, 100: 0.6})
    record.numbers["choices"][0]["one_standard_error"] = {"metric": "l2", "k": 100}
    record.arrays |= {
        "test_right": np.zeros((1, 3, 400), bool), "flattery": np.full(40, 0.02),
        "flattery_of_parts": 0.05 + 0.001 * np.arange(10.0)[:, None] + np.zeros(40),
    }  # fmt: skip
    record.classifiers = [Classifier("kNN", "", 85, 100, 1)]
    findings = choose_k_report.findings(record)
    mean = f"{100 * record.arrays['l2'][0, 1].mean():.1f} %"
    numbers = ("k = 7 with L2", mean, "85.0 %", "20 test examples", "+5.2 to +5.7 points")
    told = " ".join(findings.sentences)
    assert [number for number in numbers if number not in told] == []
    assert findings.answers["20"].verdict == AGREES
    assert "on 200, by 2.0 points" in findings.answers["20"].because
    assert [row[:2] for row in findings.tables[0].rows] == [("100", "k = 7 with L2")]


def descended(ends, full=(2.3, 2.2, 2.1), descent=(2.3, 1.5, 1.2)):
    """A record of step sizes whose losses of the last pass scatter by 0.02 around `ends`."""
    noise = np.random.default_rng(60).normal(scale=0.02, size=(20, len(ends)))
    curves = np.concatenate([np.full((20, len(ends)), 2.3), np.array(ends) + noise])
    return SimpleNamespace(
        settings={
            "epochs": 2, "rates": [10.0**place for place in range(len(ends))], "rate": 1.0,
            "plane_rate": 30.0, "plane_train": 10,
        },
        numbers={"num_examples": 20}, data={"num_train": 20},
        arrays={
            "rates": curves, "batch_full": np.array(full), "descent_loss": np.array(descent),
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    ("ends", "names", "verdict"),
    [
        ([1.8, 1.6, 2.0, 21.0], ["low", "good", "high", "very high"], AGREES),
        ([1.8, 1.6, 2.0, np.inf], ["low", "good", "high", "very high"], AGREES),
        ([1.8, 1.6, 21.0], ["low", "good", "very high"], UNDECIDED),
        ([1.8, 1.6, 2.3, 21.0], ["low", "good", "high", "very high"], AGREES),
        ([1.6, 21.0, 2.0, 21.0], ["good", "very high", "high", "very high"], DIFFERS),
        ([3.0, 2.9, 3.1], ["very high"] * 3, DIFFERS),
    ],
)
def test_slide_60_step_sizes_are_named_by_intervals_against_the_good_one_and_the_start(
    ends, names, verdict
):
    record = descended(ends)
    assert gradient_descent_report._names(record) == names
    assert gradient_descent_report._of_rates(record) == verdict


@pytest.mark.parametrize(
    ("full", "descent", "verdict", "steps"),
    [
        ((2.3, 2.2, 2.1), (2.3, 1.5, 1.2), AGREES, "4 of 4 steps"),
        ((2.3, 2.2, 2.1), (2.3, 2.4, 1.2), AGREES, "3 of 4 steps"),
        ((2.3, 2.2, 2.5), (2.3, 1.5, 1.2), DIFFERS, "3 of 4 steps"),
        ((2.3,), (2.3, 1.5, 1.2), AGREES, "2 of 2 steps"),
    ],
)
def test_slide_58_the_loss_over_all_examples_ends_below_its_start(full, descent, verdict, steps):
    answer = gradient_descent_report._of_descent(descended([1.0], full, descent))
    assert answer.verdict == verdict
    assert steps in answer.because


def test_slides_59_60_the_answer_names_the_kinds_and_the_missing_one():
    record = descended([1.8, 1.6, 21.0])
    record.settings |= {"batch_sizes": [1]}
    record.numbers |= {"log_classes": 2.3}
    record.arrays["batch_1"] = record.arrays["rates"][:, 0]
    findings = gradient_descent_report.findings(record)
    told = findings.answers["59-60"].because
    assert told.count("high") == 2  # 100/D, and what is missing
    assert [row[:2] for row in findings.tables[0].rows] == [
        ("1/D", "low"), ("10/D", "good"), ("100/D", "very high"),
    ]  # fmt: skip


def checked(orders=(1, 2), rejected=True, slide=(1.0, 1.1, 0.9), accepted=True, evaluations=11):
    """A record of a check: how errors fall with h, what was rejected, seconds, evaluations."""
    scatter = np.random.default_rng(55).uniform(0.9, 1.1, (2, 8))
    steps = np.array([1e-2, 1e-3])[:, None]
    report = {"passed": True, "judged": 9, "wrong": 0, "crossed": 0, "error": 1e-8,
              "order": 2.0}  # fmt: skip
    seconds = {f"slide_55, {n}": one for n, one in enumerate(slide)}
    seconds |= {f"analytic, {n}": one for n, one in enumerate((0.011, 0.01, 0.009))}
    found = [1.0], [0.1], 1.5, [1.6], [0.2]
    return SimpleNamespace(
        settings={"steps": [1e-2, 1e-3], "h": 1e-5, "table_h": 1e-4, "repeats": 3},
        data={"name": "some"},
        seconds=seconds | {"forward": 1.0, "centred": 2.0},
        numbers={
            "forward": {"evaluations": evaluations, "error": 1e-5},
            "centred": {"evaluations": 20, "error": 1e-9},
            "slide_55": {"moved": 5, "all": 10, "apart": 1e-9},
            "table": dict(zip(("pixel", "W", "loss", "moved", "analytic"), found, strict=True)),
            "mistakes": {
                "none": report | {"passed": accepted},
                "half": report | {"passed": not rejected},
            },
        },
        arrays={
            f"{dtype}_{kind}": steps**order * scatter
            for dtype in gradient_check_report.PRECISIONS
            for kind, order in zip(gradient_check.KINDS, orders, strict=True)
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    ("how", "verdict"),
    [
        ({}, AGREES),
        ({"rejected": False}, DIFFERS),
        ({"accepted": False}, DIFFERS),
        ({"orders": (1, 0)}, DIFFERS),  # centred differences that come no nearer
        ({"evaluations": 5}, DIFFERS),  # no more than a gradient costs by reverse mode
        ({"slide": (0.001, 0.0011, 0.0009)}, AGREES),  # a timing decides nothing
        ({"slide": (0.01, 0.0001, 0.1)}, AGREES),
    ],
)
def test_slides_51_to_57_need_slow_approximate_and_the_check(how, verdict):
    findings = gradient_check_report.findings(checked(**how))
    assert findings.answers["51-57"].verdict == verdict
    assert [one.computed for one in findings.printed] == ["-2.5", "0.6", "0"]
    assert ("1 of 1 planted" in findings.answers["51-57"].because) == how.get("rejected", True)


def test_the_slides_code_is_timed_in_proportion_and_told_with_two_digits():
    low, high = gradient_check_report._slower(checked())  # 1 s for half of the weights, 10 ms
    assert low < 200 < high
    slower = checked(slide=(123.4, 123.5, 123.6))
    assert "19,000 to 32,000" in " ".join(gradient_check_report.findings(slower).sentences)


def test_of_one_direction_the_order_of_the_error_is_unknown():
    record = checked()
    record.arrays["float64_forward"] = record.arrays["float64_forward"][:, :1]
    assert gradient_check_report._order(record, "forward") == (-np.inf, np.inf)
    assert gradient_check_report.findings(record).verdict == UNDECIDED


def test_subtle_mistakes_are_those_that_they_are_called():
    rng = np.random.default_rng(57)
    params = LinearParams(*(jnp.asarray(rng.normal(size=size)) for size in ((3, 4), 3)))
    y = np.array([0, 1, 2, 0])
    batch = Examples(jnp.asarray(rng.normal(size=(4, 4))), jnp.asarray(y), jnp.ones(4))
    problem = gradient_check.Problem(params, batch, 0.1)
    right = problem.gradient(params)
    half = gradient_check.MISTAKES["half"](problem, params)
    np.testing.assert_allclose(right.W - half.W, 0.1 * params.W, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(half.b, right.b)
    labels = gradient_check.MISTAKES["labels"](problem, params)
    other = problem._replace(batch=batch._replace(y=jnp.asarray([1, 2, 0, 1]))).gradient(params)
    np.testing.assert_allclose(labels.W, other.W)
    assert not np.allclose(labels.W, right.W)
