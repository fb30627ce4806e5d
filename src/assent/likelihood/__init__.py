"""Policies: whatever turns the candidates of a comparison into log-likelihoods."""

from assent.likelihood.likelihoods import COMPLETION, FIRST_STREAM, PROMPT, Likelihoods

__all__ = ["COMPLETION", "FIRST_STREAM", "PROMPT", "Likelihoods"]
