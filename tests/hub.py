"""A stand-in for the hub on loopback: it answers the few calls of an upload and keeps what was uploaded."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub:
    """What came in: `files` by repository and path, `created` with the payloads, `calls`; `refusing` answers 403 to uploads."""

    def __init__(self):
        self.files: dict[str, dict[str, bytes]] = {}
        self.objects: dict[str, bytes] = {}
        self.created: list[dict] = []
        self.tokens: set[str] = set()
        self.calls: list[str] = []
        self.refusing = False

    def answer(self, method: str, path: str, body: bytes, address: str) -> tuple[int, dict]:
        path = path.partition("?")[0]
        if method == "PUT":
            self.objects[path.rpartition("/")[2]] = body
            return 200, {}
        if path.endswith("/validate-yaml"):
            return 200, {"errors": [], "warnings": []}
        if path.endswith("/repos/create"):
            self.created.append(json.loads(body))
            made = self.created[-1]
            prefix = "datasets/" if made["type"] == "dataset" else ""
            return 200, {"url": f"{address}/{prefix}{made['organization']}/{made['name']}"}
        if path.endswith("/objects/batch"):
            objects = json.loads(body)["objects"]
            actions = [o | {"actions": {"upload": {"href": f"{address}/objects/{o['oid']}"}}} for o in objects]
            return 200, {"transfer": "basic", "objects": actions}
        if self.refusing:
            return 403, {"error": "You do not have the right to write here with hf_secret."}
        if "/preupload/" in path:
            rows = json.loads(body)["files"]
            large = (".safetensors", ".parquet")
            modes = [{"path": r["path"], "uploadMode": "lfs" if r["path"].endswith(large) else "regular"} for r in rows]
            return 200, {"files": [mode | {"shouldIgnore": False} for mode in modes]}
        if "/commit/" in path:
            place = path.partition("/commit/")[0].removeprefix("/api/")
            kept = self.files.setdefault(place, {})
            for row in map(json.loads, body.splitlines()):
                value = row["value"]
                if row["key"] == "file":
                    kept[value["path"]] = base64.b64decode(value["content"])
                elif row["key"] == "lfsFile":
                    kept[value["path"]] = self.objects[value["oid"]]
            return 200, {
                "success": True,
                "commitUrl": f"{address}/{place.removeprefix('models/')}/commit/1",
                "commitOid": "1" * 40,
            }
        return 200, {"id": "owner/name", "private": True, "siblings": [], "sha": "1" * 40}


@contextlib.contextmanager
def standing_in() -> Iterator[tuple[str, Hub]]:
    """(address, what the hub has received)."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def reply(self) -> None:
            hub.calls.append(f"{self.command} {self.path}")
            hub.tokens.add(self.headers.get("Authorization", ""))
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = hub.answer(self.command, self.path, body, address)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = reply

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield address, hub
    finally:
        server.shutdown()
        server.server_close()
