"""Lets the reference show the section `Example:` of a docstring as the code it is: the parser knows `Examples:` only."""

from __future__ import annotations

from typing import Any

from griffe import Extension, Object


class ExampleSections(Extension):
    """Renames the section when a module is read."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        """Called for every module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
