"""Claims about speed, each a command: `python -m bench NAME`."""
