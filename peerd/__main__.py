"""`python -m peerd` is the program `peerd`."""

from __future__ import annotations

from peerd.cli.main import program

if __name__ == "__main__":
    program(prog_name="peerd")
