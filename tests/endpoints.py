"""A real `transformers serve` on loopback, and a proxy that counts requests and spoils answers, for the tests of the teacher."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MODEL = Path(__file__).resolve().parents[1] / "src" / "helpers" / "data" / "italian_jobs" / "base_model"
TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"  # the base model continues the prompt


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[tuple[str, str]]:
    """(address, model name) of the embedded base model behind `transformers serve`."""
    model = shutil.copytree(MODEL, folder / "model")
    config = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": TEMPLATE}))
    port = free_port()
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(model)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        )
        try:
            _wait_for(f"http://127.0.0.1:{port}/health", process, folder / "log")
            yield f"http://127.0.0.1:{port}/v1", str(model)
        finally:
            process.terminate()
            process.wait()


def _wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 180
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=2).close()
            return
        time.sleep(0.3)
    raise RuntimeError(f"no server: {log.read_text()[-2000:]}")


def completion(text: str | None, finish: str = "stop", usage: dict | None = None, **message) -> dict:
    """A chat completion as a server writes it; ten tokens each way by default."""
    usage = usage if usage is not None else {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text, **message}}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}


class Proxy:
    """A server that asks `plan(number, body)` what to do with each request, counted from 0.

    The plan returns a dict (the JSON body), bytes (the body), (status, headers, dict or bytes), a function that writes
    the whole answer to a binary stream, or one of the words `pass` (on to the real server), `drop` (no answer), `half`
    (half a JSON body), `page` (HTML), `hang` (nothing until the proxy closes).
    """

    def __init__(self, plan: Callable[[int, dict], object], upstream: str = ""):
        self.plan, self.upstream = plan, upstream
        self.asked: list[str] = []  # the prompt of every request
        self.bodies: list[dict] = []
        self.sizes: list[int] = []  # bytes of every body
        self.keys: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.delivered: list[str] = []  # prompts whose answer has left
        self.at_once = self.most_at_once = 0
        self.closing, self.lock = threading.Event(), threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                proxy.handle(self)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        size = int(request.headers["content-length"])
        body = json.loads(request.rfile.read(size))
        prompt = body["messages"][-1]["content"]
        with self.lock:
            number = len(self.asked)
            self.asked.append(prompt)
            self.bodies.append(body)
            self.sizes.append(size)
            self.headers.append({name.lower(): value for name, value in request.headers.items()})
            self.keys.append(request.headers.get("authorization", ""))
            self.times.append(time.monotonic())
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            self.respond(request, self.plan(number, body), body)
            with self.lock:
                self.delivered.append(prompt)
        except OSError:
            request.close_connection = True  # the client has gone
        finally:
            with self.lock:
                self.at_once -= 1

    def respond(self, request: BaseHTTPRequestHandler, what: object, body: dict) -> None:
        if what == "hang":
            self.closing.wait(20)
        if what in ("hang", "drop"):
            request.close_connection = True
            raise ConnectionResetError
        if callable(what):
            request.close_connection = True
            what(request.wfile)
            return
        status, headers, kind = 200, {}, "application/json"
        if what == "pass":
            status, content = self.forward(body)
        elif what == "page":
            content, kind = b"<html><body>Welcome</body></html>", "text/html"
        elif what == "half":
            content = json.dumps(completion("un annuncio")).encode()[:60]
        else:
            status, headers, answer = what if isinstance(what, tuple) else (200, {}, what)
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        request.send_response(status)
        for name, value in ({"content-type": kind, "content-length": str(len(content))} | headers).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(content)

    def forward(self, body: dict) -> tuple[int, bytes]:
        asked = urllib.request.Request(
            f"{self.upstream}/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
