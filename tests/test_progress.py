"""The log of progress: lines often enough to follow a run without a terminal, with rate and time left."""

from cyclealign.progress import LOG_SECONDS, ProgressLog, duration, pace


def logged(reports):
    """The lines for (seconds, done, total) of one step."""
    now = [0.0]
    log = ProgressLog(lambda: now[0])
    lines = []
    for seconds, done, of in reports:
        now[0] = seconds
        lines.append(log.line("generate", done, of))
    return lines


def test_start_quarters_and_end_are_logged_with_rate_and_time_left():
    """Prevents a run without a terminal from showing nothing until it ends."""
    lines = logged([(0, 0, 8), (10, 1, 8), (20, 2, 8), (30, 4, 8), (80, 8, 8)])
    assert lines == [
        "generate: 0 of 8",
        None,
        "generate: 2 of 8, 6 a minute, 60 s left",
        "generate: 4 of 8, 8 a minute, 30 s left",
        "generate: 8 of 8 in 80 s",
    ]


def test_a_slow_step_is_logged_every_half_minute():
    """Prevents half an hour without a line within a quarter of a long step."""
    assert LOG_SECONDS == 30
    lines = logged([(0, 0, 1000), (29, 1, 1000), (30, 2, 1000), (45, 3, 1000), (60, 4, 1000)])
    assert lines[1] is lines[3] is None
    assert lines[2] == "generate: 2 of 1000, 4 a minute, 4.2 h left"
    assert lines[4] == "generate: 4 of 1000, 4 a minute, 4.2 h left"


def test_a_resumed_step_counts_only_its_own_items():
    """Prevents a rate from including the items of an earlier run, and with it a time left that is far too short."""
    assert logged([(0, 90, 100), (60, 95, 100)])[1] == "generate: 95 of 100, 5 a minute, 60 s left"


def test_a_step_begins_anew_after_its_end():
    """Prevents the next round's step from going on with the former one's times."""
    lines = logged([(0, 0, 1), (5, 1, 1), (100, 0, 1), (103, 1, 1)])
    assert lines == ["generate: 0 of 1", "generate: 1 of 1 in 5 s", "generate: 0 of 1", "generate: 1 of 1 in 3 s"]


def test_times_and_rates_are_words_of_a_fitting_unit():
    assert [duration(seconds) for seconds in (0, 99, 100, 5999, 6000)] == ["0 s", "99 s", "2 min", "100 min", "1.7 h"]
    assert pace(500, 500, 10) == ", 50 a second, 10 s left"
    assert pace(110, 110, 60) == ", 110 a minute, 60 s left"
    assert pace(1234, 5000, 1) == ", 1234 a second, 4 s left"
    assert pace(5, 5, 2) == ", 2.5 a second, 2 s left"
    assert pace(0, 5, 10) == pace(5, 0, 0) == ""
