"""Raises ValueError for options that make no sense; the registry adds which key of the run file it was."""

from __future__ import annotations

from collections.abc import Collection


def positive(**options: float) -> None:
    """Raises unless every option is above 0; NaN is not."""
    for name, value in options.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")


def not_negative(**options: float) -> None:
    """Raises unless every option is 0 or above; NaN is not."""
    for name, value in options.items():
        if not value >= 0:
            raise ValueError(f"{name} must not be negative, got {value}")


def below_half(**options: float) -> None:
    """Raises unless every option is a share in [0, 1/2): at 1/2 a label says nothing."""
    for name, value in options.items():
        if not 0 <= value < 0.5:
            raise ValueError(f"{name} must be in [0, 0.5), got {value}")


def share(**options: float) -> None:
    """Raises unless every option is in [0, 1]."""
    for name, value in options.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {value}")


def one_of(choices: Collection[str], **options: str) -> None:
    """Raises unless every option is one of the choices."""
    for name, value in options.items():
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")
