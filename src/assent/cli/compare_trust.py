"""How far the judge of `assent eval compare` can be trusted: against a second judge, and towards its own answers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assent.cli import paid_work
from assent.errors import InputError

if TYPE_CHECKING:
    from assent.comparison import Comparison
    from assent.evaluation.judge_agreement import JudgeAgreement
    from assent.evaluation.matched_verdicts import Verdicts
    from assent.evaluation.self_preference import SelfPreference

Tables = list[tuple[str, list[dict[str, Any]]]]


@dataclass(frozen=True)
class Trust:
    """What is known of the judge.

    Args:
        second: the second judge's name.
        agreement: with it.
        self_preference: for the answers that are the judge's own.
    """

    second: str | None = None
    agreement: JudgeAgreement | None = None
    self_preference: SelfPreference | None = None

    @classmethod
    def of(
        cls,
        judge: str,
        judged: Sequence[Comparison],
        own: Collection[str],
        second: tuple[str, Verdicts] | None,
        seed: int,
    ) -> Trust:
        """The judge's agreement and leaning; pairs of equal answers say nothing and stay out."""
        from assent.evaluation.judge_agreement import judge_agreement
        from assent.evaluation.matched_verdicts import verdicts_by_judge
        from assent.evaluation.self_preference import self_preference

        said = verdicts_by_judge(judged, judge).get(judge, {})
        name, other = second if second is not None else (None, None)
        agreed = judge_agreement(said, other, seed=seed) if other is not None else None
        return cls(name, agreed, self_preference(said, own, other, seed=seed) if own else None)

    def rows(self) -> list[dict[str, str]]:
        """Rows of `measure`, `value` and `meaning`."""
        from assent.evaluation.judge_rows import points

        rows = []
        if self.agreement is not None:
            found, kappa = self.agreement, self.agreement.kappa
            more = "" if kappa is None else f", kappa {kappa:.2f}"
            rows.append((f"agrees with {self.second}", found.with_ties.percent(), f"of {found.pairs} pairs{more}"))
            if found.decided is not None:
                rows.append(("same winner", found.decided.percent(), f"where neither it nor {self.second} ties"))
        own = self.self_preference
        if own is not None:
            against = "" if own.excess is not None else "; bias or quality: --second would tell"
            rows.append(("names its own", own.own_rate.percent(), f"the judge's own answers{against}"))
            if own.excess is not None:
                rows.append(
                    ("favours its own by", points(own.excess), f"against {self.second}, p = {own.p_value:.3g}")
                )
        return [{"measure": measure, "value": value, "meaning": meaning} for measure, value, meaning in rows]


def checked_second(path: Path | None) -> tuple[str, Verdicts] | None:
    """The second judge's name and verdicts; read before anything is paid for."""
    from assent.evaluation.matched_verdicts import verdicts_by_judge

    if path is None:
        return None
    found = verdicts_by_judge(paid_work.read_comparisons(path), path.name.partition(".")[0])
    if len(found) != 1:
        raise InputError(
            "one second judge is needed",
            where=str(path),
            field="annotator",
            found=", ".join(found) or "no verdict",
            remedy="Compare several with `assent eval judges`",
        )
    return next(iter(found.items()))


def own_names(
    judge: str, given: str | None, sides: Sequence[Sequence[Comparison]], names: tuple[str, str]
) -> set[str]:
    """Which of the two systems is the judge itself: the one named, else one whose answers bear the judge's name."""
    if given is not None:
        return {given}
    return {
        name
        for name, side in zip(names, sides, strict=True)
        if name == judge or any(candidate.source == judge for one in side for candidate in one.answers)
    }


def rating_tables(judged: Sequence[Comparison], mode: str, seed: int) -> Tables:
    """Mean ratings by turn and category; none where answers were compared and not rated."""
    from assent.cli.eval_scores import ranked, tables
    from assent.evaluation.turn_scores import turn_scores

    rows = [] if mode == "pairwise" else turn_scores(judged)
    return tables(*ranked(rows, seed)) if any(row.score is not None for row in rows) else []
