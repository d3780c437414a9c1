"""An experiment that cannot be imported fails alone, and says so."""

import pytest
from shares import further

import experiments
from experiments import run
from experiments.report import style
from experiments.report.page import lecture


@pytest.fixture(params=["x = (", "import nowhere_to_be_found", further("1 / 0")])
def with_a_broken_one(request, tmp_path, monkeypatch):
    """Two experiments, the first of which cannot be imported."""
    (tmp_path / "broken_one.py").write_text(request.param)
    monkeypatch.setattr(experiments, "__path__", [*experiments.__path__, str(tmp_path)])
    monkeypatch.setattr(run, "ORDER", ("broken_one", "svm_loss"))
    monkeypatch.setattr(lecture, "ROWS", (lecture.Row("3", "numbers", "broken_one"),))
    monkeypatch.setitem(style.PARAMETERS, "savefig.dpi", 20)  # nobody looks at these
    return tmp_path / "results"


def test_the_others_run_and_page_and_exit_status_tell_it(with_a_broken_one, capsys):
    arguments = ["--smoke", "--out", str(with_a_broken_one), "--broken-one.ks", "1", "2"]
    assert run.main_all(arguments) == 1
    page = (with_a_broken_one / "digits-smoke" / "index.html").read_text()
    broken, sound = (
        page.split(f'id="{title}"')[1].split("</section>")[0]
        for title in ("broken_one", "svm_loss")
    )
    assert "This experiment failed" in broken
    assert "Error" in broken
    assert "Slides 3" in broken
    assert "This experiment failed" not in sound
    assert ">failed</td>" in page.split('id="slides"')[1]
    assert "broken_one  failed" in capsys.readouterr().out


def test_list_names_it(with_a_broken_one, capsys):
    with pytest.raises(SystemExit):
        run.main_all(["--list"])
    told = capsys.readouterr().out
    assert "cannot be imported" in told
    assert "svm_loss" in told
