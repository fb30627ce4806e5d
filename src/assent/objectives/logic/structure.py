"""Preference structures: their truth tables, their order, their reference versions and their place in the lattice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from assent.errors import InputError
from assent.objectives.logic.formula import Formula, assignments, parse


@dataclass(frozen=True)
class Structure:
    """A core formula, what counts at all, and what counts on both sides.

    Args:
        core: P, what a good model satisfies.
        condition: P_C, which assignments count.
        additive: P_A, which count for top and bottom alike.
    """

    core: str
    condition: str = "true"
    additive: str = "false"

    @cached_property
    def formulas(self) -> tuple[Formula, Formula, Formula]:
        """P, P_C and P_A."""
        return parse(self.core), parse(self.condition), parse(self.additive)

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """All variables, sorted."""
        return tuple(sorted({name for formula in self.formulas for name in formula.variables}))

    def tables(self, variables: Sequence[str] | None = None) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
        """Truth tables of top and bottom over the given variables (its own by default), all-true first."""
        core, condition, additive = self.formulas
        top, bottom = [], []
        for row in assignments(tuple(self.variables if variables is None else variables)):
            counts, both = condition.holds(row), additive.holds(row)
            top.append(counts and (both or core.holds(row)))
            bottom.append(counts and (both or not core.holds(row)))
        return tuple(top), tuple(bottom)

    def check(self) -> None:
        """Raises where top or bottom can never hold: rho would be infinite."""
        top, bottom = self.tables()
        if not any(top) or not any(bottom):
            raise InputError(
                f"the {'top' if not any(top) else 'bottom'} formula can never hold, so the loss would be infinite",
                field="formula",
                found=f"P = {self.core}, P_C = {self.condition}, P_A = {self.additive}",
            )

    def marks(self) -> list[tuple[dict[str, bool], str]]:
        """Each assignment with its mark: top, bottom, both or none."""
        names = {(True, False): "top", (False, True): "bottom", (True, True): "both", (False, False): "none"}
        sides = zip(*self.tables(), strict=True)
        return [(row, names[side]) for row, side in zip(assignments(self.variables), sides, strict=True)]

    def entails(self, other: Structure) -> bool:
        """Whether this one is at least as strict: its loss is never smaller, whatever the probabilities."""
        names = sorted({*self.variables, *other.variables})
        (top, bottom), (other_top, other_bottom) = self.tables(names), other.tables(names)
        return all(b or not a for a, b in zip(top, other_top, strict=True)) and all(
            a or not b for a, b in zip(bottom, other_bottom, strict=True)
        )

    def equals(self, other: Structure) -> bool:
        """Whether both are the same loss, however they are written."""
        return self.entails(other) and other.entails(self)

    def with_reference(self) -> Structure:
        """The version held against a reference, whose rho is the policy's minus the reference's."""
        top, bottom = (Structure._disjunction(table, self.variables) for table in self.tables())
        primed = [Structure._disjunction(table, [f"r{name}" for name in self.variables]) for table in self.tables()]
        return Structure.from_sides(f"And({top}, {primed[1]})", f"And({bottom}, {primed[0]})")

    @classmethod
    def from_sides(cls, top: str, bottom: str) -> Structure:
        """The structure with the given top and bottom formulas."""
        return cls(f"Implies({bottom}, {top})", f"Or({top}, {bottom})", f"And({top}, {bottom})")

    @staticmethod
    def _disjunction(table: Sequence[bool], variables: Sequence[str]) -> str:
        terms = [
            "And(" + ", ".join(name if value else f"Not({name})" for name, value in row.items()) + ")"
            for row, holds in zip(assignments(tuple(variables)), table, strict=True)
            if holds
        ]
        return f"Or({', '.join(terms)})" if terms else "false"


MARKS = ("bottom", "none", "both", "top")

NAMES = {
    ("bottom", "bottom"): "likelihood and unlikelihood",
    ("top", "bottom"): "cross-entropy (SFT)",
    ("bottom", "top"): "unlikelihood",
    ("top", "none"): "conditioned CPO (cCPO)",
    ("none", "none"): "odds ratio (ORPO)",
    ("both", "none"): "probability ratio (CPO, SimPO, RRHF, SLiC)",
    ("none", "both"): "ratio of complements (mirror of CPO)",
    ("none", "top"): "conditioned unlikelihood (mirror of cCPO)",
    ("top", "top"): "unconditioned implication (unCPO)",
}
"""Names of the lattice's members, by the marks of (w and l) and of (neither)."""


def member(both: str, neither: str) -> Structure:
    """The two-variable structure with `w` alone on top, `l` alone at the bottom, these marks elsewhere."""
    rows = {"And(w, Not(l))": "top", "And(l, Not(w))": "bottom", "And(w, l)": both, "And(Not(w), Not(l))": neither}
    top = [row for row, mark in rows.items() if mark in ("top", "both")]
    bottom = [row for row, mark in rows.items() if mark in ("bottom", "both")]
    return Structure.from_sides(f"Or({', '.join(top)})", f"Or({', '.join(bottom)})")


def lattice() -> dict[str, Structure]:
    """The sixteen sensible losses of two answers, by name; unnamed ones by their marks."""
    return {
        NAMES.get((both, neither), f"(both true: {both}, both false: {neither})"): member(both, neither)
        for both in MARKS
        for neither in MARKS
    }


def neighbours(structure: Structure) -> tuple[str | None, list[str], list[str]]:
    """Its name in the lattice, the members just above that it entails, and those just below that entail it."""
    members = lattice()
    name = next((name for name, other in members.items() if other.equals(structure)), None)
    above = {key for key, other in members.items() if structure.entails(other) and not other.entails(structure)}
    below = {key for key, other in members.items() if other.entails(structure) and not structure.entails(other)}
    nearest = [key for key in above if not any(members[o].entails(members[key]) for o in above - {key})]
    strictest = [key for key in below if not any(members[key].entails(members[o]) for o in below - {key})]
    return name, sorted(nearest), sorted(strictest)


def without_reference(structure: Structure) -> tuple[str, Structure] | None:
    """The lattice member whose reference version this is, or None."""
    if not any(name.startswith("r") for name in structure.variables):
        return None
    return next(
        ((name, other) for name, other in lattice().items() if other.with_reference().equals(structure)), None
    )
