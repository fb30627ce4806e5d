"""`assent build wildfeedback`: preferences from the complaints in logged conversations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assent.cli import models_asked, paid_work
from assent.cli.builder_files import finished
from assent.errors import InputError
from assent.generation.prompt_files import rows_of


def register(group: typer.Typer) -> None:
    """Adds the command to `assent build`."""
    group.command("wildfeedback")(mine_feedback)


def mine_feedback(
    logs: Annotated[Path, typer.Argument(help="JSONL: `messages` (or `conversation`) of a whole chat per row.")],
    out: Annotated[Path, typer.Argument(help="JSONL of pairs; the user's wishes stand in `meta`.")],
    model: models_asked.Model,
    endpoint: models_asked.EndpointUrl = None,
    policy: Annotated[
        str | None, typer.Option(help="Model folder that writes both answers; default: logged answers are rejected.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Complaints used of one conversation.")] = 2,
    max_new_tokens: models_asked.MaxNewTokens = 512,
    temperature: models_asked.Temperature = 1.0,
    seed: models_asked.Seed = 0,
    concurrency: models_asked.Concurrency = 16,
    price_prompt: models_asked.PricePrompt = None,
    price_completion: models_asked.PriceCompletion = None,
    budget: models_asked.Budget = None,
    journal: models_asked.JournalFile = None,
) -> None:
    """Finds complaints, writes down what the user wants, and pairs a better answer with the one complained of.

    The model annotates each user turn, writes the wishes and the better answer. With --policy both answers are the
    policy's own, and pairs stay only if the model, going by the wishes, prefers the chosen one in both orders.
    """
    from assent.building import wildfeedback
    from assent.generation import Sampling
    from assent.judging import GeneratorRespondent, PromptedJudge, asking_of, load_rubric
    from assent.work.journal import Journal

    paid_work.refuse_existing(out)
    conversations = [_conversation(logs, number, row) for number, row in rows_of(logs)]
    asked = models_asked.asked(model, endpoint, concurrency, price_prompt, price_completion, budget)
    sampling = Sampling(1, max_new_tokens, temperature, seed=seed)
    ledger = asked.ledger if endpoint else None
    with Journal(journal or out.with_name(f"{out.name}.journal")) as kept:
        generator = asked.generator(model, kept)
        respondent = GeneratorRespondent(generator, max_new_tokens)
        annotator = PromptedJudge(respondent, asking_of(load_rubric("user_feedback")), "user_feedback")
        turns = sum(one["role"] == "user" for chat in conversations for one in chat[1:])
        with paid_work.progress("annotate", turns, ledger) as step:
            tags, unread = wildfeedback.annotate(conversations, annotator, step)
        found = wildfeedback.complaints(conversations, tags, most)
        paid_work.say(f"{len(found)} complaints in {len(conversations)} conversations; writing wishes and answers")
        wanted = wildfeedback.wishes(found, generator, sampling)
        writer = models_asked.Asked(None, 1, asked.ledger).generator(policy, kept) if policy else generator
        built = wildfeedback.pairs(found, wanted, writer, sampling, on_policy=policy is not None)
        made, left_out = built.comparisons, dict(built.left_out)
        if policy is not None and made:
            judge = PromptedJudge(respondent, asking_of(load_rubric("helpful"), "pairwise"), "wishes")
            with paid_work.progress("filter", len(made), ledger) as step:
                filtered = wildfeedback.preferred_by_wishes(made, judge, step)
            made, left_out = filtered.comparisons, {**left_out, **filtered.left_out}
    if unread:
        left_out["turns whose annotation could not be read"] = unread
    finished(out, made, len(conversations), left_out, complaints=len(found))


def _conversation(path: Path, number: int, row: dict[str, object]) -> list[dict[str, object]]:
    from assent.comparison import Candidate, Comparison

    chat = row.get("messages") or row.get("conversation")
    try:
        if not isinstance(chat, list) or not chat:
            raise InputError("a row has no conversation", found=", ".join(map(str, row))[:200], expected="messages")
        Comparison(chat, [Candidate("")])
    except InputError as error:
        raise InputError(str(error), where=f"{path}:{number}") from None
    return [dict(message) for message in chat]
