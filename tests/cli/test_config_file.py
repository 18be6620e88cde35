"""The options of a command in a file: what is printed is taken back, and the command line wins."""

import inspect
import io
import json
import sys
import time
import typing
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import yaml

from bdgan_lib import cli
from bdgan_lib.cli.benchmark import benchmark_app
from bdgan_lib.cli.config_file import CONFIG, DUMP
from bdgan_lib.cli.options import app
from bdgan_lib.cli.weights import weights_app

COMMANDS = {
    f"{group} {name}".strip(): info.callback
    for group, typer in (("", app), ("benchmark", benchmark_app), ("weights", weights_app))
    for info in typer.registered_commands
    for name in [info.name or info.callback.__name__.replace("_", "-")]
}
STRANGE = (
    "no",
    "00",
    "1e3",
    "12:30",
    " # x",
    "é: ü",
    "null",
    "2026-01-01",
    "0x10",
    "~",
    "a, b",
    "- x",
    '"',
    "!!x",
)


def bdgan(*arguments: object) -> tuple[int, str, str]:
    """Exit code, output and errors of a command."""
    out, err, earlier = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["bdgan", *map(str, arguments)]
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
            cli.main()
    finally:
        sys.argv = earlier
    return end.value.code or 0, out.getvalue(), err.getvalue()


def options_of(name: str) -> dict[str, object]:
    """The parameters of a command as click has them, by name."""
    import typer

    command = typer.main.get_command(app)
    for word in name.split():
        command = command.commands[word]
    return {p.name: p for p in command.params if p.name not in (CONFIG, DUMP, "help")}


def words_of(name: str, first: int, everything: bool) -> list[str]:
    """A command line with all required values, and with other values for all options if `everything`.

    Texts are the strange ones, from the first on.
    """
    hints, words, positional = typing.get_type_hints(COMMANDS[name]), name.split(), []
    for k, (key, parameter) in enumerate(options_of(name).items()):
        strange = STRANGE[(first + k) % len(STRANGE)]
        if not (parameter.required or everything) or key == "device":
            continue
        hint = str(hints[key])
        default = inspect.signature(COMMANDS[name]).parameters[key].default
        if "bool" in hint:
            words.append((parameter.secondary_opts or parameter.opts)[0] if default else parameter.opts[0])
            continue
        if "int" in hint:
            value = "77" if "calibration" in key else str(int(default or 0) + 1 if key != "side" else 100)
        else:
            value = "0.25" if "float" in hint else strange
        values = [value, f"{value}x"] if "list" in hint else [value]
        if parameter.param_type_name == "argument":
            positional += values
        else:
            words += [word for value in values for word in (max(parameter.opts, key=len), value)]
    return [*words, *(["--", *positional] if positional else [])]


@pytest.mark.parametrize("name", COMMANDS)
def test_what_a_command_prints_it_takes_back(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for first in range(0, len(STRANGE), 4):
        words = words_of(name, first, everything=first > 0)
        place = words.index("--") if "--" in words else len(words)
        code, text, said = bdgan(*words[:place], "--dump-config", *words[place:])
        assert code == 0, said
        record = yaml.safe_load(text)
        assert len(record) == len(options_of(name))
        Path("x.yaml").write_text(text, encoding="utf-8")
        Path("x.json").write_text(json.dumps(record), encoding="utf-8")
        for file in ("x.yaml", "x.json"):
            assert bdgan(*name.split(), "--config", file, "--dump-config") == (0, text, "")
    assert {path.name for path in tmp_path.iterdir()} == {"x.yaml", "x.json"}, "nothing else was done"


def dumped(*arguments: object) -> dict[str, object]:
    code, text, said = bdgan(*arguments, "--dump-config")
    assert code == 0, said
    return yaml.safe_load(text)


def test_the_command_line_wins_over_the_file_and_the_file_over_defaults(tmp_path):
    file = tmp_path / "set.yaml"
    file.write_text("out: a\nimages: 7\nbatch_size: 3\nbf16: yes\n", encoding="utf-8")
    values = dumped("synthesize", "--config", file, "--images", "9", "--no-bf16")
    assert (values["out"], values["images"], values["batch-size"], values["bf16"]) == ("a", 9, 3, False)
    assert values["shard-size"] == 500
    file.write_text("only: [00, 01]\nrun: off\nout: x\n", encoding="utf-8")
    assert dumped("tutorial", "--config", file)["only"] == ["00", "01"]
    assert dumped("tutorial", "--config", file)["run"] is False
    assert dumped("tutorial", "--config", file, "--only", "07")["only"] == ["07"]
    file.write_text("only: 00\nout: x\n", encoding="utf-8")
    assert dumped("tutorial", "--config", file)["only"] == ["00"]


def test_a_file_is_used_by_the_command_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sheet.json").write_text('{"out": "sheet.png", "classes": "mug", "count": 1}', encoding="utf-8")
    code, text, said = bdgan("sample", "--config", "sheet.json")
    assert (code, text.strip()) == (0, "sheet.png"), said
    assert Path("sheet.png").is_file()
    code, _, said = bdgan("label", "--config", "sheet.json")
    assert code == 2 and "label has no option 'classes'; did you mean class?" in said


BAD = {
    "unknown": ("imagse: 3\n", "synthesize has no option 'imagse'; did you mean images?"),
    "no mapping": ("- images\n", "expected lines such as `images: 100`, got a list"),
    "empty": ("", "expected lines such as `images: 100`, got a NoneType"),
    "text": ("images\n", "got a str"),
    "twice": ("images: 3\nimages: 4\n", "'images' stands there twice"),
    "twice by two names": ("batch-size: 3\nbatch_size: 4\n", "gives batch-size twice"),
    "pickled": (
        "out: !!python/object/apply:os.system ['touch hacked']\n",
        "could not determine a constructor",
    ),
    "a list": ("images: [3, 4]\n", "expected one value for images, got a list"),
    "a mapping": ("images: {a: 1}\n", "expected one value for images, got a dict"),
    "no number": ("images: many\n", "x.yaml: images is 'many': "),
    "too small": ("images: 0\n", "x.yaml: images is '0': "),
    "no flag": ("bf16: perhaps\n", "x.yaml: bf16 is 'perhaps': "),
    "no such device": ("device: cuda:9\n", "no device 'cuda:9' on this machine"),
    "broken": ("images: [3\n", "cannot be read: while parsing a flow sequence"),
    "two documents": ("images: 3\n---\nimages: 4\n", "cannot be read: expected a single document"),
    "binary": (b"\x89PNG\r\n\x1a\n\xff", "is not text in UTF-8"),
    "utf-16": ("images: 3\n".encode("utf-16"), "is not text in UTF-8"),
    "nul": (b"images: 3\0\n", "cannot be read: unacceptable character"),
    "deep": ("[" * 5000, "cannot be read"),
    "bomb": ("a: &a [x, x]\nimages: [*a, *a]\n", "has no option 'a'"),
    "itself": ("config: x.yaml\n", "synthesize has no option 'config'"),
    "number as key": ("3: 4\n", "synthesize has no option '3'"),
    "a tag that lies": ("images: !!bool foo\n", "a value is not of the type that its tag names"),
    "a nul": ('device: "a\\0b"\n', "x.yaml: expected text for device, got 'a\\x00b'"),
    "large": (b"#" * (1 << 21), "expected at most 1,048,576 bytes"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, expected = BAD[name]
    Path("x.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    code, out, said = bdgan("synthesize", "--out", "set", "--config", "x.yaml")
    assert (
        (code, out) == (2, "") and said.startswith("bdgan: ") and said.count("\n") == 1 and expected in said
    ), said
    assert [path.name for path in tmp_path.iterdir()] == ["x.yaml"]


JSON_BAD = {
    '{"images": 3, "images": 4}': "'images' stands there twice",
    '{"images": }': "cannot be read",
    "[1]": "got a list",
    '{"images": 3.5}': "images is '3.5': ",
    '{"bf16": 7}': "bf16",
    '{"classes": "a\\ud800b"}': "expected text for classes, got 'a\\ud800b'",
}


@pytest.mark.parametrize("content", JSON_BAD)
def test_a_bad_json_file_is_one_line(content, tmp_path):
    (tmp_path / "x.json").write_text(content, encoding="utf-8")
    code, _, said = bdgan("synthesize", "--out", tmp_path / "set", "--config", tmp_path / "x.json")
    assert code == 2 and said.count("\n") == 1 and JSON_BAD[content] in said, said


@pytest.mark.parametrize("place", ["folder", "missing.yaml", "s3://bucket/x.yaml", "/dev/zero"])
def test_a_place_that_holds_no_file_is_one_line(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    code, _, said = bdgan("synthesize", "--out", "set", "--config", place)
    assert code == 2 and said.count("\n") == 1 and said.startswith("bdgan: "), said


def test_a_byte_order_mark_is_passed_over(tmp_path):
    for name, text in (("x.yaml", "images: 4\n"), ("x.json", '{"images": 4}')):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert dumped("synthesize", "--out", "x", "--config", tmp_path / name)["images"] == 4


def test_json_needs_no_pyyaml(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    code, text, _ = bdgan("synthesize", "--out", "x", "--images", "4", "--dump-config")
    assert code == 0 and json.loads(text)["images"] == 4
    (tmp_path / "x.json").write_text(text, encoding="utf-8")
    assert bdgan("synthesize", "--config", tmp_path / "x.json", "--dump-config")[1] == text
    (tmp_path / "x.yaml").write_text("images: 4\n", encoding="utf-8")
    code, _, said = bdgan("synthesize", "--config", tmp_path / "x.yaml")
    assert code == 2 and "PyYAML is not installed" in said and said.count("\n") == 1


def test_an_option_of_a_file_may_be_the_only_one_that_is_required(tmp_path):
    (tmp_path / "x.yaml").write_text("files: [a.png, b.png]\nhead: h\nclass: mug\nout: o\n", encoding="utf-8")
    values = dumped("label", "--config", tmp_path / "x.yaml")
    assert values["files"] == ["a.png", "b.png"] and values["class"] == "mug"
    code, _, said = bdgan("label", "--dump-config")
    assert code == 2 and "Missing argument" in said


def test_many_keys_take_no_time_that_grows_with_their_square(tmp_path):
    (tmp_path / "x.yaml").write_text("".join(f"k{n}: 1\n" for n in range(30_000)), encoding="utf-8")
    start = time.process_time()
    code, _, said = bdgan("synthesize", "--config", tmp_path / "x.yaml")
    assert code == 2 and "has no option 'k0'" in said and time.process_time() - start < 20


def test_an_empty_list_says_why_it_is_refused(tmp_path):
    (tmp_path / "x.yaml").write_text("data: []\ntask: MC-all\nout: z\n", encoding="utf-8")
    code, _, said = bdgan("benchmark", "train", "--config", tmp_path / "x.yaml")
    assert code == 2 and "data is []: expected one value or more" in said


def test_the_command_line_takes_flags_of_a_file_back(tmp_path):
    (tmp_path / "x.yaml").write_text("folder: a\nrepo: u/n\nprivate: true\nforce: true\n", encoding="utf-8")
    values = dumped("push", "--config", tmp_path / "x.yaml", "--no-private", "--no-force")
    assert (values["repo"], values["private"], values["force"]) == ("u/n", False, False)
    assert "REPO" in bdgan("push", "--help")[1].upper().splitlines()[0], "the name that the file takes"


def test_the_printed_file_names_the_program(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/x/cli/__main__.py", "push", "a", "u/n", "--dump-config"])
    out = io.StringIO()
    with redirect_stdout(out), pytest.raises(SystemExit):
        cli.main()
    assert out.getvalue().startswith("# bdgan push --config FILE takes this")
