"""A profile from a folder of `bdgan train-generator`: one's own pictures, their classes, one's labels."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from safetensors.torch import load_file

from bdgan_lib.checkpoints.state_dict import load_strict
from bdgan_lib.core.image_tensors import from_uint8
from bdgan_lib.core.model_files import read_json
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import AnnotationStore
from bdgan_lib.downstream.tasks import FOREGROUND, task_of_classes, task_of_groups
from bdgan_lib.generators.biggan_deep import load_biggan_deep
from bdgan_lib.generators.class_scorer import NetworkScorer
from bdgan_lib.generators.feature_generator import FeatureGenerator
from bdgan_lib.generators.vqgan import VQGAN, load_vqgan
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

    Raises:
        BdganError: it is no such folder, or a part of it is damaged.
    """
    folder = Path(folder)
    hint = "give a folder that `bdgan train-generator` wrote"
    model = read_json(folder / MODEL, hint)
    classes, side = model.get("classes"), model.get("side")
    kind = str(model.get("kind"))
    names = tuple(name for name in classes if isinstance(name, str)) if isinstance(classes, list) else ()
    if len(names) < 2 or [*names] != classes or not isinstance(side, int) or kind not in LOADERS:
        raise BdganError(f"{folder / MODEL} names no classes, side and kind of a generator; {hint}")
    generator = partial(LOADERS[kind], folder, names)
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
        encoder=partial(load_vqgan, folder, names) if kind == "vqgan" else None,
        annotations=lambda: AnnotationStore(folder / "annotations"),
        load_scorer=lambda: NetworkScorer(_classifier(folder, names), from_uint8, takes_tensors=True),
        load_classifier=partial(_classifier, folder, names),
        quality_features=lambda images: _classifier(folder, names).features_of(images),
        licence="as the pictures it was trained on",
    )


@cache
def _classifier(folder: Path, classes: tuple[str, ...]) -> Classifier:
    path = folder / SCORER
    if not path.is_file():
        raise BdganError(f"{path} is missing; restore it, or train the generator again")
    classifier = Classifier(len(classes))
    load_strict(classifier, load_file(path), str(path))
    return classifier.eval().requires_grad_(False)
