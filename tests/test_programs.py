"""What all programs of experiments share: one line for what is wrong, an end in silence."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments import bench_knn, bench_train, choose_k, run
from experiments.bench import estimators, knn_memory, knn_profile, probes, same
from experiments.bench import multilabel as bench_multilabel
from experiments.check_homework import __main__ as check_homework
from experiments.classify import __main__ as classify
from experiments.lab import gate, options
from experiments.many import __main__ as many
from experiments.many import work
from experiments.probe import __main__ as probe
from experiments.probe import compare, plan
from experiments.probe.coverage import __main__ as coverage
from experiments.probe.multilabel import coverage as multilabel_coverage
from experiments.report import readme

ROOT = Path(__file__).parent.parent


def one(argv):
    return run.main(choose_k.__file__, argv)


OF_DATA = {
    "all": run.main_all, "one": one, "probe": probe.main, "bench_knn": bench_knn.main,
    "many": many.main,
}  # fmt: skip
PROGRAMS = {
    **OF_DATA, "bench_train": bench_train.main, "check_homework": check_homework.main,
    "classify": classify.main, "compare": compare.main, "coverage": coverage.main,
    "estimators": estimators.main, "knn_memory": knn_memory.main, "knn_profile": knn_profile.main,
    "readme": readme.main, "probes": probes.main, "same": same.main, "plan": plan.main,
    "bench_multilabel": bench_multilabel.main, "multilabel_coverage": multilabel_coverage.main,
}  # fmt: skip


@pytest.fixture
def refused(capsys, tmp_path, monkeypatch):
    """The one line that a program ends with, and its status 2."""
    monkeypatch.chdir(tmp_path)

    def told(main, *argv):
        with pytest.raises(SystemExit) as end:
            main([str(word) for word in argv])
        assert end.value.code == 2
        line = capsys.readouterr().err
        assert line.startswith("error: ")
        assert line.count("\n") == 1
        return line

    return told


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_flag_that_does_not_exist_is_refused_in_one_line(refused, name):
    words = {"classify": ["train", "photos"], "check_homework": ["a.py"], "compare": ["a", "b"],
             "same": ["a", "b"], "probes": ["a.npz"],
             "knn_memory": ["array", "uint8", "300", "4"], "knn_profile": ["digits"]}  # fmt: skip
    assert "--colour" in refused(PROGRAMS[name], *words.get(name, []), "--colour", "red")


@pytest.mark.parametrize("name", OF_DATA)
def test_data_that_are_not_there_are_named_by_every_program_that_takes_some(refused, name):
    refused_line = refused(OF_DATA[name], "--dataset", "digit", "--smoke")
    assert "there is no data set and no path digit; did you mean digits?" in refused_line
    assert "there is no no;" in refused(OF_DATA[name], "--dataset", "mnist", "--data-dir", "no")


@pytest.mark.parametrize("name", ["bench_knn", "bench_train", "one"])
def test_a_folder_that_cannot_be_written_is_named(refused, name, tmp_path):
    (tmp_path / "taken").write_text("")
    assert "taken" in refused(PROGRAMS[name], "--out", tmp_path / "taken", "--smoke")


@pytest.mark.parametrize("word", ["--dataset", "--data-dir", "--seed", "--again", "--crop"])
def test_bench_train_refuses_flags_that_it_would_not_heed(refused, word):
    assert f"no flag {word}" in refused(bench_train.main, word, "1")


def test_programs_say_which_words_they_need(refused, tmp_path):
    assert "given, dtype, rows, features" in refused(knn_memory.main)
    assert "dtype" in refused(knn_memory.main, "array", "int64", "300", "4")
    assert "at least 256" in refused(knn_memory.main, "array", "uint8", "3", "4")
    assert "digit; did you mean digits?" in refused(estimators.main, "digit")
    assert "searched without bounds" in refused(knn_profile.main, "digits")
    for words in ([], ["{"], ["[]"], ['{"rank": 0}']):
        assert "task" in refused(work.main, *words)
    assert "FILE" in refused(check_homework.main)
    assert "no file a.py" in refused(check_homework.main, "a.py")
    (tmp_path / "a.py").write_text("")
    assert "--seconds must be more" in refused(check_homework.main, "a.py", "--seconds", "0")


# --- labels ------------------------------------------------------------------------------------


def test_every_program_of_data_takes_the_label_column(refused, tmp_path):
    rng = np.random.default_rng(172)
    frame = pd.DataFrame(rng.normal(size=(40, 3)), columns=list("abc"))
    frame.assign(species=list("pq") * 20, size_class=1.5).to_csv("mine.csv", index=False)
    for main in OF_DATA.values():
        line = refused(main, "--dataset", "mine.csv")
        assert "one of a, b, c, species, size_class (on the command line, --labels)" in line
        assert "labels names a column" in refused(main, "--dataset", "digits", "--labels", "c")
    made = gate.of(options.Common(dataset="mine.csv", labels="species"))
    assert made.class_names == ("p", "q")
    assert made.train.images.shape == (32, 4)


def test_a_missing_package_is_one_line_with_what_to_type(refused, monkeypatch, tmp_path):
    (tmp_path / "mine.csv").write_text("a,label\n1,p\n")
    monkeypatch.setitem(sys.modules, "pandas", None)
    gate.load.cache_clear()
    for main in OF_DATA.values():
        assert refused(main, "--dataset", "mine.csv").endswith("use pip install pandas\n")


# --- a reader that leaves ----------------------------------------------------------------------

L2 = "def l2(W):\n    return (W**2).sum()\n"


def unread(*command):
    """The status and the errors of a program whose reader has left."""
    running = subprocess.Popen([sys.executable, *command], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    with running.stderr:
        running.stdout.close()
        return running.stderr.read(), running.wait(60)


@pytest.mark.parametrize("words", [["check_homework", "FILE"], ["choose_k", "--help"]])
def test_a_program_whose_reader_has_left_ends_in_silence(tmp_path, words):
    (tmp_path / "a.py").write_text(L2)
    words = [str(tmp_path / "a.py") if word == "FILE" else word for word in words]
    assert unread("-m", f"experiments.{words[0]}", *words[1:]) == ("", 141)


def test_a_closed_pipe_is_no_fault_of_the_files():
    """`classify` says in one line what is wrong with them."""
    program = ("import sys; sys.argv[0] = '-m'; import experiments; "
               "from experiments.classify import __main__ as classify; "
               "classify._train = lambda _: print('x' * 100_000) or 0; "
               "sys.exit(classify.main(['train', '.']))")  # fmt: skip
    assert unread("-c", program) == ("", 141)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError(), "error: ValueError without a message\n"),
        (PermissionError(13, "Permission denied", "a.npz"), "error: a.npz: Permission denied\n"),
    ],
)
def test_no_error_is_without_words_or_begins_with_a_number(error, line, capsys):
    with pytest.raises(SystemExit), options.Parser().refusing():
        raise error
    assert capsys.readouterr().err == line
