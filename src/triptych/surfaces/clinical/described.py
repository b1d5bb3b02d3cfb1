"""What ``/openapi.json`` says of the clinical surface."""

from triptych.surfaces.openapi import Described, Schema

SCHEMAS: Schema = {}
OPERATIONS: dict[tuple[str, str], Schema] = {
    ("/", "get"): {
        "operationId": "clinicalGreet",
        "summary": "Answers without a key; clients probe it.",
        "security": [],
        "responses": {"200": {"description": "Served."}},
    },
}
CLINICAL = Described(OPERATIONS, SCHEMAS)
