"""Annotations: made, brought in, taken to other tools and back."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from bdgan_lib.cli.options import Out, ProfileName, app
from bdgan_lib.core.image_tensors import to_uint8
from bdgan_lib.core.types import BdganError
from bdgan_lib.core.validation import collect_errors
from bdgan_lib.datasets.annotation_store import AnnotationStore
from bdgan_lib.datasets.formats.exchange import FORMATS, export_annotations, import_annotations
from bdgan_lib.datasets.official_annotations import import_official_annotations
from bdgan_lib.heads.training_data import samples_of
from bdgan_lib.profiles import load_profile
from bdgan_lib.profiles.annotated import annotate as annotate_samples


@app.command()
def annotate(
    out: Out,
    keep: Annotated[int, typer.Option(min=1, max=10, help="Labelled samples per class.")] = 5,
    profile: ProfileName = "pocket",
) -> None:
    """Have the oracle annotator label samples of every class (it stands in for a human)."""
    world, store = load_profile(profile), AnnotationStore(out)
    for annotation in annotate_samples(world, world.generator(), keep):
        store.add(annotation)
    print(f"{out}: {len(store)} annotations")


@app.command("import-release")
def import_release_command(
    folder: Annotated[Path, typer.Argument(help="Where annotations/ and latents/ of the release lie.")],
    profile: ProfileName = "release-512",
) -> None:
    """Bring the paper's annotations and latents into the profile's annotation store, paired by name."""
    world = load_profile(profile)
    if not world.official_annotations:
        raise BdganError(
            f"the release's latents are of BigGAN-512, not of profile {profile}; use release-512"
        )
    print("licence of the release's annotations and latents: CC BY-NC 4.0")
    generator, store = world.generator(), world.annotations()
    result = import_official_annotations(folder, store, generator.sha256, world.classes, world.synsets)
    print(result)
    if not result.added:
        raise BdganError(f"no annotations of {folder} were imported")


@app.command("export-labels")
def export_labels_command(
    folder: Annotated[Path, typer.Argument(help="A folder of annotations.")],
    to: Annotated[str, typer.Option(help=f"Whose files to write: {', '.join(FORMATS)}.")],
    out: Out,
    profile: ProfileName = "pocket",
) -> None:
    """Write annotations and their images, drawn again by the profile's generator, for another tool."""
    generator, store = load_profile(profile).generator(), AnnotationStore(folder)
    store.require(generator.sha256)
    if not (annotations := list(store)):
        raise BdganError(f"{folder} holds no annotations; `bdgan annotate` or notebook 02 makes some")
    drawn = samples_of(generator, annotations, features=False)
    images = (image for batch in drawn for image in to_uint8(batch.images))
    print(f"{out}: {export_annotations(annotations, images, out, to)} images with labels for {to}")


@app.command("import-labels")
def import_labels_command(
    folder: Annotated[Path, typer.Argument(help="What `bdgan export-labels` wrote, its labels edited.")],
    format: Annotated[str, typer.Option("--from", help=f"Whose files they are: {', '.join(FORMATS)}.")],
    out: Annotated[Path, typer.Option(help="The folder of annotations to add to.")],
) -> None:
    """Bring labels back from another tool, in place of the samples' old ones; what is lost is named."""
    store, added = AnnotationStore(out), 0
    with store.writing() if out.exists() else nullcontext():
        annotations, losses = import_annotations(folder, format, store)
        for annotation in annotations:
            with collect_errors(annotation.id, losses):
                store.add(annotation)
                added += 1
    print(*[f"{out}: {added} annotations imported", *losses], sep="\n  ")
    if not added:
        raise BdganError(f"no labels of {folder} were imported; {out} is unchanged")
