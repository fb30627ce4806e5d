"""Sends one request and gets its answer, through rate limits, failures, hangs, cut and malformed answers."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from assent.errors import AssentError, InputError
from assent.generation.cost import Ledger
from assent.generation.request import Answer, MalformedAnswer, Request, read_answer

TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
LONGEST_WAIT = 600.0
_ROOM_SECONDS = 0.02
"""How often a request looks whether the budget has room for it, near its end."""
_JITTER = wait_random_exponential(multiplier=0.5, max=60)


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible server: vLLM, `transformers serve`, Ollama, or a hosted one.

    Args:
        url: its base, such as `http://localhost:8000/v1`; credentials in it are refused.
        model: the model's name there.
        key_variable: the environment variable that holds the key; the key itself is never stored or written.
        concurrency: requests in flight.
        timeout: seconds until an answer counts as lost.
        attempts: tries per request, the first included.
        structured: ask for answers by JSON schema; `auto` stops asking once the endpoint refuses.
    """

    url: str
    model: str
    key_variable: str | None = "OPENAI_API_KEY"
    concurrency: int = 16
    timeout: float = 120.0
    attempts: int = 8
    structured: Literal["auto", "off"] = "auto"

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(
                "not an endpoint", field="endpoint", found=self.url[:80], expected="http://localhost:8000/v1"
            )
        if parts.username or parts.password or parts.query:
            raise InputError(
                "an endpoint's URL must not hold credentials, since it is written into results",
                field="endpoint",
                remedy=f"Put the key into the environment variable {self.key_variable or 'OPENAI_API_KEY'}",
            )
        for name in ("concurrency", "timeout", "attempts"):
            if getattr(self, name) <= 0:
                raise InputError("must be positive", field=name, found=str(getattr(self, name)))
        object.__setattr__(self, "url", self.url.rstrip("/"))

    @property
    def local(self) -> bool:
        """Whether it runs on this machine, where no key is the rule."""
        return urlsplit(self.url).hostname in ("localhost", "127.0.0.1", "::1", "0.0.0.0")

    def headers(self) -> dict[str, str]:
        """The authorization header; an error if a remote endpoint's key is missing."""
        key = os.environ.get(self.key_variable or "")
        if key:
            return {"Authorization": f"Bearer {key}"}
        if self.local or self.key_variable is None:
            return {}
        raise InputError(
            "the endpoint's key is missing",
            field="key_variable",
            found=f"{self.key_variable} is not set",
            remedy=f"export {self.key_variable}=..., or name another variable",
        )

    def redacted(self, text: str) -> str:
        """The text without the key, which some servers echo in their errors."""
        key = os.environ.get(self.key_variable or "")
        return (text.replace(key, "[key]") if key else text)[:300]


class Transient(AssentError):
    """A failure that another try may cure."""

    def __init__(self, message: str, *, retry_after: float = 0.0, charged: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.charged = charged


class Refused(AssentError):
    """The endpoint will not answer this request; others may be fine."""


class Transport:
    """Asks one endpoint; all requests share its pauses (a 429 holds everybody back).

    Args:
        endpoint: where.
        ledger: what it costs.
    """

    def __init__(self, endpoint: Endpoint, ledger: Ledger) -> None:
        self.endpoint = endpoint
        self.ledger = ledger
        self.structured = endpoint.structured == "auto"
        self._resume_at = 0.0
        self._verify: ssl.SSLContext | bool | None = None

    def client(self) -> httpx.AsyncClient:
        """An HTTP client for one worker; redirects are not followed, so that the key stays where it belongs.

        One client each, since the connection pool of httpx looks at every connection for every request: with one
        pool for 64 workers that alone took 7 ms a request.
        """
        if self._verify is None:
            secure = self.endpoint.url.startswith("https:")
            self._verify = httpx.create_ssl_context() if secure else False
        limits = httpx.Limits(max_connections=1)
        return httpx.AsyncClient(headers=self.endpoint.headers(), timeout=None, limits=limits, verify=self._verify)

    async def ask(self, client: httpx.AsyncClient, request: Request, key: str) -> Answer:
        """The answer; `error` says why there is none. Raises what must stop the run (budget, key, model)."""
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.endpoint.attempts),
            wait=_wait,
            retry=retry_if_exception_type(Transient),
            before_sleep=self._note_retry,
            reraise=True,
        )
        try:
            return await retrying(self._attempt, client, request, key)
        except (Transient, Refused) as error:
            return Answer(error=str(error))

    async def _attempt(self, client: httpx.AsyncClient, request: Request, key: str) -> Answer:
        await asyncio.sleep(max(0.0, self._resume_at - time.monotonic()))
        bound = request.bound()
        while not self.ledger.reserve(bound):
            await asyncio.sleep(_ROOM_SECONDS)
        self.ledger.requests += 1
        usage: dict[str, int] | None = {}
        try:
            answer = await self._post(client, request, key)
            usage = dict(answer.usage) if any(answer.usage.values()) else None
            return answer
        except Transient as error:
            usage = None if error.charged else {}
            raise
        finally:
            self.ledger.settle(bound, usage)

    async def _post(self, client: httpx.AsyncClient, request: Request, key: str) -> Answer:
        structured = self.structured
        name = key[:32]
        try:
            async with asyncio.timeout(self.endpoint.timeout):
                response = await client.post(
                    f"{self.endpoint.url}/chat/completions",
                    json=request.body(self.endpoint.model, structured=structured),
                    headers={"X-Client-Request-Id": name},
                )
        except TimeoutError:
            raise Transient(f"no answer within {self.endpoint.timeout:g} s", charged=True) from None
        except httpx.ConnectError as error:
            raise Transient(f"cannot reach {self.endpoint.url}: {error}") from None
        except httpx.HTTPError as error:
            raise Transient(f"the connection broke: {type(error).__name__}", charged=True) from None
        if response.status_code == 200:
            return _read(response, name)
        raise self._failure(response, request, structured)

    def _failure(self, response: httpx.Response, request: Request, structured: bool) -> AssentError:
        """The error that a response other than 200 stands for."""
        status, text = response.status_code, self.endpoint.redacted(response.text)
        message = f"HTTP {status}: {text}"
        if status in TRANSIENT:
            wait = retry_after(response.headers)
            if status in (429, 503) and wait:
                self._resume_at = max(self._resume_at, time.monotonic() + wait)
            return Transient(message, retry_after=wait)
        if status in (401, 403):
            return InputError(
                "the endpoint refused the key",
                where=self.endpoint.url,
                found=message,
                remedy=f"Check the environment variable {self.endpoint.key_variable}",
            )
        if status in (404, 405) or 300 <= status < 400:
            return InputError(
                "no such endpoint or model",
                where=self.endpoint.url,
                found=message,
                expected=f"a server with /chat/completions and the model {self.endpoint.model!r}",
            )
        if status in (400, 422) and request.schema is not None and structured:
            # It may be the schema that it cannot read; answers are then parsed from plain text.
            self.structured = False
            return Transient(message)
        return Refused(message)

    async def _note_retry(self, state: RetryCallState) -> None:
        self.ledger.retries += 1


def retry_after(headers: httpx.Headers) -> float:
    """Seconds that a server asks to wait: `retry-after-ms`, or `Retry-After` as seconds or a date; 0 if neither."""
    try:
        if "retry-after-ms" in headers:
            seconds = float(headers["retry-after-ms"]) / 1000
        else:
            value = headers.get("retry-after", "0")
            try:
                seconds = float(value)
            except ValueError:
                seconds = parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_WAIT) if seconds == seconds else 0.0


def _wait(state: RetryCallState) -> float:
    """What the server asked for, plus jitter, so that those who waited do not all return at once."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, Transient) else 0.0
    return asked + _JITTER(state)


def _read(response: httpx.Response, name: str) -> Answer:
    echoed = response.headers.get("x-client-request-id")
    if echoed is not None and echoed != name:
        raise Transient("the endpoint answered another request", charged=True)
    try:
        body: Any = response.json()
        return read_answer(body)
    except (ValueError, MalformedAnswer) as error:
        raise Transient(f"a malformed answer: {error}", charged=True) from None
