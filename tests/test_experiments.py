"""The experiments, run in this process with --smoke: records, page, resumption, command line."""

import json
import re
import shlex
import shutil
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.image import imread
from shares import further
from sklearn.datasets import load_digits
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from experiments import ORDER, jobs, run
from experiments.lab import gate, options
from experiments.report import readme, style, words
from experiments.report.findings import LEGEND

TESTING = ("nearest_neighbor", "choose_k", "choose_rate", "svm_softmax", "random_search")
USES_OF_TEST_SET = dict.fromkeys(ORDER, 0) | dict.fromkeys(TESTING, 1)
USES_OF_TEST_SET["choose_k"] = 2  # the second one shows what slide 20 warns of, and says so
SLIPS = {  # slide, printed, computed: the errata of the lecture that are numbers
    ("28", "61.95", "60.75"),
    ("35", "10.9", "12.9"),
    ("36", "4.6", "5.267"),
    ("44", "0.89", "2.0404"),
    ("46", "0.016", "0.01545"),
    ("46", "0.452", "1.04019"),
}


def nothing_drawn(_, folder):
    """What the page is told of figures that a test does not look at."""
    is_home = folder.name.endswith("-smoke")
    return [run.figures.Shown("classifiers", "", "", "", 7, 4)] if is_home else []


@pytest.fixture(scope="module")
def out(tmp_path_factory, quick_compiles):
    """A folder with the results of all experiments; tests leave its records as they are."""
    folder = tmp_path_factory.mktemp("results")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style.PARAMETERS, "savefig.dpi", 20)  # nobody looks at these
        patch.setitem(style.PARAMETERS, "figure.constrained_layout.use", False)
        assert run.main_all(["--smoke", "--out", str(folder)]) == 0
    shutil.copy(folder / "digits-smoke" / "index.html", folder / "digits-smoke" / "first.html")
    return folder


@pytest.fixture
def no_figures(monkeypatch):
    """Drawing takes longer than all that the tests of going on look at."""
    for title in ORDER:
        monkeypatch.setattr(
            import_module(f"experiments.report.{title}"), "draw", lambda _: iter(())
        )
    monkeypatch.setattr(run.figures, "publish", nothing_drawn)


def record(folder, title, data="digits-smoke"):
    return json.loads((folder / data / title / "results.json").read_text())


def no_compute(monkeypatch, *titles):
    """From here on these experiments must not compute."""

    def refuse(*_):
        raise AssertionError("computed again")

    for title in titles:
        monkeypatch.setattr(import_module(f"experiments.{title}"), "compute", refuse)


# --- records ---------------------------------------------------------------------------------


@pytest.mark.parametrize("title", ORDER)
def test_record_says_where_its_numbers_come_from(out, title):
    found = record(out, title)
    assert found["experiment"] == title
    assert found["seed"] == 0
    assert found["smoke"] is True
    assert (
        found["settings"].keys()
        == options.fields(import_module(f"experiments.{title}").Settings).keys()
    )
    assert {"python", "lincls", "jax", "jaxlib", "numpy"} <= found["versions"].keys()
    assert {"platform", "kind", "count", "cores"} <= found["device"].keys()
    assert (found["data"]["num_train"], found["data"]["num_test"]) == (1437, 360)
    assert "scikit-learn" in found["data"]["source"]
    assert re.fullmatch("[0-9a-f]{64}", found["data"]["digest"])
    assert found["numbers"]
    assert found["seconds"]["all"] > 0


@pytest.mark.parametrize("title", ORDER)
def test_test_set_is_opened_once_by_who_tests_and_never_by_others(out, title):
    found = record(out, title)
    assert found["test_set"]["times_used"] == USES_OF_TEST_SET[title]
    assert len(found["test_set"]["for"]) == USES_OF_TEST_SET[title]
    assert bool(found["classifiers"]) == bool(USES_OF_TEST_SET[title])


def first_300(name="train"):
    """The rows of digits as --smoke uses them, read without lincls."""
    X, y = load_digits(return_X_y=True)
    return (X[:300], y[:300]) if name == "train" else (X[1437:1487], y[1437:1487])


@pytest.mark.parametrize(("place", "metric"), [(0, "manhattan"), (1, "euclidean")])
def test_nearest_neighbour_is_as_right_as_scikit_learns(out, place, metric):
    model = KNeighborsClassifier(1, metric=metric).fit(*first_300())
    X, y = first_300("test")
    assert record(out, "nearest_neighbor")["classifiers"][place]["correct"] == sum(
        model.predict(X) == y
    )


@pytest.mark.parametrize(("name", "metric"), [("l1", "manhattan"), ("l2", "euclidean")])
def test_cross_validation_agrees_with_scikit_learns(out, name, metric):
    model = KNeighborsClassifier(1, metric=metric)
    expected = cross_val_score(model, *first_300(), cv=KFold(5))
    arrays = np.load(out / "digits-smoke" / "choose_k" / "arrays.npz")
    np.testing.assert_allclose(arrays[name][0, 0], expected)


def test_worked_example_of_slide_14(out):
    assert record(out, "nearest_neighbor")["numbers"]["worked"] == {"ours": 456, "slide_16": 2712}


def test_gradient_check_accepts_the_gradient_and_rejects_a_mistake(out):
    mistakes = record(out, "gradient_check")["numbers"]["mistakes"]
    assert {name: report["passed"] for name, report in mistakes.items()} == {
        "none": True,
        "bias": False,
    }


def test_loss_of_small_weights_is_log_of_the_number_of_classes(out):
    arrays = np.load(out / "digits-smoke" / "gradient_descent" / "arrays.npz")
    np.testing.assert_allclose(arrays["rates"][0], np.log(10), atol=0.01)


@pytest.mark.parametrize(("place", "k"), [(0, 1), (1, 5)])
def test_votes_on_the_training_data_are_scikit_learns(out, place, k):
    X, y = first_300()
    model, found = KNeighborsClassifier(k).fit(X, y), record(out, "knn_plane")["numbers"]
    assert found["images"]["own"][place] == sum(model.predict(X) == y)
    others = y[model.kneighbors(return_distance=False)]  # of each example without itself
    majority = [np.bincount(labels).argmax() for labels in others]
    assert found["images"]["others"][place] == sum(majority == y)


def test_a_line_divides_the_blobs_and_none_the_other_sets(out):
    numbers = record(out, "linear_plane")["numbers"]
    shares = {name: numbers[name]["right"] / 300 for name in ("blobs", "rings", "xor", "stripes")}
    assert shares.pop("blobs") > 0.95
    assert max(shares.values()) < 0.7  # the best line through XOR has 3/4 in the limit
    np.testing.assert_allclose(numbers["scores"], [-96.8, 437.9, 60.75], rtol=1e-6)


def test_altered_copies_are_equally_far(out):
    arrays = np.load(out / "digits-smoke" / "unintuitive" / "arrays.npz")
    moves = arrays["copies"] - arrays["originals"][:, None]
    lengths = np.linalg.norm(moves.reshape(*moves.shape[:2], -1), axis=-1)
    np.testing.assert_allclose(lengths / lengths[:, :1], 1, atol=1e-9)
    assert lengths.min() > 1
    assert len(np.unique(moves.reshape(-1, 64), axis=0)) == len(moves) * 3


def test_the_proximal_step_makes_zeros_and_the_radius_is_kept(out):
    arrays = np.load(out / "digits-smoke" / "regularisation" / "arrays.npz")
    none, l2, l1, both, balls, drop = np.split(arrays["zeros"], [1, 3, 5, 7, 9], axis=1)
    assert np.all(l1[:, 1] > 0.5)
    assert np.all(both[:, 1] > 0.5)
    assert max(part.max() for part in (none, l2, balls, drop)) == 0
    X, _ = load_digits(return_X_y=True)
    scale = 1.1 / np.sqrt(X.var(axis=0).mean())  # of all images; a draw's is near it
    assert np.all(arrays["influence"][:, 8] <= 0.1 * scale * 16)  # a weight is within its row


def test_hinges_of_slide_32_as_one_sums_them_by_hand(out):
    arrays = np.load(out / "digits-smoke" / "svm_loss" / "arrays.npz")
    np.testing.assert_allclose(arrays["table_hinge"], [5.1 - 3.2 + 1, 0, 6.3 + 6.6], rtol=1e-6)
    np.testing.assert_allclose(arrays["table_squared"], [2.9**2, 0, 6.3**2 + 6.6**2], rtol=1e-6)
    assert record(out, "svm_loss")["numbers"]["small"] == pytest.approx(9, abs=0.02)
    assert record(out, "svm_loss")["numbers"]["slide_38"] < 1e-5


def test_confusion_counts_every_test_example(out):
    arrays = np.load(out / "digits-smoke" / "svm_softmax" / "arrays.npz")
    for tested, name in zip(
        record(out, "svm_softmax")["classifiers"], ("svm", "softmax"), strict=True
    ):
        counts = arrays[f"{name}_confusion"]
        labels = np.bincount(load_digits().target[1437:])
        np.testing.assert_array_equal(counts.sum(axis=1), labels)
        assert tested["correct"] == np.trace(counts) > 360 / 2


# --- the page --------------------------------------------------------------------------------


def test_page_shows_every_figure_and_every_finding_and_nothing_else(out):
    folder = out / "digits-smoke"
    page = (folder / "first.html").read_text()
    shown = set(re.findall(r'(?:<img src|srcset)="([^"]+)"', page))
    assert shown == {str(path.relative_to(folder).as_posix()) for path in folder.rglob("*.svg")}
    assert len(shown) > len(ORDER)
    links = set(re.findall(r'(?:href|src)="([^"#]+)"', page))
    lost = [link for link in links if not (folder / link[:99]).is_file()]
    assert [link[:22] for link in lost] == ["data:image/png;base64,"]  # kNN's regions
    figures = ["near-data", "play-data"]  # which can be touched
    assert re.findall("<script[^>]*>", page) == [
        script
        for name in figures
        for script in (f'<script type="application/json" id="{name}">', "<script>")
    ]  # in the page itself
    assert "http" not in page
    assert "Not run yet" not in page
    for title in ORDER:
        assert f'id="{title}"' in page
        assert f"python -m experiments.{title} --smoke" in page


def test_slips_of_the_slides_are_told_and_nothing_else_is_called_one(out):
    page = (out / "digits-smoke" / "first.html").read_text()
    rows = [re.findall("<td.*?>(.*?)</td>", row) for row in re.findall("<tr>.*?</tr>", page)]
    found = {(row[0], *row[2:4]) for row in rows if row and row[-1].startswith("misprint: ")}
    assert found == SLIPS
    closing = {(row[0], row[1].split(": ")[-1], row[2]) for row in rows if len(row) == 4}
    assert closing >= SLIPS


def test_every_slide_has_a_row_with_a_number_and_a_verdict(out):
    page = (out / "digits-smoke" / "first.html").read_text().split('id="slides"')[1]
    row = r"<tr><td>(\d+)(?:–(\d+))?</td>\n" + 3 * r"<td[^>]*>(.*?)</td>\n?"
    slides = re.findall(row, page)
    covered = [n for first, last, *_ in slides for n in range(int(first), int(last or first) + 1)]
    assert covered == list(range(1, 61))
    told = {re.findall('href="#(.*?)"', what)[0] for _, _, what, *_ in slides}
    assert told == set(ORDER) - {"optimum"}  # which goes beyond the slides
    assert {verdict for *_, verdict, _ in slides} <= set(LEGEND)
    assert all(re.search(r"\d", because) for *_, because in slides)


def test_alternative_texts_say_what_figures_show(out):
    alts = re.findall(r'alt="([^"]*)"', (out / "digits-smoke" / "first.html").read_text())
    assert min(map(len, alts)) > 40


def test_readmes_picture_is_composed_of_records(out, tmp_path, capsys):
    path = tmp_path / "readme.png"
    assert readme.main(["--results", str(out / "digits-smoke"), "--out", str(path)]) == 0
    assert path.stat().st_size < 300_000
    image = imread(path)
    assert image.shape[1] == 1280
    quarters = [half for rows in np.split(image, 2) for half in np.split(rows, 2, axis=1)]
    assert min(np.ptp(part) for part in quarters) > 0.5  # something is drawn in each
    with pytest.raises(SystemExit) as stopped:
        readme.main(["--results", str(tmp_path), "--out", str(path)])
    assert stopped.value.code == 2
    assert "no finished nearest_neighbor" in " ".join(capsys.readouterr().err.split())


# --- going on --------------------------------------------------------------------------------


def test_finished_experiments_are_not_computed_again_and_the_table_is_printed(
    out, monkeypatch, capsys, no_figures
):
    no_compute(monkeypatch, *ORDER)
    assert run.main_all(["--smoke", "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert told.err.count("already finished") == len(ORDER)
    table = told.out.split("test accuracy")[-1]
    shares = [float(share) for share in re.findall(r"(\d+\.\d) % \(", table)]
    assert len(shares) == 7
    assert shares == sorted(shares, reverse=True)  # the closing table, the best first
    assert len(told.out.splitlines()) <= len(ORDER) + len(shares) + 4
    assert [line.split()[0] for line in told.out.splitlines()[: len(ORDER)]] == list(ORDER)


def test_another_setting_or_seed_computes_again(out, monkeypatch, capsys, no_figures):
    no_compute(monkeypatch, *ORDER)
    arguments = ["--smoke", "--out", str(out), "--choose-k.ks", "1", "5"]
    assert run.main_all(arguments) == 1
    assert capsys.readouterr().err.count("already finished") == len(ORDER) - 1
    assert record(out, "choose_k")["settings"]["ks"] == [1, 7]  # the old record still stands
    program = import_module("experiments.choose_k")
    assert run.main(program.__file__, ["--smoke", "--out", str(out), "--seed", "1"]) == 1
    assert "already finished" not in capsys.readouterr().err


def test_a_failure_is_told_on_the_page_and_in_the_status(out, monkeypatch, capsys, no_figures):
    no_compute(monkeypatch, "choose_k")
    program, arguments = import_module("experiments.choose_k"), ["--smoke", "--out", str(out)]
    assert run.main(program.__file__, [*arguments, "--num-folds", "4"]) == 1
    assert re.search("choose_k +failed +AssertionError: computed again", capsys.readouterr().out)
    page = (out / "digits-smoke" / "index.html").read_text()
    assert "This experiment failed" in page
    assert run.main(program.__file__, arguments) == 0


def test_ctrl_c_keeps_what_is_finished_and_the_next_run_goes_on(
    tmp_path, monkeypatch, capsys, no_figures
):
    def interrupted(*_):
        raise KeyboardInterrupt

    arguments = ["--smoke", "--out", str(tmp_path)]
    monkeypatch.setattr(run, "ORDER", ("images", "choose_k", "svm_loss"))
    with monkeypatch.context() as patch:
        patch.setattr(import_module("experiments.choose_k"), "compute", interrupted)
        assert run.main_all(arguments) == 130
    told = capsys.readouterr().err
    assert "the same command goes on" in told
    assert "Traceback" not in told
    assert "Not run yet: choose_k" in (tmp_path / "digits-smoke" / "index.html").read_text()
    no_compute(monkeypatch, *ORDER)
    run.main_all(arguments)
    assert capsys.readouterr().err.count("already finished") == 1


@pytest.mark.parametrize("title", ["choose_k", "random_search"])
def test_same_seed_same_numbers(out, tmp_path, title, no_figures):
    program = import_module(f"experiments.{title}")
    assert run.main(program.__file__, ["--smoke", "--out", str(tmp_path)]) == 0
    first, second = record(out, title), record(tmp_path, title)
    for part in ("numbers", "classifiers", "fingerprint"):
        assert first[part] == second[part]


def test_another_seed_draws_other_weights(out, tmp_path, no_figures):
    program = import_module("experiments.random_search")
    assert run.main(program.__file__, ["--smoke", "--seed", "1", "--out", str(tmp_path)]) == 0
    losses = [np.load(folder / "digits-smoke" / "random_search" / "arrays.npz")["loss"]
              for folder in (out, tmp_path)]  # fmt: skip
    assert not np.any(losses[0] == losses[1])


def test_rows_of_features_without_pictures_run_too(tmp_path):
    program = import_module("experiments.nearest_neighbor")
    arguments = [
        "--smoke",
        "--dataset",
        "blobs",
        "--metrics",
        "l2",
        "--ks",
        "1",
        "3",
        "--parts",
        "1",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style.PARAMETERS, "savefig.dpi", 20)
        assert run.main(program.__file__, [*arguments, "--out", str(tmp_path)]) == 0
    found = record(tmp_path, "nearest_neighbor", "blobs-smoke")
    assert [tested["name"] for tested in found["classifiers"]] == [
        "nearest neighbour, L2",
        "3 nearest neighbours, L2",
    ]
    assert found["test_set"]["times_used"] == 1


# --- the command line ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--choose-k.num-fold", "3"], "did you mean --choose-k.num-folds"),
        (["--nonsense"], "there is no flag --nonsense"),
        (["--choose-k.num-folds", "1"], "must be a whole number, at least 2, got '1'"),
        (["--gradient-check.h", "small"], "must be a number"),
        (["--choose-k.metrics", "l3"], "must be l1 or l2 or cosine, got 'l3'"),
        (["--choose-k.metrics", "cosin"], "did you mean cosine?"),
        (["--ks", "1"], "did you mean --nearest-neighbor.ks or "),
        (["choose-k", "--ks", "1"], "did you mean: python -m experiments.choose_k --ks 1"),
        (["--dataset", "mnsit"], "did you mean mnist?"),
        (["--seed", "-1"], "must be a whole number, at least 0"),
        (["--dataset", "no-such-data"], "there is no data set and no path no-such-data"),
        (["--dataset", "mnist", "--data-dir", "no/such/folder"], "no/such/folder"),
    ],
)
def test_wrong_words_are_told_without_a_traceback(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        run.main_all([*arguments, "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def told_by_help(program, capsys):
    with pytest.raises(SystemExit) as stopped:
        program()
    assert stopped.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("title", ORDER)
def test_help_of_a_question_has_every_flag_with_its_default(title, capsys):
    module = import_module(f"experiments.{title}")
    text = " ".join(told_by_help(lambda: run.main(module.__file__, ["--help"]), capsys).split())
    for name, field in options.fields(module.Settings).items():
        assert f"--{name}".replace("_", "-") in text
        assert f"(default: {options.shown(field.default)})" in text


def test_help_of_all_is_short_and_names_the_questions(capsys):
    text = told_by_help(lambda: run.main_all(["--help"]), capsys)
    assert len(text.splitlines()) < 60
    for title in ORDER:
        assert title in text
        assert import_module(f"experiments.report.{title}").QUESTION in text
    assert "--choose-k.num-folds" not in text  # accepted, and shown where the question is alone


def test_list_names_slides_question_and_seconds(capsys):
    with pytest.raises(SystemExit) as stopped:
        run.main_all(["--list"])
    assert stopped.value.code == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    for line, title in zip(lines, ORDER, strict=True):
        module = import_module(f"experiments.report.{title}")
        assert line.split()[:3] == [module.SLIDES, title, f"{module.SECONDS:g}"]
        assert line.endswith(module.QUESTION)


def test_command_of_a_record_reads_back_as_its_settings(out):
    program = import_module("experiments.choose_k")
    common = options.Common(smoke=True, seed=3)
    settings = program.Settings(ks=(1, 4), metrics=("l1",), sizes=(300,))
    words_of = shlex.split(options.command("experiments.choose_k", common, settings))[3:]
    groups = {"choose_k": program.Settings}
    parser = options.build("", "", groups, str)
    again, read = options.parse(parser, groups, words_of)
    assert again == common
    assert read["choose_k"].ks == (1, 4)
    assert read["choose_k"].metrics == ("l1",)


def test_a_command_is_quoted_for_a_shell():
    common = options.Common(dataset="my pictures; $(touch pwned)")
    told = options.command("experiments.images", common)
    assert shlex.split(told)[-1] == "my pictures; $(touch pwned)"


@pytest.mark.parametrize("out", ["a file", "a file/below"])
def test_where_nothing_can_be_written_one_sentence_says_so_before_anything_runs(
    out, tmp_path, monkeypatch, capsys
):
    (tmp_path / "a file").touch()
    no_compute(monkeypatch, *ORDER)
    with pytest.raises(SystemExit) as stopped:
        run.main_all(["--smoke", "--out", str(tmp_path / out)])
    told = capsys.readouterr()
    assert stopped.value.code == 2
    assert told.err.startswith("error: --out")
    assert told.err.count("\n") == 1
    assert told.out == ""


@pytest.mark.parametrize("name", ["..", "../../x", "a/b", "", "/etc", "C:\\x", "." * 300])
def test_results_stay_within_out_whatever_the_data_are_called(name, monkeypatch):
    monkeypatch.setattr(run.gate, "load", lambda *_, **kw: SimpleNamespace(name=name))
    folder = jobs.home(options.Common(out="results"))
    assert folder.parent == Path("results")
    assert folder.name not in ("", ".", "..")
    assert "\\" not in folder.name
    assert len(folder.name) <= 100


@pytest.mark.parametrize("title", ["images", further("svm_softmax")])
def test_names_of_classes_of_any_kind_are_shown_and_run_nothing(tmp_path, title):
    names = ["$5_bill$", "$^$", "<script>alert(1)</script>", "犬", "x" * 200, "new\nline"]
    y = np.repeat(np.arange(6), 12)
    images = np.random.default_rng(30).integers(0, 99, (72, 4, 4, 3)) + 20 * y[:, None, None, None]
    np.savez(tmp_path / "odd.npz", images=images.astype(np.uint8), labels=y, class_names=names)
    program = import_module(f"experiments.{title}")
    arguments = ["--smoke", "--dataset", str(tmp_path / "odd.npz"), "--out", str(tmp_path / "out")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(style.PARAMETERS, "savefig.dpi", 40)
        assert run.main(program.__file__, arguments) == 0
    page = (tmp_path / "out" / "odd-smoke" / "index.html").read_text()
    assert "$5_bill$" in page
    assert "<script>alert" not in page
    assert "x" * 50 not in page


@pytest.mark.parametrize(
    ("number", "text"),
    [(1e-5, "10⁻⁵"), (1.63e-5, "1.6 × 10⁻⁵"), (0.98, "0.98"), (12.3, "12"), (5e12, "5.0 × 10¹²")],
)
def test_numbers_read_as_one_writes_them(number, text):
    assert words.power(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.2e-5, "12 µs"), (0.85, "850 ms"), (4.24, "4.2 s"), (200.4, "3 min 20 s")],
)
def test_durations_read_as_one_says_them(seconds, text):
    assert words.duration(seconds) == text


def test_where_the_data_are_reaches_the_loader(monkeypatch):
    asked = []
    monkeypatch.setattr(gate.data, "load", lambda name, **where: asked.append((name, where)))
    gate.load.cache_clear()
    gate.load("cifar10", "here", "http://there/")
    gate.of(options.Common(dataset="photos", size=32, crop=True))
    gate.of(options.Common(dataset="cats.csv", labels="species"))
    gate.load.cache_clear()
    nothing = dict.fromkeys(("data_dir", "url", "size", "labels", "groups"))
    nothing |= {"crop": False}
    assert asked == [
        ("cifar10", nothing | {"data_dir": Path("here"), "url": "http://there/"}),
        ("photos", nothing | {"size": 32, "crop": True}),
        ("cats.csv", nothing | {"labels": "species"}),
    ]


def test_default_ks_fit_few_photos_and_typed_ones_stay(tmp_path):
    rng = np.random.default_rng(7)
    images = rng.integers(0, 256, (62, 4, 4, 3), dtype=np.uint8)
    np.savez(tmp_path / "photos.npz", images=images, labels=np.arange(62) % 3)
    where = ["--dataset", str(tmp_path / "photos.npz"), "--out", str(tmp_path)]

    def ks(*typed):
        found = run.entries(["choose_k"])
        work = run._work(found, "experiments.choose_k", "", [*where, *typed], options.Drawn)
        return work.jobs[0].settings.ks

    assert ks() == (1, 2, 3, 5, 7, 10, 15, 20, 30)  # 50 train, 40 of them in a fold's training
    assert ks("--num-folds", "2") == (1, 2, 3, 5, 7, 10, 15, 20)
    assert ks("--ks", "1", "45") == (1, 45)
