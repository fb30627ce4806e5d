"""The options that verbs share which draw, ask or judge, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from assent.cli.sharded_work import Engine

EndpointUrl = Annotated[
    str | None, typer.Option(help="OpenAI-compatible base URL, such as http://localhost:8000/v1.")
]
Concurrency = Annotated[int, typer.Option(min=1, help="Endpoint: requests in flight.")]
Timeout = Annotated[float, typer.Option(help="Endpoint: seconds until an answer counts as lost.")]
KeyVariable = Annotated[str, typer.Option(help="Environment variable that holds the endpoint's key.")]
Prices = Annotated[Path | None, typer.Option(help="YAML {model: {prompt: .., completion: ..}} per million tokens.")]
PricePrompt = Annotated[float | None, typer.Option(help="Money per million tokens read.")]
PriceCompletion = Annotated[float | None, typer.Option(help="Money per million tokens written.")]
Budget = Annotated[float | None, typer.Option(help="Stops before this much money is spent.")]
TokenBudget = Annotated[int | None, typer.Option(help="Stops before this many tokens are spent.")]
JournalFile = Annotated[Path | None, typer.Option(help="SQLite file of what is done; default OUT.journal.")]
DryRun = Annotated[bool, typer.Option(help="Say what it would cost, and stop.")]
TrustRemoteCode = Annotated[bool, typer.Option(help="Run code that comes with the model.")]
EngineName = Annotated[Engine, typer.Option(help="process: here; pool: processes; ray: Ray tasks, on a cluster too.")]
Workers = Annotated[int | None, typer.Option(min=1, help="pool: processes.")]
Rank = Annotated[str | None, typer.Option(help="r/N: do every N-th shard, for cluster arrays.")]
Gpus = Annotated[float, typer.Option(min=0, help="ray: GPUs of a task.")]
ShardSize = Annotated[int, typer.Option(min=1, help="Records of a shard, with --engine or --rank.")]

JudgeModel = Annotated[str | None, typer.Option(help="Model folder, or the model's name at the endpoint.")]
RubricName = Annotated[str, typer.Option(help="Name of a built-in rubric, or the path of your own YAML file.")]
Labels = Annotated[bool, typer.Option(help="Read the probability of the label in place of text.")]
ReferenceModel = Annotated[
    str | None, typer.Option(help="scorer: reference of a policy that judges itself by log-ratio.")
]
RuleName = Annotated[
    str | None, typer.Option(help="rule: package.module:function of (prompt, answer) or of a comparison.")
]
JudgeTokens = Annotated[int, typer.Option(min=1, help="Room for a judge's reasoning and answer.")]
