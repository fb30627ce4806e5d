"""Sampling from local models and endpoints, and alignment at inference time.

What needs torch is imported when it is first used, so that work with an endpoint starts at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from assent.generation.cost import BudgetReached, Ledger, Price
from assent.generation.endpoint import EndpointClient
from assent.generation.request import Answer, Request
from assent.generation.sampling import Generator, Sample, Sampling, in_order
from assent.generation.transport import Endpoint

if TYPE_CHECKING:
    from assent.generation.local import LocalGenerator

_LAZY = {"LocalGenerator": "assent.generation.local"}

__all__ = [
    "Answer",
    "BudgetReached",
    "Endpoint",
    "EndpointClient",
    "Generator",
    "Ledger",
    "LocalGenerator",
    "Price",
    "Request",
    "Sample",
    "Sampling",
    "in_order",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
