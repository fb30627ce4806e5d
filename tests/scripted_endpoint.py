"""A chat endpoint that says what a script says, counts what it is asked, and can kill who asks."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Script = Callable[[str], str]
"""From the text of all messages to the reply."""


class ScriptedEndpoint(ThreadingHTTPServer):
    """Counts its answers; `kill_after` answers it kills the process `victim`, whose answer is lost."""

    daemon_threads = True

    def __init__(self, script: Script) -> None:
        self.script = script
        self.answered = 0
        self.kill_after: int | None = None
        self.victim: int | None = None
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def counted(self) -> bool:
        """Counts an answer; False: who asked is dead now."""
        with self.lock:
            if self.kill_after is not None and self.answered >= self.kill_after:
                if self.victim is not None:
                    os.kill(self.victim, signal.SIGKILL)
                    self.victim = None
                return False
            self.answered += 1
            return True


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedEndpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.server.counted():
            return
        text = "\n".join(str(message["content"]) for message in body["messages"])
        reply = self.server.script(text)
        choices = [
            {"index": at, "message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}
            for at in range(body.get("n", 1))
        ]
        data = json.dumps({"choices": choices, "usage": {"prompt_tokens": 50, "completion_tokens": 50}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def scripted(script: Script) -> Iterator[ScriptedEndpoint]:
    """The endpoint, serving."""
    with ScriptedEndpoint(script) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()
