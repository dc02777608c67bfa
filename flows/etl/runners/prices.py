"""What AWS asks for: dollars an hour by resource, from a file with region, source and date of the prices."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.errors import WatchkeeperError
from flows.etl.runners.base import Cost


class Region(BaseModel):
    """One region's prices, in US dollars an hour.

    Attributes:
        serverless: of `vcpu`, `memory_gb` and `storage_gb` beyond the free 20 GB of a worker.
        instances: of a type of instance, EC2's price and EMR's together; `TYPE spot` where it is Spot.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    read: date
    source: str
    serverless: dict[str, float] = Field(default_factory=dict)
    instances: dict[str, float] = Field(default_factory=dict)


@cache
def load_prices(path: Path) -> dict[str, Region]:
    """The prices by region.

    Raises:
        WatchkeeperError: the file cannot be read, or says something else than prices.
    """
    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
        return {name: Region.model_validate(prices) for name, prices in held.items()}
    except (OSError, yaml.YAMLError, AttributeError) as error:
        raise WatchkeeperError(f"{path}: no prices: {error}; see WATCHKEEPER_EMR_PRICES") from None
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise WatchkeeperError(f"{path}: {where}: {first['msg']}; see WATCHKEEPER_EMR_PRICES") from None


@dataclass(frozen=True)
class Prices:
    """What one region asks for one kind of resources; nothing where the file does not have the region.

    Attributes:
        dollars: an hour, by resource.
        of: region and date of the prices.
    """

    dollars: Mapping[str, float]
    of: str


def prices_in(region: str, path: Path, kind: Literal["serverless", "instances"]) -> Prices:
    """The prices of a region; raises what `load_prices` does."""
    table = load_prices(path).get(region)
    return Prices(getattr(table, kind), f"{region}, {table.read}") if table else Prices({}, region)


def cost_of(hours: Mapping[str, float], prices: Prices, *, bound: bool = False) -> Cost:
    """What hours of resources cost; no dollars where a price is missing.

    A Spot machine without a price of its own is counted at the price on demand, which is the most that EMR
    bids for it.

    Args:
        hours: by resource.
        prices: of the region that they were used in.
        bound: the job runs, and the hours are the most that it may have used.
    """
    used = {name: amount for name, amount in hours.items() if amount}
    asked = {name: prices.dollars.get(name, prices.dollars.get(name.removesuffix(" spot"))) for name in used}
    known = {name: price for name, price in asked.items() if price is not None}
    missing = tuple(sorted(asked.keys() - known.keys()))
    dollars = None if missing else sum(used[name] * price for name, price in known.items())
    return Cost(used, dollars, prices.of, bound or not known.keys() <= prices.dollars.keys(), missing)
