"""Shell completion, asked as bash asks: subcommands, options and groups, and nothing heavy is imported."""

import json
import os
import subprocess
import sys

import pytest

CALL = "import sys; sys.argv = ['bdgan']; from bdgan_lib.cli import main; main()"


def completed(words: str, report: str = "") -> list[str]:
    """What bash would offer after these words."""
    environment = os.environ | {
        "_BDGAN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)
    }  # fmt: skip
    process = subprocess.run(
        [sys.executable, "-c", report + CALL], env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0 and not process.stderr, process.stderr
    return process.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("bdgan synth", {"synthesize"}),
        ("bdgan train-", {"train-head", "train-generator"}),
        ("bdgan weights ", {"list", "fetch", "verify", "convert"}),
        ("bdgan benchmark s", {"score", "site"}),
        ("bdgan synthesize --keep", {"--keep-confident", "--keep-agreed"}),
        ("bdgan pull --con", {"--config"}),
    ],
)
def test_bash_is_offered_commands_and_options(words, offered):
    assert set(completed(words)) == offered


def test_completion_imports_nothing_heavy():
    report = "import atexit, json, sys; atexit.register(lambda: print(json.dumps([*sys.modules])))\n"
    *offered, modules = completed("bdgan ", report)
    assert "synthesize" in offered and len(offered) > 15
    assert not {"torch", "numpy", "rich", "matplotlib", "huggingface_hub"} & set(json.loads(modules))


def test_the_script_of_each_shell_names_the_command():
    for shell in ("bash", "zsh", "fish"):
        call = CALL.replace("['bdgan']", f"['bdgan', '--show-completion', '{shell}']")
        environment = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
        process = subprocess.run(
            [sys.executable, "-c", call], env=environment, capture_output=True, text=True
        )
        assert process.returncode == 0 and "_BDGAN_COMPLETE" in process.stdout, process.stderr


def test_bash_itself_takes_the_script(tmp_path):
    call = CALL.replace("['bdgan']", "['bdgan', '--show-completion', 'bash']")
    environment = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = subprocess.run(
        [sys.executable, "-c", call], env=environment, capture_output=True, text=True
    ).stdout
    command = tmp_path / "bdgan"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{CALL}" "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    function = script.split("complete -o default -F ")[1].split()[0]
    ask = f"COMP_WORDS=(bdgan expor); COMP_CWORD=1; {function} bdgan"
    drive = f'{script}\n{ask}; printf "%s\\n" "${{COMPREPLY[@]}}"\n'
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.run(
        ["bash", "-c", drive], env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert set(process.stdout.split()) == {"export", "export-labels", "export-onnx"}, process.stderr
