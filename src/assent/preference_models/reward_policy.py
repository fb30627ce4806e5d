"""A preference model on a backbone, as a policy: the engine that trains likelihoods trains it without knowing.

Rows, shared prefixes and budgets are those of language-model policies. What a `RewardPolicy` returns as the "tokens"
of a candidate are its D head values, so that `Likelihoods.sum` of a Bradley-Terry model is the reward, two-phase
losses get their derivatives, and gathering over ranks carries all that a loss needs. `PreferenceObjective` reads them
back. Features are taken at a candidate's last real token, known from its ids alone: neither padding, nor its side,
nor a pad token that is also the end token can move it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from assent.encoding import COMPLETION, PROMPT, UNSCORED, EncodedCandidate, EncodedComparison
from assent.errors import InputError
from assent.likelihood import Likelihoods
from assent.likelihood.attention import KEYWORD, NAME, packed_rows, register
from assent.likelihood.output_head import base_model, probe_tokens
from assent.likelihood.policy import Batch, Policy
from assent.likelihood.rows import packed_batch, packed_cost, padded_batch, padded_cost
from assent.objectives import Judged, Needs
from assent.preference_models.model import Embedded, Features, PreferenceModel

TOLERANCE = 1e-3
"""Largest relative difference of a feature between packed and padded rows on the probe, in float32."""


class BackboneWithHead(nn.Module):
    """A backbone and a preference model on it, one module: checkpoints hold both, engines wrap both.

    Args:
        backbone: a transformers model without a head, in an adapter's wrapper or not.
        head: the preference model.
    """

    def __init__(self, backbone: nn.Module, head: PreferenceModel) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    @property
    def config(self) -> Any:
        """The backbone's configuration."""
        return base_model(self.backbone).config

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any] | None = None) -> None:
        """Has the backbone recompute its activations."""
        backbone: Any = self.backbone
        if hasattr(backbone, "peft_config"):
            # Adapters on frozen embeddings: the first checkpointed layer needs an input with a gradient.
            backbone.get_base_model().enable_input_require_grads()
        backbone.gradient_checkpointing_enable(gradient_checkpointing_kwargs=gradient_checkpointing_kwargs)


class RewardPolicy(Policy):
    """A backbone and a head on its hidden states; made by `reward_policy`.

    Args:
        model: a transformers model without a head (`AutoModel`), in an adapter's wrapper or not.
        head: the preference model.
        shared: whether common prefixes stand once in a packed row.
        ignored_end: an id that is passed over at a candidate's end, as transformers does with pad tokens; only for
            heads that were trained that way.
    """

    def __init__(
        self,
        model: nn.Module,
        head: PreferenceModel,
        *,
        shared: bool,
        ignored_end: int | None = None,
    ) -> None:
        super().__init__(BackboneWithHead(model, head))
        self.shared, self.ignored_end = shared, ignored_end

    @property
    def backbone(self) -> nn.Module:
        """What makes the hidden states."""
        backbone = self.model.backbone
        assert isinstance(backbone, nn.Module)
        return backbone

    @property
    def head(self) -> PreferenceModel:
        """The preference model."""
        head = self.model.head
        assert isinstance(head, PreferenceModel)
        return head

    @property
    def route(self) -> str:
        """How rows are laid out, for logs and reports."""
        return f"{'shared prefixes' if self.shared else 'one row per candidate'}, preference head"

    def cost(self, comparison: EncodedComparison) -> int:
        """Tokens the backbone reads for it."""
        marked = self._marked(comparison)
        return packed_cost(marked) if self.shared else padded_cost(marked)

    def collate(self, comparisons: Sequence[EncodedComparison]) -> Batch:
        """The rows of the comparisons and where their features are read."""
        marked = [self._marked(comparison) for comparison in comparisons]
        return packed_batch(marked) if self.shared else padded_batch(marked)

    def forward(self, batch: Batch, statistics: tuple[str, ...] = ()) -> Likelihoods:
        """The head's values, D for each candidate, as likelihoods [B, K]."""
        if statistics:
            raise InputError("a preference model has no statistics of tokens", found=", ".join(statistics))
        embedded = self.embed(batch)
        mask = embedded.mask
        values = embedded.values.flatten(0, 1)
        owner = mask.flatten().nonzero().flatten()
        tokens = values[owner].to(torch.promote_types(values.dtype, torch.float32))
        repeated = owner.repeat_interleave(tokens.shape[1])
        return Likelihoods(tokens.flatten(), repeated, (mask.shape[0], mask.shape[1]), mask)

    def embed(self, batch: Batch) -> Embedded:
        """What the head makes of the comparisons that were collated."""
        return self.head.embed(self.features(batch))

    def features(self, batch: Batch) -> Features:
        """The backbone's hidden states at each candidate's last token, and at the prompt's where it is read."""
        states = self._states(batch).index_select(0, batch["source"])
        if batch["pick"] is not None:
            states = states.index_select(0, batch["pick"])
        # Heads are computed in float32: 16-bit logits tie.
        states = states.to(next(self.head.parameters()).dtype)
        mask, ends = batch["mask"], batch["segment"] == COMPLETION
        owner = batch["owner"][ends]
        flat = states.new_zeros(mask.numel(), states.shape[1]).index_copy(0, owner, states[ends])
        candidates = flat.view(*mask.shape, -1)
        if self.head.completion_only:
            candidates, mask = candidates[:, 1:], mask[:, 1:]
        return Features(candidates, mask, states[~ends] if self.head.reads_prompt else None)

    def _states(self, batch: Batch) -> Tensor:
        """[R * L, H] the backbone's last hidden states."""
        names = ("input_ids", "position_ids") if self.shared else ("input_ids", "attention_mask")
        inputs: dict[str, Any] = {name: batch[name] for name in names}
        with packed_rows() if self.shared else nullcontext():
            if self.shared:
                inputs[KEYWORD] = batch["spans"]
            hidden: Tensor = self.backbone(**inputs, **self._without_cache)[0]
        return hidden.flatten(0, 1)

    @property
    def _without_cache(self) -> dict[str, bool]:
        return {"use_cache": False} if hasattr(base_model(self.backbone).config, "use_cache") else {}

    def _marked(self, comparison: EncodedComparison) -> EncodedComparison:
        """The comparison with one scored position behind each candidate, whose source is the token to pool.

        The rows are laid out for scored positions and the token before each; a made-up position behind the last
        token makes that token the one that is read, without a second layout.
        """
        if self.head.completion_only:
            return self._apart(comparison)
        candidates = [self._ending(candidate) for candidate in comparison.candidates]
        if self.head.reads_prompt:
            candidates[0] = self._with_prompt_mark(comparison, candidates[0])
        return replace(comparison, candidates=tuple(candidates))

    def _apart(self, comparison: EncodedComparison) -> EncodedComparison:
        """The prompt and each completion as sequences of their own, the prompt in column 0; BOS in front of each."""
        first = comparison.candidates[0]
        prompt = first.ids[: first.prompt_length]
        if not prompt:
            raise InputError("features of the prompt need a prompt", where=f"comparison {comparison.id[:12]}")
        bos = base_model(self.backbone).config.get_text_config().bos_token_id
        start = prompt[:1] if prompt[0] == bos else ()
        alone = EncodedCandidate((*prompt, 0), (*[UNSCORED] * len(prompt), PROMPT), len(prompt))
        candidates = [
            self._ending(replace(one, ids=(*start, *one.ids[one.prompt_length :]), prompt_length=len(start)))
            for one in comparison.candidates
        ]
        return replace(comparison, candidates=(alone, *candidates))

    def _ending(self, candidate: EncodedCandidate) -> EncodedCandidate:
        ids, last = candidate.ids, len(candidate.ids)
        while self.ignored_end is not None and last > 1 and ids[last - 1] == self.ignored_end:
            last -= 1
        return replace(candidate, ids=(*ids[:last], 0), segments=(*[UNSCORED] * last, COMPLETION))

    def _with_prompt_mark(self, comparison: EncodedComparison, candidate: EncodedCandidate) -> EncodedCandidate:
        at = candidate.prompt_length
        if not 0 < at < len(candidate.ids) - 1:
            raise InputError("features of the prompt need a prompt", where=f"comparison {comparison.id[:12]}")
        segments = [*candidate.segments]
        segments[at] = PROMPT
        return replace(candidate, segments=tuple(segments))


@dataclass(frozen=True, eq=False)
class PreferenceObjective:
    """A preference model's loss as an objective over what its policy returned.

    Args:
        head: the policy's head; in a tuple, so that its parameters stay the policy's alone.
    """

    head: tuple[PreferenceModel]

    @property
    def needs(self) -> Needs:
        """What the model needs of the data and of the engine."""
        return self.head[0].needs

    def __call__(self, batch: Judged) -> Tensor:
        """The loss of each comparison [B], or one number for the step."""
        return self.head[0].loss(embedded_of(batch.policy), batch)


def embedded_of(values: Likelihoods) -> Embedded:
    """The head's values [B, K, D] from the layout of likelihoods; its features are not kept."""
    flat = values.mask.flatten().nonzero().flatten()
    table = values.tokens.view(len(flat), -1)
    spread = table.new_zeros(values.mask.numel(), table.shape[1]).index_copy(0, flat, table)
    shaped = spread.view(*values.mask.shape, -1)
    return Embedded(shaped, shaped, None, values.mask)


def reward_policy(
    model: nn.Module, head: PreferenceModel, *, shared_prefixes: bool = True, ignored_end: int | None = None
) -> RewardPolicy:
    """The fastest exact reward policy of a backbone, found by trying it on a few tokens."""
    if not is_causal(model):
        raise InputError(
            "a backbone in which earlier tokens see later ones",
            field="model",
            found=type(base_model(model)).__name__,
            expected="a decoder",
            remedy="Encoders are read by `WholeRowPolicy`",
        )
    shared = shared_prefixes and _can_share(model, head)
    return RewardPolicy(model, head, shared=shared, ignored_end=ignored_end)


@torch.no_grad()
def is_causal(model: nn.Module) -> bool:
    """Whether a later token leaves earlier hidden states alone."""
    ids = probe_tokens(model, 12)
    other = ids.clone()
    other[0, -1] = (other[0, -1] + 1) % base_model(model).get_input_embeddings().weight.shape[0]
    modes = {module: module.training for module in model.modules()}
    model.eval()
    first, second = model(input_ids=ids)[0], model(input_ids=other)[0]
    for module, mode in modes.items():
        module.training = mode
    return bool(torch.allclose(first[:, :-1], second[:, :-1], atol=1e-5))


@torch.no_grad()
def _can_share(model: nn.Module, head: PreferenceModel) -> bool:
    """Whether packed rows give the features of padded rows; if so the model's attention has been exchanged."""
    base = base_model(model)
    before = base.config._attn_implementation
    modes = {module: module.training for module in model.modules()}
    model.eval()
    probe = _probe(model)
    try:
        truth = _probe_features(RewardPolicy(model, head, shared=False), probe)
        register()
        base.set_attn_implementation(NAME)
        found = _probe_features(RewardPolicy(model, head, shared=True), probe)
        scale = max(float(truth.abs().max()), 1.0)
        same = float((found - truth).abs().max()) <= TOLERANCE * scale
    # A model that never met packed rows may fail in any way; there is a way that works.
    except Exception:
        same = False
    for module, mode in modes.items():
        module.training = mode
    if not same:
        base.set_attn_implementation(before)
    return same


def _probe(model: nn.Module) -> list[EncodedComparison]:
    prompt, words = probe_tokens(model, 24)[0].tolist(), probe_tokens(model, 40, 40)[0].tolist()
    candidates = tuple(
        EncodedCandidate((*prompt, *tail), (UNSCORED,) * (24 + len(tail)), 24) for tail in (words[:3], words[3:20])
    )
    return [EncodedComparison("probe", candidates, (1.0, 0.0), (-1, -1), (None, None))]


def _probe_features(policy: RewardPolicy, comparisons: list[EncodedComparison]) -> Tensor:
    batch = policy.collate(comparisons)
    device = next(policy.parameters()).device
    moved = {name: value.to(device) if isinstance(value, Tensor) else value for name, value in batch.items()}
    return policy.features(moved).candidates
