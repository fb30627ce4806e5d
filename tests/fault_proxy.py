"""An OpenAI-compatible server that misbehaves on purpose: in front of a stub of its own, or of a real server.

Each request is answered, or gets one of the faults, decided by a hash of (seed, request, attempt): the same run
meets the same faults. What was answered is counted by request id, so that a test sees what was paid for twice.
"""

from __future__ import annotations

import asyncio
import collections
import hashlib
import json
import threading
from collections.abc import Callable
from typing import Any

import httpx

FAULTS = ("rate_limit", "server_error", "hang", "cut", "broken_json", "wrong_id")


class FaultProxy:
    """A context manager; `url` is its base. `answered` counts the good answers, `faults` the bad ones.

    Args:
        answer: text of the stub's answer to a body.
        fault_share: how many attempts fail.
        faults: which kinds, equally often.
        delay: seconds the stub takes.
        upstream: base URL of a real server to forward to, in place of the stub.
        honours_count: whether the stub gives `n` completions when asked.
    """

    def __init__(
        self,
        answer: Callable[[dict[str, Any]], str] = lambda body: "fine",
        *,
        fault_share: float = 0.0,
        faults: tuple[str, ...] = FAULTS,
        delay: float = 0.0,
        upstream: str | None = None,
        honours_count: bool = True,
        seed: int = 0,
    ) -> None:
        self.answer, self.fault_share, self.kinds, self.delay = answer, fault_share, faults, delay
        self.upstream, self.honours_count, self.seed = upstream, honours_count, seed
        self.answered: collections.Counter[str] = collections.Counter()
        self.faults: collections.Counter[str] = collections.Counter()
        self.attempts: collections.Counter[str] = collections.Counter()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.in_flight = self.most_in_flight = 0
        self.url = ""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=256)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with httpx.AsyncClient(timeout=60) as self._client:
            self._ready.set()
            await self._stop.wait()
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head[1:] if line)}
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                if not await self._reply(writer, headers, body):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _reply(self, writer: asyncio.StreamWriter, headers: dict[str, str], body: dict[str, Any]) -> bool:
        """Answers one request; whether the connection lives on."""
        name = headers.get("x-client-request-id", "")
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            self.bodies.append(body)
            self.headers.append(headers)
            fault = self._fault(name)
            if fault is not None:
                self.faults[fault] += 1
                return await self._misbehave(writer, fault, body)
            status, text = await self._good(body)
            if status == 200:
                self.answered[name] += 1
            await _send(writer, status, text, {"x-client-request-id": name})
            return True
        finally:
            self.in_flight -= 1

    def _fault(self, name: str) -> str | None:
        self.attempts[name] += 1
        draw = hashlib.blake2b(f"{self.seed}/{name}/{self.attempts[name]}".encode(), digest_size=8).digest()
        if int.from_bytes(draw[:4], "big") / 2**32 >= self.fault_share:
            return None
        return self.kinds[draw[4] % len(self.kinds)]

    async def _misbehave(self, writer: asyncio.StreamWriter, fault: str, body: dict[str, Any]) -> bool:
        text = json.dumps(completion(body, "wrong"))
        if fault == "rate_limit":
            await _send(writer, 429, '{"error": {"message": "slow down"}}', {"retry-after": "0.02"})
        elif fault == "server_error":
            await _send(writer, 500, "<html>oops</html>", {})
        elif fault == "hang":
            await asyncio.sleep(30)
        elif fault == "cut":
            writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(text)}\r\n\r\n{text[: len(text) // 2]}".encode())
            await writer.drain()
            return False
        elif fault == "broken_json":
            await _send(writer, 200, text[: len(text) // 2], {})
        elif fault == "wrong_id":
            await _send(writer, 200, text, {"x-client-request-id": "somebody-else"})
        elif fault == "bad_request":
            await _send(writer, 400, '{"error": {"message": "context too long"}}', {})
        return True

    async def _good(self, body: dict[str, Any]) -> tuple[int, str]:
        if self.upstream is not None:
            response = await self._client.post(f"{self.upstream}/chat/completions", json=body)
            return response.status_code, response.text
        await asyncio.sleep(self.delay)
        count = body.get("n", 1) if self.honours_count else 1
        return 200, json.dumps(completion(body, *[self.answer({**body, "choice": at}) for at in range(count)]))


def completion(body: dict[str, Any], *texts: str) -> dict[str, Any]:
    read = sum(len(str(message["content"])) for message in body["messages"]) // 4
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": body["model"],
        "choices": [
            {"index": at, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            for at, text in enumerate(texts)
        ],
        "usage": {"prompt_tokens": read, "completion_tokens": sum(len(text) // 4 + 1 for text in texts)},
    }


async def _send(writer: asyncio.StreamWriter, status: int, text: str, headers: dict[str, str]) -> None:
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json", f"content-length: {len(text.encode())}"]
    lines += [f"{key}: {value}" for key, value in headers.items()]
    writer.write(("\r\n".join(lines) + "\r\n\r\n" + text).encode())
    await writer.drain()
