"""Makes data sets in a child process that is killed at random moments, until each is whole.

    OMP_NUM_THREADS=1 python tests/synthesis/killed.py FOLDER KILLS [SEED]

Prints one JSON: kills, data sets that came to their end, and of these how many differ from one never stopped.
"""

import json
import os
import random
import signal
import sys
import time
from hashlib import sha256
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
from bdgan_lib.core.sampling import Sample, Sampling
from bdgan_lib.datasets.shards import LOG
from bdgan_lib.datasets.validate import validate
from bdgan_lib.synthesis.filters import Models
from bdgan_lib.synthesis.job import synthesize
from bdgan_lib.synthesis.spec import Filters, SynthesisSpec


class Noise:
    """A generator and a head in one: noise, labelled by its sign."""

    name, sha256, classes, image_size = "noise", "n", ("robin", "mug"), 16
    labels = ("background", "foreground")
    blocks = {"low": (3, 16)}  # noqa: RUF012 (a stand-in)

    def sample(self, class_ids, seeds, sampling=Sampling(), features=True) -> Sample:  # noqa: B008
        z = torch.stack(
            [torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(int(s))) for s in seeds]
        )
        return Sample(z.clamp(-1, 1), {"low": z}, class_ids, seeds, sampling)

    def predict_with_uncertainty(self, sample):
        x = sample.features["low"].mean(1)
        return (x > 0).to(torch.uint8).numpy(), x.mean((1, 2)).abs().numpy()


MODELS = Models(Noise(), Noise())
SPEC = SynthesisSpec("n", "n", (0, 1), 40, Sampling(), 8, 10, filters=Filters(max_divergence=0.03))


def tree_hash(folder: Path) -> str:
    digest = sha256()
    for path in sorted(folder.iterdir()):
        if path.name != LOG:
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def main(root: Path, kills: int, seed: int) -> dict[str, int]:
    noise, counts = random.Random(seed), {"kills": 0, "whole": 0, "different": 0, "invalid": 0}
    began = time.monotonic()
    expected = tree_hash(synthesize(SPEC, MODELS, root / "never stopped", progress=False).folder)
    longest = max(0.06, (time.monotonic() - began) / 4)  # on a busy machine nothing is done in 60 ms
    while counts["kills"] < kills:
        folder = root / f"set{counts['whole']}"
        child = os.fork()
        if not child:
            synthesize(SPEC, MODELS, folder, progress=False)
            os._exit(0)
        time.sleep(noise.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        counts["kills"] += killed
        longest *= 1.05 if killed else 0.8  # so that some get far, but not most to the end
        if (folder / "manifest.json").exists():
            synthesize(SPEC, MODELS, folder, progress=False)  # the card may be missing still
            counts["whole"] += 1
            counts["different"] += tree_hash(folder) != expected
            counts["invalid"] += bool(validate(folder, progress=False))
    return counts


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)))
