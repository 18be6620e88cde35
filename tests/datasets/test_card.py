"""Trust files: they say what lies there, the same each time, and the Croissant validator accepts them."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from bdgan_lib.core.io import sha256_of
from bdgan_lib.core.model_files import read_json
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.card import CARD, CROISSANT, write_card
from bdgan_lib.datasets.shards import MANIFEST, ShardedSet, read_manifest, write_manifest, write_shard
from bdgan_lib.datasets.validate import validate

SHARED = Path(os.environ.get("BDGAN_SHARED") or Path(__file__).resolve().parents[3] / "shared")


def test_the_card_tells_figures_licences_and_what_was_dropped(make_set):
    data = make_set(
        spec={
            "generator_sha256": "abc",
            "head_sha256": "def",
            "sampling": {"truncation": 0.9, "z_std": None},
        },
        licence={"generator weights": "Apache-2.0", "labels of the head": "CC BY-NC 4.0"},
        counts={"kept": 11, "score too low": 9, "empty | mask": 2},
    )
    write_card(data.folder, progress=False)
    card = (data.folder / CARD).read_text(encoding="utf-8")
    areas = [(sample.mask == 1).sum() / max(1, (sample.mask < 255).sum()) for sample, _ in data]
    for line in (
        "| images | 11 in 3 shards |",
        "| sizes (height × width) | 20 × 26: 6, 21 × 26: 5 |",
        f"| blue jay | 4 | {np.mean(areas[1::3]):.4f} |",
        f"| share of pixels that are not background, mean | {np.mean(areas):.4f} |",
        "| kept of what was made | 0.5000 |",
        "| dropped: score too low | 9 |",
        "| dropped: empty \\| mask | 2 |",
        "| confidence, mean | 1.2500 |",
        "| generator weights | Apache-2.0 |",
        "| labels of the head | CC BY-NC 4.0 |",
        "| code (bdgan_lib) | Apache-2.0 |",
        "| sampling | truncation: 0.9 |",
        f"`{sha256_of(data.folder / 'manifest.json')}`",
    ):
        assert line in card
    code = card.split("```python\n")[1].split("```")[0]
    exec(code.replace('"FOLDER"', repr(str(data.folder))), {})


def test_the_same_set_has_the_same_trust_files(make_set):
    data = make_set()
    write_card(data.folder, progress=False)
    first = [(data.folder / name).read_bytes() for name in (CARD, CROISSANT)]
    write_card(data.folder, progress=False)
    assert [(data.folder / name).read_bytes() for name in (CARD, CROISSANT)] == first


def test_croissant_is_accepted_and_read(make_set, tmp_path, monkeypatch):
    mlcroissant = pytest.importorskip("mlcroissant")
    cache = type(mlcroissant._src.core.constants.EXTRACT_PATH)(tmp_path / "cache")
    monkeypatch.setattr("mlcroissant._src.operation_graph.operations.extract.EXTRACT_PATH", cache)
    data = make_set(licence="CC BY 4.0")
    write_card(data.folder, progress=False)
    found = mlcroissant.Dataset(jsonld=str(data.folder / CROISSANT))
    issues = found.metadata.ctx.issues
    assert not issues.errors
    assert all("datePublished" in warning for warning in issues.warnings), "files without dates are the same"
    named = {file.id: file.sha256 for file in found.metadata.distribution if getattr(file, "sha256", None)}
    assert named == {
        path.name: sha256_of(path) for path in data.folder.iterdir() if path.name not in (CARD, CROISSANT)
    }
    samples = {sample.id: (sample, provenance) for sample, provenance in data}
    for kind in ("images", "masks", "records"):
        rows = {row[f"{kind}/id"].decode(): row[f"{kind}/content"] for row in found.records(kind)}
        assert rows.keys() == samples.keys()
        for id, content in rows.items():
            sample, provenance = samples[id]
            if kind == "records":
                assert json.loads(content) == provenance
            else:
                assert np.array_equal(np.asarray(content), sample.image if kind == "images" else sample.mask)


def older(card: str) -> str:
    """A card as it was written before the front matter named the shards."""
    start, end = card.index("configs:"), card.index("---\n\n")
    return card[:start] + card[end:]


def test_a_card_of_before_is_still_that_of_its_set(make_set):
    data = make_set(licence="CC BY_4.0", counts={"kept": 11, "no_mask": 1})
    write_card(data.folder, progress=False)
    card = data.folder / CARD
    card.write_text(older(card.read_text("utf-8")), "utf-8")
    assert validate(data.folder, progress=False) == []
    notes: list[str] = []
    assert validate(data.folder, progress=False, notes=notes) == notes == []


@pytest.mark.parametrize("name", [CARD, CROISSANT])
def test_what_was_edited_is_told_of_and_what_contradicts_the_set_is_found(name, make_set):
    data = make_set()
    write_card(data.folder, progress=False)
    ours = (data.folder / name).read_bytes()
    edits = {
        CARD: (b"# My notes", ours + b"\n## Mine\n"),
        CROISSANT: (b"{}", ours.replace(b"CVPR", b"The CVPR")),
    }
    for content in edits[name]:
        (data.folder / name).write_bytes(content)
        notes: list[str] = []
        assert validate(data.folder, progress=False, notes=notes) == []
        assert len(notes) == 1 and f"{name} is edited or of another origin and stays" in notes[0]
    digest = sha256_of(data.folder / MANIFEST).encode()
    for content in (ours.replace(digest, b"0" * 64), ours.replace(digest, b"")):
        (data.folder / name).write_bytes(content)
        assert f"{name} states the sha256 of files that are not" in validate(data.folder, progress=False)[0]
    (data.folder / CROISSANT).write_bytes(b"{")
    assert "croissant.json is not JSON" in validate(data.folder, progress=False)[-1]


@pytest.mark.parametrize("name", [CARD, CROISSANT])
def test_what_others_wrote_is_not_described_over(name, make_set):
    folder = make_set().folder
    (folder / name).write_bytes(b"# My notes")
    with pytest.raises(BdganError, match=f"{name} is of another origin"):
        write_card(folder, progress=False)
    assert (folder / name).read_bytes() == b"# My notes"
    other = {CARD: CROISSANT, CROISSANT: CARD}[name]
    assert not (folder / other).exists()
    (folder / name).unlink()
    write_card(folder, progress=False)
    ours = (folder / name).read_bytes()
    (folder / name).write_bytes(ours + b" edited")
    write_card(folder, progress=False)
    assert (folder / name).read_bytes() == ours


@pytest.mark.parametrize("name", [CARD, CROISSANT, MANIFEST])
@pytest.mark.parametrize("kind", ["pipe", "endless", "sparse"])
def test_a_file_that_has_no_end_is_named_and_not_read(name, kind, make_set):
    data = make_set()
    (data.folder / name).unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(data.folder / name)
    elif kind == "endless":
        (data.folder / name).symlink_to("/dev/zero")
    else:
        (data.folder / name).touch()
        os.truncate(data.folder / name, 1 << 43)
    if name != MANIFEST:
        with pytest.raises(BdganError, match=f"{name} is of another origin"):
            write_card(data.folder, progress=False)
    errors = validate(data.folder, progress=False, notes=[])
    assert errors and name in errors[0]
    with pytest.raises(BdganError, match=name):
        (read_manifest if name == MANIFEST else read_json)(data.folder / name)


@pytest.mark.parametrize("shipped", [False, True])
def test_load_dataset_gives_all_samples_of_a_set(shipped, make_set, tmp_path, monkeypatch):
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    datasets = pytest.importorskip("datasets")
    folder = SHARED / "faults/16_hf_load_dataset_of_a_set/set"
    if not shipped:
        folder = make_set().folder
        (folder / "log.jsonl").write_text('{"shard": "x"}\n')
    elif folder.is_dir():
        assert validate(folder, progress=False) == [], "its card is one of before"
        folder = shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
        folder.chmod(0o755)
    else:
        pytest.skip("the shared faults are not here")
    write_card(folder, progress=False)
    assert validate(folder, progress=False) == []
    front = yaml.safe_load((folder / CARD).read_text("utf-8").split("---\n")[1])
    assert front["configs"][0]["data_files"] == [{"split": "train", "path": "*.tar"}]
    rows = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    for row, (sample, provenance) in zip(rows, ShardedSet(folder), strict=True):
        assert row["__key__"] == sample.id and row["json"]["seed"] == provenance["seed"]
        assert np.array_equal(np.asarray(row["png"]), sample.image)
        assert np.array_equal(np.asarray(row["mask.png"]), sample.mask)


NAMES = (
    "<script>alert(1)</script>", "![x](http://evil/x.png)", "a | b", "**bold** _it_ ~~no~~ `code`",
    "[x](javascript:y)", "&lt;b&gt; &amp;", "---", "# head", "https://evil.example", "www.evil.example",
    "a\\|b\\", "<!-- x", "$x$ ^y^ @z", "snake_case_name", "größer Krug", "- x: {y}", "|", "]]>", "*_*",
    "\u202eabc", "می‌خواهم",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_class_name_is_shown_as_it_is(name, make_set):
    from markdown_it import MarkdownIt

    data = make_set()
    classes = [name, "blue jay", "mug"]
    samples = [(sample, provenance | {"class_name": classes[sample.class_id]}) for sample, provenance in data]
    entry = write_shard(data.folder / "shard_00000.tar", samples)
    for extra in ("shard_00001.tar", "shard_00002.tar"):
        (data.folder / extra).unlink()
    about = {"classes": classes, "labels": ["background", name], "licence": name, "spec": {"sampling": name}}
    write_manifest(data.folder / MANIFEST, [entry], about)
    write_card(data.folder, progress=False)
    assert validate(data.folder, progress=False) == []
    front, body = (data.folder / CARD).read_text("utf-8").split("---\n", 2)[1:]
    assert set(yaml.safe_load(front)) == {"license", "task_categories", "tags", "configs"}
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(body)
    cells = [token for token in tokens if token.type == "inline" and token.level == 4]
    shown = [
        cell for cell in cells if "".join(c.content for c in cell.children) == name.replace("\u202e", "")
    ]
    assert len(shown) == 3, "sampling, licence, class"
    assert all({child.type for child in cell.children} <= {"text", "text_special"} for cell in shown)
    assert not [token for token in tokens if token.type.startswith("html")]
    assert "://evil" not in body.replace("\\://", "") and "www.evil" not in body, "some readers link these"
