"""Sampling from local models or endpoints, and alignment at inference time."""
