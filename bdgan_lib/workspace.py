"""A run's folder: what one notebook makes and a later one needs, made on first use and found again."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bdgan_lib.data.shards import ShardedSet
from bdgan_lib.generators.recorded import RecordedGenerator
from bdgan_lib.generators.vqgan import VQGAN
from bdgan_lib.heads.base import Head
from bdgan_lib.heads.files import load_head, save_head
from bdgan_lib.heads.training import HeadTraining, train_head
from bdgan_lib.profiles import Profile
from bdgan_lib.synthesis.filters import Models
from bdgan_lib.synthesis.run import synthesize
from bdgan_lib.synthesis.spec import SynthesisSpec


@dataclass(frozen=True)
class Workspace:
    """The files of one run; every notebook opens the same one and may be run alone."""

    profile: Profile
    folder: Path

    @cached_property
    def generator(self) -> RecordedGenerator | VQGAN:
        return self.profile.generator()

    def head(self, config: HeadTraining = HeadTraining()) -> Head:  # noqa: B008
        """The label head of the shipped annotations: the one in the folder, else trained and saved.

        A head that stands there is taken as it is, whatever the settings: notebook 03 may have trained it.
        """
        folder = self.folder / ("parts_head" if config.parts else "head")
        if not (folder / "head.json").exists():
            save_head(train_head(*self.profile.annotated(), config)[0], folder)
        return load_head(folder)

    def synthetic(self, images_per_class: int, head: Head | None = None) -> ShardedSet:
        """BigGAN-sim or VQGAN-sim: images of every class with the head's labels; what is there is kept."""
        head = head or self.head()
        classes = tuple(range(len(self.profile.classes)))
        spec = SynthesisSpec(
            self.generator.sha256,
            head.sha256,
            classes,
            images_per_class,
            self.profile.sampling,
            licence=self.profile.licence,
        )
        models = Models(self.generator, head)
        return synthesize(spec, models, self.folder / f"synthetic_{spec.hash()[:8]}", os.cpu_count() or 1)
