"""Checkpoints become safetensors with the tensors they hold; what asks for more is refused, never run."""

import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bdgan_lib.checkpoints.unpickle import convert_checkpoint, read_tensors, read_weights
from bdgan_lib.core.types import BdganError


def assert_converts(path, wanted, tmp_path):
    out = tmp_path / "out.safetensors"
    convert_checkpoint(path, out)
    found = load_file(out)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(found[name], value) and found[name].dtype == value.dtype


def tensors():
    shared = torch.arange(12.0).reshape(3, 4)
    return OrderedDict(a=shared, b=shared.T, half=torch.ones(2).half(), count=torch.tensor(7))


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_the_tensors_come_through_as_they_are(tmp_path, legacy):
    torch.save(tensors(), tmp_path / "c.pt", _use_new_zipfile_serialization=not legacy)
    assert_converts(tmp_path / "c.pt", tensors(), tmp_path)


def test_a_lightning_checkpoint_gives_its_weights_and_its_other_objects_do_nothing(tmp_path, monkeypatch):
    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")

    class ModelCheckpoint:
        pass

    ModelCheckpoint.__module__, ModelCheckpoint.__qualname__ = module.__name__, "ModelCheckpoint"
    module.ModelCheckpoint = ModelCheckpoint
    monkeypatch.setitem(sys.modules, module.__name__, module)
    callback = ModelCheckpoint()
    callback.best = 3
    checkpoint = {"epoch": 5, "callbacks": {ModelCheckpoint: {"best": callback}}, "state_dict": tensors()}
    torch.save(checkpoint, tmp_path / "c.ckpt")
    assert_converts(tmp_path / "c.ckpt", tensors(), tmp_path)


GADGETS = {
    "os.system": lambda p: (os.system, (f"touch {p}",)),
    "os.popen": lambda p: (os.popen, (f"touch {p}",)),
    "os.mkdir": lambda p: (os.mkdir, (p,)),
    "os.open": lambda p: (os.open, (p, os.O_CREAT)),
    "os.execl": lambda p: (os.execl, ("/usr/bin/touch", "touch", p)),
    "os.posix_spawn": lambda p: (os.posix_spawn, ("/usr/bin/touch", ["touch", p], {})),
    "open": lambda p: (open, (p, "w")),
    "eval": lambda p: (eval, (f"open({p!r}, 'w')",)),
    "exec": lambda p: (exec, (f"open({p!r}, 'w')",)),
    "compile": lambda p: (compile, (f"open({p!r}, 'w')", "x", "exec")),
    "__import__": lambda p: (__import__, ("antigravity",)),
}
NAMED = {  # by module and name: more than importing here would be polite
    "subprocess Popen": lambda p: (["touch", p],),
    "subprocess call": lambda p: (["touch", p],),
    "subprocess check_output": lambda p: (["touch", p],),
    "pty spawn": lambda p: (["touch", p],),
    "shutil copyfile": lambda p: ("/etc/hostname", p),
    "runpy run_path": lambda p: (p,),
    "importlib import_module": lambda p: ("antigravity",),
    "timeit timeit": lambda p: (f"open({p!r}, 'w')", "pass", None, 1),
    "code interact": lambda p: (),
    "torch.serialization load": lambda p: (p,),
    "torch.hub load_state_dict_from_url": lambda p: ("http://localhost:1/x",),
    "functools partial": lambda p: (open, p, "w"),
    "operator attrgetter": lambda p: ("system",),
    "builtins getattr": lambda p: (os, "system"),
    "codecs open": lambda p: (p, "w"),
    "io FileIO": lambda p: (p, "w"),
    "pathlib Path.touch": lambda p: (),
    "tempfile NamedTemporaryFile": lambda p: (),
    "logging FileHandler": lambda p: (p,),
    "numpy savetxt": lambda p: (p, [1.0]),
    "pickle loads": lambda p: (b"cos\nsystem\n(S'touch " + os.fsencode(p) + b"'\ntR.",),
    "_pickle loads": lambda p: (b"cos\nsystem\n(S'touch " + os.fsencode(p) + b"'\ntR.",),
    "marshal loads": lambda p: (b"",),
    "ctypes CDLL": lambda p: ("libc.so.6",),
}


class Gadget:
    def __init__(self, made):
        self.made = made

    def __reduce__(self):
        return self.made


def named_pickle(module, name, arguments):
    """A pickle that calls module.name(*arguments), written by hand."""
    body = b"".join(
        pickle.dumps(a, protocol=2)[2:-1] for a in arguments if not isinstance(a, types.ModuleType)
    )
    return b"\x80\x02c" + module.encode() + b"\n" + name.encode() + b"\n(" + body + b"tR."


def write_zip(path, data):
    """A file that looks like a checkpoint of today, with this pickle in it."""
    torch.save({"a": torch.ones(1)}, path)
    with zipfile.ZipFile(path) as whole:
        entries = {i.filename: whole.read(i) for i in whole.infolist()}
    with zipfile.ZipFile(path, "w") as again:
        for name, content in entries.items():
            again.writestr(name, data if name.endswith("data.pkl") else content)


def all_gadgets():
    return [*GADGETS, *NAMED]


def test_no_malicious_pickle_runs(tmp_path):
    """Every gadget in both formats; one process each would be slow, so all refusals are read in this one."""
    assert len(all_gadgets()) >= 30
    for number, name in enumerate(all_gadgets()):
        mark = str(tmp_path / f"ran{number}")
        if name in GADGETS:
            data = pickle.dumps({"state_dict": Gadget(GADGETS[name](mark))}, protocol=2)
        else:
            module, function = name.split(" ")
            data = named_pickle(module, function, NAMED[name](mark))
        for form in ("legacy", "zip"):
            path = tmp_path / f"{number}.{form}"
            path.write_bytes(data) if form == "legacy" else write_zip(path, data)
            with pytest.raises(BdganError):
                read_tensors(path)
            assert not Path(mark).exists(), f"{name} ran from a {form} file"


def test_the_refusal_of_the_process_is_told_in_one_line(tmp_path):
    path = tmp_path / "evil.pt"
    write_zip(path, pickle.dumps({"a": Gadget((os.system, (f"touch {tmp_path / 'ran'}",)))}, protocol=2))
    with pytest.raises(BdganError, match=r"evil\.pt was not converted: .*system") as error:
        convert_checkpoint(path, tmp_path / "out.safetensors")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists() and not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("content", [b"", b"<html>login</html>", b"\x80\x02}q\x00.", b"PK\x03\x04 cut off"])
def test_what_is_no_checkpoint_is_refused_and_leaves_nothing(tmp_path, content):
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(BdganError, match=r"c\.pt was not converted"):
        convert_checkpoint(tmp_path / "c.pt", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
    with pytest.raises(BdganError, match="missing"):
        convert_checkpoint(tmp_path / "none.pt", tmp_path / "out.safetensors")


def weights(value):
    return {"conv.weight": torch.full((2,), float(value))}


@pytest.mark.parametrize(
    ("checkpoint", "note"),
    [
        ({"g": weights(0), "d": weights(0), "g_ema": weights(1)}, "took g_ema, not g"),  # rosinality
        ({"state_dict": weights(0), "ema_state_dict": weights(1)}, "took ema_state_dict, not state_dict"),
        ({"state_dict": weights(0), "state_dict_ema": weights(1)}, "took state_dict_ema, not state_dict"),
        ({"params": weights(0), "params_ema": weights(1)}, "took params_ema, not params"),  # BasicSR
        ({"model": weights(0), "model_ema": weights(1)}, "took model_ema, not model"),  # DeiT
        ({"model": weights(0), "ema": {"decay": 0.9, "module": weights(1)}}, "took ema.module, not model"),
        ({"model": weights(1), "ema": {"decay": 0.9}}, ""),
        ({"student": weights(0), "teacher": weights(1)}, "took teacher, not student"),  # DINO
        ({"G_EMA": weights(1), "step": torch.tensor(3)}, "took G_EMA, not the top"),
        ({"model": weights(0), "ema": {"shadow": weights(1), "n": torch.ones(1)}},
         "took ema.shadow, not ema, model"),
        ({"state_dict": weights(1), "optimizer": {"state": {0: weights(0)}}}, ""),
        (weights(1), ""),
    ],
)  # fmt: skip
def test_averaged_weights_come_first_and_what_was_taken_is_told(tmp_path, checkpoint, note):
    torch.save(checkpoint, tmp_path / "c.pt")
    tensors, said = read_weights(tmp_path / "c.pt")
    assert tensors.keys() == {"conv.weight"} and torch.equal(tensors["conv.weight"], torch.ones(2))
    assert said == note


def test_the_converter_makes_the_folder_and_says_what_it_took(tmp_path):
    torch.save({"model": weights(0), "ema": weights(1)}, tmp_path / "c.pt")
    out = tmp_path / "new" / "folder" / "out.safetensors"
    assert convert_checkpoint(tmp_path / "c.pt", out) == "took ema, not model"
    assert out.stat().st_mode == (tmp_path / "c.pt").stat().st_mode, "readable by whom other files are"
    assert torch.equal(load_file(out)["conv.weight"], torch.ones(2))


def test_a_file_packed_again_gives_its_tensors_not_their_packed_bytes(tmp_path):
    torch.save({"w": torch.arange(1000.0)}, tmp_path / "c.pt")
    with (
        zipfile.ZipFile(tmp_path / "c.pt") as whole,
        zipfile.ZipFile(tmp_path / "packed.pt", "w", 8) as again,
    ):
        for name in whole.namelist():
            again.writestr(name, whole.read(name))
    assert torch.equal(read_tensors(tmp_path / "packed.pt")["w"], torch.arange(1000.0))
