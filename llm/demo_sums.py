"""Finding the sum in a sentence, for the demo model's calculator."""

from __future__ import annotations

import re

_WORDS = (
    (r"\bplus\b", "+"),
    (r"\bminus\b", "-"),
    (r"\b(?:times|multiplied by)\b", "*"),
    (r"\b(?:divided by|over)\b", "/"),
    (r"\bto the power of\b|\^", "**"),
    (r"\bsquared\b", "**2"),
    (r"\bsquare root of (\d+(?:\.\d+)?)", r"sqrt(\1)"),
    (r"(\d+(?:\.\d+)?)\s*(?:%|percent) of\b", r"\1/100*"),
    (r"[\N{MULTIPLICATION SIGN}\N{MIDDLE DOT}]", "*"),
    (r"(?<=\d)\s*x\s*(?=\d)", "*"),
    (r"\N{DIVISION SIGN}", "/"),
    (r"\N{MINUS SIGN}", "-"),
    (r"(?<=\d),(?=\d{3}\b)", ""),
)
_SUM_OF = re.compile(r"\bsum of ((?:[\d.]+(?:\s*,\s*(?:and\s+)?|\s+and\s+)?){2,})", re.IGNORECASE)
_FUNCTION = r"(?:sqrt|log|round|abs)\("
_EXPRESSION = re.compile(rf"(?:{_FUNCTION}|[-+(\s])*\d(?:{_FUNCTION}|[\d\s.()+\-*/%])*")
_RANGE = re.compile(r"\d+-\d+")
_CUE = re.compile(r"\b(?:what|calculate|compute|how much|sum|minus)\b|=", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d|\d+(?:\.\d+){2,}")


def expression_in(sentence: str) -> str | None:
    """The first arithmetic expression with at least one operation, or None."""
    is_asked = _CUE.search(sentence)
    listed = _SUM_OF.search(sentence)
    if listed:
        return " + ".join(re.findall(r"\d+(?:\.\d+)?", listed[1]))
    for pattern, operator in _WORDS:
        sentence = re.sub(pattern, operator, sentence, flags=re.IGNORECASE)
    for match in _EXPRESSION.finditer(_DATE.sub(" ", sentence)):
        expression = match[0].strip(" .+*/%\n\t")
        if _is_sum(expression) and (is_asked or not _RANGE.fullmatch(expression)):
            return expression
    return None


def _is_sum(expression: str) -> bool:
    has_operation = re.search(r"[\d)]\s*(?:\*\*|//|[-+*/%])\s*[-+(]*\s*(?:\d|\(|[a-z])|[a-z]\(", expression)
    return bool(has_operation) and expression.count("(") == expression.count(")")
