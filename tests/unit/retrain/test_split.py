from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.retrain.split import LEFT_OUT, SHARES, Item, SplitFile, assign, connected, perceptual_hash, side_of


def far(number: int) -> int:
    """Hashes of which no two are near."""
    return int.from_bytes(np.random.default_rng(number).bytes(8), "big")


def item(article: str, phash: int, sha256: str | None = None) -> Item:
    return Item(article, sha256 or f"sha of {article}", phash)


def articles_of(side: str, count: int = 1) -> list[str]:
    """Ids that the hash sends to a side."""
    found = (f"article {number}" for number in range(10_000))
    return [article for article in found if side_of(article) == side][:count]


def test_the_shares_are_as_said() -> None:
    sides = [side_of(str(number)) for number in range(20_000)]
    for side, share in SHARES.items():
        assert sides.count(side) / len(sides) == pytest.approx(share, abs=0.01)


def test_an_article_never_changes_sides_as_data_grows(tmp_path: Path) -> None:
    items = [item(str(number), far(number)) for number in range(300)]
    before = SplitFile(tmp_path / "split.parquet").split(items[:100])
    after = SplitFile(tmp_path / "split.parquet").split(items)
    assert {article: after[article] for article in before} == before
    assert set(after) == {i.id for i in items}


@pytest.mark.parametrize("bits", [0, 1, 0b1111])
def test_nearly_identical_pictures_are_on_one_side(bits: int) -> None:
    train, holdout = articles_of("train")[0], articles_of("holdout")[0]
    sides = assign([item(train, far(1)), item(holdout, far(1) ^ bits)], {})
    assert sides[train] == sides[holdout] != LEFT_OUT


def test_pictures_five_bits_apart_are_two() -> None:
    train, holdout = articles_of("train")[0], articles_of("holdout")[0]
    assert assign([item(train, far(1)), item(holdout, far(1) ^ 0b11111)], {}) == {
        train: "train",
        holdout: "holdout",
    }


def test_the_same_bytes_are_one_picture_whatever_their_hash() -> None:
    assert connected([item("a", far(1), "same"), item("b", far(2), "same"), item("c", far(3))])[:2] == [0, 0]


def test_a_chain_of_near_pictures_is_one_group() -> None:
    links = [item(str(n), (1 << (4 * n)) - 1) for n in range(8)]
    assert len(set(connected(links))) == 1


def test_every_near_pair_is_a_candidate_wherever_its_bits_are() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        flips = sum(1 << int(bit) for bit in rng.choice(64, 4, replace=False))
        assert len(set(connected([item("a", far(7)), item("b", far(7) ^ flips)]))) == 1


def test_a_newcomer_takes_the_side_of_its_neighbour(tmp_path: Path) -> None:
    old, new = articles_of("holdout")[0], articles_of("train")[0]
    split = SplitFile(tmp_path / "split.parquet")
    split.split([item(old, far(1))])
    assert split.split([item(old, far(1)), item(new, far(1) ^ 1)])[new] == "holdout"


def test_a_newcomer_near_both_sides_is_left_out_and_the_others_stay(tmp_path: Path) -> None:
    train, holdout, new = *articles_of("train"), *articles_of("holdout"), "new"
    both = [item(train, 0), item(holdout, 0b11111111)]
    split = SplitFile(tmp_path / "split.parquet")
    assert split.split(both) == {train: "train", holdout: "holdout"}
    assert split.split([*both, item(new, 0b1111)]) == {train: "train", holdout: "holdout", new: LEFT_OUT}


def test_a_corrected_picture_near_another_side_is_left_out(tmp_path: Path) -> None:
    train, holdout = articles_of("train")[0], articles_of("holdout")[0]
    split = SplitFile(tmp_path / "split.parquet")
    split.split([item(train, far(1)), item(holdout, far(2))])
    after = split.split([item(train, far(2), "new bytes"), item(holdout, far(2))])
    assert after == {train: LEFT_OUT, holdout: "holdout"}


def test_a_perceptual_hash_survives_another_size_and_light() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (8, 6, 3)).astype(np.uint8)
    picture = Image.fromarray(pixels).resize((72, 96), Image.Resampling.BICUBIC)
    other = Image.fromarray((np.asarray(picture) * 0.9).astype(np.uint8)).resize((60, 80))
    distance = perceptual_hash(np.asarray(picture)) ^ perceptual_hash(np.asarray(other))
    assert distance.bit_count() <= 4
