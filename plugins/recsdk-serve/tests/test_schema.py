"""The service answers as its OpenAPI page says, whatever it is asked: calls are made of the page by schemathesis."""

import httpx2
import hypothesis
import pytest
from hypothesis import HealthCheck
from hypothesis import strategies as st
from recsdk_serve.operations import EVENTS, OPERATIONS

schemathesis = pytest.importorskip("schemathesis")
from schemathesis.specs.openapi import checks  # noqa: E402 -- only where it is installed


def is_refused(context, response, case):
    """Checks that what does not fit the page is refused, also as too large, which schemathesis takes for no refusal."""
    return None if response.status_code == 413 else checks.negative_data_rejection(context, response, case)


CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    is_refused,
]
"""No 500; only statuses, types and bodies that the page has; and what does not fit the page is refused."""
DECISIONS, ITEMS = [f"visit-{number}" for number in range(8)], [f"item-{number}" for number in range(8)]
KNOWN = {"decision_id": st.sampled_from(DECISIONS), "item": st.sampled_from(ITEMS), "user": st.just("ann"), "event_id": st.just("reward-0")}
KNOWN |= {name: st.lists(st.sampled_from(ITEMS), min_size=1, max_size=3) for name in ("ids", "candidates", "seen", "chosen")}
KNOWN |= {"items": st.lists(st.fixed_dictionaries({"id": st.sampled_from([*ITEMS, "new"]), "price": st.floats(0, 9)}), min_size=1)}
KNOWN |= {"value": st.sampled_from([0.0, 1.0]), "scorers": st.lists(st.sampled_from(["popularity", "recency", "crossed"]), max_size=2)}
"""Names that the shop knows: nearly all that are made of the page alone are of nothing that is there."""


@st.composite
def known(draw, cases):
    """Draws a call that fits the page; in half of them all names are those that the shop knows."""
    case = draw(cases)
    if isinstance(case.body, dict) and draw(st.booleans()):
        case.body |= {name: draw(KNOWN[name]) for name in sorted(KNOWN.keys() & case.body.keys())}
        if {"decision_id", "value"} <= case.body.keys():
            case.body |= {"item": None, "position": None}  # the one that was shown
    return case


def kinds_of_calls(address):
    """Yields each operation's path, and calls that fit the page; and calls that do not."""
    page = httpx2.get(f"{address}/openapi.json").json()
    for told in (told for path in page["paths"].values() for told in path.values()):
        told.pop("security", None)  # this service has no keys
    for found in schemathesis.openapi.from_dict(page).get_all_operations():
        operation = found.ok()
        if operation.path not in EVENTS:  # streams do not end
            yield operation.path, known(operation.as_strategy())
            if operation.method == "post":
                yield operation.path, operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)


def ask(address, num):
    """Makes `num` calls of each kind, or more."""
    asked, always = set(), hypothesis.settings(derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    for path, cases in kinds_of_calls(address):

        @hypothesis.settings(always, max_examples=num)
        @hypothesis.given(cases)
        def check(case):
            case.call_and_validate(address, checks=CHECKS)

        check()
        asked.add(path)
    assert {operation.path for operation in OPERATIONS} <= asked


@pytest.fixture
def visited(address):
    """The address of a shop that has decided eight times, and been rewarded once."""
    for name in DECISIONS:
        httpx2.post(f"{address}/v1/decide", json={"decision_id": name, "user": "ann"}, timeout=60)
    httpx2.post(f"{address}/v1/reward", json={"decision_id": DECISIONS[0], "value": 1.0, "reward_id": "reward-0"}, timeout=60)
    return address


def test_the_service_answers_as_its_page_says(visited):
    ask(visited, 3)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_the_service_answers_as_its_page_says_thousands_of_times(visited):
    ask(visited, 200)
