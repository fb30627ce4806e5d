"""`assent build route`: which comparisons should people judge, under a budget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from assent.cli.models_asked import Asked
from assent.comparison import Comparison
from assent.errors import InputError


def register(group: typer.Typer) -> None:
    """Adds the command to `assent build`."""
    group.command("route")(route)


def route(
    data: Annotated[Path, typer.Argument(help="Pairs whose candidates carry `scores` of the model, some of people.")],
    output: Annotated[Path, typer.Argument(help="JSONL of the pairs with the routed labels.")],
    test: Annotated[Path, typer.Option(help="Judged pairs on which mixes are measured; not among the data.")],
    budget: Annotated[float, typer.Option(min=0, max=1, help="Share of the pairs that people may judge.")] = 0.25,
    human: Annotated[str, typer.Option(help="Name of people's score.")] = "human",
    machine: Annotated[str, typer.Option(help="Name of the model's score.")] = "machine",
    mixes: Annotated[int, typer.Option(min=10, help="Random mixes to fit the predictor on.")] = 200,
    encoder: Annotated[
        str, typer.Option(help="hashed_ngrams, or a folder of sentence-transformers or transformers.")
    ] = "hashed_ngrams",
    size: Annotated[int, typer.Option(min=1, help="Components of hashed_ngrams.")] = 64,
    tagger: Annotated[
        str | None,
        typer.Option(help="Model that tags prompts by subject, expertise, safety and more: a folder, or its name."),
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="With --tagger: OpenAI-compatible base URL at which it answers.")
    ] = None,
    similarity: Annotated[
        Path | None, typer.Option(help="Text encoder's folder: adds BERTScore and the cosine of embeddings.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Also write gains, predictions and measures as JSON.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the mixes.")] = 0,
) -> None:
    """Routes pairs to people or to the model so that a reward model trained on the mix is predicted to be best.

    Pairs are described by how alike and how long their answers are (by words; with --similarity by a text encoder
    too), and by `meta.tags`, which --tagger has a language model write. A predictor is fitted on
    random mixes of the pairs that both have judged; each mix trains a small reward model. Routed pairs without a
    human label come out unjudged, with `meta.label_wanted`.

    Example:

      assent build route pairs.jsonl routed.jsonl --test heldout.jsonl --budget 0.25

      assent build route pairs.jsonl routed.jsonl --test heldout.jsonl --tagger ./llama --similarity ./distilbert
    """
    from assent.building.route_labels import RoutingJob, route_labels
    from assent.building.route_similarity import answer_similarity
    from assent.comparison import to_dict
    from assent.readers import read

    if output.exists():
        raise InputError("the output exists", where=str(output), remedy="Name another file")
    features = {"encoder": encoder, **({"size": size} if encoder == "hashed_ngrams" else {})}
    job = RoutingJob(human, machine, budget, mixes, features, seed)
    comparisons, held = read(data).comparisons, read(test).comparisons
    console = Console(stderr=True)
    if endpoint is not None and tagger is None:
        raise InputError("an endpoint without a model to ask", field="--tagger", found="nothing")
    if tagger is not None:
        comparisons = tagged(comparisons, tagger, endpoint, output)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        alike = None
        if similarity is not None:
            read_pairs = bar.add_task("similarity", total=len(comparisons))
            alike = answer_similarity(comparisons, similarity, lambda n, of: bar.update(read_pairs, completed=n))
        task = bar.add_task("mixes", total=mixes)
        routed = route_labels(comparisons, held, job, lambda done, total: bar.update(task, completed=done), alike)
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_name(output.name + ".partial")
    temporary.write_text("".join(json.dumps(to_dict(row)) + "\n" for row in routed.comparisons))
    temporary.replace(output)
    numbers = {
        "predictors": routed.predictors,
        "predicted": routed.predicted,
        "measured": routed.measured,
        "features": routed.features,
        "to_judge": routed.to_judge,
    }
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(json.dumps({**numbers, "gains": routed.gains}, indent=1) + "\n")
    console.print(f"{len(comparisons)} pairs routed, {routed.to_judge} wait for people: {output}", markup=False)
    typer.echo(json.dumps(numbers, indent=1))


def tagged(comparisons: list[Comparison], model: str, endpoint: str | None, output: Path) -> list[Comparison]:
    """The comparisons with a model's tags of their prompts; its answers are kept beside the output."""
    from assent.building.route_tagger import tag_prompts

    asked = Asked(model, endpoint, temperature=0.0)
    with asked.models(output) as models:
        found = tag_prompts(comparisons, models.generator(model))
    typer.echo(
        f"{len(comparisons)} prompts tagged, {found.unreadable} without a readable answer, "
        f"{found.outside} values in no list",
        err=True,
    )
    return found.comparisons
