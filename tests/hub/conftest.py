"""A stand-in for the Hub that this process speaks to, and no waiting between tries."""

import pytest

from benchmarks.hub_stub import HubStub, in_this_process


@pytest.fixture
def hub(tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    monkeypatch.setenv("BDGAN_CACHE", str(tmp_path / "cache"))
    with HubStub() as stub, in_this_process(stub, tmp_path / "home"):
        yield stub


@pytest.fixture
def quiet():
    return {"say": lambda _: None}
