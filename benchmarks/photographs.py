"""The figures of the photographs' chapter: runs the notebook and keeps what it measured.

python -m benchmarks.photographs                   a quarter of an hour, and two hours for the generator, once
python -m benchmarks.photographs --biggan MODEL    keeps beside them what `bdgan train-generator` reported of
                                                   a BigGAN of the same photographs, and how its head labels
                                                   held-out ones by inversion: half an hour
"""

import argparse
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import torch
from nbformat import NotebookNode

from bdgan_lib import annotation, core, heads, load_profile, metrics, train_head, training, worlds
from bdgan_lib.generators.feature_generator import FeatureGenerator
from bdgan_lib.profiles.labelled_pictures import labelled_pictures, read_labelled_pictures
from bdgan_lib.recipes.quality import INVERTED

ROOT = Path(__file__).parents[1]
NAME = "extra_photographs.ipynb"
RESULT = ROOT / "benchmarks/results/photographs.json"
PHOTOGRAPHS = ROOT / "runs/notebooks/photographs"  # as the chapter unpacks them
SAMPLES = 400  # that the head is measured on


def figures(notebook: NotebookNode) -> dict[str, float]:
    """What the cells of an executed notebook printed as `photographs.NAME = VALUE`."""
    outputs = [output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", [])]
    found = re.findall(r"^photographs\.(\w+) = (\S+)$", "".join(outputs), re.MULTILINE)
    return {name: float(value) for name, value in found}


def reported(model: Path) -> dict[str, float]:
    """What a model folder of a BigGAN says of itself: `inversion_psnr`, and the rest as `biggan_NAME`."""
    report = json.loads((model / "report.json").read_text("utf-8"))
    del report["dropped"]
    return {name if name == "inversion_psnr" else f"biggan_{name}": value for name, value in report.items()}


def by_inversion(model: Path) -> dict[str, float]:
    """How well a BigGAN's head finds objects, with the chapter's stand-in, labels and settings: mIoU.

    `biggan_head_fgbg_miou`: on new samples, against the stand-in. `inversion_fgbg_miou`: on held-out
    photographs, whose latents are searched, against exact masks.
    """
    profile = load_profile(str(model))
    generator, classes = profile.generator(), len(profile.classes)
    assert isinstance(generator, FeatureGenerator)
    seen, unseen = (
        read_labelled_pictures(PHOTOGRAPHS / part / "images", PHOTOGRAPHS / part / "masks", profile)
        for part in ("training", "held_out")
    )
    stand_in = training.seeded(lambda: worlds.UNet(classes + 1), 1_000)
    exact = np.where(seen.masks == 1, seen.class_ids[:, None, None] + 1, seen.masks).astype(np.uint8)
    training.fit(stand_in, seen.images, exact, training.FitConfig(600, 16, seed=1_000), progress="stand-in")

    def found(images: np.ndarray, _: object = None) -> np.ndarray:
        return (training.predict(stand_in, images).argmax(1).numpy() > 0).astype(np.uint8)

    chosen = annotation.choose_candidates(generator, range(classes), profile.load_scorer(), keep=5)
    parts = dict.fromkeys(profile.classes, ("object",))
    labels = list(annotation.annotate_candidates(chosen, found, "stand-in", parts))
    head, _ = train_head(generator, labels, heads.HeadTraining(steps=300), heads.Architecture(members=4))

    ids, seeds = torch.arange(SAMPLES) % classes, torch.arange(10_000, 10_000 + SAMPLES)
    batches = [generator.sample(k, s) for k, s in zip(ids.split(50), seeds.split(50), strict=True)]
    masks = np.concatenate([head.label(batch.features, batch.class_ids)[0] for batch in batches])
    images = np.concatenate([core.to_uint8(batch.images) for batch in batches])

    chosen = np.linspace(0, len(unseen.images) - 1, INVERTED).astype(int)  # as the report of the model does
    some = replace(
        unseen,
        images=unseen.images[chosen], masks=unseen.masks[chosen], class_ids=unseen.class_ids[chosen],
        names=tuple(unseen.names[i] for i in chosen),
    )  # fmt: skip
    _, inverted = labelled_pictures(some, profile, least_psnr=-np.inf)
    latents = torch.tensor([a.latent for a in inverted])
    zeros = torch.zeros(INVERTED, dtype=torch.int64)  # seeds, which latents replace
    remade = generator.sample(torch.tensor(some.class_ids), zeros, z=latents)
    on_photographs, _ = head.label(remade.features, remade.class_ids)
    return {
        "biggan_head_fgbg_miou": round(metrics.mean_iou(masks, found(images), 2), 4),
        "inversion_fgbg_miou": round(metrics.mean_iou(on_photographs, some.masks, 2), 4),
    }


def main() -> int:
    """Run the chapter, or read a report, and write `results/photographs.json`."""
    from papermill.execute import execute_notebook

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--biggan", type=Path)
    options = parser.parse_args()
    kept = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
    if options.biggan:
        return keep({**kept, **reported(options.biggan), **by_inversion(options.biggan)})
    executed = ROOT / "runs" / NAME
    executed.parent.mkdir(exist_ok=True)
    execute_notebook(str(ROOT / "notebooks" / NAME), str(executed), cwd=str(ROOT / "notebooks"))
    return keep({**kept, **figures(nbformat.read(executed, 4))})


def keep(found: dict[str, float]) -> int:
    """Write and print the figures."""
    text = json.dumps(found, indent=1) + "\n"
    RESULT.write_text(text, "utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
