"""Trust files: they say what lies there, the same each time, and the Croissant validator accepts them."""

import json

import numpy as np
import pytest

from bdgan_lib.core.io import sha256_of
from bdgan_lib.datasets.card import CARD, CROISSANT, write_card


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
