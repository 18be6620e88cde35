"""A run's folder: what one notebook makes and a later one needs, made on first use and found again."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bdgan_lib.datasets.shards import ShardedSet
from bdgan_lib.generators.feature_generator import FeatureGenerator
from bdgan_lib.generators.vqgan import VQGAN
from bdgan_lib.heads.base import Head
from bdgan_lib.heads.files import load_head, save_head
from bdgan_lib.heads.training import HeadTraining, launch_fabric, train_head
from bdgan_lib.heads.training_data import batch_that_fits
from bdgan_lib.profiles import Profile
from bdgan_lib.profiles.annotated import labelled_classes, training_annotations
from bdgan_lib.synthesis.filters import Models
from bdgan_lib.synthesis.job import synthesize
from bdgan_lib.synthesis.spec import SynthesisSpec


@dataclass(frozen=True)
class Workspace:
    """The files of one run; every notebook opens the same one and may be run alone."""

    profile: Profile
    folder: Path
    device: str = "cpu"  # where samples are drawn, labelled and learned from

    @cached_property
    def generator(self) -> FeatureGenerator | VQGAN:
        """The profile's generator, on the run's device."""
        return self.profile.generator(self.device)

    def head(self, config: HeadTraining = HeadTraining()) -> Head:  # noqa: B008
        """The label head of the annotations: the one in the folder, else trained and saved.

        A head that stands there is taken as it is, whatever the settings: notebook 03 may have trained it.
        Either way it has not seen the annotations that are held out to score with.
        """
        folder = self.folder / ("parts_head" if config.parts else "head")
        if not (folder / "head.json").exists():
            generator, annotations = training_annotations(self.profile, self.device, hold_out=True)
            fabric = launch_fabric(self.device)
            save_head(train_head(generator, annotations, config, fabric=fabric)[0], folder)
        return load_head(folder).to(self.device)

    def synthetic(self, images_per_class: int, head: Head | None = None) -> ShardedSet:
        """BigGAN-sim or VQGAN-sim: every labelled class, labelled by the head; what is there is kept."""
        head = head or self.head()
        models, profile = Models(self.generator, head), self.profile
        size = batch_that_fits(self.generator.blocks, SynthesisSpec.batch_size)
        settings = labelled_classes(profile), images_per_class, profile.sampling
        spec = SynthesisSpec.for_models(models, *settings, batch_size=size, licence=profile.licence)
        folder = self.folder / f"synthetic_{spec.hash()[:8]}"
        workers = min(os.cpu_count() or 1, spec.num_shards) if self.device == "cpu" else 1
        return synthesize(spec, models, folder, workers)
