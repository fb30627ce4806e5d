"""Assent against TRL and against itself without its engine: same model, data, order and losses, side by side."""
