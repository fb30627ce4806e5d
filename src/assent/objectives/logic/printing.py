"""Formulas and scores in their shortest form, by sympy; imported only where somebody reads them."""

from __future__ import annotations

from typing import Any

import sympy

from assent.objectives.logic.formula import Node, assignments, parse
from assent.objectives.logic.structure import Structure


def shortest(text: str) -> str:
    """A formula simplified, written with &, |, ~."""
    return str(sympy.simplify_logic(_sympy(parse(text).root), force=True))


def sides(structure: Structure) -> tuple[str, str]:
    """Top and bottom, simplified."""
    core, condition, additive = (_sympy(formula.root) for formula in structure.formulas)
    top = sympy.And(sympy.Or(core, additive), condition)
    bottom = sympy.And(sympy.Or(sympy.Not(core), additive), condition)
    return tuple(str(sympy.simplify_logic(side, force=True)) for side in (top, bottom))  # type: ignore[return-value]


def score(structure: Structure) -> str:
    """The fraction whose logarithm is rho, factored; p_w is the probability of w."""
    weights = {name: sympy.Symbol(f"p_{name}", positive=True) for name in structure.variables}
    top, bottom = structure.tables()
    rows = assignments(structure.variables)
    counts = [
        sum((_weight(row, weights) for row, holds in zip(rows, table, strict=True) if holds), sympy.Integer(0))
        for table in (top, bottom)
    ]
    return str(sympy.factor(sympy.cancel(counts[0] / counts[1])))


def _weight(row: dict[str, bool], weights: dict[str, Any]) -> Any:
    return sympy.prod([weights[name] if value else 1 - weights[name] for name, value in row.items()])


def _sympy(node: Node) -> Any:
    if isinstance(node, bool):
        return sympy.true if node else sympy.false
    if isinstance(node, str):
        return sympy.Symbol(node)
    name, children = node[0], [_sympy(child) for child in node[1]]
    makers = {
        "Not": sympy.Not,
        "And": sympy.And,
        "Or": sympy.Or,
        "Implies": sympy.Implies,
        "Xor": sympy.Xor,
        "Iff": sympy.Equivalent,
    }
    return makers[name](*children)
