"""One pytest test for each component and law."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from recsdk.base import Encoder, Events, Policy, Retriever, Scorer
from recsdk.checks import require_integer
from recsdk.errors import InvalidValue, one_of
from recsdk.testing.encoders import ENCODER_CHECKS
from recsdk.testing.policies import POLICY_CHECKS
from recsdk.testing.retrievers import RETRIEVER_CHECKS
from recsdk.testing.scorers import SCORER_CHECKS
from recsdk.testing.states import TOLERANCE
from recsdk.testing.world import NUM_ROUNDS

if TYPE_CHECKING:
    import pytest

Check = Callable[..., None]


def parametrize(
    *policies: Policy[Any],
    skip: Mapping[str, str] | None = None,
    tolerance: float = TOLERANCE,
    num_rounds: int = NUM_ROUNDS,
    regret: float | None = None,
) -> pytest.MarkDecorator:
    """Runs a test for each policy and law of `POLICY_CHECKS`.

    Args:
        policies: to be tried, by their configurations.
        skip: law -> reason, such as {"learns": "Uniform learns nothing"}; the reason is shown.
        tolerance: how far apart answers may be that a law says are equal; raise it to 1e-6 for a policy that computes in float32.
        num_rounds: in which propensities and regret are watched while it learns; fewer for a slow policy.
        regret: how many times LinUCB's regret it may have in a world with linear rewards; None where it promises nothing.

    Example:
        >>> from recsdk import LinTS, LinUCB, WithFloor, testing
        >>> @testing.parametrize(LinUCB(), WithFloor(policy=LinTS()))
        ... def test_conforms(policy, check):
        ...     check(policy)
    """
    return _parametrize("policy", policies, POLICY_CHECKS, skip, tolerance=tolerance, num_rounds=num_rounds, regret=regret)


def parametrize_scorers(*scorers: Scorer[Any], log: Events | None = None, skip: Mapping[str, str] | None = None) -> pytest.MarkDecorator:
    """Runs a test for each scorer and law of `SCORER_CHECKS`; the test takes `scorer` and `check`.

    Args:
        scorers: to be tried, by their configurations.
        log: to learn from, with the features that the scorers need; None for `recsdk.testing.example_log()`.
        skip: law -> reason.

    Example:
        >>> from recsdk import testing
        >>> from recsdk.scorers.recency import Recency
        >>> @testing.parametrize_scorers(Recency())
        ... def test_conforms(scorer, check):
        ...     check(scorer)
    """
    return _parametrize("scorer", scorers, SCORER_CHECKS, skip, log=log)


def parametrize_encoders(*encoders: Encoder[Any], log: Events | None = None, skip: Mapping[str, str] | None = None) -> pytest.MarkDecorator:
    """Runs a test for each encoder and law of `ENCODER_CHECKS`; the test takes `encoder` and `check`.

    Args:
        encoders: to be tried, by their configurations.
        log: to learn from, with the features that the encoders need; None for `recsdk.testing.example_log()`.
        skip: law -> reason.

    Example:
        >>> from recsdk import testing
        >>> from recsdk.encoders.two_tower import TwoTower
        >>> @testing.parametrize_encoders(TwoTower(dim=8, progress=False))
        ... def test_conforms(encoder, check):
        ...     check(encoder)
    """
    return _parametrize("encoder", encoders, ENCODER_CHECKS, skip, log=log)


def parametrize_retrievers(*retrievers: Retriever[Any], skip: Mapping[str, str] | None = None) -> pytest.MarkDecorator:
    """Runs a test for each retriever and law of `RETRIEVER_CHECKS`; the test takes `retriever` and `check`.

    Args:
        retrievers: to be tried, by their configurations.
        skip: law -> reason.

    Example:
        >>> from recsdk import testing
        >>> from recsdk.retrievers.exact import Exact
        >>> @testing.parametrize_retrievers(Exact())
        ... def test_conforms(retriever, check):
        ...     check(retriever)
    """
    return _parametrize("retriever", retrievers, RETRIEVER_CHECKS, skip)


def _parametrize(
    kind: str, components: Sequence[Any], checks: Sequence[Check], skip: Mapping[str, str] | None, **options: Any
) -> pytest.MarkDecorator:
    import pytest

    require_integer(f"number of {kind} arguments", len(components), at_least=1)
    reasons = checked_reasons(skip or {}, checks)

    def cases() -> Iterator[Any]:
        for component, name in zip(components, _names(components), strict=True):
            for check in checks:
                marks = [pytest.mark.skip(reason=reasons[law_of(check)])] if law_of(check) in reasons else []
                yield pytest.param(component, bound(check, options), id=f"{name}-{law_of(check)}", marks=marks)

    return pytest.mark.parametrize((kind, "check"), list(cases()))


def checked_reasons(skip: Mapping[str, str], checks: Sequence[Check]) -> Mapping[str, str]:
    """Returns `skip` when it names laws and gives reasons.

    Raises:
        InvalidValue: when it does not.
    """
    for law, reason in skip.items():
        one_of("skip", law, map(law_of, checks))
        if not reason:
            raise InvalidValue(f"skip[{law!r}] must be the reason why the law does not hold, got {reason!r}.")
    return skip


def bound(check: Check, options: Mapping[str, Any]) -> Check:
    """Returns a check of a component alone, with those of the options that it takes."""
    return functools.partial(check, **{key: value for key, value in options.items() if key in inspect.signature(check).parameters})


def law_of(check: Check) -> str:
    """Returns the name of the law that a check holds a component to."""
    return check.__name__.removeprefix("check_")


def _names(components: Sequence[Any]) -> list[str]:
    names = [type(component).__name__ for component in components]
    return [name if names.count(name) == 1 else repr(component) for name, component in zip(names, components, strict=True)]
