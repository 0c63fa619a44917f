"""What is said of how far a repair moved, and when it warns."""

from svdrift.recovery.distances import Distances


def test_a_repair_that_leads_away_from_the_anchor_warns():
    near, far = Distances(0.2, 0.1, 0.1).words, Distances(0.148, 0.157, 0.05).words
    assert "20 % before, 10 % after; to the target: 0 % before, 10 % after." in near
    assert "further from the anchor" not in near
    assert "14.8 % before, 15.7 % after" in far
    assert far.endswith(
        "So it lies further from the anchor than the target did: evaluate it, since only a test of "
        "an ability tells whether it came back."
    )


def test_equal_models_leave_nothing_to_do():
    assert "there was nothing to do" in Distances(0.0, 0.0, 0.0).words
    assert "0 % before, 10 % after" in Distances(0.0, 0.1, 0.1).words  # random directions
