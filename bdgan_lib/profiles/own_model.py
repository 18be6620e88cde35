"""A profile from a folder of `bdgan train-generator`: one's own pictures, their classes, one's labels."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from bdgan_lib.checkpoints.state_dict import load_strict
from bdgan_lib.core.image_tensors import from_uint8
from bdgan_lib.core.model_files import read_json, read_tensors
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.core.validation import checked_class_name
from bdgan_lib.datasets.annotation_store import AnnotationStore
from bdgan_lib.downstream.tasks import FOREGROUND, task_of_classes, task_of_groups
from bdgan_lib.generators.biggan_deep import load_biggan_deep, read_deep_config
from bdgan_lib.generators.class_scorer import NetworkScorer
from bdgan_lib.generators.feature_generator import FeatureGenerator
from bdgan_lib.generators.vqgan import VQGAN, load_vqgan, read_vqgan_config
from bdgan_lib.profiles.profile import Profile
from bdgan_lib.worlds.networks import Classifier

MODEL, SCORER = "model.json", "scorer.safetensors"  # in a model folder
Load = Callable[..., FeatureGenerator | VQGAN]
LOADERS: dict[str, Load] = {
    "vqgan": load_vqgan,
    "biggan": load_biggan_deep,
}


def own_profile(folder: str | Path) -> Profile:
    """The profile of a model folder; people's annotations of its samples lie in its folder `annotations`.

    A VQGAN is its own second generator: it reads its samples again. That of a BigGAN is the VQGAN of the same
    classes in its folder `vqgan`, if there is one.

    Raises:
        BdganError: it is no such folder, or a part of it is damaged.
    """
    folder = Path(folder)
    hint = "give a folder that `bdgan train-generator` wrote"
    model = read_json(folder / MODEL, hint)
    classes, side = model.get("classes"), model.get("side")
    kind = str(model.get("kind"))
    names = tuple(name for name in classes if isinstance(name, str)) if isinstance(classes, list) else ()
    if len(names) < 2 or [*names] != classes or type(side) is not int or kind not in LOADERS:
        raise BdganError(f"{folder / MODEL} names no classes, side and kind of a generator; {hint}")
    for name in names:
        checked_class_name(name)
    if len({*names}) < len(names):
        raise BdganError(f"{folder / MODEL} names a class twice; {hint}")
    if side != (resolution := _resolution(folder, kind)):
        raise BdganError(
            f"{folder / MODEL}: expected the side {resolution} of config.json, got {side}; restore both"
        )
    vqgan = partial(load_vqgan, folder, names, name=folder.name)
    generator = vqgan if kind == "vqgan" else partial(LOADERS[kind], folder, names)
    every, world = range(len(names)), f"model-{folder.name}"
    tasks = [
        task_of_groups(world, "FG/BG", {FOREGROUND: every}, len(names)),
        task_of_classes(world, "MC-all", every, names),
    ]
    return Profile(
        name=str(folder),
        image_size=side,
        classes=names,
        sampling=Sampling(),
        folder=folder,
        tasks={task.name: task for task in tasks},
        generator=generator,
        encoder=vqgan if kind == "vqgan" else None,
        make_second=_second_of(folder, kind),
        annotations=lambda: AnnotationStore(folder / "annotations"),
        load_scorer=lambda: NetworkScorer(_classifier(folder, names), from_uint8, takes_tensors=True),
        load_classifier=partial(_classifier, folder, names),
        quality_features=lambda images: _classifier(folder, names).features_of(images),
        licence="as the pictures it was trained on",
    )


def _resolution(folder: Path, kind: str) -> int:
    """Pixels per side of a folder's generator, without reading its weights."""
    if kind == "vqgan":
        return read_vqgan_config(folder).resolution
    return 4 << sum(doubles for doubles, _, _ in read_deep_config(folder).layers)


def _second_of(folder: Path, kind: str) -> Callable[[Profile], Profile] | None:
    place = folder if kind == "vqgan" else folder / "vqgan"
    if not (place / MODEL).exists():
        return None

    def second(source: Profile) -> Profile:
        other = source if place == folder else own_profile(place)
        if other.encoder is None or other.classes != source.classes:
            raise BdganError(
                f"{place}: expected a VQGAN of the classes {', '.join(source.classes)}; train one on "
                "the same pictures"
            )
        return replace(other, source=source, annotations=source.annotations, make_second=None)

    return second


@cache
def _classifier(folder: Path, classes: tuple[str, ...]) -> Classifier:
    path = folder / SCORER
    tensors = read_tensors(path, "restore it, or train the generator again")
    classifier = Classifier(len(classes))
    load_strict(classifier, tensors, str(path))
    return classifier.eval().requires_grad_(False)
