"""A reference that also says what each token is worth: the log-ratio of two models with opposite tastes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from assent.config import RunConfig
from assent.config.run_config import ReferenceConfig
from assent.encoding import EncodedComparison
from assent.errors import InputError
from assent.likelihood import Likelihoods
from assent.likelihood.policy import Batch, Reference
from assent.objectives import Needs
from assent.training.references import Opened


class ContrastedReference:
    """A reference whose likelihoods carry the statistic `contrast`: log p+ - log p- of every token.

    Args:
        reference: what log-ratios are taken against; it answers for everything else.
        positive: the model p+; `negative`: the model p-.
    """

    def __init__(self, reference: Reference, positive: Reference, negative: Reference) -> None:
        self.reference, self.positive, self.negative = reference, positive, negative

    def __call__(self, comparisons: Sequence[EncodedComparison], batch: Batch) -> Likelihoods:
        """The reference's likelihoods, with the contrast of the two models beside its other statistics."""
        found = self.reference(comparisons, batch)
        contrast = self.positive(comparisons, batch).tokens - self.negative(comparisons, batch).tokens
        return replace(found, statistics={**found.statistics, "contrast": contrast.detach()})

    def __getattr__(self, name: str) -> Any:
        """What the reference has beside: its policy, its updates and its state."""
        return getattr(self.__dict__["reference"], name)


def check_contrast(config: RunConfig, needs: Needs, objective: str) -> None:
    """Raises where the objective needs two contrastive models and the run file names none, or the other way round."""
    given = config.reference.contrast if config.reference is not None else None
    if needs.contrast and given is None:
        raise InputError(
            f"`{objective}` weighs tokens by two models, and the run file names none",
            where=config.where("reference"),
            field="reference.contrast",
            expected="{positive: folder, negative: folder}",
            remedy="Train one model on the pairs as they are and one on the pairs reversed (see `assent explain "
            "tis_dpo`)",
        )
    if given is not None and not needs.contrast:
        raise InputError(
            f"`{objective}` weighs no tokens",
            where=config.where("reference.contrast"),
            field="reference.contrast",
            remedy="Leave `contrast` out, or take tis_dpo",
        )


def with_contrast(opened: Opened, config: RunConfig, open_other: Callable[[RunConfig], Opened | None]) -> Opened:
    """The reference with the run file's two models beside it; each is scored once and looked up where that can be.

    Args:
        opened: the reference.
        config: the run file.
        open_other: opens the reference of another run file for the same comparisons.
    """
    assert config.reference is not None
    assert config.reference.contrast is not None
    found, store = [], config.reference.store
    for source in (config.reference.contrast.positive, config.reference.contrast.negative):
        other = open_other(config.model_copy(update={"reference": ReferenceConfig(source=source, store=store)}))
        assert other is not None
        found.append(other)
    positive, negative = found
    facts = {**opened.facts, "contrast": {"positive": positive.facts, "negative": negative.facts}}
    return Opened(ContrastedReference(opened.reference, positive.reference, negative.reference), facts)
