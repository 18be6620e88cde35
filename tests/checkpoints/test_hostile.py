"""Hostile checkpoints: the converter ends in time, within its memory, and runs nothing that they ask for."""

import faulthandler
import io
import os
import pickle
import random
import signal
import struct
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bdgan_lib.checkpoints import unpickle
from bdgan_lib.core.types import BdganError

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits are those of Linux")

# Pickles by hand, protocol 2. MEMO n puts the top of the stack aside, GET n brings it back.
START, END, MARK, DICT, TUPLE = b"\x80\x02", b".", b"(", b"}", b"t"


def text(x):
    return b"X" + struct.pack("<I", len(x.encode())) + x.encode()


def number(x):
    return b"J" + struct.pack("<i", x) if abs(x) < 1 << 31 else b"\x8a\x08" + struct.pack("<q", x)


def put(n):
    return b"r" + struct.pack("<I", n)


def get(n):
    return b"j" + struct.pack("<I", n)


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def call(module, name, *arguments):
    return named(module, name) + MARK + b"".join(arguments) + b"tR"


def sizes(*xs):
    return MARK + b"".join(map(number, xs)) + TUPLE


def storage(kind="FloatStorage", key="0", count=1):
    location = text("storage") + named("torch", kind) + text(key) + text("cpu") + number(count)
    return MARK + location + b"tQ"


def tensor(size=(1,), stride=(1,), offset=0, count=1):
    return call("torch._utils", "_rebuild_tensor_v2", storage(count=count), number(offset),
                sizes(*size), sizes(*stride), b"\x89", EMPTY)  # fmt: skip


EMPTY = call("collections", "OrderedDict")
W, FLOAT = text("w"), named("torch", "float32")


def holding(value, key="state_dict"):
    return DICT + text(key) + value + b"s"


def of(key, value=None):
    """{key: tensor}, for a key of any kind."""
    return DICT + key + (value or tensor()) + b"s"


BOMB = b")" + b"".join(put(0) + get(0) + b"\x86" for _ in range(64))  # ((((), ()), ...), ...): 2^64 leaves
DEEP = b")" + b"\x85" * 200_000
SELF = DICT + put(0) + MARK + b"".join(text(k) + get(0) for k in unpickle._WITHIN) + b"u"
NESTED = DICT + b"".join(text("model") + DICT for _ in range(20_000)) + b"s" * 20_000

PICKLES = {  # put into a zip file as torch writes it, with one storage of four bytes
    "holds itself": SELF,
    "two that hold each other": DICT + put(0) + text("ema") + DICT + put(1) + text("model") + get(0) + b"ss",
    "20,000 dictionaries deep": NESTED,
    "20,000 lists deep": holding(b"]" * 20_000 + b"a" * 19_999),
    "tuples as a key": of(BOMB),
    "tuples in a set": holding(call("__builtin__", "set", b"]" + BOMB + b"a")),
    "a deep tuple as a key": of(DEEP),
    "a deep tuple as a value": holding(DICT + text("x") + DEEP + b"s"),
    "tuples called": BOMB + b")R",
    "a million numbers": holding(b"]" + MARK + b"K\x01" * 1_000_000 + b"e"),
    "100,000 views": holding(DICT + tensor() + put(0) + b"0" + MARK
                             + b"".join(text(str(n)) + get(0) for n in range(100_000)) + b"u"),
    "rows repeated, 12 GB": of(W, tensor((3 << 30,), (0,))),
    "rows repeated, 100 of 400 MB": holding(DICT + MARK + b"".join(
        text(str(n)) + tensor((100 << 20,), (0,)) for n in range(100)) + b"u"),
    "rows repeated to 2^62": of(W, tensor((1 << 31, 1 << 31), (0, 0))),
    "sizes that overflow": of(W, tensor((1 << 40, 1 << 40), (0, 0))),
    "more than its storage": of(W, tensor((1 << 30,))),
    "a storage larger than the file": of(W, tensor((1 << 30,), count=1 << 30)),
    "a negative size": of(W, tensor((-5,))),
    "a negative stride": of(W, tensor((5,), (-1,))),
    "an offset of 2^62": of(W, tensor(offset=1 << 62)),
    "bytes, 1 TB": holding(call("__builtin__", "bytearray", number(1 << 40))),
    "bytes, 8 GB": holding(call("__builtin__", "bytearray", number(8 << 30))),
    "a tensor made, 40 GB": of(W, call("torch", "FloatTensor", number(10 << 30))),
    "a tensor made, 6 GB": of(W, call("torch", "Tensor", number(3 << 29))),
    "a sparse tensor": of(W, call("torch._utils", "_rebuild_sparse_tensor", named("torch", "strided"), b")")),
    "a tensor without storage": of(W, call("torch._utils", "_rebuild_meta_tensor_no_storage", FLOAT,
                                           sizes(1 << 40), sizes(1), b"\x89")),
    "a wrapper": of(W, call("torch._utils", "_rebuild_wrapper_subclass", named("torch", "Tensor"), FLOAT,
                            sizes(9), sizes(1), number(0), named("torch", "strided"),
                            call("torch", "device", text("cpu")), b"\x89")),
    "a device as a tensor": of(W, call("torch.nn.parameter", "Parameter", named("torch", "device"))),
    "a string longer than the file": DICT + b"X\xff\xff\xff\xff",
    "a lone surrogate as a name": of(b"X\x03\x00\x00\x00\xed\xa0\x80"),
    "safetensors' own key as a name": of(text("__metadata__")),
    "a path as a name": of(text("../../etc/passwd")),
    "a name of 20 MB": of(text("n" * (20 << 20))),
    "a codec": holding(call("_codecs", "encode", text("x"), text("../../evil"))),
    "os.system": holding(call("os", "system", text("touch RAN"))),
    "posix.system": holding(call("posix", "system", text("touch RAN"))),
    "subprocess.Popen": holding(call("subprocess", "Popen", text("touch RAN"))),
    "eval": holding(call("__builtin__", "eval", text("open('RAN', 'w')"))),
    "exec": holding(call("__builtin__", "exec", text("open('RAN', 'w')"))),
    "getattr": holding(call("__builtin__", "getattr", named("os", "path"), text("os"))),
    "socket.create_connection": holding(call("socket", "create_connection", sizes(1, 2))),
    "torch.load": holding(call("torch", "load", text("RAN"))),
    "torch.ops.load_library": holding(call("torch.ops", "load_library", text("RAN"))),
    "under a framework's name": holding(call("pytorch_lightning.os", "system", text("touch RAN"))),
    "a rebuilt type": of(W, call("torch._tensor", "_rebuild_from_type_v2", named("os", "system"),
                                 named("torch", "Tensor"), MARK + text("touch RAN") + TUPLE, DICT)),
    "a state set": holding(EMPTY + DICT + text("__class__") + named("os", "system") + b"sb"),
    "protocol 4": b"\x80\x04" + b"\x8c\x02os\x8c\x06system\x93" + text("touch RAN") + b"\x85R",
    "an old opcode": MARK + text("touch RAN") + b"ios\nsystem\n",
    "an extension": b"\x82\x01",
    "no end": DICT * 100,
    "nothing": b"",
}  # fmt: skip


def zip_bytes(data, **more):
    """A checkpoint as torch writes it, with this pickle."""
    file = io.BytesIO()
    torch.save({"a": torch.ones(1)}, file)
    whole, out = zipfile.ZipFile(file), io.BytesIO()
    with zipfile.ZipFile(out, "w") as again:
        for name in whole.namelist():
            again.writestr(name, data if name.endswith("data.pkl") else whole.read(name))
        for name, content in more.items():
            again.writestr(f"archive/{name.replace('__', '/')}", content)
    return out.getvalue()


def packed_zeros(data, megabytes):
    """The same with its storage "0" as zeros, packed by deflate: a thousandth of what it becomes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    chunk = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    raw = chunk * megabytes + b"\x03\x00"
    content = zip_bytes(data, data__1=raw)
    old = struct.pack("<II", len(raw), len(raw))
    new = struct.pack("<II", len(raw), megabytes << 20)
    local, central = content.find(old), content.rfind(old)
    for place, method in ((local, local - 10), (central, central - 10)):
        content = content[:place] + new + content[place + 8 :]
        content = content[:method] + struct.pack("<H", 8) + content[method + 2 :]
    return content


def tar_bytes():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("sys_info", "pickle", "storages", "tensors", "../RAN"):
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
    return out.getvalue()


def legacy_bytes(body, storages=b""):
    """The older format: magic number, version, system, pickle, storages."""
    head = [pickle.dumps(x, 2) for x in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    return b"".join(head) + START + body + END + storages


def old_tensor(count):
    kind = named("torch", "FloatStorage")
    location = MARK + text("storage") + kind + text("0") + text("cpu") + number(count) + b"Nt"
    return call(
        "torch._utils", "_rebuild_tensor_v2", location + b"Q", number(0), sizes(1), sizes(1), b"\x89", EMPTY
    )


PACKED = of(W, tensor((3 << 28,), count=3 << 28).replace(text("0"), text("1")))
SCRIPT = {"constants.pkl": START + b")" + END, "code__m.py": b"1/0"}
FILES = {  # made when they are asked for
    "empty": lambda: b"",
    "a web page": lambda: b"<!DOCTYPE html><title>Sign in</title>",
    "random bytes": lambda: random.Random(0).randbytes(5000),
    "a tar file": tar_bytes,
    "TorchScript": lambda: zip_bytes(START + DICT + END, **SCRIPT),
    "two files": lambda: zip_bytes(START + of(W) + END) + zip_bytes(START + PICKLES["os.system"] + END),
    "packed zeros, 3 GB": lambda: packed_zeros(START + PACKED + END, 3 << 10),
    "an older file, 40 GB": lambda: legacy_bytes(of(W, old_tensor(10 << 30))),
    "an older file, os.system": lambda: legacy_bytes(PICKLES["os.system"]),
    "a plain pickle": lambda: START + PICKLES["os.system"] + END,
}


def hostile(name):
    return FILES[name]() if name in FILES else zip_bytes(START + PICKLES[name] + END)


def watch(allowed):
    """From now on this process tells descriptor 3 of what no checkpoint should be able to do."""
    never = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn")

    def hook(event, arguments):
        ran = event in never or event.startswith("socket.")
        if event == "exec":  # the import of a module from its file is none
            code = arguments[0]
            ran = code.co_name != "<module>" or not Path(code.co_filename).is_file()
        if event == "open" and isinstance(arguments[2], int):
            writes = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            ran = bool(writes) and not str(arguments[0]).startswith(allowed)
        if ran:
            os.write(3, f"{event} {arguments}\n".encode())

    sys.addaudithook(hook)


def convert(checkpoint, out, work=unpickle.main):
    """Fork into the converter: (status, what it should not have done, its errors, seconds, bytes)."""
    read, write = os.pipe()
    errors = out.with_suffix(".err")
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096
    begin, process = time.monotonic(), os.fork()
    if not process:
        status = 99
        try:
            faulthandler.disable()  # a crash is an answer here
            os.dup2(write, 3)
            os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
            sys.stderr = os.fdopen(2, "w")
            sys.argv = ["unpickle", str(checkpoint), str(out)]
            os.chdir(out.parent)
            watch(str(out.parent))
            work()
            status = 0
        except SystemExit as error:
            status = error.code
        finally:
            sys.stderr.flush()
            os._exit(status)
    os.close(write)
    with os.fdopen(read) as pipe:
        ran = pipe.read()
    _, status, usage = os.wait4(process, 0)
    status = os.waitstatus_to_exitcode(status)
    return status, ran, errors.read_text(), time.monotonic() - begin, usage.ru_maxrss * 1024 - resident


@pytest.mark.parametrize("name", [*PICKLES, *FILES])
def test_a_hostile_checkpoint_runs_nothing_and_ends_in_time_and_memory(name, tmp_path):
    path, out = tmp_path / "c.pt", tmp_path / "out" / "c.safetensors"
    out.parent.mkdir()
    path.write_bytes(hostile(name))
    status, ran, error, seconds, memory = convert(path, out)
    assert not ran and not (out.parent / "RAN").exists()
    assert seconds < 60 and memory < 2 << 30
    assert status in (0, 2, -signal.SIGXCPU, -signal.SIGALRM, -signal.SIGSEGV), error
    if status == 0:
        assert sum(x.nbytes for x in load_file(out).values()) < 1 << 20
    else:
        assert not out.exists() and error.count("\n") <= 1


def test_the_watch_sees_what_runs(tmp_path):
    def work():
        subprocess.run(["true"])
        exec("open('/tmp/x', 'a').close()")
        __import__("socket").socket()

    ran = convert(tmp_path / "c", tmp_path / "out", work)[1]
    assert {line.split()[0] for line in ran.splitlines()} >= {
        "subprocess.Popen",
        "exec",
        "open",
        "socket.__new__",
    }


@pytest.mark.parametrize(
    ("code", "reason"), [(-24, "longer than"), (-14, "longer than"), (-11, "crashed"), (-9, "crashed")]
)
def test_a_converter_that_was_stopped_is_told_in_one_line(tmp_path, monkeypatch, code, reason):
    (tmp_path / "c.pt").write_bytes(b"")
    stopped = subprocess.CompletedProcess([], code, "", "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: stopped)
    with pytest.raises(BdganError, match=rf"c\.pt was not converted: .*{reason}"):
        unpickle.convert_checkpoint(tmp_path / "c.pt", tmp_path / "out")


def mutated(content, rng):
    """Bytes flipped, cut off, doubled or exchanged; or the members of the zip file exchanged."""
    kind, data = rng.randrange(4), bytearray(content)
    if kind == 0:
        for _ in range(rng.choice((1, 3, 30))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[rng.randrange(len(data)) :]
    elif kind == 2:
        a, b = sorted(rng.randrange(len(data)) for _ in range(2))
        data[a:b] = data[a:b] * rng.choice((0, 2))
    elif zipfile.is_zipfile(io.BytesIO(content)):
        whole, out = zipfile.ZipFile(io.BytesIO(content)), io.BytesIO()
        names = whole.namelist()
        with zipfile.ZipFile(out, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as again:
            for name, other in zip(names, rng.sample(names, len(names)), strict=True):
                again.writestr(name, whole.read(other))
        return out.getvalue()
    return bytes(data)


def fuzz(path, count, seed=0):
    """Read mutated files, of today's format and of the older one; how many could be read."""
    rng, originals, good = random.Random(seed), [], 0
    state = {f"blocks.{n}.weight": torch.randn(3, 4)[:, ::2] for n in range(3)}
    for legacy in (False, True):
        file = io.BytesIO()
        torch.save(
            {"epoch": 3, "state_dict": state, "g_ema": state, "opt": {"lr": 0.1, "betas": (0.9, 0.99)}},
            file,
            _use_new_zipfile_serialization=not legacy,
        )
        originals.append(file.getvalue())
    for _ in range(count):
        path.write_bytes(mutated(rng.choice(originals), rng))
        try:
            good += len(unpickle.read_tensors(path)) > 0
        except BdganError as error:
            assert "\n" not in str(error)
    return good


def test_a_damaged_file_is_read_or_refused_with_the_documented_error(tmp_path):
    def work():
        good = fuzz(tmp_path / "c.pt", 2000)
        assert 100 < good < 1000

    status, ran, error, *_ = convert(tmp_path / "c.pt", tmp_path / "out", work)
    assert (status, ran) == (0, ""), error
