"""A stand-in for the hub: the few endpoints of its protocol that huggingface_hub asks for models, on this machine.

Answers are those that huggingface_hub tells apart (`hf_raise_for_status`): who is not signed in is told 401 of a
private repository and of one that does not exist, who is signed in 404.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

WRITER, READER, EXPIRED = "hf_writer", "hf_reader", "hf_expired"
_LARGE = 4096  # bytes from which a file goes by LFS, as all safetensors files do
Files = dict[str, bytes]


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Repo:
    """Commits, each with all its files, and what points to them."""

    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    private: bool = False
    gated: bool = False

    def commit(self, files: Files, ref: str = "main") -> str:
        """A commit of these files that the branch or tag then means."""
        commit = hashlib.sha1(repr((len(self.commits), sorted(files.items()))).encode()).hexdigest()
        self.commits[commit], self.refs[ref] = files, commit
        return commit

    def find(self, revision: str) -> str | None:
        return self.refs.get(revision, revision if revision in self.commits else None)


class StandIn(ThreadingHTTPServer):
    """The server, and what it holds.

    Attributes:
        cut: whether large files end half-way, as when the network goes.
        down: whether it answers 503 to everything.
        asked: the requests, "GET /path".
        messages: of the commits that were pushed.
        faults: of the stand-in itself.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repos: dict[str, Repo] = {}
        self.storage: dict[str, bytes] = {}
        self.cut = self.down = False
        self.asked: list[str] = []
        self.messages: list[str] = []
        self.faults: list[BaseException | None] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def stored_at(self, digest: str) -> str:
        """Where a large file is: another machine, by its name."""
        return f"http://localhost:{self.server_port}/storage/{digest}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(fault := sys.exc_info()[1], ConnectionError):  # a client may go away
            self.faults.append(fault)


class _Handler(BaseHTTPRequestHandler):
    server: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        self.answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def answer(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.path = unquote(urlsplit(self.path).path)
        self.server.asked.append(f"{self.command} {self.path}")
        self.token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if self.server.down:
            return self.say(503, {"error": "Service Unavailable"})
        if self.token == EXPIRED:
            return self.refuse(401, "", "Invalid credentials in Authorization header")
        for pattern, method in (
            (r"GET /api/models/([^/]+/[^/]+)(?:/revision/(.+))?", self.info),
            (r"GET /api/models/([^/]+/[^/]+)/tree/(.+)", self.tree),
            (r"(?:GET|HEAD) /([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.resolve),
            (r"(?:GET|HEAD|PUT) /storage/(\w+)", self.store),
            (r"POST /api/validate-yaml", lambda: self.say(200, {})),
            (r"POST /api/repos/create", self.create),
            (r"POST /api/models/([^/]+/[^/]+)/branch/(.+)", self.branch),
            (r"POST /api/models/([^/]+/[^/]+)/preupload/(.+)", self.preupload),
            (r"POST /([^/]+/[^/]+)\.git/info/lfs/objects/batch", self.batch),
            (r"POST /api/models/([^/]+/[^/]+)/commit/(.+)", self.commit),
        ):
            if found := re.fullmatch(pattern, f"{self.command} {self.path}"):
                return method(*found.groups())  # type: ignore[operator]
        self.say(404, {"error": "no such endpoint"})

    # What is read

    def info(self, name: str, revision: str | None) -> None:
        if found := self.found(name, revision or "main"):
            _, commit, files = found
            self.say(200, {"id": name, "sha": commit, "siblings": [{"rfilename": path} for path in files]})

    def tree(self, name: str, revision: str) -> None:
        if found := self.found(name, revision):
            self.say(200, [self.entry(path, content) for path, content in found[2].items()])

    def resolve(self, name: str, revision: str, path: str) -> None:
        if (found := self.found(name, revision)) is None:
            return
        _, commit, files = found
        headers = {"X-Repo-Commit": commit}
        if path not in files:
            return self.refuse(404, "EntryNotFound", "Entry not found")
        content = files[path]
        if self.large(path, content):  # as on a CDN
            self.server.storage[digest := sha(content)] = content
            headers |= {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(content))}
            return self.say(302, b"", headers | {"Location": self.server.stored_at(digest)})
        self.say(200, content, headers | {"ETag": f'"{hashlib.sha1(content).hexdigest()}"'})

    def store(self, digest: str) -> None:
        if self.command == "PUT":
            self.server.storage[digest] = self.body
            return self.say(200, {})
        content = self.server.storage[digest]
        start = int(re.sub(r"\D", "", self.headers.get("Range") or "") or 0)
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        self.say(206 if start else 200, content[start:], headers, cut=self.server.cut)

    # What is written

    def create(self) -> None:
        wanted = json.loads(self.body)
        name = f"{wanted['organization']}/{wanted['name']}"
        if self.token != WRITER:
            return self.refuse(403 if self.token else 401, "", "You don't have the rights to create a model there.")
        exists = name in self.server.repos
        if not exists:
            private = wanted.get("visibility") == "private" or wanted.get("private", False)  # of older versions
            self.server.repos[name] = Repo(private=private)
            self.server.repos[name].commit({})
        self.say(409 if exists else 200, {"url": f"{self.server.endpoint}/{name}"})

    def branch(self, name: str, branch: str) -> None:
        repo = self.server.repos[name]
        exists = branch in repo.refs
        repo.refs.setdefault(branch, repo.refs["main"])
        self.say(409 if exists else 200, {})

    def preupload(self, name: str, revision: str) -> None:
        if self.found(name, revision):
            files = json.loads(self.body)["files"]
            for file in files:
                file |= {"uploadMode": "lfs" if self.large(file["path"], b"", file["size"]) else "regular"}
                file |= {"shouldIgnore": False, "oid": None}
            self.say(200, {"files": files})

    def batch(self, name: str) -> None:
        objects = json.loads(self.body)["objects"]
        for each in objects:
            if each["oid"] not in self.server.storage:
                each["actions"] = {"upload": {"href": self.server.stored_at(each["oid"])}}
        self.say(200, {"transfer": "basic", "objects": objects})

    def commit(self, name: str, revision: str) -> None:
        if (found := self.found(name, revision)) is None:
            return
        repo, _, files = found
        lines = [json.loads(line) for line in self.body.splitlines()]
        added = {}
        for line in lines[1:]:
            value = line["value"]
            lfs = line["key"] == "lfsFile"
            added[value["path"]] = self.server.storage[value["oid"]] if lfs else base64.b64decode(value["content"])
        self.server.messages.append(lines[0]["value"]["summary"])
        commit = repo.commit(files | added, revision)
        url = f"{self.server.endpoint}/{name}"
        answer = {"commitUrl": f"{url}/commit/{commit}", "pullRequestUrl": f"{url}/discussions/1"}
        self.say(200, answer | {"success": True, "commitOid": commit})

    # What they share

    def found(self, name: str, revision: str) -> tuple[Repo, str, Files] | None:
        """A repository, a commit and its files; None after it was refused."""
        repo = self.server.repos.get(name)
        signed_in = self.token in (WRITER, READER)
        if repo is None or (repo.private and not signed_in):
            self.refuse(404 if signed_in else 401, "RepoNotFound", "Repository not found")
        elif repo.gated and self.token != WRITER:
            self.refuse(403 if signed_in else 401, "GatedRepo", f"Access to model {name} is restricted.")
        elif (commit := repo.find(revision)) is None:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return repo, commit, repo.commits[commit]
        return None

    def large(self, path: str, content: bytes, size: int | None = None) -> bool:
        return path.endswith(".safetensors") or (len(content) if size is None else size) > _LARGE

    def entry(self, path: str, content: bytes) -> dict[str, Any]:
        """A file as the listing of a tree has it."""
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content)}
        entry["oid"] = hashlib.sha1(content).hexdigest()
        if self.large(path, content):
            self.server.storage[sha(content)] = content
            entry["lfs"] = {"oid": sha(content), "size": len(content), "pointerSize": 134}
        return entry

    def refuse(self, status: int, code: str, message: str) -> None:
        self.say(status, {"error": message}, {"X-Error-Code": code, "X-Error-Message": message})

    def say(self, status: int, content: Any, headers: dict[str, str] | None = None, *, cut: bool = False) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for key, value in (headers or {}).items():
            if value:
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = cut
