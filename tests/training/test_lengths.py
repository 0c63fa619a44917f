"""Parts of a batch."""

from svdrift.training.lengths import of_like_length


def test_parts_hold_every_sequence_once_and_lengths_alike():
    lengths = [5, 20, 6, 5, 21, 7, 15, 14]
    parts = of_like_length(lengths)
    assert parts == [[0, 3, 2, 5, 7], [6, 1, 4]]
    assert [[lengths[place] for place in part] for part in parts] == [
        [5, 5, 6, 7, 14],
        [15, 20, 21],
    ]
    assert of_like_length([3]) == [[0]]
