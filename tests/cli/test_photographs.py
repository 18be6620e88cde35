"""`bdgan annotate FOLDER`: a store and its notebook, opened; and the labels taken to other tools and back."""

import json
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from bdgan_lib import cli
from bdgan_lib.annotation.photograph_folder import photographs
from bdgan_lib.annotation.session import Session
from bdgan_lib.cli import annotation_notebook
from bdgan_lib.core.image_codecs import decode_png, read_image
from bdgan_lib.core.parallel import module_command
from bdgan_lib.datasets.annotation_store import AnnotationStore
from bdgan_lib.datasets.formats.exchange import FORMATS


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A working folder with two pictures in `pictures/`."""
    monkeypatch.chdir(tmp_path)
    for k, name in enumerate(("birds/1.jpg", "2.png")):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x112] = 6
        pixels = np.random.default_rng(k).integers(0, 256, (20, 30, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / name, exif=exif)
    return tmp_path / "pictures"


@pytest.fixture
def bdgan(monkeypatch, capsys):
    """Run the command: its exit code, and what it printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["bdgan", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return end.value.code or 0, printed.out + printed.err

    return run


def label_all(store):
    items, source = photographs(store=store)
    square = [[[4, 4], [15, 4], [15, 15], [4, 15]]]
    with Session(store, items, source, "me") as session:
        for k, item in enumerate(items):
            session.handle({"do": "open", "id": item.id})
            stroke = {"op": "polygon", "rings": square, "label": 1 + k % 2, "instance": 1 + k}
            session.handle({"do": "stroke", "stroke": stroke, "done": True})
    return items


def test_a_store_with_a_notebook_is_written_and_a_second_call_goes_on(pictures, bdgan):
    (pictures / "broken.jpg").write_bytes(b"x")
    call = ("annotate", "pictures", "--labels", "head, body", "--out", "labels", "--open", "no")
    code, said = bdgan(*call)
    assert (
        code == 0
        and "labels: 2 pictures, 0 of them labelled" in said
        and "broken.jpg: not a readable" in said
    )
    assert "jupyter lab labels" in said
    notebook = nbformat.read("labels/annotate.ipynb", 4)
    nbformat.validate(notebook)
    Path("labels/annotate.ipynb").write_text("mine")
    label_all(AnnotationStore("labels"))
    for again in (call, ("annotate", "--out", "labels", "--open", "no"), call[:2] + call[4:]):
        code, said = bdgan(*again)
        assert code == 0 and "labels: 2 pictures, 2 of them labelled" in said
    assert Path("labels/annotate.ipynb").read_text() == "mine"
    assert {a.class_name for a in AnnotationStore("labels")} == {"birds", "photograph"}


def test_the_notebook_s_cell_shows_the_annotator(pictures, bdgan, monkeypatch):
    pytest.importorskip("anywidget")
    bdgan("annotate", "pictures", "--labels", "head,body", "--out", "labels", "--open", "no")
    code = nbformat.read("labels/annotate.ipynb", 4).cells[1].source
    monkeypatch.chdir("labels")
    names: dict = {}
    exec(code.replace("Annotator(Session", "shown = Annotator(Session"), names)
    state = names["shown"].state
    assert state["labels"] == ["background", "head", "body"] and state["total"] == 2
    assert decode_png(names["shown"].picture).shape == (*state["size"], 3)
    names["shown"].session.close()


@pytest.mark.parametrize(
    ("viewer", "module"), [("", "jupyterlab"), ("lab", "jupyterlab"), ("voila", "voila")]
)
def test_the_notebook_is_opened_where_it_lies(pictures, bdgan, monkeypatch, viewer, module):
    calls = []

    class Server:
        def __init__(self, command, cwd):
            calls.append((command, Path(cwd)))
            self.waited = 0

        def wait(self):
            self.waited += 1
            if self.waited == 1:
                raise KeyboardInterrupt  # the server asks whether it should end
            return 3 * (len(calls) == 2)

    monkeypatch.setattr(annotation_notebook, "find_spec", lambda name: name)
    monkeypatch.setattr(subprocess, "Popen", Server)
    call = (
        "annotate",
        "pictures",
        "--labels",
        "head",
        "--out",
        "labels",
        *(["--open", viewer] if viewer else []),
    )
    assert bdgan(*call)[0] == 0
    assert calls == [(module_command(module, "annotate.ipynb"), Path("labels"))]
    code, said = bdgan(*call)
    assert code == 2 and f"{module} ended with code 3" in said


@pytest.mark.parametrize(
    ("viewer", "absent", "told"),
    [("lab", {"jupyterlab"}, "pip install 'bdgan-lib[notebooks]'; then"),
     ("voila", {"voila"}, "pip install voila; then"),
     ("lab", {"jupyterlab", "anywidget"}, "pip install 'bdgan-lib[widget]' 'bdgan-lib[notebooks]'; then"),
     ("no", {"anywidget", "jupyterlab"}, "pip install 'bdgan-lib[widget]'; then"), ("no", set(), "open the")],
)  # fmt: skip
def test_what_cannot_be_opened_is_told(pictures, bdgan, monkeypatch, viewer, absent, told):
    monkeypatch.setattr(annotation_notebook, "find_spec", lambda name: name not in absent or None)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("opened"))
    code, said = bdgan("annotate", "pictures", "--labels", "head", "--out", "labels", "--open", viewer)
    assert code == 0 and told in said and "jupyter lab labels/annotate.ipynb" in said
    assert Path("labels/annotate.ipynb").exists()


@pytest.mark.parametrize(
    ("call", "told"),
    [(("pictures", "--out", "labels"), "expected a list of labels"),
     (("pictures", "--labels", ",", "--out", "labels"), "expected a list of labels"),
     (("pictures", "--labels", "head,head", "--out", "labels"), "'head' twice"),
     (("pictures", "--labels", ",".join(map(str, range(255))), "--out", "labels"), "at most 254"),
     (("pictures", "--labels", "head", "--out", "pictures"), "pictures is pictures, which the command reads"),
     (("pictures", "--labels", "head", "--out", "s3://bucket/labels"), "local path"),
     (("s3://bucket/pictures", "--labels", "head", "--out", "labels"), "local path"),
     (("pictures/birds/1.jpg", "--labels", "head", "--out", "labels"), "expected a folder of pictures"),
     (("empty", "--labels", "head", "--out", "labels"), "no picture to label"),
     (("pictures", "--labels", "head", "--out", "labels", "--open", "emacs"), "'emacs'"),
     (("--labels", "head", "--out", "labels"), "annotate FOLDER"),
     (("--class", "bird", "--out", "labels"), "annotate FOLDER"),
     (("--open", "lab", "--out", "labels"), "annotate FOLDER")],
)  # fmt: skip
def test_a_mistake_is_one_line_and_nothing_is_written(pictures, bdgan, monkeypatch, call, told):
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("opened"))
    Path("empty").mkdir()
    before = sorted(map(str, Path().rglob("*")))
    code, said = bdgan("annotate", *call)
    assert code == 2 and told in said and said.count("\n") == 1
    assert sorted(map(str, Path().rglob("*"))) == before


def test_many_losses_are_counted(pictures, bdgan):
    for k in range(40):
        (pictures / f"broken {k}.png").write_bytes(b"x")
    _, said = bdgan("annotate", "pictures", "--labels", "head", "--out", "labels", "--open", "no")
    assert said.count("not a readable picture") == 20 and "and 20 more" in said


# -- exchange


@pytest.fixture
def labelled(pictures, bdgan):
    bdgan("annotate", "pictures", "--labels", "head,body", "--out", "labels", "--open", "no")
    return label_all(AnnotationStore("labels"))


@pytest.mark.parametrize("format", FORMATS)
def test_labels_of_photographs_go_to_another_tool_and_come_back(labelled, pictures, bdgan, format):
    code, said = bdgan("export-labels", "labels", "--to", format, "--out", "out")
    assert code == 0 and "2 images with labels" in said
    for item in labelled:
        shown = decode_png(Path(f"out/images/{item.id}.png").read_bytes())
        assert np.array_equal(shown, read_image(pictures / item.extra["picture"])) and len(shown) == 30
    before = {path.name: path.read_bytes() for path in Path("labels").glob("*.*")}
    for out in ("labels", "new"):
        code, said = bdgan("import-labels", "out", "--from", format, "--out", out)
        assert code == 0 and said == f"{out}: 2 annotations imported\n"
    for item in labelled:
        for name in (f"{item.id}.json", f"{item.id}.png"):
            assert Path("labels", name).read_bytes() == Path("new", name).read_bytes() == before[name]
    code, said = bdgan("export-labels", "new", "--to", format, "--out", "again")
    assert code == 2 and "--images" in said and not Path("again").exists()
    assert bdgan("export-labels", "new", "--to", format, "--images", "pictures", "--out", "again")[0] == 0
    items, source = photographs("pictures", ["head", "body"], store=AnnotationStore("new"))
    with Session(AnnotationStore("new"), items, source, "me") as session:
        assert set(session.status.values()) == {"labelled"} and session.state.history.labels.any()


def test_pictures_that_moved_or_changed_are_told(labelled, pictures, bdgan):
    export = ("export-labels", "labels", "--to", "coco", "--out", "out")
    pictures.rename("moved")
    code, said = bdgan(*export)
    assert code == 2 and "no longer in" in said and "--images" in said
    code, said = bdgan(*export, "--images", "labels")
    assert code == 2 and "no picture in labels" in said
    assert bdgan(*export, "--images", "moved")[0] == 0
    name = labelled[0].extra["picture"]
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(Path("moved") / name)
    code, said = bdgan("export-labels", "labels", "--to", "png", "--images", "moved", "--out", "two")
    assert code == 2 and f"{name} was changed" in said and not Path("two").exists()
    code, said = bdgan("annotate", "moved", "--out", "labels", "--open", "no")
    assert code == 0 and "1 pictures" in said and f"{name}: it was changed since it was labelled" in said
    settings = json.loads(Path("labels/photographs.jsonl").read_text())
    assert settings == {
        "folder": str(Path("moved").resolve()),
        "labels": ["head", "body"],
        "class": "photograph",
    }
