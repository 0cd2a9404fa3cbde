"""Policies over many rounds: replay, simulate, sweep. Only `loop` tells a compiled scan from a `for`."""
