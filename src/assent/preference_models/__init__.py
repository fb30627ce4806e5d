"""Reward and preference models: heads, losses, scoring."""
