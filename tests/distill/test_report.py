"""The report of a job, whatever its arms and measures are called."""

from cyclealign.evaluation.report import markdown_table


def test_a_name_keeps_to_its_cell():
    """Prevents a report in which a bar or a line's end of a name moves the values under other headings."""
    lines = markdown_table([{"arm": "a|b", "x\ny|z": "1"}, {"arm": "c\nd", "x\ny|z": "2"}]).splitlines()
    assert lines == ["| arm | x y\\|z |", "|---|---|", "| a\\|b | 1 |", "| c d | 2 |"]
