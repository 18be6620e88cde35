"""What a process imports: commands about files start without torch, and samples need no compiler."""

import json
import subprocess
import sys

import pytest

from bdgan_lib.datasets.formats.names import SET_FORMATS

HEAVY = (
    "torch", "torchvision", "pandas", "matplotlib", "scipy", "skimage", "transformers", "sklearn", "ray",
    "pytorch_pretrained_biggan", "lightning_fabric", "rich",
)  # fmt: skip
SET = "the set"  # stands for its folder
COMMANDS = {
    "help": ["--help"],
    "help of a command": ["train-head", "--help"],
    "mistake": ["synthesize"],
    "list of weights": ["weights", "list"],
    "validate": ["validate", SET],
    "describe": ["describe", SET],
    **{f"export to {name}": ["export", SET, "--to", name, "--out", "out"] for name in SET_FORMATS},
}


def imported(code: str, *arguments: str, cwd: object = None) -> set[str]:
    """The modules that a process has imported when `code` ends."""
    report = "import atexit, json, sys; atexit.register(lambda: print('\\n' + json.dumps([*sys.modules])))\n"
    done = subprocess.run(
        [sys.executable, "-c", report + code, *arguments], capture_output=True, text=True, cwd=cwd
    )
    assert done.returncode in (0, 2) and "Traceback" not in done.stderr, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_command_about_files_imports_nothing_heavy(words, make_set, tmp_path):
    if SET in words:
        words = [str(make_set().folder) if word == SET else word for word in words]
    modules = imported("from bdgan_lib.cli import main; main()", *words, cwd=tmp_path)
    assert "typer" in modules
    allowed = {"pandas"} if "hf" in words else set()  # Hugging Face's own writer needs it
    assert not modules & ({*HEAVY} - allowed)
    if words == ["--help"]:
        assert not modules & {"numpy", "cv2", "PIL"}


def test_samples_are_drawn_without_torchs_compiler():
    code = """
import torch
from bdgan_lib import Sampling, load_profile
for name in ("pocket-vqgan", "pocket"):
    generator = load_profile(name).generator()
    generator.sample(torch.tensor([0]), torch.tensor([1]), Sampling())
    if name == "pocket-vqgan":
        import sys
        assert not {"pytorch_pretrained_biggan", "scipy.stats"} & {*sys.modules}
"""
    modules = imported(code)
    assert "pytorch_pretrained_biggan" in modules
    assert not modules & {"torch._dynamo", "sympy", "torchvision", "lightning_fabric", "matplotlib"}
