"""References to checkpoints are read as they are written, and refused in one line."""

import pytest

from svdrift.errors import UserError
from svdrift.study.references import Reference, read_reference, starts_of


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("base", Reference("base", None, None)),
        ("sft@64", Reference("sft", 64, None)),
        (" sft@end ", Reference("sft", "end", None)),
        ("ppo@20 of sft@64", Reference("ppo", 20, Reference("sft", 64, None))),
        ("ppo2@end of ppo@20", Reference("ppo2", "end", Reference("ppo", 20, None))),
    ],
)
def test_a_reference_is_read_as_it_is_written(text, reference):
    assert read_reference(text) == reference
    assert str(reference) == text.strip()


def test_a_start_may_have_a_start_of_its_own():
    reference = read_reference("more@end of ppo@20 of sft@64")
    assert reference.stages == ("more", "ppo", "sft")
    assert reference.of is not None
    assert reference.of.of == Reference("sft", 64, None)


@pytest.mark.parametrize(
    "text", ["", "sft-64", "sft@", "sft@last", "SFT@64", "sft@-1", "sft@64 of", "of sft@64", 64]
)
def test_anything_else_is_refused_in_one_line(text):
    with pytest.raises(UserError, match=r"is not a reference to a checkpoint \(allowed: base"):
        read_reference(text)


@pytest.mark.parametrize(
    ("text", "stage"),
    [("starts of ppo", "ppo"), ("ppo@end of sft@64", None), ("starts of", None), ("sft@4", None)],
)
def test_starts_of_a_stage(text, stage):
    assert starts_of(text) == stage
