"""Assent aligns generative models with preferences.

One record (the comparison), one engine, every published preference method.
"""

from assent.comparison import Candidate, Comparison, Media, TokenStreams
from assent.errors import AssentError, InputError, RunError

__version__ = "0.1.0"

__all__ = [
    "AssentError",
    "Candidate",
    "Comparison",
    "InputError",
    "Media",
    "RunError",
    "TokenStreams",
    "__version__",
]
