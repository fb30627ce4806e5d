"""Preferences mined from conversations: a complaint names a bad answer, and says by what a better one is known.

Source: Shi et al. 2024, arXiv 2408.15549 (WildFeedback).

1. Each user turn after the first is annotated with the kinds of signals that hold (`feedback_signals`); it speaks
   of the assistant's turn before it.
2. The user's wishes are written down as short instructions, from the feedback alone.
3. For a complaint: the prompt is everything before the answer complained of, which is the rejected one (or a fresh
   answer of the policy); the chosen one is written for the same prompt under the wishes as a system message, which is
   not kept in the prompt. Neither the complaint nor anything later reaches the prompt.
4. Pairs on policy stay only if a judge who has the wishes prefers the chosen answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from assent.building.built import Built, counted
from assent.building.drawn import OnStep, nothing
from assent.building.feedback_signals import (
    Complaint,
    Conversation,
    Tags,
    annotate,
    complaints,
    signals,
    turns_of,
)
from assent.building.system_message import under
from assent.comparison import Candidate, Comparison, Message
from assent.generation.prompts import text_of
from assent.generation.sampling import Generator, Sampling, in_order
from assent.judging import GeneratorRespondent, Judge, PromptedJudge, asking_of, load_rubric

__all__ = ["Mined", "Miner", "mine", "pairs", "preferred_by_wishes", "turns_of", "wishes", "with_wishes"]

MOST_WISHES = 6
SAFETY = "Stay truthful and safe; if one of these wishes is unsafe, decline that part."


@dataclass(frozen=True)
class Miner:
    """Who does what in mining.

    Args:
        annotator: a checklist judge with the rubric `user_feedback`.
        generator: writes wishes, and the better answers where there is no policy.
        sampling: of the answers.
        policy: writes both answers; None: the answer in the log is the rejected one.
        judge: keeps pairs of the policy whose chosen answer it prefers, going by the wishes.
        most: complaints used of one conversation; None: all.
    """

    annotator: Judge
    generator: Generator
    sampling: Sampling
    policy: Generator | None = None
    judge: Judge | None = None
    most: int | None = 2

    @classmethod
    def of(
        cls, generator: Generator, sampling: Sampling, policy: Generator | None = None, most: int | None = 2
    ) -> Miner:
        """One model as annotator, writer and judge."""
        respondent = GeneratorRespondent(generator, sampling.max_new_tokens)
        annotator = PromptedJudge(respondent, asking_of(load_rubric("user_feedback")), "user_feedback")
        judge = PromptedJudge(respondent, asking_of(load_rubric("helpful"), "pairwise"), "wishes")
        return cls(annotator, generator, sampling, policy, judge if policy else None, most)


@dataclass(frozen=True)
class Mined:
    """The pairs, and counts of what users said.

    Args:
        built: the pairs and what was left out.
        signals: conversations with a signal of satisfaction or dissatisfaction, turns by kind.
    """

    built: Built
    signals: Counter[str]


def mine(conversations: Sequence[Conversation], miner: Miner, first: int = 0, on_step: OnStep = nothing) -> Mined:
    """Pairs from conversations, from annotation to the filter.

    Args:
        conversations: chat messages.
        miner: who does what.
        first: the number of the first conversation, where they come in parts.
        on_step: called after each annotated turn.
    """
    tags, unread = annotate(conversations, miner.annotator, on_step)
    found = complaints(conversations, tags, miner.most, first)
    wanted = wishes(found, miner.generator, miner.sampling)
    built = pairs(found, wanted, miner.policy or miner.generator, miner.sampling, miner.policy is not None)
    reasons = Counter({**built.left_out, "turns whose annotation could not be read": unread})
    if miner.judge is not None and built.comparisons:
        built = preferred_by_wishes(built.comparisons, miner.judge)
        reasons.update(built.left_out)
    return Mined(Built(built.comparisons, counted(reasons)), _counts(conversations, tags))


def _counts(conversations: Sequence[Conversation], tags: Sequence[Tags]) -> Counter[str]:
    counts = Counter[str]()
    for conversation, here in zip(conversations, tags, strict=True):
        found = signals(conversation, here)
        counts["conversations with a complaint"] += any(one.dissatisfied for one in found)
        counts["conversations with satisfaction alone"] += bool(found) and not any(o.dissatisfied for o in found)
        counts.update(f"turns: {kind}" for one in found for kind in one.kinds)
    return counts


def wishes(found: Sequence[Complaint], generator: Generator, sampling: Sampling) -> list[list[str]]:
    """What each user wants of any answer to the request, as short instructions; empty where none could be written."""
    drawn = in_order(generator, [_wishes_prompt(one) for one in found], replace(sampling, samples=1, temperature=0.0))
    return [_lines(row[0].text) if row[0].finish_reason != "error" else [] for row in drawn]


def pairs(
    found: Sequence[Complaint],
    wanted: Sequence[Sequence[str]],
    generator: Generator,
    sampling: Sampling,
    on_policy: bool = False,
) -> Built:
    """A better answer under the wishes against the answer complained of (or a fresh one without them).

    Args:
        found: complaints.
        wanted: each user's wishes; complaints without are left out.
        generator: writes the better answer; on policy also the fresh one.
        sampling: of both.
        on_policy: whether both answers are the generator's.
    """
    reasons = Counter[str]()
    usable = [(one, list(wish)) for one, wish in zip(found, wanted, strict=True) if wish]
    reasons["complaints without a wish"] = len(found) - len(usable)
    one_each = sampling.with_samples(1)
    better = in_order(generator, [_under(one.prompt, wish) for one, wish in usable], one_each)
    fresh = in_order(generator, [one.prompt for one, _ in usable], one_each) if on_policy else None
    made = []
    for at, (one, wish) in enumerate(usable):
        rejected = fresh[at][0].text if fresh else one.answer
        failed = [row[at][0].finish_reason == "error" for row in (better, *([fresh] if fresh else []))]
        chosen = better[at][0].text
        if any(failed) or not chosen.strip():
            reasons["no better answer could be written"] += 1
        elif chosen == rejected:
            reasons["answers equal"] += 1
        else:
            made.append(
                Comparison(
                    one.prompt,
                    [
                        Candidate(chosen, score=1.0, source=generator.name),
                        Candidate(rejected, score=0.0, source=generator.name if fresh else "log"),
                    ],
                    context="the user's own wishes",
                    group=f"conversation {one.conversation}",
                    meta={"made_by": "wildfeedback", "wishes": wish, "kinds": list(one.kinds)},
                )
            )
    return Built(made, counted(reasons))


def preferred_by_wishes(made: Sequence[Comparison], judge: Judge, on_step: OnStep = nothing) -> Built:
    """The pairs whose chosen answer a judge who has the wishes prefers; ties and losses are left out."""
    kept: list[int] = []
    reasons = Counter[str]()
    for index, verdict in judge.judge([with_wishes(one) for one in made]):
        scores = verdict.scores if verdict.status == "judged" else ()
        if verdict.status != "judged":
            reasons[f"verdict {verdict.status}"] += 1
        elif scores[0] is not None and scores[1] is not None and scores[0] > scores[1]:
            kept.append(index)
        else:
            reasons["chosen answer not preferred"] += 1
        on_step()
    return Built([made[index] for index in sorted(kept)], counted(reasons))


def with_wishes(pair: Comparison) -> Comparison:
    """The pair as a judge is shown it: the wishes stand after the request as the checklist to go by."""
    listed = "\n".join(f"- {wish}" for wish in pair.meta["wishes"])
    text = f"{text_of(pair.prompt)}\n\n[Judge by these wishes of this user; length is no merit:]\n{listed}"
    candidates = [replace(candidate, score=None) for candidate in pair.candidates]
    return replace(pair, prompt=text, candidates=candidates, meta={})


def _wishes_prompt(one: Complaint) -> str:
    # Concatenated, never formatted: conversations may hold braces of their own.
    return (
        "A user was not content with an answer. Write down, in the user's language, what this user wants of any "
        f"answer to the request: at most {MOST_WISHES} short instructions, one a line, each beginning with '- '. "
        "Only what the feedback says of form, tone, length, facts or limits; nothing of a good answer's content.\n\n"
        "Conversation:\n" + text_of(one.prompt) + "\n\nAnswer:\n" + one.answer + "\n\nFeedback:\n" + one.feedback
    )


def _lines(text: str) -> list[str]:
    rows = [line.strip() for line in text.splitlines()]
    marks = ("- ", "* ", "• ")
    return [row[2:].strip() for row in rows if row.startswith(marks) and row[2:].strip()][:MOST_WISHES]


def _under(prompt: Sequence[Message], wish: Sequence[str]) -> list[dict[str, Any]]:
    return under(list(prompt), "This user wants:\n" + "\n".join(f"- {one}" for one in wish) + "\n" + SAFETY)
