"""Names of test cases that are the same in every process, which workers that share the tests need."""

import re


def name(value: object) -> str:
    """Returns the beginning of what a value prints as, without the address of an object."""
    return re.sub(r" at 0x[0-9a-f]+", "", ascii(value))[:40]
