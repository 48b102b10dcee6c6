"""Ranked lists with different numbers of answers, lengths, weights and shares, and with ties."""

from cyclealign.training.job import RankedAnswers

# 7 lists, so that steps of 4 end with an odd number. The second of three has a tie: pair (1, 2) of four is not decided.
LISTS = tuple(
    RankedAnswers(
        prompt_ids=tuple(range(3, 6 + number)),
        answers=tuple(tuple(range(8 + place, 12 + 2 * place + number % 3)) for place in range(2 + number % 3)),
        weight=(1.0, 0.25, 0.6)[number % 3],
        pairs=(None, None, ((0, 1, 0.75), (0, 3, 0.9)))[number % 3],
    )
    for number in range(7)
)
