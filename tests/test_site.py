"""What a cluster's site asks of jobs."""

from pathlib import Path

import pytest

from svdrift.errors import UserError
from svdrift.site import Site, read_site

ROOT = Path(__file__).parents[1]


def test_the_shipped_site_asks_for_nothing_of_its_own():
    site = read_site(ROOT / "slurm/site.yaml")
    assert site == Site()
    assert site.resources(2) == {"gpu": 2}
    assert site.resources(0) == {}


def test_the_shipped_site_is_short_enough_to_read():
    assert len((ROOT / "slurm/site.yaml").read_text().splitlines()) < 20


def test_jobs_with_gpus_ask_for_other_things_than_jobs_without(tmp_path):
    file = tmp_path / "site.yaml"
    file.write_text(
        "gpu: {partition: big, account: lab, constraint: a100|h100, extra: --exclude=node7}\n"
        "cpu: {partition: small, qos: short}\n"
        "gres: gpu:a100\n"
    )
    site = read_site(file)
    assert site.resources(2, warned=True) == {
        "gres": "gpu:a100:2",
        "slurm_partition": "big",
        "slurm_account": "lab",
        "constraint": "a100|h100",
        "slurm_extra": "--exclude=node7 --signal=TERM@120",
    }
    assert site.resources(0) == {"slurm_partition": "small", "qos": "short"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpu: {partitoin: big}", "unknown key 'gpu.partitoin', did you mean 'partition'?"),
        ("gpus: {}", "unknown key 'gpus', did you mean 'gpu'?"),
        ("gpu: {account: 7}", "key 'gpu.account' must be text (in quotes), not 7"),
        ("gpu: {", "not YAML"),
        ("- gpu", "site.yaml: must be a mapping, not ['gpu']"),
    ],
)
def test_a_mistake_is_refused_in_one_line(tmp_path, text, message):
    file = tmp_path / "site.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as refused:
        read_site(file)
    assert message in str(refused.value)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"site.yaml: cannot be read \(No such file"):
        read_site(tmp_path / "site.yaml")
