"""Annotations: made, brought in, taken to other tools and back."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bdgan_lib.cli.annotation_notebook import check_viewer, open_notebook, write_notebook
from bdgan_lib.cli.options import Out, ProfileName, app, names_of
from bdgan_lib.core.io import require_outside
from bdgan_lib.core.types import BdganError, printable
from bdgan_lib.datasets.formats.names import ANNOTATION_FORMATS
from bdgan_lib.profiles import load_profile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore


@app.command()
def annotate(
    out: Out,
    folder: Annotated[
        Path | None, typer.Argument(help="Pictures of yours to label by hand; a folder in it is a class.")
    ] = None,
    labels: Annotated[str, typer.Option(help="What to label in your pictures, by comma: head,body.")] = "",
    class_name: Annotated[
        str, typer.Option("--class", help="Class of pictures in no class folder; default: photograph.")
    ] = "",
    open_with: Annotated[
        str, typer.Option("--open", help="Open the notebook with lab (the default) or voila, or no.")
    ] = "",
    keep: Annotated[
        int, typer.Option(min=1, max=10, help="Without pictures: samples per class that the oracle labels.")
    ] = 5,
    profile: ProfileName = "pocket",
) -> None:
    """Label your pictures in a notebook, or have the oracle annotator label samples of every class.

    Without a folder of pictures the oracle stands in for a human. A second call goes on where you were.
    """
    from bdgan_lib.annotation.photograph_folder import SETTINGS, photographs
    from bdgan_lib.datasets.annotation_store import AnnotationStore

    store = AnnotationStore(out)
    if folder or (out / SETTINGS).exists():
        check_viewer(open_with or "lab")
        losses = list[str]()
        items, _ = photographs(folder, names_of(labels) or None, class_name or None, store, losses)
        done = len({item.id for item in items} & set(store.ids()))
        print(
            f"{out}: {len(items)} pictures, {done} of them labelled", *map(printable, losses[:20]), sep="\n  "
        )
        if len(losses) > 20:
            print(f"  and {len(losses) - 20} more were left out")
        open_notebook(write_notebook(out), open_with or "lab")
        return
    for name, value in (("labels", labels), ("class", class_name), ("open", open_with)):
        if value:
            raise BdganError(f"--{name} goes with pictures; expected their folder as well: annotate FOLDER")
    from bdgan_lib.profiles.annotated import annotate as annotate_samples

    world = load_profile(profile)
    store.check_folder()
    annotations, kept = annotate_samples(world, world.generator(), keep), 0
    if not annotations:
        raise BdganError(
            f"profile {profile} has neither an oracle nor labels of its own; label its samples in notebook "
            "02, or give a folder of pictures"
        )
    with store.writing():
        for annotation in annotations:
            if _stands(annotation, store, by_oracle=world.load_oracle is not None):
                kept += 1
            else:
                store.add(annotation)
    print(f"{out}: {len(store)} annotations")
    if kept:
        print(f"  {kept} labels of others stand already and stay")
    if kept == len(annotations):
        raise BdganError(f"{out}: nothing is new; give another folder for these annotations")


def _stands(annotation: "Annotation", store: "AnnotationStore", by_oracle: bool) -> bool:
    """Whether a store has other labels of the sample, which are not the oracle's own."""
    import numpy as np

    if not (store.root / f"{annotation.id}.json").exists() or store.difference(annotation):
        return False  # the store refuses another sample
    stored = store.load(annotation.id)
    same = by_oracle or np.array_equal(stored.mask, annotation.mask)
    return stored.annotator != annotation.annotator or not same


@app.command("import-release")
def import_release_command(
    folder: Annotated[Path, typer.Argument(help="Where annotations/ and latents/ of the release lie.")],
    profile: ProfileName = "release-512",
) -> None:
    """Bring the paper's annotations and latents into the profile's annotation store, paired by name."""
    from bdgan_lib.datasets.official_annotations import import_official_annotations

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
    to: Annotated[str, typer.Option(help=f"Whose files to write: {', '.join(ANNOTATION_FORMATS)}.")],
    out: Out,
    images: Annotated[
        Path | None, typer.Option(help="Where labelled photographs lie; default: where they were labelled.")
    ] = None,
    profile: ProfileName = "pocket",
) -> None:
    """Write annotations for another tool with their images: photographs, or samples drawn again."""
    from bdgan_lib.annotation.photograph_folder import photograph_source
    from bdgan_lib.datasets.annotation_store import AnnotationStore
    from bdgan_lib.datasets.formats.exchange import export_annotations

    store = AnnotationStore(folder)
    annotations: Iterable[Annotation]
    pictures: Iterable[NDArray[np.uint8]]
    if source := photograph_source(store, images):
        annotations, again = tee(store)  # one mask and one picture are in memory at a time
        pictures = map(source, again)
    else:
        from bdgan_lib.core.image_tensors import to_uint8
        from bdgan_lib.heads.training_data import samples_of

        generator = load_profile(profile).generator()
        store.require(generator.sha256)
        if not (annotations := list(store)):
            raise BdganError(f"{folder} holds no annotations; `bdgan annotate` or notebook 02 makes some")
        drawn = samples_of(generator, annotations, features=False)
        pictures = (image for batch in drawn for image in to_uint8(batch.images))
    print(f"{out}: {export_annotations(annotations, pictures, out, to)} images with labels for {to}")


@contextmanager
def _removed_if_new(folder: Path, unused: Callable[[], bool]) -> Iterator[None]:
    """Remove at the end, if it is `unused`, an empty store that is not there yet, and folders above it."""
    new = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    finally:
        if new and unused():
            from bdgan_lib.datasets.annotation_store import LOCK

            with suppress(OSError):  # another process has written there since
                (folder / LOCK).unlink(missing_ok=True)
                for place in new:
                    place.rmdir()


@app.command("import-labels")
def import_labels_command(
    folder: Annotated[
        Path,
        typer.Argument(
            help="What `bdgan export-labels` wrote, its labels edited; with --pictures any labels."
        ),
    ],
    format: Annotated[
        str, typer.Option("--from", help=f"Whose files they are: {', '.join(ANNOTATION_FORMATS)}.")
    ],
    out: Annotated[
        Path, typer.Option(help="The folder of annotations to add to; with --pictures a new one.")
    ],
    pictures: Annotated[
        Path | None, typer.Option(help="Pictures of yours that the labels are of, a folder for each class.")
    ] = None,
    foreground: Annotated[
        str, typer.Option(help="With --pictures: which labels are foreground, by comma; all if empty.")
    ] = "",
) -> None:
    """Bring labels back from another tool, in place of the samples' old ones; what is lost is named.

    With --pictures they are labels of pictures of yours: the pictures and their masks are written as
    `bdgan train-head --images --masks` takes them.
    """
    if pictures is not None:
        from bdgan_lib.datasets.formats.own_pictures import import_pictures

        if foreground and not names_of(foreground):
            raise BdganError(f"expected names of labels as --foreground, got {foreground!r:.100}")
        written, left_out = import_pictures(folder, format, pictures, out, names_of(foreground))
        print(f"{out}: {written} pictures with masks", *map(printable, left_out), sep="\n  ")
        print(
            f"next: bdgan train-head --images {out / 'images'} --masks {out / 'masks'}, with --profile MODEL"
        )
        return
    if foreground:
        raise BdganError("--foreground goes with --pictures")
    from bdgan_lib.core.validation import collect_errors
    from bdgan_lib.datasets.annotation_store import AnnotationStore
    from bdgan_lib.datasets.formats.exchange import import_annotations

    store, added = AnnotationStore(out), 0
    require_outside(out, folder)
    store.check_folder()
    with _removed_if_new(out, lambda: added == 0), store.writing():
        annotations, losses = import_annotations(folder, format, store)
        for annotation in annotations:
            with collect_errors(annotation.id, losses):
                store.add(annotation)
                added += 1
    print(f"{out}: {added} annotations imported", *map(printable, losses), sep="\n  ")
    if not added:
        raise BdganError(f"no labels of {folder} were imported; {out} is unchanged")
