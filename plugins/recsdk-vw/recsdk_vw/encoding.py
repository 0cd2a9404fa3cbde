"""Decision-service features as numbers: by hashing, or as the numbers that they are."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import attrs
import numpy as np

from recsdk.checks import integer
from recsdk.errors import InvalidLog, InvalidValue


class Encoding(Protocol):
    """Turns the JSON of one candidate into its row of features."""

    def __call__(self, shared: Mapping[str, Any], candidate: Mapping[str, Any], slot: Mapping[str, Any]) -> np.ndarray:
        """Returns f64[D], D the same for all.

        Args:
            shared: what all candidates have in common, the context without what begins with `_`.
            candidate: one of its `_multi`.
            slot: one of its `_slots`, or empty.

        Raises:
            InvalidLog: when it cannot.
        """


class Feature(NamedTuple):
    """One feature as VW's JSON means it.

    Attributes:
        namespace: key of the innermost object or list around it; " " at the top.
        name: its key; for text `key=value`; in a list the text, or the place of a number among the list's numbers.
        value: a number, 1 for text and true.
    """

    namespace: str
    name: str
    value: float


class Several(NamedTuple):
    """The values of a name that one JSON object has more than once: each is a feature."""

    values: tuple[Any, ...]


@attrs.frozen(kw_only=True)
class Hashing:
    """Hashes features by namespace and name into `dim` columns, with signs, so that collisions cancel out in the mean.

    A feature's column and sign come from the first 8 bytes of BLAKE2b of the UTF-8 text `namespace^name`, read as a big-endian number h:
    column h mod dim, sign + where h < 2 ** 63. They are the same everywhere and for good, and not VW's own. Shared features are the same
    for all candidates, so a linear policy can use them in `interactions` only.

    The features are those that VW finds, with two differences. VW drops a whole line that has text or booleans in a list; here each text is
    a feature, and true is 1. To VW `{"a": "bc"}` and `{"ab": "c"}` are one feature; here they are two.

    Attributes:
        dim: number of columns.
        interactions: pairs of first letters of namespaces, such as "GT", whose features are multiplied; hashed as `n^a*m^b`.

    Example:
        >>> from recsdk_vw import Hashing
        >>> Hashing(dim=4)({"User": {"age": 30}}, {"item": ["red", 0.5]}, {}).tolist()
        [0.5, -30.0, 1.0, 0.0]

    References:
        Weinberger et al., Feature Hashing for Large Scale Multitask Learning, ICML 2009.
    """

    dim: int = attrs.field(default=256, validator=integer(at_least=1))
    interactions: tuple[str, ...] = attrs.field(default=(), converter=tuple)

    def __attrs_post_init__(self) -> None:
        """Refuses interactions that are not pairs."""
        for pair in self.interactions:
            if not isinstance(pair, str) or len(pair) != 2:
                raise InvalidValue(f"Hashing.interactions must be pairs of first letters of namespaces, such as 'GT', got {pair!r}.")

    def __call__(self, shared: Mapping[str, Any], candidate: Mapping[str, Any], slot: Mapping[str, Any]) -> np.ndarray:
        """See `Encoding`."""
        features = [*flat(shared), *flat(candidate), *flat(slot)]
        row = np.zeros(self.dim)
        for namespace, name, value in features:
            self._add(row, f"{namespace}^{name}", value)
        for pair in self.interactions:
            seconds = [feature for feature in features if feature.namespace.startswith(pair[1])]
            for first in features:
                if first.namespace.startswith(pair[0]):
                    for second in seconds:
                        self._add(row, f"{first.namespace}^{first.name}*{second.namespace}^{second.name}", first.value * second.value)
        return row

    def _add(self, row: np.ndarray, key: str, value: float) -> None:
        number = _hash(key)
        with np.errstate(over="ignore"):  # the reader refuses what is not finite
            row[number % self.dim] += value if number < 2**63 else -value


@attrs.frozen(kw_only=True)
class Numbers:
    """Takes the list of numbers in one namespace of each candidate as its features, as `write_dsjson` writes them.

    Attributes:
        namespace: the list's key.

    Example:
        >>> from recsdk_vw import Numbers
        >>> Numbers()({}, {"f": [0.5, 2]}, {}).tolist()
        [0.5, 2.0]
    """

    namespace: str = attrs.field(default="f", validator=attrs.validators.instance_of(str))

    def __call__(self, shared: Mapping[str, Any], candidate: Mapping[str, Any], slot: Mapping[str, Any]) -> np.ndarray:
        """See `Encoding`."""
        del shared, slot
        numbers = candidate.get(self.namespace)
        if not isinstance(numbers, list) or not all(type(number) in (int, float) for number in numbers):
            raise InvalidLog(f"a candidate must have a list of numbers under {self.namespace!r}, got {numbers!r:.80}.")
        return np.array(numbers, np.float64)


def flat(node: Mapping[str, Any], namespace: str = " ") -> Iterator[Feature]:
    """Yields the features in an object; keys that begin with `_` and null have none, but for `_text`, which has its words."""
    for key, value in node.items():
        if isinstance(value, Several):
            yield from (feature for one in value.values for feature in flat({key: one}, namespace))
        elif key == "_text":
            yield from (Feature(namespace, word, 1.0) for word in str(value).split())
        elif key.startswith("_") or value is None:
            continue
        elif isinstance(value, Mapping):
            yield from flat(value, key)
        elif isinstance(value, list):
            yield from _listed(value, key)
        else:
            yield _feature(namespace, key, value)


def _listed(values: list[Any], namespace: str) -> Iterator[Feature]:
    index = 0  # VW counts the numbers alone, zeros among them
    for value in values:
        if isinstance(value, Mapping):
            yield from flat(value, namespace)
        elif isinstance(value, str):
            yield Feature(namespace, value, 1.0)
        elif isinstance(value, (int, float)):
            yield Feature(namespace, str(index), float(value))
            index += 1
        elif value is not None:
            raise InvalidLog(f"a list of features must have numbers, text or objects, got {value!r:.80} under {namespace!r}.")


def _feature(namespace: str, key: str, value: Any) -> Feature:
    if isinstance(value, str):
        return Feature(namespace, f"{key}={value}", 1.0)
    return Feature(namespace, key, float(value))


@functools.lru_cache(maxsize=2**16)
def _hash(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")
