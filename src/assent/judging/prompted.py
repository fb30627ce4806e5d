"""Judges that are asked in words: an endpoint or a local model reads a rubric and replies; one repair try."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from assent.comparison import Comparison, Message
from assent.errors import InputError
from assent.generation import EndpointClient, Generator, Request, Sampling
from assent.judging.asking import Question
from assent.judging.modes import Asking, Reply
from assent.judging.reading import Found
from assent.judging.verdict import Verdict

WINDOW = 1024
"""Comparisons asked about together: bounds memory, and how long a repair waits."""

Chat = Sequence[Message]


class Respondent(Protocol):
    """Something that answers chats."""

    @property
    def name(self) -> str:
        """What the records' `annotator` says."""

    def respond(self, chats: Sequence[tuple[Chat, Mapping[str, Any]]]) -> Iterator[tuple[int, str | None]]:
        """Pairs (index, text, or None if there was no answer) for chats with the JSON schema of their answer."""


@dataclass(frozen=True)
class EndpointRespondent:
    """Asks an endpoint; answers by JSON schema where it offers them.

    Args:
        client: where, with journal and budget.
        max_tokens: room for the reasoning and the answer.
        temperature: 0 for the same answer each time, as far as the endpoint keeps it.
    """

    client: EndpointClient
    max_tokens: int = 1024
    temperature: float = 0.0

    @property
    def name(self) -> str:
        """The model's name."""
        return self.client.name

    def request(self, chat: Chat, schema: Mapping[str, Any]) -> Request:
        """What is sent."""
        return Request(chat, max_tokens=self.max_tokens, temperature=self.temperature, schema=schema)

    def respond(self, chats: Sequence[tuple[Chat, Mapping[str, Any]]]) -> Iterator[tuple[int, str | None]]:
        """Answers as they come."""
        for index, answer in self.client.answers(self.request(*chat) for chat in chats):
            yield index, answer.text


@dataclass(frozen=True)
class GeneratorRespondent:
    """Asks a generator, such as a local model; the schema stands in the question and is not enforced."""

    generator: Generator
    max_tokens: int = 512

    @property
    def name(self) -> str:
        """The model's name."""
        return self.generator.name

    def respond(self, chats: Sequence[tuple[Chat, Mapping[str, Any]]]) -> Iterator[tuple[int, str | None]]:
        """Answers, greedily decoded."""
        sampling = Sampling(max_new_tokens=self.max_tokens, temperature=0)
        for index, samples in self.generator.stream([_one_prompt(chat) for chat, _ in chats], sampling):
            yield index, None if samples[0].finish_reason == "error" else samples[0].text


class PromptedJudge:
    """Judges with a rubric, by asking.

    Args:
        respondent: who answers.
        asking: how it is asked; see `asking_of`.
        criterion: what goes into the records' `context`.
        repair: ask once more, showing what was written, where an answer could not be read.
    """

    def __init__(self, respondent: Respondent, asking: Asking, criterion: str, *, repair: bool = True) -> None:
        self.respondent = respondent
        self.asking = asking
        self.criterion = criterion
        self.repair = repair
        self.name = respondent.name

    def judge(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Verdict]]:
        """Verdicts as they are complete."""
        for start in range(0, len(comparisons), WINDOW):
            for at, verdict in self._window(comparisons[start : start + WINDOW]):
                yield start + at, verdict

    def questions(self, comparisons: Sequence[Comparison]) -> Iterator[Question]:
        """Everything that will be asked if nothing needs repair; for estimates."""
        for comparison in comparisons:
            yield from _at(comparison, self.asking)

    def _window(self, comparisons: Sequence[Comparison]) -> Iterator[tuple[int, Verdict]]:
        asked = [(at, question) for at, one in enumerate(comparisons) for question in _at(one, self.asking)]
        open_questions: dict[int, list[int]] = {}
        for index, (at, _) in enumerate(asked):
            open_questions.setdefault(at, []).append(index)
        replies: dict[int, Reply] = {}
        for at, comparison in enumerate(comparisons):
            if at not in open_questions:
                yield at, self.asking.verdict(comparison, [])
        first = self._ask([([_user(question.text)], question) for _, question in asked])
        unread: list[int] = []
        for index, reply in first:
            if reply.found is None and reply.text is not None and self.repair:
                unread.append(index)
                replies[index] = reply
                continue
            replies[index] = reply
            at = asked[index][0]
            if all(other in replies for other in open_questions[at]) and not set(open_questions[at]) & set(unread):
                yield at, self._verdict(comparisons[at], [replies[other] for other in open_questions[at]])
        again = [(_repair(asked[index][1], replies[index].text or ""), asked[index][1]) for index in unread]
        for position, reply in self._ask(again):
            index = unread[position]
            found = replace(reply.found, by="repair") if reply.found else None
            replies[index] = replace(replies[index], found=found, text=reply.text if found else replies[index].text)
        for at in sorted({asked[index][0] for index in unread}):
            yield at, self._verdict(comparisons[at], [replies[other] for other in open_questions[at]])

    def _ask(self, chats: Sequence[tuple[Chat, Question]]) -> Iterator[tuple[int, Reply]]:
        if not chats:
            return
        for index, text in self.respondent.respond([(chat, question.schema) for chat, question in chats]):
            question = chats[index][1]
            found: Found | None = self.asking.read(question, text) if text is not None else None
            yield index, Reply(question, text, found)

    def _verdict(self, comparison: Comparison, replies: Sequence[Reply]) -> Verdict:
        if any(reply.text is None for reply in replies):
            return Verdict("failed")
        unread = [reply.text for reply in replies if reply.found is None]
        if unread:
            return Verdict("unparsed", details={"unread": [(text or "")[:500] for text in unread]})
        return self.asking.verdict(comparison, replies)


def _at(comparison: Comparison, asking: Asking) -> list[Question]:
    try:
        return asking.questions(comparison)
    except InputError as error:
        raise InputError(str(error), where=f"record {comparison.key[:12]}") from error


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _repair(question: Question, text: str) -> list[Message]:
    return [
        _user(question.text),
        {"role": "assistant", "content": text[-4000:] or "(nothing)"},
        _user("That could not be read. Reply again with the JSON object alone, exactly as described above."),
    ]


def _one_prompt(chat: Chat) -> Any:
    """A single user message as plain text, so that base models without a chat template can be asked too."""
    return chat[0]["content"] if len(chat) == 1 else list(chat)
