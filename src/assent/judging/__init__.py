"""Judges, rubrics as data files, and what judging costs."""

from assent.judging.modes import asking_of
from assent.judging.prompted import EndpointRespondent, GeneratorRespondent, PromptedJudge
from assent.judging.rubric import Rubric, built_in, load_rubric
from assent.judging.verdict import Judge, Tally, Verdict, apply

__all__ = [
    "EndpointRespondent",
    "GeneratorRespondent",
    "Judge",
    "PromptedJudge",
    "Rubric",
    "Tally",
    "Verdict",
    "apply",
    "asking_of",
    "built_in",
    "load_rubric",
]
