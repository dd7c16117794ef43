"""`python -m bench NAME [options]`: runs bench/NAME.py; without a name, says what there is."""

import ast
import importlib
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
NOT_BENCHES = {"__init__", "__main__", "harness"}


def benches() -> dict[str, str]:
    """Names and the first line of each one's docstring; nothing is imported."""
    paths = [path for path in sorted(HERE.glob("*.py")) if path.stem not in NOT_BENCHES]
    return {path.stem: (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0] for path in paths}


def main(arguments: list[str]) -> int:
    known = benches()
    if not arguments or arguments[0] not in known:
        print("usage: make bench NAME=...  (or python -m bench NAME [options])")
        for name, line in known.items():
            print(f"  {name:8} {line}")
        return 2
    result: int = importlib.import_module(f"bench.{arguments[0]}").main(arguments[1:])
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
