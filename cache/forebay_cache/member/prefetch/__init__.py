"""Bringing chosen files into the store before they are read. `board` starts and remembers, `run` does one, `units` says what
it is made of, `progress` counts."""
