"""Writes the CRDs as templates of the chart, from crds/: `tools/chart.py [--check]`.

Templates and not Helm's crds/ folder, because Helm never upgrades what is there; kept when the release goes, because with a
CRD every object of it goes.
"""

import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[1]
SOURCE, TARGET = ROOT / "crds", ROOT / "charts" / "forebay" / "templates" / "crds"
HEAD = "{{- if .Values.crds.install }}\n# Written by `make gen` from crds/: change operator/forebay_operator/api.\n"
KEEP = "metadata:\n  annotations:\n    helm.sh/resource-policy: keep\n"


def template(text: str) -> str:
    """A CRD as a template that renders it, kept."""
    body = text.split("\n", 1)[1].replace("{{", '{{ "{{" }}')
    assert body.count("\nmetadata:\n") == 1
    return HEAD + body.replace("metadata:\n", KEEP, 1) + "{{- end }}\n"


def main(arguments: list[str]) -> int:
    wanted = {path.name: template(path.read_text()) for path in sorted(SOURCE.glob("*.yaml"))}
    there = {path.name: path.read_text() for path in TARGET.glob("*.yaml")}
    if arguments == ["--check"]:
        return 0 if there == wanted else fail("charts/forebay/templates/crds is not what crds/ says: run 'make gen'")
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in there.keys() - wanted.keys():
        (TARGET / name).unlink()
    for name, text in wanted.items():
        (TARGET / name).write_text(text)
    return 0


def fail(message: str) -> int:
    sys.stderr.write(message + "\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
