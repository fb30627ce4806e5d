"""Context-aware preference: which criterion, and which answer under it.

Source: Pitis, Xiao, Le Roux, Sordoni 2024, arXiv 2407.14916.

    p(a > b | x) = sum_z pi(z | x) p(a > b | x, z),    p(a > b | x, z) = sigmoid(r(x, z, a) - r(x, z, b))

The context joins the user's turn by one fixed template, so a trained backbone reads it as text; on frozen features
the prompt's features hold it, and the head multiplies them with the candidate's. Any scorer blind to the context
is right on exactly half of the rows whose verdict flips with it. Error of the two steps, exact where either part is:

    |P' - P| <= sum_z pi'(z) |p'_z - p_z| + TV(pi, pi')
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from assent.comparison import Candidate, Comparison, Prompt
from assent.errors import InputError
from assent.objectives import Judged
from assent.preference_models.losses import differences, logistic, mean_over_wins, wins_of
from assent.preference_models.model import Annotators, Embedded, Features, PreferenceModel, perceptron

TEMPLATE = "{prompt}\n\nJudge the response by this: {context}"


@dataclass(eq=False)
class ContextAware(PreferenceModel):
    """A scalar reward model of (prompt, criterion, candidate).

    Args:
        hidden_size: H, the size of the features.
        layers: widths of hidden layers before the scalar; a linear head could not make two criteria disagree on
            frozen features.
        prompt_size: P, the size of the prompt's features; None where the backbone reads the criterion itself.
        template: how the criterion joins the last user turn; `{prompt}` and `{context}` stand for the two.
    """

    hidden_size: int
    layers: tuple[int, ...] = (64,)
    prompt_size: int | None = None
    template: str = TEMPLATE

    def __post_init__(self) -> None:
        super().__init__()
        self.layers = tuple(self.layers)
        _check_template(self.template)
        size = self.hidden_size + (self.prompt_size or 0)
        if self.prompt_size == self.hidden_size:
            size += self.hidden_size
        sizes = (size, *self.layers)
        self.trunk = perceptron(sizes)
        self.score = nn.Linear(sizes[-1], 1, bias=False)

    @property
    def reads_prompt(self) -> bool:
        """On frozen features the criterion comes with the prompt's."""
        return self.prompt_size is not None

    def embed(self, batch: Features) -> Embedded:
        """Values [B, K, 1]: the reward under each comparison's criterion."""
        inputs = batch.candidates
        if self.prompt_size is not None:
            if batch.prompt is None:
                raise InputError("`context_aware` with a prompt_size needs features of the prompt")
            prompt = batch.prompt.unsqueeze(1).expand(-1, inputs.shape[1], -1)
            product = [inputs * prompt] if self.prompt_size == self.hidden_size else []
            inputs = torch.cat([inputs, prompt, *product], dim=-1)
        return Embedded(self.score(self.trunk(inputs)), batch.candidates, batch.prompt, batch.mask)

    def reward(self, embedded: Embedded, annotator: Annotators | None = None) -> Tensor:
        """[B, K]; the same for every annotator."""
        return embedded.values[..., 0]

    def loss(self, embedded: Embedded, judged: Judged) -> Tensor:
        """The loss of each comparison, [B]; a row whose verdict flips is two comparisons."""
        return mean_over_wins(logistic(differences(self.reward(embedded))), wins_of(judged), judged)


def _check_template(template: str) -> None:
    if "{prompt}" not in template or "{context}" not in template:
        raise ValueError(f"template needs {{prompt}} and {{context}}, got {template!r}")


def with_context(comparison: Comparison, template: str = TEMPLATE) -> Comparison:
    """The comparison with its criterion in the user's turn; unchanged where it has none or an empty one."""
    if not comparison.context:
        return comparison
    return replace(
        comparison,
        prompt=_joined(comparison.prompt, comparison.context, template),
        candidates=tuple(
            c if c.prompt is None else replace(c, prompt=_joined(c.prompt, comparison.context, template))
            for c in comparison.candidates
        ),
    )


def _joined(prompt: Prompt, context: str, template: str) -> Prompt:
    if isinstance(prompt, str):
        return _filled(template, prompt, context)
    turns = [dict(message) for message in prompt]
    for message in reversed(turns):
        if message["role"] == "user":
            message["content"] = _with_text(message["content"], context, template)
            return turns
    raise InputError("a criterion needs a user turn to stand in", field="prompt", found="no user message")


def _with_text(content: Any, context: str, template: str) -> Any:
    if isinstance(content, str):
        return _filled(template, content, context)
    parts = [dict(part) for part in content]
    for part in reversed(parts):
        if part["type"] == "text":
            part["text"] = _filled(template, part["text"], context)
            return parts
    return [*parts, {"type": "text", "text": _filled(template, "", context)}]


def _filled(template: str, prompt: str, context: str) -> str:
    # Not str.format: braces in a prompt are text.
    before, _, after = template.partition("{prompt}")
    return before.replace("{context}", context) + prompt + after.replace("{context}", context)


def reversal_pair(prompt: Prompt, answers: tuple[Any, Any], contexts: tuple[str, str]) -> list[Comparison]:
    """Two comparisons of one row: under the first criterion the first answer wins, under the second the second."""
    return [
        Comparison(
            prompt,
            [Candidate(answers[0], score=1.0 - side), Candidate(answers[1], score=0.0 + side)],
            context=context,
        )
        for side, context in enumerate(contexts)
    ]


def mixed_preference(context_probabilities: Tensor, preference: Tensor) -> Tensor:
    """Returns [...] sum_z pi(z) p_z of probabilities [Z] and conditional preferences [Z, ...]."""
    mixed: Tensor = torch.tensordot(context_probabilities, preference, dims=1)
    return mixed


def error_bound(true: tuple[Tensor, Tensor], model: tuple[Tensor, Tensor]) -> Mapping[str, Tensor]:
    """Returns the error of the two steps and its bound, for (context probabilities [Z], preferences [Z]) of each."""
    (true_contexts, true_preference), (contexts, preference) = true, model
    preference_error = (contexts * (preference - true_preference).abs()).sum()
    variation = (true_contexts - contexts).abs().sum() / 2
    error = (mixed_preference(contexts, preference) - mixed_preference(true_contexts, true_preference)).abs()
    return {
        "error": error,
        "preference": preference_error,
        "contexts": variation,
        "bound": preference_error + variation,
    }


def aggregate(rewards: Tensor, weights: Tensor, rule: str) -> Tensor:
    """Returns [K] one score for each candidate from rewards under each context [Z, K].

    `expected` needs rewards comparable between contexts; `borda` (ties half) does not, and is what a model trained
    on mixed labels estimates; `soft_borda` is its smooth form; `worst` is the least reward.
    """
    if rule == "expected":
        return weights @ rewards
    if rule == "worst":
        return rewards[weights > 0].amin(dim=0)
    if rule not in ("borda", "soft_borda"):
        raise InputError(
            "unknown rule of aggregation", found=repr(rule), expected="expected, borda, soft_borda or worst"
        )
    gaps = differences(rewards)
    won = torch.sigmoid(gaps) if rule == "soft_borda" else (gaps > 0).to(gaps) + 0.5 * (gaps == 0).to(gaps)
    others = ~torch.eye(rewards.shape[1], dtype=torch.bool, device=rewards.device)
    each: Tensor = torch.tensordot(weights, torch.where(others, won, torch.zeros_like(won)), dims=1)
    return each.sum(dim=1) / max(rewards.shape[1] - 1, 1)


def pairwise_majority(rewards: Tensor, weights: Tensor) -> Tensor:
    """Returns [K, K] the weight of the contexts under which the row beats the column."""
    share: Tensor = torch.tensordot(weights, (differences(rewards) > 0).to(weights), dims=1)
    return share


def context_posterior(gaps: Tensor, labels: Tensor, prior: Tensor | None = None) -> Tensor:
    """Returns [Z] P(context | a person's verdicts), for gaps r(a) - r(b) [Z, N] and labels [N] of +1 (a) or -1."""
    likelihood = logsigmoid(labels * gaps).sum(dim=1)
    return (likelihood if prior is None else likelihood + prior.log()).softmax(dim=0)
