"""Guards for the shape of the house: sizes, mirrors, no empty room."""

import ast
import pathlib

ROOT = pathlib.Path(__file__).parents[2]
SOURCES = [path for folder in ("operator", "cache") for path in sorted((ROOT / folder).rglob("*.py"))]
FUNCTION_LIMIT, MODULE_LIMIT, PARAMETER_LIMIT = 40, 400, 5


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    doc = ast.get_docstring(node, clean=False) or ""
    return (node.end_lineno or node.lineno) - node.lineno + 1 - len(doc.splitlines())


def test_functions_stop_at_forty_lines() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name} {lines(node)}"
        for path in SOURCES
        for node in functions(ast.parse(path.read_text()))
        if lines(node) > FUNCTION_LIMIT
    ]
    assert not long, long


def test_modules_stop_at_four_hundred_lines() -> None:
    long = [f"{p.relative_to(ROOT)} {n}" for p in SOURCES if (n := len(p.read_text().splitlines())) > MODULE_LIMIT]
    assert not long, long


def test_no_module_is_empty() -> None:
    assert not [p for p in SOURCES if not p.read_text().strip()]


def test_tests_mirror_the_code() -> None:
    """tests/cache/x/test_y.py tests cache/forebay_cache/x/y.py (or the package x/y)."""
    strays = []
    for folder, package in (("operator", "forebay_operator"), ("cache", "forebay_cache")):
        for path in (ROOT / "tests" / folder).rglob("test_*.py"):
            place = path.relative_to(ROOT / "tests" / folder)
            code = ROOT / folder / package / place.parent / place.name.removeprefix("test_")
            if not code.exists() and not code.with_suffix("").is_dir():
                strays.append(str(path.relative_to(ROOT)))
    assert not strays, strays


def test_names_say_what_they_are() -> None:
    vague = {"utils", "helpers", "common", "manager", "util", "misc"}
    assert not [str(p) for p in SOURCES if p.stem in vague or p.parent.name in vague]
