"""The demo's data set: its layout, its exact faults, and that it appears whole or not at all."""

import csv
import hashlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from flows import demo_data, demo_pictures
from flows.errors import WatchkeeperError

SIZES = demo_data.SMALLEST
TABLES = ("articles.csv", "customers.csv", "transactions_train.csv")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "hm"
    generate_small(folder)
    return folder


def generate_small(
    folder: Path,
    *,
    seed: int = 7,
    sizes: Mapping[str, int] = SIZES,
    on_progress: demo_data.Progress | None = None,
) -> None:
    demo_data.generate(
        folder,
        seed=seed,
        articles=sizes["articles"],
        customers=sizes["customers"],
        transactions=sizes["transactions"],
        on_progress=on_progress,
    )


def rows_of(path: Path) -> list[list[str]]:
    """The lines below the header, as fields."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


def articles_of(folder: Path) -> dict[str, demo_data.Article]:
    """The articles by their id, without the line that has a field too many."""
    rows = rows_of(folder / "articles.csv")
    good = [demo_data.Article(*row) for row in rows if len(row) == len(demo_data.Article._fields)]
    return {article.article_id: article for article in good}


def good_transactions_of(folder: Path) -> list[demo_data.Transaction]:
    rows = rows_of(folder / "transactions_train.csv")
    return [demo_data.Transaction(*row) for row in rows if not transaction_faults(row)]


def transaction_faults(row: list[str]) -> list[str]:
    """The faults of a line, by rules that know nothing of how they were made."""
    if len(row) != 5:
        return ["too_few_fields" if len(row) < 5 else "too_many_fields"]
    price = row[3].removeprefix("-").replace(".", "", 1)
    faults = {
        "bad_date": not is_date(row[0]),
        "missing_customer": not row[1],
        "orphan_article": row[2] == demo_data.ORPHAN_ARTICLE,
        "price_not_a_number": not price.isdigit(),
        "negative_price": row[3].startswith("-"),
    }
    return [fault for fault, present in faults.items() if present]


def is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def repeats(rows: list[list[str]]) -> int:
    """How many lines stand there a second time."""
    return len(rows) - len({tuple(row) for row in rows})


def is_decodable(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
    except OSError:
        return False
    return True


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("articles.csv", demo_data.Article._fields),
        ("customers.csv", demo_data.Customer._fields),
        ("transactions_train.csv", demo_data.Transaction._fields),
    ],
)
def test_each_table_begins_with_its_columns(demo: Path, table: str, columns: tuple[str, ...]) -> None:
    header = (demo / table).read_text(encoding="utf-8").split("\n", 1)[0]
    assert header == ",".join(columns)


def test_transactions_have_exactly_their_faults_and_no_line_has_two(demo: Path) -> None:
    faults = [transaction_faults(row) for row in rows_of(demo / "transactions_train.csv")]
    assert len(faults) == SIZES["transactions"]
    assert max(len(found) for found in faults) == 1
    assert Counter(fault for found in faults for fault in found) == demo_data.TRANSACTION_FAULTS


def test_articles_have_exactly_their_faults(demo: Path) -> None:
    rows = rows_of(demo / "articles.csv")
    columns = demo_data.Article._fields
    whole = [row for row in rows if len(row) == len(columns)]
    assert len(rows) == SIZES["articles"] + demo_data.ARTICLE_FAULTS["duplicate_line"]
    assert {
        "duplicate_line": repeats(rows),
        "missing_product_group": [row[4] for row in whole].count(""),
        "too_many_fields": sum(len(row) == len(columns) + 1 for row in rows),
    } == demo_data.ARTICLE_FAULTS


def test_pictures_have_exactly_their_faults(demo: Path) -> None:
    rows = {tuple(row) for row in rows_of(demo / "articles.csv")}
    paths = [demo / row[-1] for row in rows]
    present = [path for path in paths if path.exists()]
    assert len(paths) == SIZES["articles"]
    assert sorted(present) == sorted(demo.rglob("*.jpg"))
    assert {
        "missing_picture": len(paths) - len(present),
        "truncated_picture": sum(not is_decodable(path) for path in present),
    } == demo_data.PICTURE_FAULTS


def test_customers_have_exactly_their_faults(demo: Path) -> None:
    rows = rows_of(demo / "customers.csv")
    ages = [int(row[5]) for row in rows if row[5]]
    assert len(rows) == SIZES["customers"] + demo_data.CUSTOMER_FAULTS["duplicate_line"]
    assert {
        "duplicate_line": repeats(rows),
        "impossible_age": sum(not 16 <= age <= 99 for age in ages),
        "missing_customer": [row[0] for row in rows].count(""),
    } == demo_data.CUSTOMER_FAULTS


def test_faults_stay_a_small_part_of_the_smallest_set() -> None:
    assert sum(demo_data.TRANSACTION_FAULTS.values()) < 0.01 * SIZES["transactions"]
    assert sum(demo_data.ARTICLE_FAULTS.values()) < 0.02 * (SIZES["articles"] + 2)
    assert sum(demo_data.CUSTOMER_FAULTS.values()) < 0.02 * (SIZES["customers"] + 3)


@pytest.mark.parametrize("table", SIZES)
def test_a_set_too_small_for_its_faults_is_refused(tmp_path: Path, table: str) -> None:
    with pytest.raises(ValueError, match="at least"):
        generate_small(tmp_path / "hm", sizes={**SIZES, table: SIZES[table] - 1})
    assert not list(tmp_path.iterdir())


def test_every_good_transaction_names_an_article_and_a_customer_without_fault(demo: Path) -> None:
    good = good_transactions_of(demo)
    articles = {a.article_id for a in articles_of(demo).values() if a.product_group_name}
    customers = rows_of(demo / "customers.csv")
    people = {row[0] for row in customers if row[5] != demo_data.IMPOSSIBLE_AGE}
    assert {line.article_id for line in good} <= articles
    assert {line.customer_id for line in good} <= people - {""}


def test_some_purchases_are_repeated_line_for_line(demo: Path) -> None:
    lines = [list(line) for line in good_transactions_of(demo)]
    assert 0.015 < repeats(lines) / len(lines) < 0.1


def test_transactions_are_in_order_and_cover_the_season(demo: Path) -> None:
    keys = [(line.t_dat, line.customer_id) for line in good_transactions_of(demo)]
    assert keys == sorted(keys)
    assert (keys[0][0], keys[-1][0]) == (demo_data.FIRST_DAY, demo_data.LAST_DAY)


def test_saturdays_sell_more_than_sundays_and_summer_sells_swimwear(demo: Path) -> None:
    good = good_transactions_of(demo)
    groups = {key: article.product_group_name for key, article in articles_of(demo).items()}
    weekdays = Counter(date.fromisoformat(line.t_dat).weekday() for line in good)
    months = Counter(line.t_dat[:7] for line in good)
    swimwear = Counter(line.t_dat[:7] for line in good if groups[line.article_id] == "Swimwear")
    assert weekdays[5] > 1.2 * weekdays[6]
    assert swimwear["2020-06"] / months["2020-06"] > 1.5 * swimwear["2020-03"] / months["2020-03"]


def test_a_few_articles_and_customers_make_much_of_the_sales(demo: Path) -> None:
    good = good_transactions_of(demo)
    for column, tenth in (("article_id", 20), ("customer_id", 30)):
        sales = Counter(getattr(line, column) for line in good).most_common(tenth)
        assert sum(count for _, count in sales) > 0.2 * len(good)


def test_identifiers_and_paths_have_kaggles_form(demo: Path) -> None:
    for article in articles_of(demo).values():
        assert len(article.article_id) == 10
        assert article.article_id.startswith("0")
        assert article.product_code == article.article_id[:7]
        assert article.image_path == f"images/{article.article_id[:3]}/{article.article_id}.jpg"
    customers = [row[0] for row in rows_of(demo / "customers.csv") if row[0]]
    assert all(len(customer) == 64 and int(customer, 16) for customer in customers)


def test_prices_have_kaggles_scale(demo: Path) -> None:
    prices = [line.price for line in good_transactions_of(demo)]
    assert all(len(price) == 8 and 0.002 < float(price) < 0.09 for price in prices)
    assert f"{29.99 / 590:.6f}" == "0.050831" in prices


def test_every_group_is_there_and_the_first_is_the_largest(demo: Path) -> None:
    articles = [a for a in articles_of(demo).values() if a.product_group_name]
    counts = Counter(article.product_group_name for article in articles)
    assert set(counts) == {group.name for group in demo_data.GROUPS}
    assert counts.most_common(1)[0][0] == "Garment Upper body"
    assert sum(group.share for group in demo_data.GROUPS) == 100


def test_every_product_type_has_a_silhouette() -> None:
    sold = [kind for group in demo_data.GROUPS for kind in group.types]
    assert sorted(sold) == sorted(demo_pictures.SILHOUETTES)


def test_pictures_tell_the_group_mostly_but_not_always() -> None:
    rng = np.random.default_rng(7)
    groups = np.repeat(np.arange(len(demo_data.GROUPS)), 30)
    likeness = np.array([edges_of(picture_of(demo_data.GROUPS[g], rng)) for g in groups])
    likeness = likeness @ likeness.T
    np.fill_diagonal(likeness, -1)  # nobody is their own nearest neighbour
    right = np.mean(groups[likeness.argmax(axis=1)] == groups)
    chance = 1 / len(demo_data.GROUPS)
    assert 4 * chance < right < 0.95


def picture_of(group: demo_data.Group, rng: np.random.Generator) -> Image.Image:
    """A picture of any type, colour and appearance of a group."""
    choices = (group.types, list(demo_pictures.COLOURS), list(demo_pictures.PATTERNS))
    kind, colour, appearance = (texts[rng.integers(len(texts))] for texts in choices)
    return demo_pictures.draw(kind, colour, appearance, rng)


def edges_of(picture: Image.Image) -> NDArray[np.float64]:
    """How strong the edges of each of 8 directions are in each of 8 x 6 blocks, a unit vector."""
    down, right = np.gradient(np.asarray(picture.convert("L").reduce(2), dtype=np.float64))
    strength, direction = np.hypot(down, right), np.arctan2(down, right) % np.pi // (np.pi / 8)
    by_direction = np.stack([strength * (direction == which) for which in range(8)])
    blocks = np.sqrt(by_direction.reshape(8, 8, 8, 6, 8).sum(axis=(2, 4))).ravel()
    return np.asarray(blocks / np.linalg.norm(blocks))


@pytest.mark.parametrize("appearance", demo_pictures.PATTERNS)
def test_every_appearance_is_drawn_at_the_size_that_is_promised(appearance: str) -> None:
    picture = demo_pictures.draw("Dress", "Red", appearance, np.random.default_rng(7))
    assert (picture.mode, picture.size) == ("RGB", (96, 128))


def test_the_same_arguments_give_the_same_bytes(demo: Path, tmp_path: Path) -> None:
    generate_small(tmp_path / "again")
    assert digests(tmp_path / "again") == digests(demo)


def test_another_seed_gives_other_bytes(demo: Path, tmp_path: Path) -> None:
    generate_small(tmp_path / "other", seed=8)
    before, after = digests(demo), digests(tmp_path / "other")
    assert all(before[table] != after[table] for table in TABLES)


def test_a_folder_that_holds_the_set_is_left_as_it_is(demo: Path) -> None:
    heard: list[tuple[int, int]] = []
    inode = demo.stat().st_ino
    generate_small(demo, on_progress=lambda *progress: heard.append(progress))
    assert (demo.stat().st_ino, heard) == (inode, [])


@pytest.mark.parametrize("change", ["other arguments", "a lost file"])
def test_a_set_that_is_not_the_one_asked_for_is_replaced(tmp_path: Path, change: str) -> None:
    folder = tmp_path / "hm"
    generate_small(folder, seed=8 if change == "other arguments" else 7)
    if change == "a lost file":
        (folder / "customers.csv").unlink()
    (folder / "of_before").touch()
    generate_small(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        demo_data.MARKER, "articles.csv", "customers.csv", "images", "transactions_train.csv"
    ]  # fmt: skip
    assert list(tmp_path.iterdir()) == [folder]


def test_the_old_set_stays_until_one_rename_puts_the_new_one_there(tmp_path: Path) -> None:
    folder = tmp_path / "hm"
    generate_small(folder, seed=8)
    old = digests(folder)
    seen: list[int] = []

    def look(done: int, total: int) -> None:
        if done == total:
            assert digests(folder) == old
            seen.extend(path.stat().st_ino for path in tmp_path.glob(".hm.partial-*/new"))

    generate_small(folder, on_progress=look)
    assert [folder.stat().st_ino] == seen


def test_data_that_were_not_generated_are_never_replaced(tmp_path: Path) -> None:
    mine = tmp_path / "articles.csv"
    mine.write_text("article_id\n")
    for folder in (tmp_path, mine):
        with pytest.raises(WatchkeeperError, match="was not generated by the demo"):
            generate_small(folder)
    assert mine.read_text() == "article_id\n"


def test_progress_counts_the_pictures(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    generate_small(tmp_path, on_progress=lambda *progress: heard.append(progress))
    assert heard == [(done, 200) for done in range(1, 201)]


def test_a_killed_run_leaves_no_data_set_and_the_next_one_succeeds(tmp_path: Path) -> None:
    folder = tmp_path / "hm"
    script = (
        "import os, signal, sys; from pathlib import Path; from flows import demo_data\n"
        "kill = lambda done, total: done < 20 or os.kill(os.getpid(), signal.SIGKILL)\n"
        "demo_data.generate(Path(sys.argv[1]), on_progress=kill)"
    )
    root = Path(demo_data.__file__).parents[1]
    killed = subprocess.run([sys.executable, "-c", script, folder], cwd=root, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not folder.exists()
    (leftover,) = tmp_path.iterdir()
    generate_small(folder)
    assert leftover.exists(), "it could be another run's, at work"
    assert all((folder / table).exists() for table in TABLES)


def test_what_a_killed_run_left_is_removed_after_an_hour(tmp_path: Path) -> None:
    leftover = tmp_path / ".hm.partial-abc"
    (leftover / "new").mkdir(parents=True)
    hour_ago = leftover.stat().st_mtime - demo_data.STALE_AFTER_SECONDS - 1
    os.utime(leftover, (hour_ago, hour_ago))
    generate_small(tmp_path / "hm")
    assert [path.name for path in tmp_path.iterdir()] == ["hm"]
