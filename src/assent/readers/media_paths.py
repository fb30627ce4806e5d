"""Where the media of a data file are: relative paths are meant from the file's own folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from assent.comparison import Candidate, Comparison, Media


def beside(comparison: Comparison, file: str) -> Comparison:
    """The comparison with relative paths of its candidates' media taken from the folder of the data file.

    A path that leads nowhere from there is kept as it is: it may be meant from the current folder, and whoever
    opens it says what is missing.
    """
    if not any(isinstance(c.completion, Media) and c.completion.path for c in comparison.candidates):
        return comparison
    folder = Path(file).parent
    return replace(comparison, candidates=_moved(comparison.candidates, folder))


def _moved(candidates: Sequence[Candidate], folder: Path) -> list[Candidate]:
    found = []
    for candidate in candidates:
        media = candidate.completion
        if isinstance(media, Media) and media.path and "://" not in media.path and not Path(media.path).is_absolute():
            place = folder / media.path
            if _there(place):
                candidate = replace(candidate, completion=Media(media.kind, path=str(place.absolute())))
        found.append(candidate)
    return found


def _there(place: Path) -> bool:
    try:
        return place.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
