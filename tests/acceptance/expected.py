"""What the ledger must say of the faulty upstream's answers."""

from tests.acceptance.caller import Answer, facts, settled_row
from tests.devices.gateway import Gateway

COST_NUSD = 12 * 3_000 + 7 * 15_000
"""Of the 12 and 7 tokens that the device reports, at 3 and 15 USD a million."""

NO_TOKENS = {"input_tokens": 0, "output_tokens": 0, "usage_source": "none", "cost_nusd": 0}
BILLED = {"input_tokens": 12, "output_tokens": 7, "usage_source": "provider", "cost_nusd": COST_NUSD}


def check_completed(gateway: Gateway, answer: Answer, *, retries: int = 0) -> None:
    row = settled_row(gateway, answer.request_id)
    expected = {
        "ending": "completed",
        "status": 200,
        "failure_kind": None,
        "upstream_status": 200,
        "retries": retries,
        "bytes_out": len(answer.body),
        **BILLED,
    }
    assert facts(row, *expected) == expected
    assert 0 < row["first_byte_us"] <= row["total_us"]
