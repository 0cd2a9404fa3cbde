"""The description of the service is its code's, and the one in the docs is up to date."""

import json
from pathlib import Path

from recsdk_serve.operations import OPERATIONS, openapi

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "openapi.json"


def test_the_page_in_the_docs_is_what_the_service_says(client):
    told = client.get("/openapi.json").json()
    assert json.loads(PAGE.read_text()) == told, f"write it again: python -m recsdk_serve > {PAGE}"


def test_every_operation_is_described_and_every_reference_leads_somewhere():
    page = openapi("1.0")
    for operation in OPERATIONS:
        told = page["paths"][operation.path][operation.method.lower()]
        assert told["operationId"] == operation.name
        assert ("requestBody" in told) == (operation.method == "POST")
    text = json.dumps(page)
    for name in page["components"]["schemas"]:
        text = text.replace(f'"#/components/schemas/{name}"', "")
    assert "#/components/schemas/" not in text


def test_fields_that_are_not_there_are_refused_by_the_page_too():
    page = openapi("1.0")["components"]["schemas"]
    for operation in OPERATIONS:
        assert page[operation.takes.__name__]["additionalProperties"] is False


def test_an_answer_has_exactly_the_fields_of_the_page(client):
    page = openapi("1.0")["components"]["schemas"]
    assert set(client.post("/v1/decide", json={}).json()) == set(page["Slate"]["properties"])
    assert set(client.post("/v1/decide", json={"size": 0}).json()) == set(page["Problem"]["properties"])
