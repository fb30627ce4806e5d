"""Makers of preference data: each takes comparisons or prompts and returns comparisons."""
