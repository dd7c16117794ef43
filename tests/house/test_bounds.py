"""Bounds of what plays Kubernetes on one machine: docs/decisions/0002. A behaviour more needs a reason more."""

import ast
import io
import pathlib
import tokenize

HOUSE = pathlib.Path(__file__).parents[2] / "operator" / "forebay_operator"
RUNTIME_LIMIT, MEMORY_LIMIT = 900, 400
SILENT = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
}


def code_lines(text: str) -> int:
    """Lines that are neither blank nor comment nor docstring."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = {n for token in tokens if token.type not in SILENT for n in range(token.start[0], token.end[0] + 1)}
    said = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr) and is_text(node.value)]
    return len(lines - {n for node in said for n in range(node.lineno, (node.end_lineno or node.lineno) + 1)})


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_the_count_counts_code() -> None:
    assert (
        code_lines('"""Said."""\n\n# why\nx = """two\nlines"""\n"""About x."""\n\n\ndef f() -> None:\n    pass\n') == 4
    )


def test_the_runtime_keeps_to_its_bound() -> None:
    sizes = {path.name: code_lines(path.read_text()) for path in sorted((HOUSE / "runtime").glob("*.py"))}
    assert sum(sizes.values()) <= RUNTIME_LIMIT, sizes


def test_the_dictionary_keeps_to_its_bound() -> None:
    assert len((HOUSE / "kube" / "memory.py").read_text().splitlines()) <= MEMORY_LIMIT
