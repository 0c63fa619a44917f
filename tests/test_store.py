"""The store with real files and, where it is about jobs side by side, real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from svdrift import store
from svdrift.errors import UserError
from svdrift.liveness import Process
from svdrift.store import entries, key_of, produce

ROOT = Path(__file__).parents[1]
COMMAND = """
import sys, time
from pathlib import Path
tally, model, table, seconds = Path(sys.argv[1]), *map(Path, sys.argv[2:4]), float(sys.argv[4])
with tally.open("a") as file:
    file.write("made\\n")
time.sleep(seconds)
(model / "inner").mkdir(parents=True)
(model / "inner/weights").write_bytes(bytes(range(256)) * 100)
(model / "provenance.json").write_text(f"made for {model}")
(model / ".note").write_text("a tool's own")
table.write_text("a,b")
"""


class Study:
    """A folder with the outputs of one job, which runs by itself or as a process."""

    def __init__(self, folder: Path, place: Path, tally: Path) -> None:
        self.place, self.tally, self.said = place, tally, ""
        self.model, self.table = folder / "model", folder / "tables/table.csv"
        folder.mkdir()

    def command(self, key: str = "k", seconds: float = 0, exits: int = 0) -> list[str]:
        self.table.parent.mkdir(exist_ok=True)
        outputs = [str(self.model), str(self.table)]
        body = f"{COMMAND}\nsys.exit({exits})"
        made = [sys.executable, "-c", body, str(self.tally), *outputs, str(seconds)]
        reuse = [sys.executable, str(ROOT / "scripts/reuse.py")]
        return [*reuse, "--key", key, "--outputs", *outputs, "--", *made]

    def start(self, **how) -> subprocess.Popen[str]:
        variables = os.environ | {"SVDRIFT_STORE": str(self.place), "PYTHONPATH": str(ROOT)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(self.command(**how), env=variables, **pipes)

    def run(self, **how) -> int:
        process = self.start(**how)
        self.said, _ = process.communicate()
        return process.returncode

    def content(self) -> dict[str, bytes]:
        files = [path for path in self.model.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.model)): path.read_bytes() for path in files} | {
            "table": self.table.read_bytes()
        }


@pytest.fixture
def studies(tmp_path):
    place, tally = tmp_path / "store", tmp_path / "tally"
    return [Study(tmp_path / name, place, tally) for name in ("base", "ablation", "third")]


def made(study: Study) -> int:
    return len(study.tally.read_text().splitlines())


def only_entry(study: Study) -> Path:
    (entry,) = entries(study.place)
    return entry.folder


def test_what_was_made_is_placed_and_not_made_again(studies):
    base, ablation, _ = studies
    assert base.run() == ablation.run() == 0
    assert made(base) == 1
    assert "reused from" in ablation.said
    assert f"made as {base.model}" in ablation.said
    expected = base.content()
    del expected[".note"]
    assert ablation.content() == expected
    assert ablation.content()["provenance.json"].decode() == f"made for {base.model}"


def test_tables_have_a_new_time_and_can_be_written_and_weights_are_shared(studies):
    base, ablation, _ = studies
    base.run()
    before = time.time() - 1000
    stored = only_entry(base) / "1"
    os.utime(stored, (before, before))
    ablation.run()
    assert ablation.table.stat().st_mtime > before + 900
    assert ablation.table.stat().st_mode & 0o222
    assert not stored.stat().st_mode & 0o222
    weights = "inner/weights"
    assert (ablation.model / weights).samefile(base.model / weights)
    assert not ablation.table.samefile(base.table)
    ablation.table.write_text("other")
    assert stored.read_text() == base.table.read_text() == "a,b"


def test_another_key_is_made_anew(studies):
    base, ablation, _ = studies
    base.run()
    ablation.run(key="l")
    assert made(base) == 2
    assert len(list(entries(base.place))) == 2


def test_the_key_is_of_contents_and_not_of_paths(tmp_path):
    for name, text in (("a", "x"), ("b", "x"), ("c", "y")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(text)
        (tmp_path / name / "provenance.json").write_text(name)
        (tmp_path / name / ".snakemake_timestamp").write_text(name)
    a, b, c = (tmp_path / name for name in "abc")
    assert key_of(["s"], [a, c]) == key_of(["s"], [b, c])
    different = [key_of(["s"], [a, c]), key_of(["s"], [c, a]), key_of(["s"], [a]), key_of([], [a])]
    assert len(set(different)) == 4
    assert key_of(["x y"], []) != key_of(["x", "y"], [])


@pytest.mark.parametrize(
    "damage", ["content", "file", "link", "no manifest", "{", "[]", '{"files": {}}', "\udc80"]
)
def test_a_damaged_entry_is_removed_with_a_notice_and_made_again(studies, damage):
    base, ablation, third = studies
    base.run()
    entry = only_entry(base)
    if damage == "content":
        (entry / "1").chmod(0o644)
        (entry / "1").write_text("a,c")
    elif damage == "file":
        (entry / "0/inner/weights").unlink()
    elif damage == "link":
        (entry / "1").unlink()
        (entry / "1").symlink_to("/nowhere")
    elif damage == "no manifest":
        (entry / store.MANIFEST).unlink()
    else:
        (entry / store.MANIFEST).write_text(damage, errors="surrogateescape")
    assert ablation.run() == third.run() == 0
    assert ablation.said.splitlines() == [f"removed {entry}: it is not what was stored there"]
    assert "reused" in third.said
    assert made(base) == 2
    assert third.table.read_text() == "a,b"


def test_what_fails_is_not_stored_and_its_status_passes(studies):
    base, ablation, _ = studies
    assert base.run(exits=7) == 7
    assert list(entries(base.place)) == []
    assert list(base.place.iterdir()) == []
    assert ablation.run() == 0
    assert made(base) == 2


def test_a_job_waits_for_another_that_makes_the_same(studies):
    running = [study.start(seconds=3) for study in studies]
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert made(studies[0]) == 1
    assert sum("reused from" in text for text in said) == 2
    contents = [study.content() for study in studies]
    for content in contents:
        content.pop(".note", None)
    assert contents[0] == contents[1] == contents[2]


def test_where_the_other_fails_the_one_that_waits_makes_it(studies):
    base, ablation, _ = studies
    failing = base.start(seconds=2, exits=3)
    while not base.tally.exists():
        time.sleep(0.02)
    assert ablation.run() == 0
    failing.communicate()
    assert failing.returncode == 3
    assert made(base) == 2


OURS = Process.current()
ELSEWHERE = OURS._replace(host="node7", pid=12)


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        (
            "of an older version",
            "waits for another job, which makes k, at most 0.3 s should that be dead\n"
            "takes over k: another job, which was making it, showed no life for 0.3 s",
        ),
        (
            f"name 3\n{json.dumps(ELSEWHERE._asdict())}",
            "waits for process 12 on node7, which makes k, at most 0.3 s should that be dead\n"
            "takes over k: process 12 on node7, which was making it, showed no life for 0.3 s",
        ),
        (
            f"name 3\n{json.dumps(OURS._replace(start=1)._asdict())}",
            f"takes over k: {OURS}, which was making it, is dead",
        ),
    ],
    ids=["of an older version", "elsewhere", "dead here"],  # the same in each process of the tests
)
def test_a_claim_of_the_dead_is_taken_over(studies, monkeypatch, text, heard):
    base, _, _ = studies
    monkeypatch.setattr(store, "STALE_S", 0.3)
    base.place.mkdir()
    claim = base.place / "k.claim"
    claim.write_text(text)
    said = []
    status = produce(base.place, "k", [base.table], lambda: write(base.table), said.append)
    assert (status, said) == (0, heard.split("\n"))
    assert not claim.exists()
    assert len(list(entries(base.place))) == 1


def test_the_claim_of_a_job_that_was_killed_is_taken_over_at_once(studies):
    base, ablation, _ = studies
    killed = base.start(seconds=30)
    while not base.tally.exists():
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    since = time.monotonic()
    assert ablation.run() == 0
    assert time.monotonic() - since < store.STALE_S / 4
    (said,) = ablation.said.splitlines()
    assert "takes over" in said
    assert f"process {killed.pid} on " in said


def test_a_claim_is_waited_for_as_long_as_its_process_lives(studies, monkeypatch):
    base, ablation, _ = studies
    monkeypatch.setattr(store, "STALE_S", 0.1)
    working = base.start(seconds=2)
    while not base.tally.exists():
        time.sleep(0.02)
    (claim,) = base.place.glob("*.claim")
    said = []
    status = produce(base.place, claim.stem, [ablation.table], lambda: 9, said.append)
    working.communicate()
    assert status == 0
    assert "reused from" in said[-1]
    assert said[0] == f"waits for {_claimed(working.pid)}, which makes {claim.stem[:16]}"
    assert made(base) == 1


def _claimed(pid: int) -> Process:
    return Process.current()._replace(pid=pid)


def test_a_claim_that_shows_life_is_waited_for_whatever_its_time(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "BEAT_S", 0.05)
    monkeypatch.setattr(store, "STALE_S", 1.0)
    path = tmp_path / "k.claim"
    with store._claim(path) as ours:
        assert ours
        texts = set()
        while len(texts) < 4:
            texts.add(path.read_text())
            time.sleep(0.02)
        with store._claim(path) as second:
            assert not second
    assert not path.exists()


def write(path: Path) -> int:
    path.parent.mkdir(exist_ok=True)
    path.write_text("a,b")
    return 0


def test_the_first_of_two_that_made_the_same_wins(studies):
    """As after a takeover from a job that was only slow."""
    base, ablation, _ = studies
    base.place.mkdir()

    def overtaken() -> int:
        produce(base.place, "j", [ablation.table], lambda: write(ablation.table), print)
        (base.place / "j").rename(base.place / "k")
        return write(base.table)

    assert produce(base.place, "k", [base.table], overtaken, print) == 0
    assert len(list(base.place.iterdir())) == 1
    assert only_entry(base).name == "k"


def test_another_file_system_gets_copies(studies, monkeypatch):
    base, ablation, _ = studies

    def refuse(source: Path, target: Path) -> None:
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    for study in (base, ablation):

        def make(study: Study = study) -> int:
            study.model.mkdir()
            return write(study.model / "weights")

        assert produce(base.place, "k", [study.model], make, print) == 0
    weights = [study.model / "weights" for study in (base, ablation)]
    assert weights[0].read_text() == weights[1].read_text()
    assert not weights[0].samefile(weights[1])


def test_an_entry_of_another_user_serves(studies, monkeypatch):
    base, ablation, _ = studies
    base.run()
    key = only_entry(base).name

    def refuse(path: Path) -> None:
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    heard = []
    outputs = [ablation.model, ablation.table]
    assert produce(base.place, key, outputs, lambda: 1, heard.append) == 0
    assert heard[0].startswith("reused from")
    assert ablation.table.read_text() == "a,b"


def test_a_store_that_cannot_be_one_is_refused_in_one_line(studies):
    base, _, _ = studies
    base.place.write_text("a file")
    with pytest.raises(UserError, match="store: cannot be the store of artefacts"):
        produce(base.place, "k", [base.table], lambda: write(base.table), print)
    assert base.run() == 2
    assert base.said.count("\n") == 1


def test_what_cannot_be_kept_is_there_all_the_same(studies, monkeypatch):
    base, _, _ = studies

    def full(source: Path, target: Path) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(store, "_copy", full)
    heard = []
    assert produce(base.place, "k", [base.table], lambda: write(base.table), heard.append) == 0
    assert heard == ["not kept in the store: No space left on device"]
    assert base.table.read_text() == "a,b"
    assert list(base.place.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_signals_reach_the_command(tmp_path, number):
    body = (
        "import signal, sys, time\n"
        "signal.signal(signal.Signals[sys.argv[1]], lambda *_: sys.exit(9))\n"
        "print('ready', flush=True)\ntime.sleep(60)\n"
    )
    command = [sys.executable, "-c", body, number.name]
    reuse = [sys.executable, str(ROOT / "scripts/reuse.py"), "--key", "k"]
    process = subprocess.Popen(
        [*reuse, "--outputs", str(tmp_path / "x"), "--", *command],
        env=os.environ | {"SVDRIFT_STORE": str(tmp_path / "store"), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert process.wait(30) == 9
    assert list((tmp_path / "store").iterdir()) == []  # no claim is left


def test_an_empty_variable_switches_the_store_off(studies):
    base, ablation, _ = studies
    base.place = ablation.place = Path("")
    for study in (base, ablation):
        variables = os.environ | {"SVDRIFT_STORE": "", "PYTHONPATH": str(ROOT)}
        subprocess.run(study.command(), env=variables, cwd=study.table.parents[1], check=True)
        assert not (study.table.parents[1] / "results").exists()
    assert made(base) == 2


def test_of_the_candidates_only_the_anchor_counts(studies, tmp_path):
    base, ablation, third = studies
    choice = tmp_path / "anchor.json"
    for step in (4, 8):
        (tmp_path / f"models/sft-{step}").mkdir(parents=True)
        (tmp_path / f"models/sft-{step}/weights").write_text(str(step))
    candidates = [str(tmp_path / f"models/sft-{step}") for step in (4, 8)]

    def run(study: Study, checkpoint: str) -> None:
        choice.write_text(f'{{"checkpoint": "{checkpoint}", "accuracy": {time.time()}}}')
        command = study.command()
        at = command.index("--outputs")
        command[at:at] = ["--candidates", *candidates, "--choice", str(choice)]
        variables = os.environ | {"SVDRIFT_STORE": str(study.place), "PYTHONPATH": str(ROOT)}
        subprocess.run(command, env=variables, check=True, capture_output=True)

    run(base, "sft-4")
    (tmp_path / "models/sft-8/weights").write_text("other")
    run(ablation, "sft-4")
    assert made(base) == 1
    run(third, "sft-8")
    assert made(base) == 2


def test_pruning_removes_what_was_not_used(studies, monkeypatch, capsys):
    from scripts import prune_store

    base, ablation, _ = studies
    base.run()
    ablation.run(key="l")
    long_ago = time.time() - 10 * 86400
    old = next(entry for entry in entries(base.place) if str(base.model) == entry.made_as)
    os.utime(old.folder / store.MANIFEST, (long_ago, long_ago))
    monkeypatch.setenv("SVDRIFT_STORE", str(base.place))
    for arguments, left in (([], 2), (["--unused-days", "5"], 1)):
        monkeypatch.setattr(sys, "argv", ["prune_store.py", *arguments])
        prune_store.main()
        assert len(list(entries(base.place))) == left
    removed = [line for line in capsys.readouterr().out.splitlines() if "removed" in line]
    assert removed == [f"{old.size / 1e6:10.2f} MB    10.0 days  {base.model}  removed"]
    assert base.model.is_dir()


@pytest.mark.parametrize("damage", ["{", "[]"])
def test_pruning_passes_over_a_damaged_entry(studies, monkeypatch, capsys, damage):
    from scripts import prune_store

    base, _, _ = studies
    base.run()
    (only_entry(base) / store.MANIFEST).write_text(damage)
    monkeypatch.setenv("SVDRIFT_STORE", str(base.place))
    monkeypatch.setattr(sys, "argv", ["prune_store.py"])
    prune_store.main()
    assert "(damaged)" in capsys.readouterr().out


def test_reuse_starts_quickly():
    heavy = "{'torch', 'pandas', 'numpy', 'transformers', 'yaml'}"
    code = f"import sys, scripts.reuse; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == "[]\n"
