"""Checkpoints become safetensors with the tensors they hold; what asks for more is refused, never run."""

import argparse
import datetime
import decimal
import fractions
import io
import os
import pickle
import random
import signal
import subprocess
import sys
import time
import types
import uuid
import zipfile
from collections import Counter, OrderedDict, defaultdict, deque
from contextlib import suppress
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
import pytorch_lightning as pl
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


BESIDE = {  # what scripts and trainers save beside the weights
    "numpy scalars": [np.float64(1.5), np.float32(1), np.int64(3), np.bool_(True), np.str_("a")],
    "numpy arrays": [np.arange(3), np.array([{}], object), np.zeros(2, [("a", "i4")])],
    "numpy types": [np.dtype("f4"), np.float32, np.ndarray],
    "numpy's random state": np.random.RandomState(0).get_state(),
    "numpy's random generators": [
        np.random.RandomState(0), np.random.SeedSequence(3), np.random.default_rng(0),
        np.random.Generator(np.random.Philox(1)), np.random.Generator(np.random.SFC64(1)),
    ],
    "random numbers": [random.Random(0), random.getstate(), torch.Generator(), torch.get_rng_state()],
    "paths": [Path("runs"), PureWindowsPath("runs")],
    "arguments": argparse.Namespace(out=Path("runs"), lr=0.1, device=torch.device("cpu")),
    "a namespace": types.SimpleNamespace(a=1),
    "collections": [OrderedDict(a=1), Counter("aab"), defaultdict(list, a=[1]), deque([1, 2], 3), {1, 2}],
    "times": [
        datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc), datetime.date(2026, 1, 2),
        datetime.timedelta(3), datetime.time(3),
    ],
    "numbers": [decimal.Decimal("1.5"), fractions.Fraction(1, 3), 1j, 1 << 200, float("nan")],
    "builtins": [uuid.UUID(int=1), frozenset([1]), slice(1, 2), range(3), b"a", bytearray(b"a"), int, ...],
    "torch's values": [torch.device("cpu"), torch.half, torch.Size([1]), torch.strided, torch.__version__],
    "modules and optimizers": [torch.nn.LayerNorm, torch.optim.SGD([torch.ones(1)], 0.1)],
}  # fmt: skip


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_what_trainers_save_beside_the_weights_does_nothing(tmp_path, legacy):
    beside = BESIDE if not legacy else {k: v for k, v in BESIDE.items() if not k.startswith("modules")}
    for name, value in beside.items():
        path = tmp_path / f"{name}.pt"
        state = {"epoch": 3, "state_dict": tensors(), "extra": value}
        torch.save(state, path, _use_new_zipfile_serialization=not legacy)
        read, note = read_weights(path)
        assert (read.keys(), note) == (tensors().keys(), ""), name


def test_a_whole_checkpoint_of_timm_and_of_a_script_converts(tmp_path):
    timm = {
        "epoch": 3, "arch": "resnet50", "state_dict": tensors(), "version": 2, "metric": np.float64(71.2),
        "optimizer": torch.optim.SGD([torch.ones(1)], 0.1).state_dict(), "state_dict_ema": tensors(),
        "args": argparse.Namespace(data_dir=Path("data"), mean=np.array([0.5]), device=torch.device("cpu")),
    }  # fmt: skip
    torch.save({"model": tensors(), "timm": timm, **BESIDE}, tmp_path / "script.pt")
    assert_converts(tmp_path / "script.pt", tensors(), tmp_path)
    torch.save(timm, tmp_path / "timm.pt")
    tensors_read, note = read_weights(tmp_path / "timm.pt")
    assert tensors_read.keys() == tensors().keys() and note == "took state_dict_ema, not state_dict"


def test_a_checkpoint_that_lightning_s_trainer_saved_converts(tmp_path):
    class Module(pl.LightningModule):
        def __init__(self, **settings):
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch):
            self.log("loss", loss := self.layer(batch).mean())
            return loss

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters())

    module = Module(out=tmp_path, seed=np.int64(3), args=argparse.Namespace(a=1), device=torch.device("cpu"))
    settings = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    callback = pl.callbacks.ModelCheckpoint(tmp_path, monitor="loss")
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", callbacks=[callback], **settings)
    trainer.fit(module, torch.utils.data.DataLoader(torch.ones(2, 2)))
    assert_converts(Path(callback.best_model_path), module.state_dict(), tmp_path)


def test_weights_that_lie_in_an_object_or_an_array_are_not_passed_over_in_silence(tmp_path):
    torch.save({"model": weights(0), "ema": torch.nn.Linear(1, 1)}, tmp_path / "c.pt")
    assert read_weights(tmp_path / "c.pt")[1] == "took model, not ema (an object)"
    torch.save({"model": weights(0) | {"bias": np.ones(3)}}, tmp_path / "c.pt")
    with pytest.raises(BdganError, match="expected tensors, got a numpy array: bias"):
        read_weights(tmp_path / "c.pt")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "c.pt")
    with pytest.raises(BdganError, match=r"no tensors by name.*state_dict\(\)"):
        read_weights(tmp_path / "c.pt")


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


@pytest.mark.parametrize(
    ("form", "protocol"),
    [(form, p) for form in ("plain", "legacy", "zip") for p in range(0 if form == "plain" else 2, 6)],
)
def test_a_refusal_names_what_the_file_asks_for_and_gives_no_advice_of_torch(tmp_path, form, protocol):
    state = {"state_dict": weights(0), "x": Gadget((os.system, (f"touch {tmp_path / 'ran'}",)))}
    if form == "plain":
        (tmp_path / "c.pt").write_bytes(pickle.dumps(state, protocol))
    else:
        zipped = form == "zip"
        torch.save(state, tmp_path / "c.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    with pytest.raises(BdganError, match=r"^it asks for .*posix\.system.*, which could run; ask") as error:
        read_weights(tmp_path / "c.pt")
    assert not (tmp_path / "ran").exists()
    assert not any(word in str(error.value) for word in ("weights_only", "torch.load", "\n"))


def torchscript():
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), file)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda: pickle.dumps({"w": np.ones(3)}), "is no file of torch.save"),
        (lambda: b"<html>login</html>", "is no file of torch.save"),
        (torchscript, "is a TorchScript program"),
    ],
)
def test_files_that_torch_would_give_advice_about_are_refused_in_our_words(tmp_path, content, reason):
    (tmp_path / "c.pt").write_bytes(content())
    with pytest.raises(BdganError, match=reason) as error:
        read_weights(tmp_path / "c.pt")
    assert not any(word in str(error.value) for word in ("weights_only", "torch.load", "Please"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [(name, "holds no tensors by name") for name in (
        "__main__ Config", "timm.utils.metrics AverageMeter", "yacs.config CfgNode", "pathlib PosixPath",
        "numpy.core.multiarray scalar", "pathlib._local PosixPath", "omegaconf.dictconfig DictConfig",
    )] + [(name, "which could run") for name in (
        "__main__ run", "__main__ os.system", "pytorch_lightning.os system", "pathlib Path.touch",
        "datetime datetime.now", "random Random.seed", "torch.nn.functional relu", "torch load",
        "numpy load", "mylib Config", "builtins type", "functools partial", "logging getLogger",
    )],
)  # fmt: skip
def test_values_and_classes_of_trainers_are_passed_over_and_functions_are_refused(tmp_path, name, reason):
    write_zip(tmp_path / "c.pt", named_pickle(*name.split(" "), ()))
    with pytest.raises(BdganError, match=reason):
        read_weights(tmp_path / "c.pt")


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
        ({"g": weights(0), "d": weights(0), "g_ema": weights(1)}, "took g_ema, not g, d"),  # rosinality
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
        ({"model": weights(0), "model_ema_state_dict": weights(1)}, "took model_ema_state_dict, not model"),
        ({"ema_weights": weights(1), "model": weights(0)}, "took ema_weights, not model"),
        ({"netG": weights(0), "netD": weights(0), "netG_ema": weights(1)}, "took netG_ema, not netG, netD"),
        ({"net_g": weights(0), "net_g_ema": weights(1)}, "took net_g_ema, not net_g"),
        ({"netD_ema": weights(0), "netG_ema": weights(1)}, "took netG_ema, not netD_ema"),
        ({"modelEma": weights(1), "state_dict": weights(0)}, "took modelEma, not state_dict"),
        ({"netG": weights(1), "netD": weights(0)}, "took netG, not netD"),
        ({"net_g": weights(1)}, ""),
        ({"model": weights(1), "cinema": weights(0)}, "took model, not cinema"),
        ({"model": weights(1), "d_ema": {"conv.weight": torch.zeros(3)}}, "took model, not d_ema"),
        ({"model": weights(1), "a\x1b[31m": weights(0)}, r"took model, not 'a\x1b[31m'"),
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


@pytest.mark.parametrize("place", ["script", "interpreter"])
def test_modules_in_the_current_folder_are_not_run(tmp_path, monkeypatch, place):
    torch.save(tensors(), tmp_path / "c.pt")
    for name in ("torch", "zipfile", "runpy", "bdgan_lib", "numpy", "safetensors"):
        (tmp_path / f"{name}.py").write_text("open('RAN', 'w')")
    monkeypatch.chdir(tmp_path)
    if place == "interpreter":
        monkeypatch.setattr(sys, "path", ["", *sys.path])
    assert_converts(Path("c.pt"), tensors(), tmp_path)
    assert not Path("RAN").exists()


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are seen as Linux shows them")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_the_converter_ends_with_its_parent(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")  # the converter waits for a writer
    program = f"""import sys; sys.path[:] = {sys.path}
from pathlib import Path
from bdgan_lib.checkpoints import unpickle
Path.is_file = lambda path: True
print(flush=True)
unpickle.convert_checkpoint(Path({str(tmp_path / "pipe")!r}), Path({str(tmp_path / "out")!r}))"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    parent.stdout.readline()

    def children():
        text = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text("utf-8")
        return [int(child) for child in text.split()]

    def alive(process):
        path = Path(f"/proc/{process}/status")
        return path.exists() and "State:\tZ" not in path.read_text("utf-8")

    writer = None
    while writer is None:
        time.sleep(0.05)
        with suppress(OSError):
            writer = os.open(tmp_path / "pipe", os.O_WRONLY | os.O_NONBLOCK)  # once it reads
    (child,) = children()
    parent.send_signal(getattr(signal, name))
    parent.wait(30)
    end = time.monotonic() + 10  # before its own limit
    while time.monotonic() < end and alive(child):
        time.sleep(0.1)
    os.close(writer)
    assert not alive(child)


def test_two_tensors_of_one_name_are_refused(tmp_path):
    torch.save({1: torch.ones(2), "1": torch.zeros(2)}, tmp_path / "c.pt")
    with pytest.raises(BdganError, match="have one name"):
        read_weights(tmp_path / "c.pt")
