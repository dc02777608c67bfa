import pytest

from flows.etl.contract_parts import NAME
from flows.etl.scores import contract_of, table_of
from services.bento.manifest import MODEL_NAME


def test_a_model_s_table_has_its_name_where_that_can_be_one() -> None:
    assert contract_of("garments").identifier == "scores.garments"


@pytest.mark.parametrize("model", ["a-b", "a.b", "7", "_x", "0.9-rc_1", "a" * 100])
def test_any_model_s_name_becomes_a_table_s_and_no_other_model_has_it(model: str) -> None:
    assert bool(MODEL_NAME.fullmatch(model)) == (model != "_x")
    assert NAME.fullmatch(table_of(model))
    others = {"a_b", "a-b", "a.b", "7", "m_7", "_x", "0.9-rc_1", "a" * 100} - {model}
    assert table_of(model) not in {table_of(other) for other in others}


def test_scores_are_partitioned_by_their_label() -> None:
    assert contract_of("garments").layout == [("label", "identity")]
