"""`%%where`: a cell runs where its condition holds; elsewhere one line says what is left out."""

import re

import pytest
from IPython.core.interactiveshell import InteractiveShell

from bdgan_lib.core.types import BdganError


@pytest.fixture
def shell():
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.run_cell("%load_ext bdgan_lib.where")
    shell.user_ns["exact"] = True
    yield shell
    InteractiveShell.clear_instance()


def ran(shell, text):
    """What the cell shows."""
    found = shell.run_cell(text)
    found.raise_error()
    return found.result


def test_where_its_condition_holds_it_is_a_cell_like_any_other(shell, capsys):
    assert ran(shell, "%%where exact and 1 < 2  # numbers\nfound = 20\nfound + 1") == 21
    assert ran(shell, "%%where exact\nfound = 3\nfound + 1;") is None, "a semicolon keeps it quiet"
    assert shell.user_ns["found"] == 3
    assert ran(shell, "%%where exact\nfor k in range(2):\n    print(k)\n!true") is None
    assert ran(shell, "%%where exact\n# nothing to do") is None
    assert "left out" not in capsys.readouterr().out
    shell.user_ns["exact"] = False
    assert ran(shell, "%%where not exact\n{k: found for k in 'ab'}") == {"a": 3, "b": 3}


def test_where_it_does_not_one_line_says_what_is_left_out(shell, capsys):
    shell.user_ns["exact"] = False
    capsys.readouterr()
    assert ran(shell, "%%where exact  # scores against #1\nmissing = 1 / 0") is None
    assert capsys.readouterr().out == "left out: scores against #1\n"
    ran(shell, "%%where exact\nmissing = 1 / 0")
    assert capsys.readouterr().out == "" and "missing" not in shell.user_ns


def test_mistakes_are_told_where_they_are_made(shell, capsys):
    with pytest.raises(ZeroDivisionError):
        ran(shell, "%%where exact\nfound = 1\nfound / 0")
    said = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "----> 2 found / 0" in said, "the line of the cell"
    with pytest.raises(NameError, match="exakt"):
        ran(shell, "%%where exakt\n1")
    with pytest.raises(BdganError, match="without a condition"):
        ran(shell, "%%where # scores\n1")
