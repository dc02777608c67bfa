import numpy as np

from observability.drift.thresholds import false_discovery, held_out


def test_held_out_windows_have_their_size() -> None:
    rng = np.random.default_rng(0)
    assert np.unique(held_out(9, 1, 400, rng), axis=0).tolist() == np.eye(9)[::-1].tolist()
    assert held_out(9, 1, 4, rng).shape == (4, 9)
    many = held_out(20, 6, 50, rng)
    assert many.sum(axis=1).tolist() == [6] * 50
    assert len(np.unique(many, axis=0)) > 40


def test_false_discoveries_are_bounded_over_all_columns() -> None:
    levels = {"a": 0.0001, "b": 0.004, "c": 0.02, "d": 0.9}
    assert false_discovery(levels, 0.01) == ({"a", "b"}, 0.005)
    assert false_discovery({"a": 0.02, "b": 0.5}, 0.01) == (set(), 0.005)
