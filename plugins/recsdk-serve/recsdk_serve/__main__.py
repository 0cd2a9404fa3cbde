"""Prints the OpenAPI description: `python -m recsdk_serve > docs/reference/openapi.json`."""

import json
from importlib import metadata

from recsdk_serve.operations import openapi

if __name__ == "__main__":
    print(json.dumps(openapi(metadata.version("recsdk-serve")), indent=1))
