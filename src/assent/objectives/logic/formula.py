"""Boolean formulas as text: a safe reader and their truth tables. Nothing is evaluated as code."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from assent.errors import InputError

MOST_VARIABLES = 12
"""2^12 assignments are enumerated; a larger formula is no loss that anybody could read."""

LONGEST, DEEPEST = 2000, 60
"""Characters, and connectives inside each other, beyond which a formula says nothing to a reader."""

CONNECTIVES = {"Not": 1, "And": None, "Or": None, "Implies": 2, "Xor": None, "Iff": 2}
"""Names of connectives and how many formulas each takes (None: any number, at least one)."""

Node = str | bool | tuple[str, tuple["Node", ...]]


@dataclass(frozen=True)
class Formula:
    """A parsed formula.

    Args:
        text: as it was written.
        root: its tree: a variable, a constant, or a connective with its arguments.
        variables: its variables, sorted.
    """

    text: str
    root: Node
    variables: tuple[str, ...]

    def holds(self, assignment: Mapping[str, bool]) -> bool:
        """Whether it is true where the variables have the given values."""
        return _value(self.root, assignment)


@lru_cache(maxsize=1024)
def parse(text: str) -> Formula:
    """The formula of a text: names, true, false, Not/And/Or/Implies/Xor/Iff(...), or ~, &, |, >> between them."""
    if len(text) > LONGEST:
        raise InputError(
            "a formula is too long", field="formula", found=f"{len(text):,} characters", expected=f"{LONGEST:,}"
        )
    try:
        tree = ast.parse(text.strip(), mode="eval")
        root = _node(tree.body, DEEPEST)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(
            "a formula cannot be read",
            field="formula",
            found=repr(text[:80]),
            expected=f"names, true, false, {', '.join(CONNECTIVES)}",
            remedy=_reason(error, text.strip()),
        ) from None
    variables = tuple(sorted(_variables(root)))
    if len(variables) > MOST_VARIABLES:
        raise InputError("a formula has too many variables", found=str(len(variables)), expected=f"{MOST_VARIABLES}")
    return Formula(text.strip(), root, variables)


def assignments(variables: tuple[str, ...]) -> list[dict[str, bool]]:
    """All assignments, all-true first, the last variable changing fastest."""
    return [dict(zip(variables, values, strict=True)) for values in product((True, False), repeat=len(variables))]


def _reason(error: Exception, text: str) -> str:
    """What is wrong with a formula, in a sentence."""
    if isinstance(error, SyntaxError) and error.offset is not None and "nested" not in str(error.msg):
        place = min(max(error.offset - 1, 0), len(text))
        return f"Look at character {place + 1} ({text[place : place + 10]!r}): {error.msg}"
    return str(error) if isinstance(error, ValueError) else "It is nested too deeply"


def _node(tree: ast.expr, deeper: int) -> Node:
    """The node of a syntax tree, with at most so many connectives inside each other."""
    if deeper == 0:
        raise ValueError(f"It is nested too deeply (more than {DEEPEST} connectives inside each other)")
    match tree:
        case ast.Name(id="true" | "True"):
            return True
        case ast.Name(id="false" | "False"):
            return False
        case ast.Constant(value=bool(value)):
            return value
        case ast.Name(id=name) if name not in CONNECTIVES:
            return name
        case ast.UnaryOp(op=ast.Invert(), operand=operand):
            return ("Not", (_node(operand, deeper - 1),))
        case ast.BinOp(left=left, op=ast.BitAnd() | ast.BitOr() | ast.BitXor() | ast.RShift() as symbol, right=right):
            names = {ast.BitAnd: "And", ast.BitOr: "Or", ast.BitXor: "Xor", ast.RShift: "Implies"}
            return (names[type(symbol)], (_node(left, deeper - 1), _node(right, deeper - 1)))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in CONNECTIVES:
            count = CONNECTIVES[name]
            if not args or (count is not None and len(args) != count):
                raise ValueError(f"{name} takes {count or 'one or more'} formulas")
            return (name, tuple(_node(argument, deeper - 1) for argument in args))
    raise ValueError(f"`{ast.unparse(tree)[:40]}` is no formula")


def _variables(node: Node) -> set[str]:
    if isinstance(node, tuple):
        return set().union(*(_variables(child) for child in node[1]))
    return {node} if isinstance(node, str) else set()


def _value(node: Node, assignment: Mapping[str, bool]) -> bool:
    if isinstance(node, str):
        return assignment[node]
    if isinstance(node, bool):
        return node
    name, values = node[0], [_value(child, assignment) for child in node[1]]
    match name:
        case "Not":
            return not values[0]
        case "And":
            return all(values)
        case "Or":
            return any(values)
        case "Implies":
            return not values[0] or values[1]
        case "Iff":
            return values[0] == values[1]
    return sum(values) % 2 == 1
