"""Conditions of pipeline.toml: comparisons and arithmetic of parameters, e.g. `records > distributed_threshold`."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

_BINARY: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}
_UNARY: Mapping[type, Callable[[Any], Any]] = {ast.Not: operator.not_, ast.USub: operator.neg}
_PLAIN = {ast.Expression, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple, ast.And, ast.Or}
_ALLOWED = {*_PLAIN, ast.BoolOp, ast.UnaryOp, ast.BinOp, ast.Compare, *_BINARY, *_UNARY}


def checked_condition(text: str) -> str:
    """Return `text` if it is a condition; raises `ValueError` naming what is not allowed in one."""
    for node in ast.walk(_parsed(text)):
        if type(node) not in _ALLOWED:
            raise ValueError(f"{text!r}: {type(node).__name__} is not allowed; comparisons and arithmetic are")
    return text


def names_in(text: str) -> set[str]:
    """Return the parameters that a condition names."""
    return {node.id for node in ast.walk(_parsed(text)) if isinstance(node, ast.Name)}


def holds(text: str, values: Mapping[str, Any]) -> bool:
    """Return whether the condition holds for these parameters; an empty one always does."""
    return not text or bool(_value(_parsed(text).body, values))


def _parsed(text: str) -> ast.Expression:
    try:
        return ast.parse(text, mode="eval")
    except SyntaxError as error:
        raise ValueError(f"{text!r}: {error.msg}") from error


def _value(node: ast.expr, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant():
            return node.value
        case ast.Name():
            return values[node.id]
        case ast.List() | ast.Tuple():
            return [_value(each, values) for each in node.elts]
        case ast.UnaryOp():
            return _UNARY[type(node.op)](_value(node.operand, values))
        case ast.BinOp():
            return _BINARY[type(node.op)](_value(node.left, values), _value(node.right, values))
        case ast.BoolOp():
            found = (_value(each, values) for each in node.values)
            return all(found) if isinstance(node.op, ast.And) else any(found)
        case ast.Compare():
            sides = [_value(each, values) for each in (node.left, *node.comparators)]
            pairs = zip(node.ops, sides, sides[1:], strict=False)
            return all(_BINARY[type(op)](left, right) for op, left, right in pairs)
    raise ValueError(f"{type(node).__name__} is not allowed in a condition")
