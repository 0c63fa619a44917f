"""A real study, killed, damaged and starved; in full by `make validate`."""

from collections import Counter

import pytest

from tests.validation import reliability
from tests.validation.reliability import damaged, killed, starved, workplace

pytestmark = [pytest.mark.workflow, pytest.mark.long]

MODEL = "seed-0/models/sft-80/model.safetensors"
PROBLEMS = "seed-0/problems/ood_test.parquet"
GOAL = (
    "seed-0/models/sft-240",
    "seed-0/evaluation/sft-80/accuracy.parquet",
    "seed-0/spectra/sft-240/factors.safetensors",
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    place = workplace(tmp_path_factory.mktemp("undisturbed"), goal=GOAL)
    place.finish()
    return place


@pytest.fixture(scope="module")
def whole(undisturbed):
    return undisturbed.artefacts()


def test_kills_change_nothing_and_no_finished_job_runs_again(undisturbed, whole, tmp_path):
    assert {MODEL, PROBLEMS, *GOAL[1:]} <= set(whole)
    found = killed(workplace(tmp_path, goal=GOAL), whole, Counter({"train_sft": 1, "evaluate": 1}))
    assert [one.kind for one in found.kills] == ["train_sft", "evaluate"]
    assert found.resumed == ("sft",)
    assert found.harmless, found


@pytest.mark.parametrize(("artefact", "damage"), [(MODEL, "one bit"), (PROBLEMS, "cut in half")])
def test_damage_is_refused_with_its_remedy(undisturbed, whole, artefact, damage):
    found = damaged(undisturbed, artefact, damage, whole)
    assert found.refused, found.said
    assert found.mended


def test_a_full_disk_is_told_and_with_room_the_same_command_goes_on(undisturbed, whole):
    try:
        found = starved(undisturbed, "factors", whole)
    except PermissionError as error:
        pytest.skip(str(error))
    assert found.refused, found.said
    assert found.mended


def test_what_differs_is_seen(undisturbed, whole, tmp_path):
    """The comparison itself: another byte, a file more, a file less, a job that ran twice."""
    file = undisturbed.results / PROBLEMS
    before = file.read_bytes()
    reliability.one_bit(file)
    (undisturbed.results / "tables").mkdir(exist_ok=True)
    (undisturbed.results / "tables/more.csv").write_text("x")
    found = undisturbed.artefacts()
    file.write_bytes(before)
    (undisturbed.results / "tables/more.csv").unlink()
    assert dict(set(found.items()) ^ set(whole.items())).keys() == {PROBLEMS, "tables/more.csv"}
    lines = ["rule a:", "    output: x", "    jobid: 3", "Finished jobid: 3 (Rule: a)"]
    lines += ["localrule all:", "    jobid: 0", "Finished jobid: 0 (Rule: all)"]
    counted = reliability.Workplace(tmp_path)
    for _ in range(2):
        counted.note(lines)
    assert counted.finished == {"x": 2}
    assert list(counted.kinds) == ["a"]
