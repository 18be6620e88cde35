"""Pickled checkpoints become safetensors, once: read by a restricted unpickler, in a process without network.

    python -m bdgan_lib.checkpoints.unpickle CHECKPOINT OUT.safetensors

Objects that trainers save beside the weights are replaced by stand-ins that do nothing. A checkpoint that
asks for anything else is refused, and so is one that takes more time or memory than its size explains: the
process has limits of its own.
"""

import io
import os
import pickletools
import re
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NoReturn

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch._utils import IMPORT_MAPPING, NAME_MAPPING  # names of Python 2, which torch.save writes
from torch._weights_only_unpickler import _get_allowed_globals

from bdgan_lib.core.io import atomic_file, same_place
from bdgan_lib.core.parallel import exit_at_sigterm, module_command
from bdgan_lib.core.types import BdganError

# What trainers leave beside the weights: plain values of Python and numpy by their full names, and classes
# (they begin with a capital) of the script itself and of training frameworks. A stand-in replaces each.
_INERT = re.compile(
    r"""argparse\.Namespace|types\.SimpleNamespace|typing\.Any|collections\.(Counter|defaultdict|deque)
    |builtins\.(Ellipsis|bool|bytearray|complex|dict|float|frozenset|int|list|object|range|set|slice|str|tuple)
    |pathlib\.(_local\.)?(Pure)?(Posix|Windows)?Path|datetime\.(date|datetime|time|timedelta|timezone)
    |decimal\.Decimal|fractions\.Fraction|random\.Random|uuid\.(UUID|SafeUUID)
    |numpy\.(ndarray|dtype|dtypes\.[A-Z]\w*|bool_?|str_|bytes_|u?int\d+|float\d+|complex\d+|longlong|ulonglong)
    |numpy\.(core|_core)\.(multiarray\.(_reconstruct|scalar)|numeric\._frombuffer)
    |numpy\.random\._pickle\.__(bit_generator|generator|randomstate)_ctor
    |numpy\.random\.(bit_generator\.(SeedSequence|__pyx_unpickle_\w+)|_\w+\.(MT19937|PCG64(DXSM)?|Philox|SFC64))
    |torch\.(device|Size|torch_version\.TorchVersion|Generator|_C\.Generator)
    |(__main__|torch\.(nn\.modules|optim|amp|cuda\.amp|utils\.data)|addict|detectron2|easydict|fairseq|fvcore
      |lightning(_fabric)?|ml_collections|mmcv|mmengine|omegaconf|pytorch_lightning|timm|transformers|yacs)
     (\.\w+)*\._?[A-Z]\w*""",
    re.VERBOSE | re.ASCII,
)
_OLD_START = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # after the protocol: what torch.save wrote before zip files
_ADVICE = re.compile(  # of torch, to those who trust the file
    r"Weights only load failed\.|In PyTorch 2\.6, we changed .*?trusted source\.|WeightsUnpickler error:"
    r"|Please file an issue .*?case:|Check the documentation .*|\x1b\[\d*m",
    re.DOTALL,
)
_SAVE = "ask its author for the state dict alone, torch.save(model.state_dict(), FILE)"

_WITHIN = (  # where a checkpoint has its weights, if not at the top: first choice first, in any case
    "g_ema", "state_dict_ema", "ema_state_dict", "params_ema", "model_ema", "ema_model", "generator_ema",
    "ema", "shadow", "state_dict", "model_state_dict", "model", "teacher", "student", "params", "generator",
    "g", "netg", "net_g", "net", "module",
)  # fmt: skip
_EMA = re.compile(r"(?<![a-z])ema(?![a-z])")  # a word of other names: averaged weights of one of those
_DISCRIMINATOR = re.compile(r"(?<![a-z])(net_?)?d(is|isc|iscriminator)?(?![a-z])")  # a GAN's other network
_SHOWN = 10  # names in a note
_DEPTH = 8  # dictionaries within one another
_SPARE = 1 << 30  # bytes of memory beside what the tensors take
_SLOW = "reading it took longer than a file of its size should"


class Inert:
    """Takes the place of an object whose class we do not want: accepts anything, does nothing."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...

    def __setitem__(self, _: object, __: object) -> None: ...


class _InertArray(Inert): ...


class _InertDict:  # torch's unpickler puts items into plain dictionaries and lists alone
    def __new__(cls, *_: object) -> Any:
        return OrderedDict()


class _InertList:
    def __new__(cls, *_: object) -> Any:
        return []


def convert_checkpoint(checkpoint: Path, out: Path) -> str:
    """Write the tensors of a pickled checkpoint as safetensors, under the names they have there.

    Of several state dicts in one file, averaged weights (EMA) are taken first. The folder of `out` is made.

    Returns:
        Which weights were taken and which were not, "" if the file holds one state dict.

    Raises:
        BdganError: it is missing, damaged, holds no tensors, asks for anything that could run (the message
            names it), or takes too long (a minute for a small file) or too much memory to read.
    """
    if not checkpoint.is_file():
        raise BdganError(f"{checkpoint} is missing")
    if same_place(checkpoint, out):
        raise BdganError(f"{out} is the checkpoint itself; give another path for its safetensors")
    command = module_command("bdgan_lib.checkpoints.unpickle", str(checkpoint), str(out), "child")
    limit = None if hasattr(signal, "alarm") else 2 * _seconds(checkpoint.stat().st_size)
    read_end, write_end = os.pipe()  # the process ends where this one no longer holds the other end
    try:
        with exit_at_sigterm():
            process = subprocess.run(command, capture_output=True, text=True, stdin=read_end, timeout=limit)
    except subprocess.TimeoutExpired as error:
        raise BdganError(f"{checkpoint} was not converted: {_SLOW}") from error
    finally:
        os.close(read_end)
        os.close(write_end)
    if process.returncode:
        lines = process.stderr.strip().splitlines()
        slow = -process.returncode in (getattr(signal, "SIGALRM", 0), getattr(signal, "SIGXCPU", 0))
        reason = _SLOW if slow else lines[-1].removeprefix("refused: ") if lines else "reading it crashed"
        raise BdganError(f"{checkpoint} was not converted: {reason}")
    return process.stdout.strip()


def read_tensors(checkpoint: Path) -> dict[str, Tensor]:
    """As `read_weights`, the tensors alone."""
    return read_weights(checkpoint)[0]


def read_weights(checkpoint: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors of a checkpoint by name, and which state dict they are if it holds several; nothing is run.

    A hostile file can take any time and memory: call `convert_checkpoint` for files of others.

    Raises:
        BdganError: it is damaged, holds no tensors, or asks for anything that could run.
    """
    try:
        with torch.serialization.safe_globals(_stand_ins(checkpoint)):
            mapped = _stored(checkpoint)  # then read as needed: it may be larger than memory
            state = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=mapped)
        places = list(_places(state, (), set()))
        counts = [sum(isinstance(value, Tensor) for value in state_dict.values()) for _, state_dict in places]
        if not any(counts):
            raise BdganError(
                f"it holds no tensors by name, neither at its top nor under {', '.join(_WITHIN)}; "
                f"of a whole model, {_SAVE}"
            )
        first = next(k for k, n in enumerate(counts) if 2 * n >= max(counts))  # not a counter or a decay
        if not _EMA.search(_words(places[first][0])):
            plain = places[first][1]
            averaged = (k for k, (name, state_dict) in enumerate(places)
                        if _EMA.search(_words(name)) and _alike(state_dict, plain))  # fmt: skip
            first = next(averaged, first)
        places.insert(0, places.pop(first))
        tensors = dict(_tensors(places[0][1], checkpoint.stat().st_size))
    except BdganError:
        raise
    except Exception as error:  # torch, zipfile and pickle each raise their own
        raise BdganError(f"no checkpoint of tensors alone ({_line(error)})") from error
    names = [name for name, _ in places] + _others(state, [state_dict for _, state_dict in places])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return tensors, f"took {names[0]}, not {', '.join(names[1:_SHOWN])}{more}" if names[1:] else ""


def _stand_ins(checkpoint: Path) -> list[Any]:
    """What takes the place of each object beside the tensors, with its name, as torch expects the pairs."""
    asked = _asked(checkpoint) - _get_allowed_globals().keys()
    if any(name.startswith("__torch__.") for name in asked):
        raise BdganError(f"it is a TorchScript program; {_SAVE}")
    if refused := sorted(name for name in asked if not _INERT.fullmatch(name)):
        raise BdganError(f"it asks for {', '.join(refused[:5]):.300}, which could run; {_SAVE}")
    if not zipfile.is_zipfile(checkpoint):
        with checkpoint.open("rb") as file:
            if file.read(2 + len(_OLD_START))[2:] != _OLD_START:
                raise BdganError(f"it is no file of torch.save; {_SAVE}")
    return [(_stand_in(name), name) for name in asked]


def _stand_in(name: str) -> type:
    last = name.rpartition(".")[2]
    if last == "_reconstruct":
        return _InertArray
    if last == "deque":
        return _InertList
    return _InertDict if last.lower().endswith("dict") or last == "CfgNode" else Inert


def _asked(checkpoint: Path) -> set[str]:
    """The names of all that a file's pickles ask for, tensors' parts too; nothing if it cannot be read."""
    names = set[str]()
    with suppress(Exception):
        if not zipfile.is_zipfile(checkpoint):
            with checkpoint.open("rb") as file:
                for _ in range(5):  # of the older format: magic number, version, system, object, keys
                    _add_names(file, names)
        with zipfile.ZipFile(checkpoint) as members:
            for name in members.namelist():
                if f"/{name}".endswith("/data.pkl"):
                    _add_names(io.BytesIO(members.read(name)), names)
    return names


def _add_names(file: IO[bytes], names: set[str]) -> None:
    """Add the names that the pickle at the file's position asks for; an error leaves those before it."""
    memo, pushed, before = list[Any](), None, None  # the last two values, if they are texts
    argument: Any
    for code, argument, _ in pickletools.genops(file):
        if code.name in ("GLOBAL", "INST"):
            module, _, name = argument.partition(" ")
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
            names.add(f"{module}.{name}")
        elif code.name == "STACK_GLOBAL":
            names.add(f"{before}.{pushed}")
        elif code.name == "MEMOIZE":
            memo.append(pushed)
        elif code.name != "FRAME":
            got = memo[argument] if code.name.endswith("BINGET") and argument < len(memo) else argument
            before, pushed = pushed, got if isinstance(got, str) else None


def _stored(checkpoint: Path) -> bool:
    """Whether it is a zip file whose members lie in it as they are; torch maps packed ones all the same."""
    if not zipfile.is_zipfile(checkpoint):
        return False
    with zipfile.ZipFile(checkpoint) as members:
        return all(member.compress_type == zipfile.ZIP_STORED for member in members.infolist())


def _places(
    state: object, path: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[str, Mapping[object, object]]]:
    """Where tensors lie by name, as (path, dictionary).

    Known names come first, in their order, then other names of averaged weights, and the top last. An object
    under such a name is listed too, with an empty dictionary: weights in it are not read.
    """
    if path and isinstance(state, Inert):
        yield f"{'.'.join(path)} (an object)", {}
    if not isinstance(state, Mapping) or id(state) in seen or len(path) > _DEPTH:
        return
    seen.add(id(state))
    keys = [key for key in state if isinstance(key, str)]
    known = sorted((k for k in keys if k.lower() in _WITHIN), key=lambda key: _WITHIN.index(key.lower()))
    averaged = [key for key in keys if key.lower() not in _WITHIN and _EMA.search(_words(key))]
    for key in known + sorted(averaged, key=lambda key: bool(_DISCRIMINATOR.search(_words(key)))):
        yield from _places(state[key], (*path, _shown(key)), seen)
    if any(isinstance(value, Tensor) for value in state.values()):
        yield ".".join(path) or "the top", state


def _others(state: object, places: list[Mapping[object, object]]) -> list[str]:
    """Names of the dictionaries of tensors at the top level that are none of the places."""
    listed = set(map(id, places))
    return [
        _shown(key)
        for key, value in (state.items() if isinstance(state, Mapping) else ())
        if isinstance(value, Mapping) and id(value) not in listed
        and any(isinstance(each, Tensor) for each in value.values())
    ]  # fmt: skip


def _words(name: str) -> str:
    """A name in lower case, with an underscore where an upper-case letter begins a word."""
    return re.sub(r"([a-z0-9])(?=[A-Z])|([A-Z])(?=[A-Z][a-z])", r"\1\2_", name).lower()


def _shown(key: object) -> str:
    return key if isinstance(key, str) and re.fullmatch(r"[\w.-]{1,60}", key, re.ASCII) else f"{key!a:.60}"


def _alike(state: Mapping[object, object], other: Mapping[object, object]) -> bool:
    """Whether two state dicts are of one network: most tensors have their shape in the other as well."""
    one, two = (
        Counter(tuple(x.shape) for x in tensors.values() if isinstance(x, Tensor) and x.ndim)
        for tensors in (state, other)
    )
    return 2 * (one & two).total() >= max(one.total(), two.total(), 1)


def _tensors(state: Mapping[object, object], file_size: int) -> Iterator[tuple[str, Tensor]]:
    if arrays := [str(key) for key, value in state.items() if isinstance(value, _InertArray)]:
        raise BdganError(f"expected tensors, got a numpy array: {', '.join(arrays[:5]):.300}")
    tensors = {str(k): x for k, x in state.items() if isinstance(x, Tensor) and isinstance(k, str | int)}
    if len(tensors) < sum(isinstance(x, Tensor) and isinstance(k, str | int) for k, x in state.items()):
        raise BdganError("two of its tensors have one name, as a number and as a text, such as 1 and '1'")
    size = sum(x.nbytes for x in tensors.values())
    if size > 4 * file_size + _SPARE // 4:  # views of one storage, repeated rows, packed zeros
        raise BdganError(f"its tensors take {size:,} bytes, the file {file_size:,}")
    seen: set[int] = set()  # storages; what lies in one of them with others is stored apart
    for name, value in tensors.items():
        if value.device.type != "cpu" or value.layout != torch.strided or value.is_quantized:
            raise BdganError(f"{name}: expected a plain tensor, got {value.layout} on {value.device}")
        storage = value.untyped_storage()
        alone = storage.nbytes() == value.nbytes and storage.data_ptr() not in seen
        seen.add(storage.data_ptr())
        yield name, value.detach().contiguous() if alone else value.detach().clone().contiguous()


def _seconds(size: int) -> int:
    return 30 + size // 10**7


def _limit(size: int) -> None:
    """Limit this process by the size of its file, where the system can: seconds, CPU seconds, memory."""
    if hasattr(signal, "alarm"):
        signal.alarm(_seconds(size))
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text("utf-8").split()[5])
    except (ImportError, OSError):  # Windows, macOS
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime) + 5 + size // (2 * 10**7)
    for kind, most in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_DATA, pages * resource.getpagesize() + 6 * size + _SPARE),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _line(error: Exception) -> str:
    """What an error says, in one line that a terminal shows as it is, without torch's advice."""
    said = " ".join(_ADVICE.sub("", str(error)).split())
    if "Unsupported operand" in said:
        said += "; expected pickle protocol 2, that of torch.save"
    elif "weights_only" in said or "safe_globals" in said:
        said = "torch does not read it"
    return "".join(c if c.isprintable() else "?" for c in said)[:400] or type(error).__name__


def _no_network(*_: object, **__: object) -> NoReturn:
    raise OSError("the converter has no network")


def _end_with_parent() -> None:
    """A thread: end this process where its standard input, which the parent holds open, ends."""
    with suppress(OSError):
        while os.read(0, 1):
            pass
    os._exit(1)


def main() -> None:
    """The separate process: cut off the network, set limits, read, write."""
    socket.socket = socket.create_connection = socket.getaddrinfo = _no_network  # type: ignore[assignment,misc]
    checkpoint, out = map(Path, sys.argv[1:3])
    if sys.argv[3:]:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        if same_place(checkpoint, out):
            raise BdganError("the output is the checkpoint itself; give another path")
        _limit(checkpoint.stat().st_size)
        tensors, note = read_weights(checkpoint)
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(out) as file:
            saved = Path(file.name)
            save_file(tensors, saved)  # puts another file in its place, for this user alone
            saved.chmod(os.fstat(file.fileno()).st_mode)
            with saved.open("r+b") as again:
                os.fsync(again.fileno())
            with safe_open(saved, "pt"):  # refuses what cannot be read back, such as "__metadata__"
                pass
        print(note)
    except Exception as error:  # whatever such a file leads to is told in one line
        print(f"refused: {_line(error)}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
