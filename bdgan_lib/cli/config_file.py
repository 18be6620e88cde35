"""The options of a command in one YAML or JSON file: `--config FILE` reads it, `--dump-config` prints it.

Values are taken as text and converted as on the command line, so that `only: 00` and `date: 2026-01-01` mean
what they mean there. `null` is an option that is not given.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer

from bdgan_lib.core.io import local_path, read_plain
from bdgan_lib.core.types import BdganError

CONFIG, DUMP = "config", "dump_config"  # parameters of every command
_MOST = 1 << 20  # bytes of a file
_JSON_ONLY = "PyYAML is not installed, so expected JSON; pip install pyyaml to read YAML"


def read_config(ctx: typer.Context, path: Path | None) -> Path | None:
    """Make the values of a file the defaults of a command, before the command line is read.

    Raises:
        BdganError: the file is no mapping of options to values, or a value is not of its option's type.
    """
    if path is None or ctx.resilient_parsing:
        return path
    parameters, defaults = _parameters(ctx), dict[str, Any]()
    for key, value in _read(path).items():
        name = key.replace("_", "-")
        if name not in parameters:
            close = get_close_matches(name, parameters, 1)
            hint = f"did you mean {close[0]}?" if close else f"there is {', '.join(parameters) or 'none'}"
            raise BdganError(f"{path}: {ctx.info_name} has no option {key!r:.100}; {hint}")
        parameter = parameters[name]
        if parameter.name in defaults:
            raise BdganError(f"{path} gives {name} twice; remove one")
        if value is None:
            continue
        if isinstance(value, str) and _takes_several(parameter):
            value = [value]
        texts = value if isinstance(value, list) else [value]
        if isinstance(value, list) != _takes_several(parameter) or not all(isinstance(t, str) for t in texts):
            expected = "a list of values" if _takes_several(parameter) else "one value"
            raise BdganError(f"{path}: expected {expected} for {name}, got a {type(value).__name__}")
        if any(c == "\0" or "\ud800" <= c <= "\udfff" for text in texts for c in text):
            raise BdganError(f"{path}: expected text for {name}, got {value!r:.100}")
        try:
            parameter.process_value(ctx, value)
        except typer.BadParameter as error:
            said = error.message or "expected one value or more"
            raise BdganError(f"{path}: {name} is {value!r:.100}: {said}") from error
        defaults[parameter.name] = value
    ctx.default_map = defaults
    return path


def dump_config(ctx: typer.Context, values: Mapping[str, Any]) -> str:
    """A file that `read_config` takes: every option of a command with its value, in YAML."""
    record = {
        name: _plain(values[parameter.name], _takes_several(parameter))
        for name, parameter in _parameters(ctx).items()
    }
    try:
        import yaml
    except ImportError:
        return json.dumps(record, indent=1, ensure_ascii=False) + "\n"  # which is YAML as well
    text: str = yaml.safe_dump(record, sort_keys=False, allow_unicode=True) if record else "{}\n"
    return f"# {ctx.command_path} --config FILE takes this; paths are relative to the current folder\n{text}"


def _parameters(ctx: typer.Context) -> dict[str, Any]:
    """Arguments and options of a command by the name that a file gives them, in the order of the help."""
    names = {}
    for parameter in ctx.command.params:
        if parameter.name in (CONFIG, DUMP, "help"):
            continue
        is_option = parameter.param_type_name == "option"
        names[max(parameter.opts, key=len).lstrip("-") if is_option else str(parameter.name)] = parameter
    return {name.replace("_", "-"): parameter for name, parameter in names.items()}


def _takes_several(parameter: Any) -> bool:
    return bool(getattr(parameter, "multiple", False)) or parameter.nargs == -1


def _plain(value: Any, is_list: bool) -> Any:
    """A value as a file holds it."""
    if is_list:
        return [_plain(one, False) for one in value or ()] or None
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _read(path: Path) -> dict[str, Any]:
    """The mapping in a file, each plain value as the text that stands there."""
    local_path(path)
    if path.is_dir():
        raise BdganError(f"--config {path} is a folder; give a YAML or JSON file")
    try:
        text = read_plain(path, _MOST).decode("utf-8-sig")  # some editors mark UTF-8
        content = _from_json(text) if path.suffix.lower() == ".json" else _from_yaml(text)
    except FileNotFoundError as error:
        raise BdganError(f"--config {path} is missing; `--dump-config > {path}` writes one") from error
    except UnicodeDecodeError as error:
        raise BdganError(f"--config {path} is not text in UTF-8; give a YAML or JSON file") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, BdganError):
            raise
        raise BdganError(f"--config {path} cannot be read: {' '.join(str(error).split()):.200}") from error
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise BdganError(
            f"--config {path}: expected lines such as `images: 100`, got a {type(content).__name__}"
        )
    return content


def _from_json(text: str) -> Any:
    def mapping(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                raise ValueError(f"{key!r:.100} stands there twice")
            result[key] = _as_text(value)
        return result

    return json.loads(text, object_pairs_hook=mapping, parse_int=str, parse_float=str, parse_constant=str)


def _as_text(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_text(one) for one in value]
    return str(value).lower() if isinstance(value, bool) else value


def _from_yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError:
        try:
            return _from_json(text)
        except ValueError as error:
            raise BdganError(f"{_JSON_ONLY} ({error})") from error

    class Loader(yaml.SafeLoader):
        """YAML's safe loader, for which every plain value but null is text, and a key stands there once."""

        yaml_implicit_resolvers = {  # noqa: RUF012, as in PyYAML
            first: [(tag, pattern) for tag, pattern in resolvers if tag == "tag:yaml.org,2002:null"]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            counts = Counter(key.value for key, _ in node.value if isinstance(key.value, str))
            if twice := [key for key, count in counts.items() if count > 1]:
                raise ValueError(f"{twice[0]!r:.100} stands there twice")
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    except (
        LookupError,
        TypeError,
        AttributeError,
        OverflowError,
    ) as error:  # PyYAML's, of `!!bool x` and others
        raise ValueError(f"a value is not of the type that its tag names ({error})") from error
