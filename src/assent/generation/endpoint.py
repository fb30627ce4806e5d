"""Answers from an endpoint: many requests at once, each journalled before it is used, none paid for twice."""

from __future__ import annotations

import asyncio
import hashlib
import queue
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from assent.comparison import Prompt, content_key
from assent.errors import AssentError, InputError, RunError
from assent.generation.cost import Ledger
from assent.generation.prompts import messages_of
from assent.generation.request import Answer, Request
from assent.generation.sampling import Sample, Sampling
from assent.generation.transport import Endpoint, Transport
from assent.work.journal import Journal

_GATHER_SECONDS = 0.025
"""How long an answer waits for others before they are written together, while more requests are in flight."""
_POLL_SECONDS = 0.2
"""How often to look whether another process has finished a request that it had claimed."""


class EndpointClient:
    """Sends requests with bounded concurrency and yields answers as they come.

    Args:
        endpoint: where.
        journal: keeps answers by request; without one nothing is remembered.
        ledger: counts cost and keeps the budget; it starts from what the journal holds.
    """

    def __init__(self, endpoint: Endpoint, journal: Journal | None = None, ledger: Ledger | None = None) -> None:
        self.endpoint = endpoint
        self.journal = journal
        self.ledger = ledger or Ledger()
        if journal is not None:
            self.ledger.include(journal.path, journal.totals())
        self.name = endpoint.model

    def answers(self, requests: Iterable[Request]) -> Iterator[tuple[int, Answer]]:
        """Pairs (index of the request, answer) as they are finished; raises once what must stop the run happens.

        The requests run in a thread of their own, so this works inside a notebook's event loop too; leaving the
        iteration early cancels what is in flight.
        """
        out: queue.SimpleQueue[tuple[int, Answer] | BaseException | None] = queue.SimpleQueue()
        session = _Session(self, out)
        thread = threading.Thread(target=session.run, args=(enumerate(requests),), daemon=True)
        thread.start()
        try:
            while (item := out.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            session.cancel()
            thread.join()

    def stream(
        self, prompts: Sequence[Prompt], sampling: Sampling, keys: Sequence[str] | None = None
    ) -> Iterator[tuple[int, list[Sample]]]:
        """Pairs (index of the prompt, its K samples); a failed one has the finish reason `error`.

        One call asks for all K; a server that answers with fewer is asked for the rest one by one.
        """
        if sampling.coupling != "independent":
            raise InputError("an endpoint draws independent samples only", field="coupling", found=sampling.coupling)
        names = [content_key(prompt) for prompt in prompts] if keys is None else list(keys)
        first = [request_of(prompt, name, sampling) for prompt, name in zip(prompts, names, strict=True)]
        found: dict[int, list[Sample]] = {}
        missing: list[tuple[int, Request]] = []
        for index, answer in self.answers(first):
            found[index] = list(answer.samples[: sampling.samples])
            rest = sampling.samples - len(found[index])
            if not rest or (answer.error and sampling.samples == 1):
                yield index, found[index] or [_failed(answer)]
                continue
            for at in range(len(found[index]), sampling.samples):
                seed = _seed(sampling.seed, names[index], at)
                missing.append((index, replace(first[index], count=1, seed=seed)))
        for at, answer in self.answers(request for _, request in missing):
            index = missing[at][0]
            found[index].append(answer.samples[0] if answer.samples else _failed(answer))
            if len(found[index]) == sampling.samples:
                yield index, found[index]


class _Session:
    """One run over requests: workers that ask, a writer that journals in groups, and how it ends."""

    def __init__(self, client: EndpointClient, out: queue.SimpleQueue[Any]) -> None:
        self.journal = client.journal
        self.transport = Transport(client.endpoint, client.ledger)
        self.endpoint = client.endpoint
        self.out = out
        self.stop: AssentError | None = None
        self.waiting: dict[str, list[int]] = {}
        self.remembered: dict[str, Answer] = {}
        self.failed = self.succeeded = self.busy = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False

    def run(self, requests: Iterator[tuple[int, Request]]) -> None:
        try:
            asyncio.run(self._main(requests))
            self.out.put(self.stop)
        except asyncio.CancelledError:
            self.out.put(None)
        except BaseException as error:
            self.out.put(_innermost(error))

    def cancel(self) -> None:
        self._cancelled = True
        if self._loop is not None and self._task is not None and not self._loop.is_closed():
            try:
                self._loop.call_soon_threadsafe(self._task.cancel)
            except RuntimeError:  # it closed in between
                return

    async def _main(self, requests: Iterator[tuple[int, Request]]) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        if self._cancelled:
            return
        work: asyncio.Queue[tuple[str, Request] | None] = asyncio.Queue(maxsize=self.endpoint.concurrency)
        # Bounded: answers that wait for a slow disk are what a kill would lose.
        done: asyncio.Queue[tuple[str, Answer] | None] = asyncio.Queue(maxsize=self.endpoint.concurrency)
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(self._write(done))
            async with asyncio.TaskGroup() as workers:
                for _ in range(self.endpoint.concurrency):
                    workers.create_task(self._work(work, done))
                async for item in self._todo(requests):
                    if self.stop:
                        break
                    await work.put(item)
                for _ in range(self.endpoint.concurrency):
                    await work.put(None)
            await done.put(None)
            await writer

    async def _todo(self, requests: Iterator[tuple[int, Request]]) -> AsyncIterator[tuple[str, Request]]:
        """The requests that this process must send; what the journal has is delivered at once."""
        later: list[tuple[str, Request]] = []
        for batch in _chunks(requests, 2 * self.endpoint.concurrency):
            keyed = [(request.key(self.endpoint.url, self.endpoint.model), request) for _, request in batch]
            fresh: list[tuple[str, Request]] = []
            for (index, _), (key, request) in zip(batch, keyed, strict=True):
                # The same request twice in one run: the second waits for the first.
                if key in self.waiting:
                    self.waiting[key].append(index)
                else:
                    self.waiting[key] = [index]
                    fresh.append((key, request))
            for item in await self._unanswered(fresh, later):
                yield item
        while later and not self.stop:
            await asyncio.sleep(_POLL_SECONDS)
            again, later = later, []
            for item in await self._unanswered(again, later):
                yield item

    async def _unanswered(
        self, items: list[tuple[str, Request]], later: list[tuple[str, Request]]
    ) -> list[tuple[str, Request]]:
        if self.journal is None:
            for key, _ in items:
                if key in self.remembered:
                    self._deliver(key, self.remembered[key])
            return [(key, request) for key, request in items if key not in self.remembered]
        if not items:
            return []
        keys = [key for key, _ in items]
        mine = await asyncio.to_thread(self.journal.claim, keys)
        others = [key for key in keys if key not in mine]
        kept = await asyncio.to_thread(self.journal.get_many, others) if others else {}
        for key, value in kept.items():
            self._deliver(key, Answer.from_dict(value))
        later += [(key, request) for key, request in items if key not in mine and key not in kept]
        return [(key, request) for key, request in items if key in mine]

    async def _work(
        self,
        work: asyncio.Queue[tuple[str, Request] | None],
        done: asyncio.Queue[tuple[str, Answer] | None],
    ) -> None:
        async with self.transport.client() as client:
            while (item := await work.get()) is not None:
                if self.stop:
                    continue
                key, request = item
                self.busy += 1
                try:
                    answer = await self.transport.ask(client, request, key)
                except AssentError as error:
                    self.stop = self.stop or error
                    continue
                finally:
                    self.busy -= 1
                self._count(answer)
                await done.put((key, answer))

    def _count(self, answer: Answer) -> None:
        self.succeeded += answer.error is None
        self.failed += answer.error is not None
        if not self.succeeded and self.failed >= max(10, 2 * self.endpoint.concurrency):
            self.stop = RunError(
                f"{self.endpoint.url} answered none of the first {self.failed} requests; the last failure: "
                f"{answer.error}"
            )

    async def _write(self, done: asyncio.Queue[tuple[str, Answer] | None]) -> None:
        """Journals whatever has come in meanwhile in one transaction, then delivers it."""
        ended = False
        while not ended:
            items = [await done.get()]
            if self.journal is not None and self.busy and items[0] is not None:
                # One transaction and one change of threads for each answer would cost more than the writing itself.
                await asyncio.sleep(_GATHER_SECONDS)
            while not done.empty():
                items.append(done.get_nowait())
            ended = None in items
            group = [item for item in items if item is not None]
            if self.journal is not None:
                price = self.transport.ledger.price
                entries = [
                    (key, answer.to_dict(), answer.usage, price.of(answer.usage) if price else None)
                    for key, answer in group
                    if answer.error is None
                ]
                await asyncio.to_thread(self.journal.put_many, entries)
                failed = [key for key, answer in group if answer.error is not None]
                if failed:
                    await asyncio.to_thread(self.journal.release, failed)
            for key, answer in group:
                self._deliver(key, answer)

    def _deliver(self, key: str, answer: Answer) -> None:
        for index in self.waiting.pop(key):
            self.out.put((index, answer))
        if self.journal is None:
            self.remembered[key] = answer


def _chunks(items: Iterator[tuple[int, Request]], size: int) -> Iterator[list[tuple[int, Request]]]:
    chunk: list[tuple[int, Request]] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def request_of(prompt: Prompt, name: str, sampling: Sampling) -> Request:
    """The call that draws a prompt's K samples; `name` is the record's key, which its seed depends on."""
    return Request(
        messages=messages_of(prompt),
        max_tokens=sampling.max_new_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        count=sampling.samples,
        seed=_seed(sampling.seed, name, 0),
        stop=sampling.stop,
        extra={"top_k": sampling.top_k} if sampling.top_k else {},
    )


def _seed(seed: int, name: str, sample: int) -> int:
    return (
        int.from_bytes(hashlib.blake2b(f"{seed}\0{name}\0{sample}".encode(), digest_size=4).digest(), "little") >> 1
    )


def _failed(answer: Answer) -> Sample:
    return Sample(text="", finish_reason="error")
