import jax
import numpy as np
import pytest
import sklearn.model_selection
import sklearn.utils.class_weight

from lincls import splits

KEY = jax.random.key(40)
LABELS = np.repeat([0, 1, 2], [50, 31, 7])


@pytest.mark.parametrize(("num_examples", "num_folds"), [(10, 5), (11, 3), (7, 7), (1437, 5)])
def test_contiguous_folds_are_array_split_and_sklearn(num_examples, num_folds):
    folds = splits.folds(num_examples, num_folds)
    parts = np.array_split(np.arange(num_examples), num_folds)
    kfold = sklearn.model_selection.KFold(num_folds).split(np.empty(num_examples))
    for fold, (part, (_, held_out)) in enumerate(zip(parts, kfold, strict=True)):
        assert np.flatnonzero(folds == fold).tolist() == part.tolist() == held_out.tolist()


def test_shuffled_folds_have_the_same_sizes_and_depend_on_the_key():
    folds = splits.shuffled_folds(KEY, 11, 3)
    assert sorted(np.bincount(folds)) == [3, 4, 4]
    assert (folds == splits.shuffled_folds(KEY, 11, 3)).all()
    assert (folds != splits.shuffled_folds(jax.random.key(41), 11, 3)).any()


def test_stratified_folds_share_every_class_evenly():
    shuffled = np.random.default_rng(0).permutation(LABELS)
    folds = splits.stratified_folds(KEY, shuffled, 5)
    for label in range(3):
        counts = np.bincount(folds[shuffled == label], minlength=5)
        assert counts.max() - counts.min() <= 1
    sizes = np.bincount(folds)
    assert sizes.max() - sizes.min() <= 1


def test_grouped_folds_never_part_a_group_and_are_balanced():
    groups = np.random.default_rng(1).choice(list("abcdefghijkl"), 300)
    folds = splits.grouped_folds(KEY, groups, 4)
    for group in set(groups):
        assert len(set(folds[groups == group])) == 1
    sizes = np.bincount(folds, minlength=4)
    assert sizes.max() - sizes.min() <= np.unique(groups, return_counts=True)[1].max()


def test_train_weights_leave_one_fold_out_each():
    folds = splits.folds(7, 3)
    weights = splits.train_weights(folds)
    assert weights.shape == (3, 7)
    assert weights.sum(axis=0).tolist() == [2] * 7
    assert [np.flatnonzero(row == 0).tolist() for row in weights] == [[0, 1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.37, 0.5])
def test_validation_mask_takes_its_share_of_every_class(fraction):
    mask = splits.validation_mask(KEY, LABELS, fraction)
    assert mask.sum() == round(fraction * len(LABELS))
    for label, size in enumerate((50, 31, 7)):
        assert abs(mask[label == LABELS].sum() - fraction * size) <= 1


def test_balanced_weights_are_scikit_learns():
    labels = np.array([0, 0, 0, 2, 2, 5])
    theirs = sklearn.utils.class_weight.compute_sample_weight("balanced", labels)
    np.testing.assert_allclose(splits.balanced_weights(labels), theirs, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: splits.folds(10, 1), "num_folds must be at least 2"),
        (lambda: splits.folds(10, 11), "at most 10"),
        (lambda: splits.grouped_folds(KEY, np.array(["a", "b", "a"]), 3), "at most 2"),
        (lambda: splits.validation_mask(KEY, LABELS, 1.0), "between 0 and 1"),
        (lambda: splits.validation_mask(KEY, LABELS, 0.001), "validation part"),
    ],
)
def test_what_cannot_be_split_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
