"""Prices: what a store bills, as data with a date and where they stand.

Pure.  They are for orientation: discounts, free allowances and taxes are left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

GB = 1 << 30
"""What a bill calls a GB."""


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of one store, US dollars before tax."""

    store: str
    """What they are for."""

    as_of: str
    """Month they held in, ISO 8601."""

    source: str
    """Where they stand."""

    put_usd: float
    """One PUT, COPY, POST or LIST request."""

    get_usd: float
    """One GET or HEAD request."""

    stored_usd_gb_month: float
    """One GB kept for one month, first tier."""

    out_usd_gb: Mapping[str, float]
    """One GB that leaves the store, by where it goes."""


S3 = Prices(
    store="S3 Standard, us-east-1",
    as_of="2026-03",
    source="https://aws.amazon.com/s3/pricing/",
    put_usd=0.005 / 1000,
    get_usd=0.0004 / 1000,
    stored_usd_gb_month=0.023,
    out_usd_gb={"us-east-1": 0.0, "another AWS region": 0.02, "the internet": 0.09},
)
"""Where the corpus is."""
