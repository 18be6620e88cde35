"""A stand-in for the Hub's HTTP API on this machine, as far as huggingface_hub and datasets use it.

Repositories lie in memory. Files whose names end as on the Hub's list of large ones go through Git LFS, and
every commit has its own tree. `fault` may answer a request with an error or cut the connection.
"""

import base64
import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = (".tar", ".safetensors", ".parquet", ".png", ".bin", ".pt", ".pkl", ".ckpt")  # sent through LFS
WRITE, READ = "hf_write", "hf_read"  # tokens
CUT = 0  # a "status": the connection ends within the answer
_API = re.compile(r"/api/(dataset|model)s/([^/]+/[^/]+)(?:/(.*))?")
_FILE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.*)")
_BATCH = re.compile(r"/(datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch")


def git_hash(data: bytes) -> str:
    """The id that git gives a file's content."""
    return sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@dataclass
class Repository:
    """Commits, each a whole tree, and branches that point at them."""

    private: bool = False
    trees: dict[str, dict[str, bytes]] = field(default_factory=dict)  # commit -> path -> content
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, tree: dict[str, bytes], branch: str = "main", message: str = "initial commit") -> str:
        text = f"{len(self.trees)} {branch}" + "".join(
            f"{path} {git_hash(x)}" for path, x in sorted(tree.items())
        )
        id = sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.trees[id], self.branches[branch] = tree, id
        self.messages.append(message)
        return id

    def at(self, revision: str) -> str | None:
        id = self.branches.get(revision, revision)
        return id if id in self.trees else None

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """The files of a revision, without git's own."""
        tree = self.trees[self.at(revision) or ""]
        return {path: data for path, data in tree.items() if path != ".gitattributes"}


class HubStub:
    """The server; as a context manager it listens while it is open."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}  # by type and name
        self.objects: dict[str, bytes] = {}  # of LFS, by sha256
        self.requests: Counter[str] = Counter()  # by method and first words of the path
        self.received = self.sent = 0  # bytes of large files
        self.fault: Callable[[str, str], int | None] = lambda method, path: None
        self.lock = threading.Lock()

    def __enter__(self) -> "HubStub":
        stub = self

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Clients that were killed are expected."""

        self.server = Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"stub": stub}))
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def add(self, repo: str, type: str, files: Mapping[str, bytes], private: bool = False) -> Repository:
        """A repository with these files at its branch main."""
        repository = Repository(private)
        repository.commit({".gitattributes": b"*.tar filter=lfs\n"})
        if files:
            repository.commit({**repository.files(), ".gitattributes": b"*.tar filter=lfs\n", **files})
        self.repositories[type, repo] = repository
        return repository

    def environment(self, home: Path, token: str | None = WRITE) -> dict[str, str]:
        """The variables of a process whose Hub this is."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        kept |= {
            "HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }  # fmt: skip
        return {**kept, "HF_TOKEN": token} if token else kept

    def run(
        self, home: Path, *arguments: str, token: str | None = WRITE, **more: str
    ) -> "subprocess.CompletedProcess[str]":
        """Python in a process of its own whose Hub this is."""
        environment = self.environment(home, token) | more
        return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)


@contextmanager
def in_this_process(stub: HubStub, home: Path, token: str = WRITE) -> Iterator[None]:
    """Make huggingface_hub of this process, which may be imported already, speak to the stub."""
    import huggingface_hub.constants as constants

    values: dict[str, Any] = {
        "ENDPOINT": stub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": stub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_DISABLE_XET": True, "HF_HUB_OFFLINE": False, "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"), "HF_HUB_DISABLE_PROGRESS_BARS": True,
    }  # fmt: skip
    earlier = {name: getattr(constants, name, None) for name in values}  # older ones lack some
    variable = os.environ.get("HF_TOKEN")
    for name, value in values.items():
        setattr(constants, name, value)
    os.environ["HF_TOKEN"] = token
    try:
        yield
    finally:
        for name, value in earlier.items():
            setattr(constants, name, value)
        os.environ.pop("HF_TOKEN")
        if variable is not None:
            os.environ["HF_TOKEN"] = variable


class _Handler(BaseHTTPRequestHandler):
    stub: HubStub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_GET

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        path, self.query = unquote(parts.path), parse_qs(parts.query)
        with self.stub.lock:
            self.stub.requests[f"{self.command} {path}"] += 1
        status = self.stub.fault(self.command, path)
        self.cut = status == CUT
        body = self._body()
        if status:
            self._json({"error": "told to fail"}, status)
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif match := _API.fullmatch(path):
            self._api(match[1], match[2], match[3] or "", body)
        elif match := _BATCH.fullmatch(path):
            self._batch(json.loads(body))
        elif path.startswith("/lfs/"):
            self._put(path.removeprefix("/lfs/"), body)
        elif match := _FILE.fullmatch(path):
            self._file("dataset" if match[1] else "model", match[2], match[3], match[4])
        else:
            self._json({"error": f"no {path}"}, 404)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            blocks = []
            while size := int(self.rfile.readline(), 16):
                blocks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(blocks)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _json(self, value: object, status: int = 200, **headers: str) -> None:
        self._send(json.dumps(value).encode(), status, {"Content-Type": "application/json", **headers})

    def _send(self, data: bytes, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            if self.cut:
                self.wfile.write(data[: len(data) // 2])
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(data)

    def _may_write(self) -> bool:
        if self.token == WRITE:
            return True
        said = (
            "Invalid credentials in Authorization header"
            if self.token != READ
            else "You don't have the rights"
        )
        self._json({"error": said}, 403 if self.token == READ else 401, X_Error_Message=said)
        return False

    def _create(self, request: Any) -> None:
        if not self._may_write():
            return
        name, type = f"{request['organization']}/{request['name']}", request.get("type", "model")
        if (type, name) in self.stub.repositories:
            self._json({"error": "You already created this repo", "url": f"{self.stub.url}/{name}"}, 409)
            return
        self.stub.add(name, type, {}, request.get("visibility") == "private" or bool(request.get("private")))
        self._json({"url": f"{self.stub.url}/{'datasets/' * (type == 'dataset')}{name}"})

    def _found(self, type: str, name: str) -> Repository | None:
        repository = self.stub.repositories.get((type, name))
        if repository is None or (repository.private and self.token not in (WRITE, READ)):
            status = 404 if self.token in (WRITE, READ) else 401
            self._json({"error": "Repository not found"}, status, X_Error_Code="RepoNotFound")
            return None
        return repository

    def _api(self, type: str, name: str, rest: str, body: bytes) -> None:
        if (repository := self._found(type, name)) is None:
            return
        what, _, revision = rest.partition("/")
        if what == "branch":
            if self._may_write():
                repository.branches[revision] = repository.branches["main"]
                self._json({})
            return
        place, _, folder = revision.partition("/")
        commit = repository.at(place or "main")
        if commit is None:
            self._json({"error": "Invalid rev id"}, 404, X_Error_Code="RevisionNotFound")
        elif what in ("", "revision"):
            files = [{"rfilename": path} for path in repository.trees[commit]]
            info = {"id": name, "sha": commit, "private": repository.private, "siblings": files}
            self._json({**info, "tags": [], "downloads": 0, "likes": 0})
        elif what == "tree":
            self._json(_listing(repository.trees[commit], folder, "recursive" in self.query))
        elif what == "paths-info":
            request = json.loads(body) if body.startswith(b"{") else parse_qs(body.decode())
            tree = repository.trees[commit]
            asked = {str(path).strip("/") for path in request.get("paths", [])}
            self._json([entry for entry in _listing(tree, "", True) if entry["path"] in asked])
        elif what == "preupload":
            self._preupload(repository.trees[commit], json.loads(body))
        elif what == "commit":
            self._commit(repository, name, place, body)
        else:
            self._json({"error": f"no {rest}"}, 404)

    def _preupload(self, tree: Mapping[str, bytes], request: Any) -> None:
        if self._may_write():
            modes = [
                {"path": file["path"], "shouldIgnore": False, "oid": None,
                 "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular"}
                for file in request["files"]
            ]  # fmt: skip
            self._json({"files": modes})

    def _batch(self, request: Any) -> None:
        if not self._may_write():
            return
        objects = []
        for file in request["objects"]:
            known = file["oid"] in self.stub.objects
            upload = {"actions": {"upload": {"href": f"{self.stub.url}/lfs/{file['oid']}", "header": {}}}}
            objects.append({**file, **({} if known else upload)})
        self._json({"transfer": "basic", "objects": objects})

    def _put(self, oid: str, body: bytes) -> None:
        with self.stub.lock:
            self.stub.received += len(body)
        if sha256(body).hexdigest() != oid:
            self._json({"error": "other bytes than announced"}, 400)
            return
        self.stub.objects[oid] = body
        self._json({})

    def _commit(self, repository: Repository, name: str, branch: str, body: bytes) -> None:
        if not self._may_write():
            return
        lines = [json.loads(line) for line in body.splitlines()]
        header = lines[0]["value"]
        if header.get("parentCommit") not in (None, repository.at(branch)):
            self._json({"error": "A commit has happened since"}, 412)
            return
        tree = dict(repository.trees[repository.branches[branch]])
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                tree[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.stub.objects:
                    self._json({"error": f"{value['path']} was not uploaded"}, 400)
                    return
                tree[value["path"]] = self.stub.objects[value["oid"]]
            else:
                del tree[value["path"]]
        id = repository.commit(tree, branch, header["summary"])
        self._json(
            {"commitUrl": f"{self.stub.url}/{name}/commit/{id}", "commitOid": id, "pullRequestUrl": None}
        )

    def _file(self, type: str, name: str, revision: str, path: str) -> None:
        if (repository := self._found(type, name)) is None:
            return
        commit = repository.at(revision)
        if commit is None or path not in repository.trees[commit]:
            code = "EntryNotFound" if commit else "RevisionNotFound"
            self._json({"error": code}, 404, X_Error_Code=code)
            return
        data = repository.trees[commit][path]
        large = path.endswith(LARGE)
        etag = f'"{sha256(data).hexdigest() if large else git_hash(data)}"'
        headers = {"ETag": etag, "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if large:
            headers |= {"X-Linked-Etag": etag, "X-Linked-Size": str(len(data))}
        first, last, status = 0, len(data), 200
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(match[1]), min(int(match[2]) + 1, len(data)) if match[2] else len(data)
            status, headers["Content-Range"] = 206, f"bytes {first}-{last - 1}/{len(data)}"
        if self.command == "GET" and large:
            with self.stub.lock:
                self.stub.sent += last - first
        self._send(data[first:last], status, headers)


def _listing(tree: Mapping[str, bytes], folder: str, recursive: bool) -> list[dict[str, Any]]:
    entries: dict[str, dict[str, Any]] = {}
    for path, data in sorted(tree.items()):
        if folder and not path.startswith(f"{folder}/"):
            continue
        parts = path.split("/")
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            if above != folder and not folder.startswith(f"{above}/"):
                entries[above] = {
                    "type": "directory",
                    "path": above,
                    "size": 0,
                    "oid": git_hash(above.encode()),
                }
        entries[path] = {"type": "file", "path": path, "size": len(data), "oid": git_hash(data)}
        if path.endswith(LARGE):
            digest = sha256(data).hexdigest()
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\n".encode()
            large = {"oid": digest, "size": len(data), "pointerSize": len(pointer)}
            entries[path] |= {"oid": git_hash(pointer), "lfs": large}
    depth = folder.count("/") + 1 if folder else 0
    return [entry for path, entry in entries.items() if recursive or path.count("/") == depth]
