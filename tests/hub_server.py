"""A server that speaks the hub's HTTP API for folders of this machine, and can be told to misbehave.

It answers what `huggingface_hub` 2 asks: a repository's files at a revision, its tree, and each file; large ones come
from another address, as from the hub's store, and nothing is offered through Xet.
"""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.local_server import LocalServer

TOKEN = "hf_who_has_accepted_the_licence"
LARGE = (".safetensors", ".jpg", ".bin", ".parquet", ".tar")  # these are stored by Git LFS

Headers = dict[str, str]


class Repository:
    """A folder as a repository with one commit, which `main` and a tag name."""

    def __init__(self, folder: Path):
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        self.files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        self.commit = hashlib.sha1(b"".join(self.files.values())).hexdigest()

    def knows(self, revision: str) -> bool:
        return revision in ("main", "v1.0", self.commit)


@dataclass
class Behaviour:
    """What the server holds and how it errs; a test changes it as it goes. Files are named by their path."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    gated: bool = False  # files are for the token's owner
    status: int | None = None  # answers everything
    sizes: dict[str, int] = field(default_factory=dict)  # what is announced, instead of the size
    contents: dict[str, bytes] = field(default_factory=dict)  # what is sent, instead of the content
    cuts: dict[str, int] = field(default_factory=dict)  # so many transfers end in the middle
    asked: list[str] = field(default_factory=list)  # files that were sent, in part or in full
    sent: int = 0  # bytes of them


class HubServer(LocalServer, Behaviour):
    """The server, on 127.0.0.1."""

    def __init__(self):
        super().__init__()
        self.listen()
        self.store = self.url.replace("127.0.0.1", "localhost")  # another host, which is told no token

    def add(self, repo: str, folder: Path) -> Repository:
        self.repositories[repo] = Repository(folder)
        return self.repositories[repo]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(request.path).path)
        routes: dict[str, Callable] = {
            r"/api/(?:models|datasets)/([^/]+/[^/]+)/revision/(.+)": self._about,
            r"/api/(?:models|datasets)/([^/]+/[^/]+)/tree/([^/]+)/?": self._tree,
            r"/(?:datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)": self._file,
            r"/store/([^/]+/[^/]+)/([^/]+)/(.+)": self._stored,
        }
        if self.status:
            return _send(request, self.status, b"", {})
        for pattern, route in routes.items():
            if match := re.fullmatch(pattern, path):
                return self._about_repository(request, route, *match.groups())
        return _send(request, 404, b"", {})

    def _about_repository(self, request, route: Callable, repo: str, revision: str, *file: str) -> None:
        if repo not in self.repositories:
            # To those who are not logged in the hub does not say which names are taken.
            return _send(request, 401, b"", {"X-Error-Code": "RepoNotFound"})
        repository = self.repositories[repo]
        if not repository.knows(revision):
            return _send(request, 404, b"", {"X-Error-Code": "RevisionNotFound"})
        if file and file[0] not in repository.files:
            return _send(request, 404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repository.commit})
        return route(request, repo, repository, *file)

    def _about(self, request, repo: str, repository: Repository) -> None:
        siblings = [self._sibling(name, content) for name, content in repository.files.items()]
        _send_json(request, {"id": repo, "sha": repository.commit, "private": False, "siblings": siblings, "tags": []})

    def _sibling(self, name: str, content: bytes) -> dict:
        entry = {"rfilename": name, "size": self._size(name, content), "blobId": _blob_id(content)}
        if name.endswith(LARGE):
            entry["lfs"] = {"size": entry["size"], "sha256": _sha256(content), "pointerSize": 130}
        return entry

    def _tree(self, request, repo: str, repository: Repository) -> None:
        entries = []
        for name, content in repository.files.items():
            entry = {"type": "file", "path": name, "size": self._size(name, content), "oid": _blob_id(content)}
            if name.endswith(LARGE):
                entry["lfs"] = {"oid": _sha256(content), "size": entry["size"], "pointerSize": 130}
            entries.append(entry)
        _send_json(request, entries)

    def _file(self, request, repo: str, repository: Repository, name: str) -> None:
        if self.gated and (token := request.headers.get("Authorization")) != f"Bearer {TOKEN}":
            return _send(request, 403 if token else 401, b"", {"X-Error-Code": "GatedRepo"})
        content, headers = repository.files[name], {"X-Repo-Commit": repository.commit}
        if not name.endswith(LARGE):
            return self._content(request, name, content, {**headers, "ETag": f'"{_blob_id(content)}"'})
        headers |= {
            "Location": f"{self.store}/store/{repo}/{repository.commit}/{name}",
            "X-Linked-Etag": f'"{_sha256(content)}"',
            "X-Linked-Size": str(self._size(name, content)),
        }
        return _send(request, 302, b"", headers)

    def _stored(self, request, repo: str, repository: Repository, name: str) -> None:
        self._content(request, name, repository.files[name], {"ETag": f'"{_sha256(repository.files[name])}"'})

    def _content(self, request, name: str, content: bytes, headers: Headers) -> None:
        content = self.contents.get(name, content)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", "bytes=0-"))
        start, end = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1) + 1
        partial = end - start < len(content)
        headers |= {"Content-Range": f"bytes {start}-{end - 1}/{len(content)}"} if partial else {}
        if request.command == "GET":
            self.asked.append(name)
            self.sent += end - start
        rest = content[start:end]
        kept = len(rest)
        if self.cuts.get(name, 0) and request.command == "GET":
            self.cuts[name] -= 1
            kept = len(rest) // 2 if start == 0 else 0
        _send(request, 206 if partial else 200, rest, headers, kept)

    def _size(self, name: str, content: bytes) -> int:
        return self.sizes.get(name, len(content))


def _send(request, status: int, content: bytes, headers: Headers, kept: int | None = None) -> None:
    """Sends the first `kept` bytes of `content`, and then hangs up if those are not all."""
    request.send_response(status)
    for name, value in {"Content-Length": str(len(content)), **headers}.items():
        request.send_header(name, value)
    request.end_headers()
    if request.command == "GET":
        request.wfile.write(content[:kept])
    request.close_connection = True


def _send_json(request, document: object) -> None:
    _send(request, 200, json.dumps(document).encode(), {"Content-Type": "application/json"})


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _blob_id(content: bytes) -> str:
    """Git's name of a content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
