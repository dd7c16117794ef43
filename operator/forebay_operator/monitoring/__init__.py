"""Monitoring as code: a Git revision, the operator's version and the clusters there are -> rules, routes, dashboards.

The walk: `source` (bytes of a commit, and who signed it) -> `render` (templates and standards -> a Bundle) -> `lint`
(standards as codes) -> `unit` (promtool) -> `engine.judge`, which says Accepted or why not. `pack/` is what ships. Nothing
here writes to a cluster, and no file of a repository is ever executed or written to disk (but rendered rules and tests, in
a folder of their own, for promtool).
"""
