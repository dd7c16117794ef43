"""The `forebay` command: one file per command, each with `arguments(parser)` and `run(args, parts)`.

`program` names the commands and imports the one that is asked for, so that `forebay --help` waits for no library. `base` has
what all of them get, `find` how they find objects, `output` how they write.
"""
