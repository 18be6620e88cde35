"""Which recipes of `bdgan export --recipe` train: each is written and run as a user runs it.

python -m benchmarks.recipes                    all that can be installed beside the library
python -m benchmarks.recipes torchvision smp    some of them

MMSegmentation needs an environment of its own, named by BDGAN_MMSEG_PYTHON.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib
import numpy as np

from bdgan_lib.core.ids import sample_id
from bdgan_lib.core.labelled_arrays import LabelledSample
from bdgan_lib.datasets.formats.export import export_set
from bdgan_lib.datasets.shards import MANIFEST, ShardedSet, write_manifest, write_shard
from bdgan_lib.worlds.pocket import CLASSES, render

OPTIONS = {  # small enough for one core
    "torchvision": "--model lraspp_mobilenet_v3_large --lr 3e-3 --workers 0",
    "smp": "--encoder tu-mobilenetv3_small_050 --workers 0",
    "hf-trainer": "--lr 3e-3",
    "ultralytics": "--model tiny-seg.yaml --size 64 --workers 0",
}
CLASS_COUNT = dict.fromkeys((*OPTIONS, "mmseg"), len(CLASSES) + 1)
CLASS_COUNT["ultralytics"] = len(CLASSES)  # the background is no class of it
MMSEG = "BDGAN_MMSEG_PYTHON"  # of an environment with mmsegmentation, which does not install beside ours
MMSEG_TRAIN = """import runpy, sys, mmseg
sys.argv[0] = mmseg.__path__[0] + "/.mim/tools/train.py"
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# A segmentation model of Ultralytics, with six layers.
TINY = """nc: 80
backbone:
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, C3k2, [32, False, 0.5]]
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 1, C3k2, [64, False, 0.5]]
head:
  - [[2, 4], 1, Segment, [nc, 32, 32]]
"""
# Programs that load what was saved, and print how many channels the model's output has.
COUNTS = {
    "torchvision": """import torch
from torchvision.models import get_model
saved = torch.load("model.pt", weights_only=True)
model = get_model(saved["model"], weights=None, weights_backbone=None, num_classes=len(saved["names"]))
model.load_state_dict(saved["weights"])
print(model.eval()(torch.zeros(1, 3, 64, 64))["out"].shape[1])
""",
    "smp": """import torch, segmentation_models_pytorch as smp
print(smp.from_pretrained("model").eval()(torch.zeros(1, 3, 64, 64)).shape[1])
""",
    "hf-trainer": """import torch
from transformers import AutoModelForSemanticSegmentation
model = AutoModelForSemanticSegmentation.from_pretrained("model")
print(model(torch.zeros(1, 3, 64, 64)).logits.shape[1])
""",
    "ultralytics": """from ultralytics import YOLO
print(YOLO("runs/train/weights/best.pt").model.model[-1].cv3[0][-1].out_channels)
""",
    "mmseg": """import glob, torch
saved = torch.load(glob.glob("work_dir/epoch_*.pth")[0], weights_only=False)  # objects of mmengine
print(len(saved["state_dict"]["decode_head.conv_seg.weight"]))
""",
}
# Every look-up and connection of the program is noted and refused.
NO_NETWORK = """import os, sys
def refuse(event, arguments):
    host = {"socket.getaddrinfo": 0, "socket.connect": 1}.get(event)
    if host is not None and not isinstance(arguments[-1], str):  # of a socket in a file
        with open(os.environ["ASKED"], "a", encoding="utf-8") as file:
            file.write(f"{arguments[host]}\\n")
        raise OSError("no network here")
sys.addaudithook(refuse)
"""


@dataclass(frozen=True)
class Trial:
    """What a run of a recipe showed."""

    losses: list[float]  # in the order of the training
    classes: int  # channels of the trained model's output
    asked: str  # hosts that it tried to reach
    text: str  # that it printed

    @property
    def fell(self) -> bool:
        """Whether the losses are finite, and those of the last third lower than those of the first."""
        third = max(1, len(self.losses) // 3)
        means = np.mean(self.losses[:third]), np.mean(self.losses[-third:])
        return bool(np.isfinite(self.losses).all() and means[1] < means[0])


def write_pocket_set(folder: Path, count: int = 48) -> ShardedSet:
    """A set of drawn scenes: two columns of each are unlabelled, and one image as a whole."""
    folder.mkdir()
    samples = []
    for seed in range(count):
        class_id = seed % len(CLASSES)
        scene = render(class_id, seed)
        mask = scene.mask.copy()
        mask[:, 30:32] = 255
        if seed == 0:
            mask[:] = 255
        sample = LabelledSample(scene.image, mask, class_id, seed, sample_id(CLASSES[class_id], seed))
        samples.append((sample, {"class_name": CLASSES[class_id]}))
    shard = write_shard(folder / "shard_00000.tar", samples)
    write_manifest(folder / MANIFEST, [shard], {"spec": {}, "classes": list(CLASSES)})
    return ShardedSet(folder)


def run(recipe: str, out: Path, scratch: Path, epochs: int = 2, options: str = "") -> Trial:
    """Run what a recipe wrote, without a network, and load what it saved.

    Args:
        recipe: its name.
        out: where it was exported to.
        scratch: a folder for the home and the caches of the program.
        epochs: how many.
        options: further ones of its script.
    """
    names = ("HOME", "HF_HOME", "TORCH_HOME", "YOLO_CONFIG_DIR", "XDG_CACHE_HOME", "MPLCONFIGDIR", "SITE")
    places = {name: scratch / name.lower() for name in names}
    settings = places["YOLO_CONFIG_DIR"] / "Ultralytics"
    for folder in (*places.values(), settings):
        folder.mkdir(parents=True)
    (places["SITE"] / "sitecustomize.py").write_text(NO_NETWORK, "utf-8")
    (out / "tiny-seg.yaml").write_text(TINY, "utf-8")
    font = Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")
    shutil.copyfile(font, settings / "Arial.ttf")  # else Ultralytics asks the network for one
    asked = scratch / "asked"
    asked.touch()
    environment = os.environ | {name: str(folder) for name, folder in places.items()}
    environment |= {"PYTHONPATH": str(places["SITE"]), "ASKED": str(asked), "OMP_NUM_THREADS": "1"}
    environment |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "HF_HUB_OFFLINE": "1"}
    if recipe == "mmseg":
        python, script = os.environ[MMSEG], ["-c", MMSEG_TRAIN, "config.py"]
        script += ["--cfg-options", "default_hooks.logger.interval=1"]
        environment["BDGAN_EPOCHS"] = str(epochs)
    else:
        python, script = sys.executable, ["train.py", "--epochs", str(epochs), "--batch", "12"]
        script += f"--device cpu {OPTIONS[recipe]} {options}".split()

    def output(*arguments: str) -> tuple[str, str]:
        ended = subprocess.run(
            [python, *arguments], cwd=out, env=environment, capture_output=True, encoding="utf-8"
        )
        if ended.returncode:
            raise RuntimeError(f"{recipe} ended with {ended.returncode}:\n{ended.stderr[-4000:]}")
        return ended.stdout, ended.stderr

    text = "".join(output(*script))
    classes = int(output("-c", COUNTS[recipe])[0].split()[-1])
    return Trial(_losses(recipe, out, text), classes, asked.read_text("utf-8"), text)


def _losses(recipe: str, out: Path, text: str) -> list[float]:
    if recipe != "ultralytics":
        return [float(value) for value in re.findall(r"'?\bloss'?:? +'?([\d.]+|nan)", text)]
    header, *rows = (out / "runs/train/results.csv").read_text("utf-8").splitlines()
    column = [name.strip() for name in header.split(",")].index("train/seg_loss")
    return [float(row.split(",")[column]) for row in rows]


def recipes_trained(names: Sequence[str] = ()) -> list[str]:
    """The recipes whose loss fell here, without a network, and whose model has every class.

    Args:
        names: of recipes; all that can be tried if there is none, "mmseg" if `BDGAN_MMSEG_PYTHON` is set.
    """
    trained = []
    with TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        data = write_pocket_set(scratch / "set")
        for name in names or [*OPTIONS, *["mmseg"] * (MMSEG in os.environ)]:
            export_set(data, scratch / name, recipe=name, progress=False)
            trial = run(name, scratch / name, scratch / f"home of {name}")
            if trial.fell and trial.classes == CLASS_COUNT[name] and not trial.asked:
                trained.append(name)
    return trained


if __name__ == "__main__":
    print(json.dumps(recipes_trained(sys.argv[1:])))
