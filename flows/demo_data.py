"""Generates the demo's data set: what `task demo` runs when there are no data of one's own.

The layout is that of Kaggle's "H&M Personalized Fashion Recommendations": articles with pictures,
customers, transactions. The same arguments give the same bytes (of pictures: with the same Pillow),
the faults are as many as the `*_FAULTS` tables say, and the folder appears whole or not at all.
"""

import csv
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows import demo_pictures
from flows.errors import WatchkeeperError

Progress = Callable[[int, int], None]
Row = tuple[str, ...]
Spoiler = Callable[[Row, int], Row]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

VERSION = 1  # raise it when the same arguments give other bytes: folders of before are made anew
MARKER = ".generated.json"
STALE_AFTER_SECONDS = 3600  # a hundred times what generating takes: nobody writes there any more

# How many lines of each table have each fault, whatever its size. In the SMALLEST set they are just
# below 1% of the transactions and 2% of the other tables, pictures apart; a smaller one is refused.
TRANSACTION_FAULTS = {
    "bad_date": 3,
    "missing_customer": 3,
    "orphan_article": 35,
    "price_not_a_number": 2,
    "negative_price": 2,
    "too_few_fields": 2,
    "too_many_fields": 2,
}
ARTICLE_FAULTS = {"duplicate_line": 2, "missing_product_group": 1, "too_many_fields": 1}
PICTURE_FAULTS = {"missing_picture": 1, "truncated_picture": 1}
CUSTOMER_FAULTS = {"duplicate_line": 3, "impossible_age": 1, "missing_customer": 1}
SMALLEST = {"articles": 200, "customers": 300, "transactions": 5_000}

ORPHAN_ARTICLE = "0999999001"  # sold, and in no articles.csv
IMPOSSIBLE_AGE = "199"
REPEATED_SHARE = 0.02  # two of one article in a basket are two identical lines, and no fault

FIRST_DAY, LAST_DAY = "2020-03-01", "2020-09-22"
DAYS = np.arange(FIRST_DAY, np.datetime64(LAST_DAY) + 1, dtype="datetime64[D]")
WEEKDAY_SALES = np.array([0.9, 0.9, 1.0, 1.05, 1.2, 1.4, 0.8])  # Monday first
EUROS = np.array([2.99, 4.99, 7.99, 9.99, 14.99, 19.99, 24.99, 29.99, 39.99, 49.99])
EUROS_PER_PRICE = 590  # Kaggle's prices are scaled: 29.99 is 0.050830508474576264
LINES_PER_BASKET = 3


class Article(NamedTuple):
    """A line of articles.csv: those of Kaggle's columns that matter, and where the picture is."""

    article_id: str
    product_code: str
    prod_name: str
    product_type_name: str
    product_group_name: str
    graphical_appearance_name: str
    colour_group_name: str
    department_name: str
    section_name: str
    garment_group_name: str
    detail_desc: str
    image_path: str


class Customer(NamedTuple):
    """A line of customers.csv."""

    customer_id: str
    FN: str
    Active: str
    club_member_status: str
    fashion_news_frequency: str
    age: str
    postal_code: str


class Transaction(NamedTuple):
    """A line of transactions_train.csv."""

    t_dat: str
    customer_id: str
    article_id: str
    price: str
    sales_channel_id: str


class Group(NamedTuple):
    """A product group; `share` in per cent, `summer` from -1 to 1, `price` a place in EUROS."""

    name: str
    share: int
    summer: float
    price: int
    types: tuple[str, ...]
    department: str
    garment_group: str


# H&M's groups in H&M's order; the small ones have a little more than their real share (1.8% for
# Nightwear), so that a fifth of them held out still counts a dozen articles.
GROUPS = (
    Group("Garment Upper body", 38, -0.1, 4, ("T-shirt", "Sweater", "Vest top", "Shirt"),
          "Jersey Basic", "Jersey Basic"),
    Group("Garment Lower body", 18, -0.2, 6, ("Trousers", "Leggings", "Shorts", "Skirt"),
          "Trouser", "Trousers"),
    Group("Garment Full body", 12, 0.4, 7, ("Dress", "Jumpsuit/Playsuit"),
          "Dress", "Dresses Ladies"),
    Group("Accessories", 10, 0.1, 3, ("Bag", "Hat/beanie", "Belt", "Scarf"),
          "Bags", "Accessories"),
    Group("Underwear", 6, -0.1, 4, ("Bra", "Underwear bottom"),
          "Casual Lingerie", "Under-, Nightwear"),
    Group("Shoes", 6, 0.0, 7, ("Sneakers", "Boots", "Pumps", "Sandals"),
          "Sneakers", "Shoes"),
    Group("Swimwear", 4, 0.8, 4, ("Swimsuit", "Bikini set"), "Swimwear", "Swimwear"),
    Group("Socks & Tights", 3, -0.5, 1, ("Socks", "Underwear Tights"), "Socks", "Socks and Tights"),
    Group("Nightwear", 3, -0.3, 5, ("Pyjama set", "Night gown"), "Nightwear", "Under-, Nightwear"),
)  # fmt: skip
SECTIONS = ("Womens Everyday Basics", "Divided Collection", "Womens Casual", "Contemporary Street")
NAMES = ("Alma", "Bea", "Cilla", "Dagny", "Ebba", "Freja", "Greta", "Hedda", "Iris", "Jonna")
CLOTHS = ("soft cotton jersey", "a crisp cotton weave", "ribbed viscose", "recycled polyester")
DETAILS = ("with a regular fit", "with a relaxed fit", "lined and with a tie", "brushed inside")
CODES = (108_775, 959_461)  # where the product codes of Kaggle's set begin and end


def _put(column: int, *values: str) -> Spoiler:
    """A spoiler that writes its values in turn into one column."""
    return lambda row, nth: (*row[:column], values[nth % len(values)], *row[column + 1 :])


def _split(column: int, mark: str) -> Spoiler:
    """A spoiler that makes two fields of one."""
    return lambda row, nth: (*row[:column], *row[column].split(mark), *row[column + 1 :])


# What each fault does to its nth line. A field too many comes from a decimal comma in a price, or
# from a comma that nobody quoted in a description.
TRANSACTION_SPOILERS: dict[str, Spoiler] = {
    "bad_date": _put(0, "2020-13-45", "", "31/08/2020"),
    "missing_customer": _put(1, ""),
    "orphan_article": _put(2, ORPHAN_ARTICLE),
    "price_not_a_number": _put(3, "n/a"),
    "negative_price": _put(3, "-0.016932"),
    "too_few_fields": lambda row, nth: row[:3],
    "too_many_fields": _split(3, "."),
}
ARTICLE_SPOILERS: dict[str, Spoiler] = {
    "missing_product_group": _put(Article._fields.index("product_group_name"), ""),
    "too_many_fields": _split(Article._fields.index("detail_desc"), ","),
}
CUSTOMER_SPOILERS: dict[str, Spoiler] = {
    "impossible_age": _put(Customer._fields.index("age"), IMPOSSIBLE_AGE),
    "missing_customer": _put(0, ""),
}


def generate(
    folder: Path,
    *,
    seed: int = 7,
    articles: int = 2000,
    customers: int = 5000,
    transactions: int = 200_000,
    on_progress: Progress | None = None,
) -> None:
    """Make `folder` hold the data set; return at once if it already holds this one.

    `articles` and `customers` count without the duplicate lines, `transactions` counts every line.
    `on_progress` hears (pictures drawn, pictures in all). A set of other arguments is replaced.

    Raises:
        ValueError: a size below SMALLEST.
        WatchkeeperError: the folder holds something that was not generated here.
    """
    sizes = {"articles": articles, "customers": customers, "transactions": transactions}
    if any(sizes[table] < smallest for table, smallest in SMALLEST.items()):
        raise ValueError(f"the faults would be too large a part of {sizes}; at least {SMALLEST}")
    parameters = {"version": VERSION, "seed": seed, **sizes}
    folder = folder.absolute()
    if _is_ready(folder, parameters):
        return
    with _replacing(folder) as partial:
        sold = _write_articles(partial, seed, articles, on_progress)
        buyers = _write_customers(partial / "customers.csv", seed, customers)
        _write_transactions(partial / "transactions_train.csv", seed, transactions, sold, buyers)
        (partial / MARKER).write_text(json.dumps(parameters) + "\n", encoding="utf-8")


def _is_ready(folder: Path, parameters: Mapping[str, int]) -> bool:
    """Whether the folder holds the data set of these parameters, whole."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    marker = folder / MARKER
    if not marker.exists():
        raise WatchkeeperError(
            f"{folder} was not generated by the demo: name another folder, or move it away"
        )
    parts = ("articles.csv", "customers.csv", "transactions_train.csv", "images")
    whole = all((folder / part).exists() for part in parts)
    return whole and marker.read_text(encoding="utf-8") == json.dumps(parameters) + "\n"


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A new folder to write into, which takes the old one's place at the end, and only then."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{folder.name}.partial-"
    _sweep(folder.parent.glob(prefix + "*"))
    # Beside the folder, since a rename is atomic within one file system only.
    with TemporaryDirectory(prefix=prefix, dir=folder.parent) as beside:
        partial = Path(beside, "new")
        partial.mkdir()
        yield partial
        if folder.exists():
            folder.rename(Path(beside, "old"))
        partial.rename(folder)


def _sweep(leftovers: Iterable[Path]) -> None:
    """Remove what killed runs left behind."""
    for leftover in leftovers:
        with suppress(FileNotFoundError):  # it was a run's that has just ended
            if leftover.stat().st_mtime < time.time() - STALE_AFTER_SECONDS:
                shutil.rmtree(leftover, ignore_errors=True)


def _write_articles(partial: Path, seed: int, count: int, on_progress: Progress | None) -> list[Article]:
    """Write articles.csv and the pictures; return the articles that are ever sold.

    A faulty article is never sold, so that the orphan lines are those of ORPHAN_ARTICLE alone.
    """
    rng = np.random.default_rng([seed, 1])
    catalogue = _catalogue(rng, count)
    spots = _spots(rng, count, {**ARTICLE_FAULTS, **PICTURE_FAULTS})
    _draw_pictures(partial, catalogue, seed, on_progress)
    for spot in spots["missing_picture"]:
        (partial / catalogue[spot].image_path).unlink()
    for spot in spots["truncated_picture"]:
        picture = partial / catalogue[spot].image_path
        os.truncate(picture, picture.stat().st_size // 2)
    rows = _spoiled(catalogue, spots, ARTICLE_SPOILERS)
    _write(partial / "articles.csv", Article._fields, rows)
    return [catalogue[spot] for spot in _spotless(count, spots)]


def _catalogue(rng: np.random.Generator, count: int) -> list[Article]:
    """Articles in the order of their ids: products, each in one to several colours."""
    codes = np.sort(rng.choice(np.arange(*CODES), (count + 1) // 2, replace=False))
    shares = np.cumsum([group.share for group in GROUPS]) / 100
    # Evenly spaced, not drawn: even the smallest set has an article of every group.
    groups = rng.permutation(np.searchsorted(shares, (np.arange(len(codes)) + 0.5) / len(codes)))
    more_colours = rng.integers(len(codes), size=count // 2)
    product = np.sort(np.concatenate([np.arange(len(codes)), more_colours]))
    variant = np.arange(count) - np.searchsorted(product, product) + 1
    choices = rng.integers(1 << 30, size=(len(codes), 5))
    colours = _zipf_choice(rng, tuple(demo_pictures.COLOURS), count)
    appearances = _zipf_choice(rng, tuple(demo_pictures.PATTERNS), count)
    return [
        _article(codes[p], v, GROUPS[groups[p]], choices[p].tolist(), colour, appearance)
        for p, v, colour, appearance in zip(product, variant, colours, appearances, strict=True)
    ]


def _article(
    code: int, variant: int, group: Group, choices: Sequence[int], colour: str, appearance: str
) -> Article:
    options = (group.types, NAMES, CLOTHS, DETAILS, SECTIONS)
    kind, name, cloth, detail, section = (
        texts[choice % len(texts)] for texts, choice in zip(options, choices, strict=True)
    )
    article_id = f"{code:07d}{variant:03d}"
    return Article(
        article_id=article_id,
        product_code=article_id[:7],
        prod_name=f"{name} {kind}",
        product_type_name=kind,
        product_group_name=group.name,
        graphical_appearance_name=appearance,
        colour_group_name=colour,
        department_name=group.department,
        section_name=section,
        garment_group_name=group.garment_group,
        detail_desc=f"{kind} in {cloth}, {detail}.",
        image_path=f"images/{article_id[:3]}/{article_id}.jpg",
    )


def _draw_pictures(
    partial: Path, catalogue: Sequence[Article], seed: int, on_progress: Progress | None
) -> None:
    for done, article in enumerate(catalogue, start=1):
        path = partial / article.image_path
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = demo_pictures.draw(
            article.product_type_name,
            article.colour_group_name,
            article.graphical_appearance_name,
            np.random.default_rng([seed, 2, done]),
        )
        picture.save(path, quality=80)
        if on_progress:
            on_progress(done, len(catalogue))


def _write_customers(path: Path, seed: int, count: int) -> list[str]:
    """Write customers.csv; return the ids of those who ever buy, who are those without a fault."""
    rng = np.random.default_rng([seed, 3])
    people = _people(rng, count)
    spots = _spots(rng, count, CUSTOMER_FAULTS)
    rows = _spoiled(people, spots, CUSTOMER_SPOILERS)
    _write(path, Customer._fields, rows)
    return [people[spot].customer_id for spot in _spotless(count, spots)]


def _people(rng: np.random.Generator, count: int) -> list[Customer]:
    """Customers in the order of their ids: people in their twenties, and their parents."""
    young = rng.random(count) < 0.62
    ages = np.where(young, rng.normal(25, 5, count), rng.normal(50, 9, count)).clip(16, 99)
    news = rng.random(count) < 0.35
    active = news & (rng.random(count) < 0.97)
    statuses = rng.choice(["ACTIVE", "PRE-CREATE", ""], count, p=[0.925, 0.07, 0.005])
    postcodes = np.array(_hex_ids(rng, count // 4 + 1))
    return list(
        map(
            Customer,
            sorted(_hex_ids(rng, count)),
            np.where(news, "1.0", "").tolist(),
            np.where(active, "1.0", "").tolist(),
            statuses.tolist(),
            np.where(news, "Regularly", "NONE").tolist(),
            np.where(rng.random(count) < 0.012, "", ages.astype(int).astype(str)).tolist(),
            rng.choice(postcodes, count).tolist(),
        )
    )


def _hex_ids(rng: np.random.Generator, count: int) -> list[str]:
    digits = rng.bytes(32 * count).hex()
    return [digits[start : start + 64] for start in range(0, len(digits), 64)]


def _write_transactions(
    path: Path, seed: int, count: int, articles: Sequence[Article], buyers: Sequence[str]
) -> None:
    """Write transactions_train.csv in Kaggle's order: by day, then by customer."""
    rng = np.random.default_rng([seed, 4])
    repeats = round(count * REPEATED_SHARE)
    day, customer, channel = _baskets(rng, count - repeats, len(buyers))
    article, price = _bought(rng, day, articles)
    line = np.concatenate([np.arange(len(day)), rng.choice(len(day), repeats, replace=False)])
    line = line[np.lexsort((article[line], customer[line], day[line]))]
    rows = zip(
        _looked_up(DAYS.astype(str).tolist(), day[line]),
        _looked_up(buyers, customer[line]),
        _looked_up([article.article_id for article in articles], article[line]),
        map("{:.6f}".format, price[line].tolist()),
        map(str, channel[line].tolist()),
        strict=True,
    )
    spots = _spots(rng, count, TRANSACTION_FAULTS)
    _write(path, Transaction._fields, _spoiled(rows, spots, TRANSACTION_SPOILERS))


def _looked_up(texts: Sequence[str], places: Ints) -> list[str]:
    found: list[str] = np.array(texts, dtype=object)[places].tolist()
    return found


def _baskets(rng: np.random.Generator, lines: int, customers: int) -> tuple[Ints, Ints, Ints]:
    """Day, customer and sales channel of each line; the lines of a basket share all three."""
    weekday = (DAYS.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    sales = WEEKDAY_SALES[weekday] * (1 + 0.3 * _warmth(np.arange(len(DAYS))))
    basket = np.repeat(np.arange(lines), rng.geometric(1 / LINES_PER_BASKET, lines))[:lines]
    day = rng.choice(len(DAYS), lines, p=sales / sales.sum())
    customer = rng.choice(customers, lines, p=_popularity(rng, customers, 0.4))
    channel = rng.choice([1, 2], lines, p=[0.3, 0.7])
    return day[basket], customer[basket], channel[basket]


def _bought(rng: np.random.Generator, day: Ints, articles: Sequence[Article]) -> tuple[Ints, Floats]:
    """Article and price of each line: the popular more often, and each group in its season."""
    groups = {group.name: group for group in GROUPS}
    group = [groups[article.product_group_name] for article in articles]
    popularity = _popularity(rng, len(articles), 0.7)
    summer = np.array([g.summer for g in group])
    article = np.empty_like(day)
    for week in range(day.max() // 7 + 1):
        lines = np.flatnonzero(day // 7 == week)
        weights = popularity * (1 + summer * _warmth(np.array(7 * week + 3)))
        article[lines] = rng.choice(len(articles), len(lines), p=weights / weights.sum())
    full_price = EUROS[[g.price for g in group] + rng.integers(-1, 3, len(group))] / EUROS_PER_PRICE
    return article, full_price[article] * rng.choice([1, 0.8, 0.5], len(day), p=[0.85, 0.1, 0.05])


def _warmth(day: Ints) -> Floats:
    """The season: -1 on the first day, 1 in the middle of June, -1 on the last day."""
    return np.asarray(2 * np.sin(np.pi * day / len(DAYS)) - 1)


def _popularity(rng: np.random.Generator, count: int, power: float) -> Floats:
    """Shares that fall with a power of a random rank."""
    weights = rng.permutation(np.arange(1.0, count + 1) ** -power)
    return np.asarray(weights / weights.sum())


def _zipf_choice(rng: np.random.Generator, options: Sequence[str], count: int) -> list[str]:
    """Options drawn in proportion to one over their rank."""
    weights = 1 / np.arange(1, len(options) + 1)
    return [options[which] for which in rng.choice(len(options), count, p=weights / weights.sum())]


def _spots(rng: np.random.Generator, lines: int, faults: Mapping[str, int]) -> dict[str, Ints]:
    """Which lines get each fault: no line two of them."""
    counts = list(faults.values())
    chosen = rng.choice(lines, sum(counts), replace=False)
    return dict(zip(faults, np.split(chosen, np.cumsum(counts)[:-1]), strict=True))


def _spotless(lines: int, spots: Mapping[str, Ints]) -> Ints:
    """The lines whose one good copy survives: those without a fault, and the duplicated."""
    bad = [spots[fault] for fault in spots if fault != "duplicate_line"]
    return np.setdiff1d(np.arange(lines), np.concatenate(bad))


def _spoiled(rows: Iterable[Row], spots: Mapping[str, Ints], spoilers: Mapping[str, Spoiler]) -> list[Row]:
    """The rows with their faults; duplicates come last, as from an export that was resumed."""
    rows = list(rows)
    rows.extend(rows[spot] for spot in spots.get("duplicate_line", ()))
    for fault, spoil in spoilers.items():
        for nth, spot in enumerate(spots[fault]):
            rows[spot] = spoil(rows[spot], nth)
    return rows


def _write(path: Path, header: Row, rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
