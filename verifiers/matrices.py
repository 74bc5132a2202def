"""Matrix arithmetic on syntax trees: sums, multiples, products and transposes become one matrix."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from colasearch.verifiers.lexer import TooCostly, Unreadable
from colasearch.verifiers.nodes import Node

_MAX_CELLS = 100

_ZERO: Node = ("num", Fraction(0), None)

Rows = tuple[tuple[Node, ...], ...]


def has_matrix(node: Node) -> bool:
    """Whether a matrix stands somewhere in a tree, determinants aside."""
    if node[0] == "matrix":
        return True
    if node[0] not in ("neg", "add", "mul", "div", "pow"):
        return False
    return any(isinstance(n, tuple) and n and has_matrix(n) for n in node[1:])


def worked_out(node: Node) -> Node:
    """A tree in which matrix arithmetic is carried out; trees without matrices come back as they are.

    Raises:
        Unreadable: if the arithmetic is beyond sums, multiples, products and transposes, or the shapes do not fit.
    """
    if node[0] == "matrix" or not has_matrix(node):
        return node
    rows = _rows(node)
    if len(rows) * len(rows[0]) > _MAX_CELLS:
        raise Unreadable("the matrix is too large")
    return ("matrix", rows)


def _rows(node: Node) -> Rows:
    kind = node[0]
    if kind == "matrix":
        rows: Rows = node[1]
        return rows
    if kind == "neg":
        return _each(_rows(node[1]), lambda cell: ("neg", cell))
    if kind == "div" and not has_matrix(node[2]):
        return _each(_rows(node[1]), lambda cell: ("div", cell, node[2]))
    if kind == "add":
        total = _rows(node[1])
        for term in node[2:]:
            other = _rows(term)
            if [len(r) for r in total] != [len(r) for r in other]:
                raise Unreadable("a sum of matrices of different shapes")
            total = tuple(
                tuple(("add", a, b) for a, b in zip(x, y, strict=True)) for x, y in zip(total, other, strict=True)
            )
        return total
    if kind == "mul":
        return _product(node[1], node[2])
    if kind == "pow" and node[2] in (("sym", "T"), ("text", "T")):
        return tuple(zip(*_rows(node[1]), strict=True))
    if kind == "pow" and node[2][0] == "num" and node[2][1] > 8:
        raise TooCostly("the power of the matrix is too large to compute")
    raise Unreadable("matrix arithmetic that is not carried out here")


def _each(rows: Rows, change: Callable[[Node], Node]) -> Rows:
    return tuple(tuple(change(cell) for cell in row) for row in rows)


def _product(left: Node, right: Node) -> Rows:
    if not has_matrix(left):
        return _each(_rows(right), lambda cell: ("mul", left, cell))
    if not has_matrix(right):
        return _each(_rows(left), lambda cell: ("mul", cell, right))
    a, b = _rows(left), _rows(right)
    if len(a[0]) != len(b) or len(a) * len(b[0]) > _MAX_CELLS:
        raise Unreadable("a product of matrices whose shapes do not fit")
    columns = tuple(zip(*b, strict=True))
    return tuple(
        tuple(("add", _ZERO, *(("mul", x, y) for x, y in zip(row, column, strict=True))) for column in columns)
        for row in a
    )
