"""What `experiments.choose_k` found, told and drawn."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes

from experiments.lab import choices
from experiments.lab.record import Record
from experiments.report import intervals, style, words
from experiments.report.findings import (
    AGREES,
    DIFFERS,
    UNDECIDED,
    Answer,
    Findings,
    Plot,
    Table,
)
from lincls import evaluation

SLIDES = "20-22"
QUESTION = "Which k and which distance?"
CLAIM = (
    "Hyperparameters are tuned by cross-validation: cycle through the folds and average (21). To "
    "choose them on the test set is a very bad idea; it is used once, at the end (20). In the "
    "5-fold example k of about 7 works best for its data (22)."
)
SECONDS = 3
SLIDE_K = 7


def findings(record: Record) -> Findings:
    """The choices, the test of the last, the bad idea, and how the slide's k compares."""
    numbers = record.numbers
    places = range(len(numbers["sizes"]))
    about, verdicts = zip(*(_about_size(record, place) for place in places), strict=True)
    simplest = numbers["choices"][-1]["one_standard_error"]
    fewest, most = _class_shares(record)
    sentences = [
        f"The {record.settings['num_folds']} folds are contiguous parts of the training set: of "
        f"{numbers['sizes'][-1]:,} images, {fewest:,} to {most:,} of a class in each.",
        *about,
        "The simplest choice within one standard error of the last, the one with the largest k, "
        f"is k = {simplest['k']} with {choices.NAMES[simplest['metric']]}.",
        f"Tested once, with all training images: {words.right(record.classifiers[0])}.",
        *_about_bad_idea(record),
    ]
    flattery = _flattered(record)
    claimed, tested = record.arrays["test_right"].sum(axis=-1).max(), record.classifiers[0]
    more = 100 * (claimed - tested.correct) / tested.total
    answers = {
        "20": Answer(
            intervals.above_zero(flattery),
            f"the best on half of a part of the test set ({_images_of_a_part(record):,} images) is "
            f"{words.signed(flattery)} points worse on the other half; chosen on the whole "
            f"test set it would claim {more:.1f} points more than was tested",
        ),
        "22": Answer(verdicts[-1], _beside_seven(record, len(numbers["sizes"]) - 1)),
    }
    return Findings(sentences, answers, (_table(record),))


def _flattered(record: Record) -> evaluation.Interval:
    """How much worse a choice is elsewhere, an interval over the disjoint parts."""
    return intervals.of_mean(record.arrays["flattery_of_parts"].mean(axis=1))


def _images_of_a_part(record: Record) -> int:
    return int(record.arrays["test_right"].shape[-1] // len(record.arrays["flattery_of_parts"]))


def _class_shares(record: Record) -> tuple[int, int]:
    """The least and the greatest number of images of a class in a fold."""
    folds, labels = record.arrays["folds"], record.arrays["labels"]
    counts = np.zeros((folds.max() + 1, labels.max() + 1), int)
    np.add.at(counts, (folds, labels), 1)
    return int(counts.min()), int(counts.max())


def _of(record: Record, place: int, metric: str, k: int) -> np.ndarray:
    """The accuracies (folds,) of a k and a distance on one of the sizes."""
    return record.arrays[metric][place, record.settings["ks"].index(k)]


def _about_size(record: Record, place: int) -> tuple[str, str]:
    """What one size chooses, and the slide's k beside it: no worse than the best, and a peak?"""
    best = record.numbers["choices"][place]["best"]
    metric, near = best["metric"], _near(record)
    of_best, of_near = (_of(record, place, metric, k) for k in (best["k"], near))
    loss = _below_choice(record, place)
    ends = {k: intervals.of_mean(of_near - _of(record, place, metric, k)) for k in _ends(record)}
    sentence = (
        f"On {record.numbers['sizes'][place]:,} images cross-validation chooses k = {best['k']} "
        f"with {choices.NAMES[metric]}: {of_best.mean():.1%} right, with a standard deviation of "
        f"{100 * of_best.std(ddof=1):.1f} points over the folds. k = {near} is "
        f"{words.signed(loss)} points below what the other folds choose (95% interval over the "
        f"folds). {_about_ends(near, ends)}"
    )
    if loss.low > 0 or any(end.high < 0 for end in ends.values()):
        return sentence, DIFFERS
    return sentence, AGREES if all(end.low > 0 for end in ends.values()) else UNDECIDED


def _about_ends(near: int, ends: dict[int, evaluation.Interval]) -> str:
    """Which ends the slide's k beats: "k = 7 beats k = 100 beyond chance, but not k = 1."."""
    beaten = [f"k = {k}" for k, end in ends.items() if end.low > 0]
    others = [f"k = {k}" for k, end in ends.items() if end.low <= 0]
    if not beaten:
        return f"k = {near} beats neither {' nor '.join(others)} beyond chance."
    but = f", but not {others[0]}" if others else ""
    return f"k = {near} beats {' and '.join(beaten)} beyond chance{but}."


def _near(record: Record) -> int:
    """The k that was tried nearest to the slide's."""
    return min(record.settings["ks"], key=lambda k: abs(k - SLIDE_K))


def _below_choice(record: Record, place: int) -> evaluation.Interval:
    """How far the slide's k is below the choice, by the choice's distance.

    For each fold the others choose, and this fold compares.  On the folds that chose, the
    best of many pairs is above any other by chance already.
    """
    ks, metrics = record.settings["ks"], record.settings["metrics"]
    table = np.stack([record.arrays[name][place] for name in metrics])  # (metrics, ks, folds)
    apart = []
    for fold in range(table.shape[-1]):
        others = np.delete(table, fold, axis=-1).mean(axis=-1)
        metric, k = np.unravel_index(others.argmax(), others.shape)
        apart.append(table[metric, k, fold] - table[metric, ks.index(_near(record)), fold])
    return intervals.of_mean(np.array(apart))


def _beside_seven(record: Record, place: int) -> str:
    """The best k of a size, and how far the slide's is below it."""
    best, near = record.numbers["choices"][place]["best"], _near(record)
    size, name = record.numbers["sizes"][place], choices.NAMES[best["metric"]]
    told = f"on {size:,} images k = {best['k']} with {name} is best"
    if near == best["k"]:
        return told
    below = words.signed(_below_choice(record, place))
    return f"{told}; k = {near} is {below} points below the folds' choice"


def _ends(record: Record) -> tuple[int, int]:
    """The least and the greatest k: what works best in between is above both."""
    return min(record.settings["ks"]), max(record.settings["ks"])


def _about_bad_idea(record: Record) -> list[str]:
    """What the test set would have chosen, and how much such a choice flatters itself."""
    claimed, right = record.numbers["on_test"], record.arrays["test_right"]
    tested, best = record.classifiers[0], right.sum(axis=-1).max()
    settings = right.shape[0] * right.shape[1]
    return [
        "Chosen on the test set, which is done here on purpose, once, and for this sentence: "
        f"k = {claimed['k']} with {choices.NAMES[claimed['metric']]}, claiming "
        f"{best / tested.total:.1%}, {100 * (best - tested.correct) / tested.total:.1f} points "
        "more than was tested above.",
        f"Does such a claim flatter? Of {settings} settings, the best on a random half of "
        f"{_images_of_a_part(record):,} test images is {words.signed(_flattered(record))} points "
        "worse on the other half (95% interval over "
        f"{len(record.arrays['flattery_of_parts'])} disjoint parts of the test set); with more "
        "images less: on halves of the whole test set "
        f"{100 * record.arrays['flattery'].mean():.2f} points, which is told of these images only.",
    ]


def _table(record: Record) -> Table:
    """The choice for every size, and the accuracy of the nearest k to the slide's."""
    rows = []
    for place, size in enumerate(record.numbers["sizes"]):
        for metric in record.settings["metrics"]:
            means = record.arrays[metric][place].mean(axis=1)
            k = record.settings["ks"][int(means.argmax())]
            deviation = _of(record, place, metric, k).std(ddof=1)
            cells = (f"{k}", f"{means.max():.1%}", f"{100 * deviation:.1f}", f"{means[0]:.1%}")
            rows.append((f"{size:,}", choices.NAMES[metric], *cells))
    first = f"k = {record.settings['ks'][0]}"
    header = ("images", "distance", "best k", "mean of folds", "deviation (points)", first)
    return Table("Cross-validation on more and more training images.", header, rows)


def draw(record: Record) -> Iterator[Plot]:
    """The folds; slide 22's figure for every size and distance; the test set against the folds."""
    yield _draw_split(record)
    yield _draw_choice(record)
    yield _draw_test(record)


def _draw_split(record: Record) -> Plot:
    """The index arrays as bars: what is trained on, what validates, what waits."""
    folds, num_test = record.arrays["folds"], record.data["num_test"]
    num_folds, size = int(folds.max()) + 1, len(folds)
    names = ["the data", "one split", *(f"round {fold + 1}" for fold in range(num_folds))]
    held_out = [np.zeros(size, bool), folds == num_folds - 1]
    held_out += [folds == fold for fold in range(num_folds)]
    title = (
        f"Each of {size:,} training images validates once in {num_folds} rounds; the "
        f"{num_test:,} test images wait"
    )
    figure, axes = style.canvas(height=2.9, title=title)
    start = round(1.03 * size)
    for row, mask in enumerate(held_out):
        axes.broken_barh(_runs(~mask), (row - 0.38, 0.76), color=style.SKY)
        axes.broken_barh(_runs(mask), (row - 0.38, 0.76), color=style.ORANGE)
        axes.broken_barh([(start, num_test)], (row - 0.38, 0.76), color="#D0D0D0")
        for fold in range(num_folds) if row > 1 else ():
            middle = np.flatnonzero(folds == fold).mean()
            axes.text(middle, row, f"fold {fold + 1}", ha="center", va="center", size=8.5)
    labels = ((0, size / 2, "training set"), (1, size * (1 - 1 / num_folds) / 2, "train"),
              (1, size * (1 - 0.5 / num_folds), "validate"))  # fmt: skip
    for row, place, text in (*labels, (0, start + num_test / 2, "test set")):
        axes.text(place, row, text, ha="center", va="center", size=8.5)
    axes.set_yticks(range(len(names)), names)
    axes.set(ylim=(len(names) - 0.5, -0.5), xlim=(0, start + num_test))
    axes.set_xlabel("place of the training image in the data", x=0.5 * size / (start + num_test))
    style.ticks(axes, [*(int(np.argmax(folds == fold)) for fold in range(num_folds)), size])
    axes.grid(False)
    axes.tick_params(axis="y", length=0)
    return Plot(
        "folds",
        figure,
        "Drawn from the arrays of indices that were used: blue trains, orange validates, grey is "
        "the test set, which no round touches. Cross-validation goes through the rounds and "
        "averages; one split is its last round alone.",
        f"Bars of training, validation and test images in {num_folds} rounds. {title}.",
    )


def _runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """Where the true stretches of a mask begin and how long they are."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return [(int(begin), int(end - begin)) for begin, end in edges.reshape(-1, 2)]


def _draw_choice(record: Record) -> Plot:
    """Slide 22's figure: points, means, standard deviations, a panel for each size and distance."""
    numbers, metrics = record.numbers, record.settings["metrics"]
    rows = len(numbers["sizes"])
    title = words.capital(_beside_seven(record, rows - 1))
    figure, places = style.canvas(
        rows, len(metrics), height=max(3.3, 2.2 * rows), title=title, sharey="row", sharex=True,
        squeeze=False,
    )  # fmt: skip
    for place, size in enumerate(numbers["sizes"]):
        for axes, name in zip(places[place], metrics, strict=True):
            _draw_folds(axes, name, record, place)
            axes.set_title(f"{choices.NAMES[name]}, {size:,} images", size=10)
        places[place, 0].set_ylabel("accuracy (%)")
    for axes in places[-1]:
        axes.set_xlabel("neighbours k")
    return Plot(
        "cross_validation",
        figure,
        f"{record.settings['num_folds']}-fold cross-validation on the first training images. Each "
        "grey point is one fold, the line goes through the means, bars are one standard "
        "deviation; the ring is the choice. Axes differ from row to row.",
        "Accuracy against k, one panel for each distance "
        f"({', '.join(choices.NAMES[name] for name in metrics)}) and number of images. {title}.",
    )


def _draw_folds(axes: Axes, name: str, record: Record, place: int) -> None:
    """One panel: a point for each fold, the means with their deviations, the choice."""
    best, ks = record.numbers["choices"][place]["best"], record.settings["ks"]
    scores = 100 * record.arrays[name][place]
    axes.plot(ks, scores, ".", color=style.FAINT, ms=5)
    axes.errorbar(ks, scores.mean(1), scores.std(1, ddof=1), color=style.COLORS[name], capsize=3)
    if name == best["metric"]:
        mean = scores[ks.index(best["k"])].mean()
        axes.plot(best["k"], mean, "o", ms=14, mfc="none", mec=style.RED, mew=2)
    _draw_axis(axes, ks)


def _draw_axis(axes: Axes, ks: list[int]) -> None:
    axes.set_xscale("log")
    style.ticks(axes, [k for k in ks if k in (1, 3, 7, 20, 50, 100)] or ks)


def _reach(record: Record) -> float:
    """Half the width of the widest interval of a test accuracy, in points."""
    right = record.arrays["test_right"].reshape(-1, record.arrays["test_right"].shape[-1])
    ends = [evaluation.wilson_interval(int(one.sum()), one.size) for one in right]
    return 50 * max(end.high - end.low for end in ends)


def _draw_test(record: Record) -> Plot:
    """The means of the folds and the test accuracy of every k, and what either would choose."""
    numbers, metrics, ks = record.numbers, record.settings["metrics"], record.settings["ks"]
    claimed, best = numbers["on_test"], numbers["choices"][-1]["best"]
    shares = 100 * record.arrays["test_right"].mean(axis=-1)
    gap = shares.max() - shares[metrics.index(best["metric"]), ks.index(best["k"])]
    title = (
        f"Choosing on the test set would claim {gap:.1f} points more; on half of "
        f"{_images_of_a_part(record):,} images, {words.signed(_flattered(record))} more than the "
        "other half gives"
    )
    figure, places = style.canvas(
        1, len(metrics), height=2.9, title=title, sharey=True, squeeze=False
    )
    for axes, name, share in zip(places[0], metrics, shares, strict=True):
        axes.plot(ks, 100 * record.arrays[name][-1].mean(axis=1), color=style.COLORS[name],
                  marker="o", ms=4, label="mean of the folds")  # fmt: skip
        axes.plot(ks, share, "--", color=style.INK, marker="s", ms=4, label="test set")
        for pair, row, color in ((best, None, style.RED), (claimed, share, style.PURPLE)):
            if pair["metric"] == name:
                place = ks.index(pair["k"])
                value = share[place] if row is None else row[place]
                size = 14 if row is None else 9
                axes.plot(pair["k"], value, "o", ms=size, mfc="none", mec=color, mew=2)
        axes.set(title=choices.NAMES[name], xlabel="neighbours k")
        axes.margins(y=0.09)  # room for a ring at the top
        _draw_axis(axes, ks)
    places[0, 0].set_ylabel("accuracy (%)")
    places[0, -1].legend()
    return Plot(
        "test_set",
        figure,
        "Every k on the test set, shown on purpose and after the choice: the bad idea of slide 20. "
        "The large red ring is what cross-validation chose, the small purple one what the test set "
        f"would have chosen. Of a test accuracy the 95% interval reaches {_reach(record):.1f} "
        "points to either side, at most.",
        "Accuracy on the folds and on the test set against k, one panel for each distance. "
        f"{title}.",
    )
