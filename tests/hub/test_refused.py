"""What is refused, in one line each, before anything is fetched or written."""

import errno
import json
import pickle
import sys

import pytest

from bdgan_lib import cli
from bdgan_lib.hub import pull, push
from bdgan_lib.hub.pull import UNSAFE
from benchmarks import hub_stub
from benchmarks.hub import contents, write_head, write_model, write_set
from benchmarks.hub_stub import READ


def line_of(monkeypatch, capsys, *arguments) -> str:
    """The one line in which a command ends with exit code 2."""
    monkeypatch.setattr(sys, "argv", ["bdgan", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.startswith("bdgan: ") and said.count("\n") == 1, said
    return said


@pytest.mark.parametrize("suffix", sorted(UNSAFE))
def test_a_repository_with_pickles_or_code_is_refused_before_anything_is_fetched(
    suffix, hub, tmp_path, quiet
):
    files = contents(write_head(tmp_path / "head")) | {f"deep/x{suffix.upper()}": b"x"}
    hub.add("user/head", "model", files)
    with pytest.raises(ValueError, match="could run code; nothing was fetched"):
        pull("user/head", tmp_path / "back", **quiet)
    assert not any("/resolve/" in request for request in hub.requests)
    assert [path.name for path in tmp_path.iterdir() if "back" in path.name] == []


@pytest.mark.parametrize(
    "name", ["name", "user/", "/name", "a/b/c", "../x", "user/..", "user/a b", "u/a..b", "-u/x", "usér/x"]
)
def test_a_name_that_is_none_is_refused_before_any_request(name, hub, tmp_path, quiet):
    for call in (lambda: push(tmp_path, name, **quiet), lambda: pull(name, tmp_path / "back", **quiet)):
        with pytest.raises(ValueError, match="expected a repository as user/name, got"):
            call()
    assert not hub.requests


@pytest.mark.parametrize("name", ["user/a--b", "user/a.git"])
def test_a_name_that_the_hub_forbids_is_one_line(name, hub, tmp_path, monkeypatch, capsys):
    said = line_of(monkeypatch, capsys, "pull", name, "--out", tmp_path / "back")
    assert f"{name}: expected a name of the Hub" in said


def test_a_damaged_repository_leaves_nothing(hub, tmp_path, quiet):
    files = contents(write_head(tmp_path / "head"))
    weights = files["head.safetensors"]
    hub.add("user/head", "model", {**files, "head.safetensors": weights[:-1] + bytes([weights[-1] ^ 1])})
    with pytest.raises(ValueError, match="user/head was not whole when it was pushed"):
        pull("user/head", tmp_path / "back", **quiet)
    assert [path.name for path in tmp_path.iterdir() if "back" in path.name] == []


def test_no_token_is_one_line(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN")
    folder = write_head(tmp_path / "head")
    assert "no token for the Hub; `hf auth login`" in line_of(
        monkeypatch, capsys, "push", folder, "user/head"
    )
    assert not hub.requests
    monkeypatch.setenv("HF_TOKEN", "x")  # `in_this_process` takes it away


@pytest.mark.parametrize(
    ("token", "said"), [(READ, "sets one that may write for user"), ("hf_old", "does not accept the token")]
)
@pytest.mark.parametrize("exists", [False, True])
def test_a_token_that_may_not_write_is_one_line(exists, token, said, hub, tmp_path, monkeypatch, capsys):
    if exists:
        hub.add("user/head", "model", {})
    monkeypatch.setenv("HF_TOKEN", token)
    assert said in line_of(monkeypatch, capsys, "push", write_head(tmp_path / "head"), "user/head")
    assert not exists or hub.repositories["model", "user/head"].files() == {}


@pytest.mark.parametrize("token", [READ, "hf_old"])
def test_a_repository_that_is_missing_or_private_is_one_line(token, hub, tmp_path, monkeypatch, capsys):
    hub.add("user/mine", "model", contents(write_head(tmp_path / "head")), private=True)
    monkeypatch.setenv("HF_TOKEN", token)
    for name in ("user/none", *(["user/mine"] if token != READ else [])):
        said = line_of(monkeypatch, capsys, "pull", name, "--out", tmp_path / "back")
        assert f"{name} does not exist, or is private and the token may not see it" in said
    said = line_of(monkeypatch, capsys, "pull", "user/none", "--out", tmp_path / "back", "--kind", "set")
    assert "user/none does not exist" in said


def test_a_revision_that_is_missing_is_one_line(hub, tmp_path, monkeypatch, capsys, quiet):
    push(write_head(tmp_path / "head"), "user/head", **quiet)
    said = line_of(monkeypatch, capsys, "pull", "user/head", "--out", tmp_path / "x", "--revision", "v9")
    assert "user/head has no such revision" in said


def test_other_content_is_not_replaced_without_force(hub, tmp_path, quiet, monkeypatch, capsys):
    theirs = {"notes.txt": b"mine", "head.json": b"{}"}
    hub.add("user/head", "model", theirs)
    folder = write_head(tmp_path / "head")
    said = line_of(monkeypatch, capsys, "push", folder, "user/head")
    assert "holds something else at main: head.json and 1 more" in said and "--force" in said
    assert hub.repositories["model", "user/head"].files() == theirs
    push(folder, "user/head", force=True, **quiet)
    files = hub.repositories["model", "user/head"].files()
    assert files == {**contents(folder), "README.md": files["README.md"]}


def test_a_push_in_between_is_one_line_and_nothing_is_lost(hub, tmp_path, quiet):
    folder = write_head(tmp_path / "head")
    hub.add("user/head", "model", {})

    def meanwhile(method: str, path: str) -> None:
        if "/commit/" in path:
            hub.repositories["model", "user/head"].commit({"theirs.json": b"{}"})

    hub.fault = meanwhile
    with pytest.raises(ValueError, match="somebody else has changed it meanwhile"):
        push(folder, "user/head", **quiet)
    assert hub.repositories["model", "user/head"].files() == {"theirs.json": b"{}"}


def test_private_never_means_public(hub, tmp_path, quiet):
    folder = write_head(tmp_path / "head")
    push(folder, "user/secret", private=True, **quiet)
    assert hub.repositories["model", "user/secret"].private
    hub.add("user/open", "model", {})
    with pytest.raises(ValueError, match="user/open is public; make it private on its page"):
        push(folder, "user/open", private=True, **quiet)
    assert hub.repositories["model", "user/open"].files() == {}


def test_no_network_is_one_line(hub, tmp_path, monkeypatch, capsys):
    hub.__exit__()
    monkeypatch.setattr(type(hub), "__exit__", lambda *_: None)
    folder = write_head(tmp_path / "head")
    for arguments in (("push", folder, "user/x"), ("pull", "user/x", "--out", tmp_path / "back")):
        said = line_of(monkeypatch, capsys, *arguments)
        assert f"no connection to {hub.url}" in said and "run the same command again" in said
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("full", ["before", "while"])
def test_a_full_disk_is_one_line(full, hub, tmp_path, quiet, monkeypatch):
    push(write_head(tmp_path / "head"), "user/head", **quiet)
    if full == "before":
        monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    else:
        error = OSError(errno.ENOSPC, "No space left on device", "part")
        monkeypatch.setattr(
            "huggingface_hub.HfApi.hf_hub_download", lambda *_, **__: (_ for _ in ()).throw(error)
        )
    with pytest.raises(
        ValueError, match="free bytes .*make space" if full == "before" else "the disk is full"
    ):
        pull("user/head", tmp_path / "back", **quiet)
    assert not (tmp_path / "back").exists()


def test_folders_that_are_not_whole_are_not_sent(hub, tmp_path, quiet):
    (tmp_path / "empty").mkdir()
    head, data = write_head(tmp_path / "head"), write_set(tmp_path / "set")
    weights = (head / "head.safetensors").read_bytes()
    (head / "head.safetensors").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    (data / "shard_00000.tar").unlink()
    cases = {
        tmp_path / "empty": "expected a finished folder",
        tmp_path / "no": "expected a finished folder",
        head: "head.safetensors is damaged",
        data: "shard_00000.tar is missing",
    }
    for folder, said in cases.items():
        with pytest.raises(ValueError, match=said):
            push(folder, "user/x", **quiet)
    assert not hub.requests


def test_a_set_whose_card_names_no_files_is_not_sent(hub, tmp_path, quiet):
    folder = write_set(tmp_path / "set")
    (folder / "README.md").write_text("# mine\n", encoding="utf-8")
    with pytest.raises(ValueError, match="bdgan describe"):
        push(folder, "user/x", **quiet)
    assert not hub.requests


def test_a_repository_of_something_else_is_one_line(hub, tmp_path, quiet):
    hub.add("user/other", "model", {"config.json": b"{}", "model.safetensors": b""})
    with pytest.raises(ValueError, match="expected a set, head or model of `bdgan push`, got no file of one"):
        pull("user/other", tmp_path / "back", **quiet)
    assert not (tmp_path / "back").exists()


def test_a_folder_that_is_there_is_not_written_over(hub, tmp_path, quiet):
    push(write_head(tmp_path / "head"), "user/head", **quiet)
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match="exists and is not written over"):
        pull("user/head", tmp_path / "mine", **quiet)
    push(write_head(tmp_path / "head2"), "user/other", **quiet)
    pull("user/head", tmp_path / "back", **quiet)
    with pytest.raises(ValueError, match="holds 'user/head', not user/other"):
        pull("user/other", tmp_path / "back", **quiet)


def test_a_generator_with_damaged_parts_is_one_line_and_leaves_nothing(hub, tmp_path, monkeypatch, capsys):
    good = contents(write_model(tmp_path / "model"))
    sizes, model = json.loads(good["config.json"]), json.loads(good["model.json"])
    damaged = {
        "scorer.safetensors": pickle.dumps([1]),
        "model.safetensors": pickle.dumps([1]),
        "model.json": json.dumps({**model, "side": -5}).encode(),
    }
    cases = [*damaged.items(), ("model.json", json.dumps({**model, "side": True}).encode())]
    for key, value in (("res_blocks", 10**12), ("layers", 10**12), ("ch_mult", [1] * 10**4), ("width", "x")):
        cases.append(("config.json", json.dumps({**sizes, key: value}).encode()))
    for k, (name, content) in enumerate(cases):
        hub.add(f"user/m{k}", "model", {**good, name: content})
        said = line_of(monkeypatch, capsys, "pull", f"user/m{k}", "--out", tmp_path / "back")
        assert "was not whole when it was pushed" in said and name in said
        assert [path.name for path in tmp_path.iterdir() if "back" in path.name] == []


@pytest.mark.parametrize("name", ["..\\evil", "a" * 300, "a\n\x1b[2Jb", "a:b"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pkl"])
def test_a_name_that_is_no_plain_one_is_refused_and_never_printed_raw(
    name, suffix, hub, tmp_path, monkeypatch, capsys
):
    hub.add("user/head", "model", {**contents(write_head(tmp_path / "head")), name + suffix: b"x"})
    said = line_of(monkeypatch, capsys, "pull", "user/head", "--out", tmp_path / "back")
    assert "nothing was fetched" in said and said.strip().isprintable()
    assert not any("/resolve/" in request for request in hub.requests)
    assert [path.name for path in tmp_path.iterdir() if "back" in path.name] == []
    said = line_of(monkeypatch, capsys, "push", tmp_path / "head", "user/head")
    assert "holds something else" in said and said.strip().isprintable()


@pytest.mark.parametrize("change", [{"size": "9"}, {"size": None}, {"size": -1}, {"oid": 7}, {"lfs": []}, {}])
def test_an_answer_of_the_wrong_type_is_one_line(change, hub, tmp_path, monkeypatch, capsys):
    hub.add("user/head", "model", {"head.json": b"{}"})
    plain = hub_stub._listing

    def listing(*arguments):
        entries = [{**entry, **change} for entry in plain(*arguments)]
        return entries if change else [{k: v for k, v in e.items() if k != "size"} for e in entries]

    monkeypatch.setattr(hub_stub, "_listing", listing)
    said = line_of(monkeypatch, capsys, "pull", "user/head", "--out", tmp_path / "back")
    assert "user/head: " in said
    assert [path.name for path in tmp_path.iterdir() if "back" in path.name] == []
