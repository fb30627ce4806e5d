"""Sampling from local models and endpoints, and alignment at inference time."""

from assent.generation.local import LocalGenerator
from assent.generation.sampling import Generator, Sample, Sampling, in_order

__all__ = ["Generator", "LocalGenerator", "Sample", "Sampling", "in_order"]
