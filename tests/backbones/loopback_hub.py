"""A model hub on the loopback that answers as huggingface.co does, and breaks as networks do.

Large files are redirected to another host, as the hub redirects to its storage: "localhost" for "127.0.0.1".
"""

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".bin", ".msgpack", ".h5")
CHUNK = 64
SILENCE = 60.0
"""Seconds for which a silent hub keeps a connection open."""

Files = dict[str, bytes]


@dataclass
class LoopbackHub:
    """Repositories by name and revision, a log of what was asked, and faults to inject.

    Parameters
    ----------
    models
        Files by repository ("org/name") and revision ("main", "refs/pr/1").
    refuse
        Status and headers for every address that holds a text.
    silent
        Addresses that hold this text are never answered.
    cut
        Connection is closed at this byte of this file, once; `dies` with it, if the hub is then down.
    slow
        Seconds before each `CHUNK` bytes of a large file.
    lies
        Other content for a file than its hash and size say.
    etag
        Hash to name every file by, in place of the true one.
    """

    models: dict[str, dict[str, Files]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    tokens: list[tuple[str, str]] = field(default_factory=list)
    refuse: dict[str, tuple[int, Mapping[str, str]]] = field(default_factory=dict)
    silent: str = ""
    cut: tuple[str, int] | None = None
    dies: bool = True
    dead: bool = False
    slow: float = 0.0
    lies: Files = field(default_factory=dict)
    etag: str = ""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, name: str, files: Files, revision: str = "main") -> str:
        """Put a commit to a branch or pull request, and return its hash."""
        self.models.setdefault(name, {})[revision] = dict(files)
        return self.commit(name, revision)

    def commit(self, name: str, revision: str) -> str:
        files = self.files(name, revision).items()
        parts = [name, revision, *(f"{key} {sha256(value).hexdigest()}" for key, value in files)]
        return sha256("\n".join(parts).encode()).hexdigest()[:40]

    def files(self, name: str, revision: str) -> Files:
        return self.models[name][revision]

    def heal(self) -> None:
        """End all faults."""
        self.refuse, self.silent, self.cut, self.dead, self.slow, self.lies = {}, "", None, False, 0.0, {}

    def requests(self, word: str = "") -> list[str]:
        return [line for line in self.log if word in line]

    @contextmanager
    def serving(self) -> Iterator["LoopbackHub"]:
        handler = type("Handler", (_Handler,), {"hub": self})
        server = _Server(("127.0.0.1", self.port), handler)
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no error of the hub's; its other errors are printed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path == "/api/agent-harnesses":  # asked by recent clients; of no interest here
            return self.say(404)
        self.hub.log.append(" ".join([self.command, path, self.headers.get("Range", "")]).strip())
        self.hub.tokens.append((self.headers.get("Host", ""), self.headers.get("Authorization", "")))
        if self.hub.dead:
            return self.hang_up()
        if self.hub.silent and self.hub.silent in f"{self.command} {path}":
            time.sleep(SILENCE)
            return self.hang_up()
        for word, (status, headers) in self.hub.refuse.items():
            if word in path:
                return self.say(status, headers)
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            return self.answer("/".join(parts[2:4]), parts[4:])
        if parts[0] == "storage":
            name, revision, file = parts[1:3], parts[3:-1], parts[-1]
            return self.send("/".join(name), "/".join(revision), file)
        return self.resolve("/".join(parts[:2]), "/".join(parts[3:]))

    def answer(self, name: str, rest: list[str]) -> None:
        """The part of the API that clients use."""
        if name not in self.hub.models:
            return self.say(404, {"X-Error-Code": "RepoNotFound"})
        if rest[:1] == ["discussions"]:
            title = "Adding `safetensors` variant of this model"
            bot = {
                "title": title,
                "author": {"name": "SFconvertbot"},
                "status": "open",
                "isPullRequest": True,
            }
            bot |= {
                "num": 1,
                "createdAt": "2022-12-01T00:00:00.000Z",
                "repo": {"name": name, "type": "model"},
            }
            return self.json({"discussions": [bot], "count": 1, "start": 0, "numClosedDiscussions": 0})
        if rest[:1] == ["tree"]:  # asked for folders of chat templates, of which there are none
            return self.say(404, {"X-Error-Code": "EntryNotFound"})
        revision = self.revision(name, "/".join(rest[1:]) or "main")
        if revision is None:
            return self.say(404, {"X-Error-Code": "RevisionNotFound"})
        if rest[:1] == ["commits"]:
            ids = dict.fromkeys(self.hub.commit(name, one) for one in (revision, "main"))
            about = {"title": "", "message": "", "date": "2021-01-01T00:00:00.000Z", "authors": []}
            return self.json([{"id": commit, **about} for commit in ids])
        files = [{"rfilename": file} for file in sorted(self.hub.files(name, revision))]
        sha = self.hub.commit(name, revision)
        self.json({"id": name, "private": False, "sha": sha, "siblings": files, "tags": [], "downloads": 0})

    def revision(self, name: str, asked: str) -> str | None:
        known = self.hub.models[name]
        return next((one for one in known if asked in (one, self.hub.commit(name, one))), None)

    def resolve(self, name: str, rest: str) -> None:
        """A file of a revision: itself, or where it is stored."""
        if name not in self.hub.models:
            return self.say(404, {"X-Error-Code": "RepoNotFound"})
        asked, _, file = rest.rpartition("/")
        revision = self.revision(name, asked)
        if revision is None:
            return self.say(404, {"X-Error-Code": "RevisionNotFound"})
        commit = {"X-Repo-Commit": self.hub.commit(name, revision)}
        content = self.hub.files(name, revision).get(file)
        if content is None:
            return self.say(404, {"X-Error-Code": "EntryNotFound", **commit})
        if not file.endswith(LARGE):
            return self.send(name, revision, file, commit)
        digest = self.hub.etag or sha256(content).hexdigest()
        place = f"http://localhost:{self.hub.port}/storage/{name}/{revision}/{file}"
        linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        return self.say(302, {"Location": place, **linked, **commit})

    def send(self, name: str, revision: str, file: str, headers: Mapping[str, str] | None = None) -> None:
        """Content, from where it was asked for, with the fault that is set."""
        content = self.hub.files(name, revision)[file]
        etag = self.hub.etag or sha1(b"blob %d\0" % len(content) + content).hexdigest()  # noqa: S324 - git
        content = self.hub.lies.get(file, content)
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        more = {"ETag": f'"{etag}"', "Content-Length": str(len(content) - start), **(headers or {})}
        if start:
            more["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        for key, value in more.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        stop = len(content)
        if self.hub.cut and self.hub.cut[0] == file and start <= self.hub.cut[1]:
            stop, self.hub.cut, self.hub.dead = self.hub.cut[1], None, self.hub.dies
        step = CHUNK if self.hub.slow and file.endswith(LARGE) else len(content) + 1
        for begin in range(start, stop, step):
            time.sleep(self.hub.slow)
            self.wfile.write(content[begin : min(begin + step, stop)])
        if stop < len(content):
            self.hang_up()

    def say(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": "0", **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()

    def json(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def hang_up(self) -> None:
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True
