"""`assent generate`: completions from a local model or an endpoint, plain or aligned at inference time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assent.cli import paid_work
from assent.cli import work_options as o
from assent.cli.sharded_work import Engine, run_sharded
from assent.errors import InputError

if TYPE_CHECKING:
    from assent.generation import Generator, Ledger, Sampling
    from assent.generation.decoding import Decoder
    from assent.generation.prompt_files import PromptRow


class Decode(StrEnum):
    """The decoders of the command line."""

    plain = "plain"
    best_of_n = "best_of_n"
    rps = "rps"
    rewriter = "rewriter"
    orchestrator = "orchestrator"
    varied = "varied"


class Coupling(StrEnum):
    """How the samples of one prompt belong together."""

    independent = "independent"
    arithmetic = "arithmetic"


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("generate")(generate)


def generate(
    prompts: Annotated[
        Path, typer.Argument(help="JSONL with prompt, messages or turns per row, or text lines (.txt).")
    ],
    out: Annotated[Path, typer.Argument(help="JSONL of comparisons: one per prompt, its samples as candidates.")],
    model: Annotated[str, typer.Option(help="Model folder or hub name; with --endpoint, the model's name there.")],
    endpoint: o.EndpointUrl = None,
    decode: Annotated[Decode, typer.Option(help="What is done besides drawing.")] = Decode.plain,
    samples: Annotated[int, typer.Option(min=1, help="Completions per prompt.")] = 1,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens after which a completion is cut.")] = 256,
    temperature: Annotated[float, typer.Option(help="0 takes the most likely token.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Nucleus; 1 keeps all.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="The k most likely tokens; 0 keeps all.")] = 0,
    seed: Annotated[int, typer.Option(help="Same seed, record and sample, same text (local models).")] = 0,
    stop: Annotated[list[str] | None, typer.Option(help="Text that ends a completion; may be repeated.")] = None,
    coupling: Annotated[
        Coupling, typer.Option(help="arithmetic: negatively correlated samples.")
    ] = Coupling.independent,
    scorer: Annotated[
        str | None, typer.Option(help="Preference model folder that ranks; for best_of_n, rps, orchestrator.")
    ] = None,
    rewriter: Annotated[
        str | None, typer.Option(help="Model folder of the rewriter; by default the model itself.")
    ] = None,
    orchestrator: Annotated[Path | None, typer.Option(help="Folder of trained prompt weights.")] = None,
    attributes: Annotated[
        str, typer.Option(help="rps: the scorer's two attributes, comma-separated.")
    ] = "helpfulness,verbosity",
    angle: Annotated[float, typer.Option(help="rps: target direction in degrees; 0 is all first attribute.")] = 0.0,
    concurrency: o.Concurrency = 16,
    timeout: o.Timeout = 120.0,
    key_variable: o.KeyVariable = "OPENAI_API_KEY",
    prices: o.Prices = None,
    price_prompt: o.PricePrompt = None,
    price_completion: o.PriceCompletion = None,
    budget: o.Budget = None,
    token_budget: o.TokenBudget = None,
    journal: o.JournalFile = None,
    dry_run: o.DryRun = False,
    vllm: Annotated[bool, typer.Option(help="Run the model in vLLM, offline, in this process.")] = False,
    trust_remote_code: o.TrustRemoteCode = False,
    engine: o.EngineName = Engine.process,
    workers: o.Workers = None,
    rank: o.Rank = None,
    gpus: o.Gpus = 0,
    shard_size: o.ShardSize = 256,
) -> None:
    """Draws completions; resumable: the same command after a kill goes on and repeats nothing that was paid for.

    The output's rows are comparisons with one candidate per sample, ready for `assent judge`. With best_of_n, rps
    and orchestrator the candidates are scored and `meta.decoding.chosen` names the best. With varied one request asks
    for all samples of a prompt at once, standing for different values.

    A row with `turns` (a list of user messages) is a dialogue: one output row for each turn, after the model's own
    answers. `category` becomes the record's group; `reference` (one for each turn) is shown to judges.
    """
    settings = {name: value for name, value in locals().items() if name not in ("prompts", "out")}
    from assent.generation import Endpoint, EndpointClient, Sampling
    from assent.generation.prompt_files import read_prompt_rows
    from assent.work.journal import Journal

    paid_work.refuse_existing(out)
    if (engine is not Engine.process or rank is not None) and not dry_run:
        run_sharded("assent.cli.generate:generate", prompts, out, settings)
        return
    rows = read_prompt_rows(prompts)
    if samples > 1 and decode in (Decode.plain, Decode.varied) and any(row.later for row in rows):
        raise InputError(
            "a dialogue goes on from one answer", field="samples", found=str(samples), remedy="Add --decode best_of_n"
        )
    sampling = Sampling(samples, max_new_tokens, temperature, top_p, top_k, seed, tuple(stop or ()), coupling.value)
    ledger = paid_work.ledger_of(model, prices, price_prompt, price_completion, budget, token_budget)
    place = journal or out.with_name(f"{out.name}.journal")
    if endpoint is None and (budget is not None or token_budget is not None):
        raise InputError("a local model costs nothing", field="budget", remedy="Leave the budget out")
    target = Endpoint(endpoint, model, key_variable, concurrency, timeout) if endpoint else None
    if dry_run:
        typer.echo(json.dumps(_estimate(rows, sampling, ledger, endpoint is not None, decode), indent=1))
        return
    options = _Options(decode, scorer, rewriter, orchestrator, attributes, angle, trust_remote_code)
    _check(options, samples)
    with Journal(place) as kept:
        generator: Generator
        if target is not None:
            generator = EndpointClient(target, kept, ledger)
            identity = f"{target.url} {model}"
        else:
            generator = _local(model, vllm, trust_remote_code)
            identity = paid_work.fingerprint(model)
        decoder = _remembered(_decoder(generator, options), kept, identity, options)
        _run(decoder, rows, sampling, out, place, ledger if target else None)


@dataclass(frozen=True)
class _Options:
    decode: Decode
    scorer: str | None
    rewriter: str | None
    orchestrator: Path | None
    attributes: str
    angle: float
    trust_remote_code: bool


def _check(options: _Options, samples: int) -> None:
    """What can be wrong with the decoder's options, said before anything is loaded."""
    needs_scorer = options.decode in (Decode.best_of_n, Decode.rps, Decode.orchestrator)
    if needs_scorer and options.scorer is None:
        raise InputError(
            f"--decode {options.decode} ranks and needs a scorer", field="scorer", expected="--scorer FOLDER"
        )
    if options.scorer is not None and not needs_scorer:
        raise InputError(f"--decode {options.decode} ranks nothing", field="scorer", remedy="Add --decode best_of_n")
    if options.decode is Decode.orchestrator and options.orchestrator is None:
        raise InputError("the prompt weights are missing", field="orchestrator", expected="--orchestrator FOLDER")
    if options.decode is Decode.varied and samples < 2:
        raise InputError("a varied set has two answers or more", field="samples", expected="--samples 4")
    if options.decode is Decode.rps and len(options.attributes.split(",")) != 2:
        raise InputError("rps knows two attributes", field="attributes", found=options.attributes)


def _local(model: str, vllm: bool, trust_remote_code: bool) -> Generator:
    if vllm:
        from assent.generation.vllm_offline import VLLMGenerator

        return VLLMGenerator(model, trust_remote_code=trust_remote_code)
    from assent.generation import LocalGenerator

    return LocalGenerator(*paid_work.load_local(model, trust_remote_code), name=model)


def _decoder(generator: Generator, options: _Options) -> Decoder:
    if options.decode is Decode.plain:
        from assent.generation.decoding import Plain

        return Plain(generator)
    if options.decode is Decode.rewriter:
        from assent.generation.rewriter import Rewriter

        other = _local(options.rewriter, False, options.trust_remote_code) if options.rewriter else None
        return Rewriter(generator, other)
    if options.decode is Decode.varied:
        from assent.generation.varied import Varied

        return Varied(generator)
    from assent.preference_models.loading import open_scorer

    assert options.scorer is not None
    scorer = open_scorer(options.scorer)
    if options.decode is Decode.best_of_n:
        from assent.generation.best_of_n import BestOfN

        return BestOfN(generator, scorer)
    if options.decode is Decode.rps:
        from assent.generation.rps import RPS

        first, second = (name.strip() for name in options.attributes.split(","))
        return RPS(generator, scorer, (first, second), options.angle)
    from assent.generation.preference_orchestrator import OrchestratedBestOfN, Orchestrator

    assert options.orchestrator is not None
    return OrchestratedBestOfN(generator, scorer, Orchestrator.load(options.orchestrator))


def _remembered(decoder: Decoder, journal: Any, model: str, options: _Options) -> Decoder:
    from assent.generation.remembered import RememberedDecoder

    parts = [model, options.decode.value, options.attributes, str(options.angle)]
    parts += [
        paid_work.fingerprint(str(one)) for one in (options.scorer, options.rewriter, options.orchestrator) if one
    ]
    return RememberedDecoder(decoder, journal, json.dumps(parts))


def _run(
    decoder: Decoder, rows: list[PromptRow], sampling: Sampling, out: Path, journal: Path, ledger: Ledger | None
) -> None:
    from assent.generation.dialogues import answer_turns

    # A row's turns stand together in the output, in the order in which they were said.
    begins = list(accumulate((1 + len(row.later) for row in rows), initial=0))
    found: dict[int, Any] = {}
    total = begins[-1]
    with paid_work.saving(out, found, total, journal), paid_work.progress("generate", total, ledger) as step:
        for index, turn, comparison in answer_turns(decoder, rows, sampling):
            found[begins[index] + turn - 1] = comparison
            step()
    failed = [index for index in sorted(found) if "failed" in found[index].meta]
    written = paid_work.write_rows(out, (found[index] for index in sorted(found) if index not in set(failed)))
    summary: dict[str, Any] = {"records": written, "failed": len(failed), "out": str(out)}
    if failed:
        place = out.with_name(f"{out.name}.failed")
        paid_work.write_rows(place, (found[index] for index in failed))
        summary["failed_in"] = str(place)
    typer.echo(json.dumps({**summary, **(ledger.summary() if ledger else {})}, indent=1))


def _estimate(
    rows: list[PromptRow], sampling: Sampling, ledger: Ledger, paid: bool, decode: Decode = Decode.plain
) -> dict[str, Any]:
    from assent.generation.dialogues import expected_prompts
    from assent.generation.endpoint import request_of

    prompts = expected_prompts(rows, sampling)
    if decode is Decode.varied:
        from assent.generation.varied import asking, for_a_set

        prompts = [asking(prompt, sampling.samples, "000000") for prompt in prompts]
        sampling = for_a_set(sampling)
    requests = [request_of(prompt, "", sampling) for prompt in prompts]
    found = paid_work.estimate(requests, ledger)
    tokens = found["tokens_at_most"]["completion"]
    return found if paid else {"prompts": len(prompts), "tokens_written_at_most": tokens}
