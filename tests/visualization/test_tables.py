"""A table holds every cell, and a bar in a text breaks no row."""

from bdgan_lib.visualization.tables import markdown


def test_keys_are_the_head_and_every_row_a_line():
    text = markdown([{"name": "a|b", "score": 0.5}, {"name": "c", "score": "0.6 ± 0.1"}])
    assert text.splitlines() == ["| name | score |", "| --- | --- |", "| a\\|b | 0.5 |", "| c | 0.6 ± 0.1 |"]
