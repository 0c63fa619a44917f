import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from svdrift.errors import UserError
from svdrift.models.folders import weights_hash
from svdrift.spectra.decomposition import (
    Decomposed,
    Factors,
    FactorStore,
    decompose,
    decompose_checkpoint,
    decompose_stack,
    require_same_matrices,
)
from svdrift.spectra.patterns import DEFAULT_PATTERNS
from tests.spectra.synthetic import llama, save

side = st.integers(1, 40)


@given(side, side, st.integers(0, 2**31))
def test_factors_rebuild_the_matrix(rows: int, columns: int, seed: int) -> None:
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    factors = decompose(matrix)
    rank = min(rows, columns)
    assert [tuple(f.shape) for f in factors] == [(rows, rank), (rank,), (rank, columns)]
    assert all(f.dtype == torch.float32 for f in factors)
    assert torch.allclose(factors.U * factors.S @ factors.Vh, matrix, atol=1e-5)
    exact = factors.double()
    eye = torch.eye(rank, dtype=torch.float64)
    assert (exact.U.T @ exact.U - eye).abs().max() < 1e-12
    assert (exact.Vh @ exact.Vh.T - eye).abs().max() < 1e-12
    assert torch.all(factors.S.diff() <= 0)


def test_vectors_kept_in_bfloat16_turn_little(tmp_path: Path) -> None:
    save(llama(2), tmp_path / "model")
    stores = []
    for dtype in (torch.float32, torch.bfloat16):
        file = tmp_path / f"{dtype}.safetensors"
        decompose_checkpoint(tmp_path / "model", file, dtype=dtype)
        stores.append(FactorStore(file))
    for key in stores[0].matrices:
        exact, rounded = (store.read(key) for store in stores)
        assert rounded.U.dtype == torch.float32
        assert torch.equal(exact.S, rounded.S)
        for one, other in ((exact.U, rounded.U), (exact.Vh.T, rounded.Vh.T)):
            other = other / other.norm(dim=0)
            sine = (other - one * (one * other).sum(0)).norm(dim=0)
            assert 0 < torch.rad2deg(sine.asin()).max() < 0.15


@pytest.mark.parametrize("double_up_to", [0, 2**21], ids=["large", "small"])
@pytest.mark.parametrize("shape", [(60, 60), (150, 60), (60, 150)])
@pytest.mark.parametrize("condition", [1e2, 3e3, 1e6, 1e12, float("inf")])
def test_as_accurate_as_float32_can_say_whatever_the_spectrum(
    condition: float, shape: tuple[int, int], double_up_to: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{decompose.__module__}.DOUBLE_UP_TO", double_up_to)
    torch.manual_seed(5)
    left, right = (torch.linalg.qr(torch.randn(n, 60, dtype=torch.float64))[0] for n in shape)
    values = torch.logspace(0, -np.log10(min(condition, 1e12)), 60, dtype=torch.float64)
    if condition == float("inf"):
        values[-7:] = 0
    matrix = left * values @ right.T
    factors = decompose(matrix)
    assert (factors.S.double() - values).abs().max() < 1e-7
    one, eye = Factors(*(part.double() for part in factors)), torch.eye(60, dtype=torch.float64)
    assert (one.U * one.S @ one.Vh - matrix).norm() < 1e-7 * matrix.norm()
    assert (one.U.T @ one.U - eye).abs().max() < 2e-7
    assert (one.Vh @ one.Vh.T - eye).abs().max() < 2e-7
    stack = decompose_stack(torch.stack([matrix, 2 * matrix]))
    assert torch.allclose(stack.S, torch.stack([values, 2 * values]), atol=1e-7)
    assert ((stack.U * stack.S[:, None]) @ stack.Vh - torch.stack([matrix, 2 * matrix])).norm() < (
        1e-7 * matrix.norm()
    )
    assert (stack.U.mT @ stack.U - eye).abs().max() < 1e-12


def test_signs_do_not_depend_on_the_sign_of_the_matrix_s_rows() -> None:
    torch.manual_seed(1)
    matrix = torch.randn(12, 7)
    factors, negated = decompose(matrix), decompose(-matrix)
    assert torch.allclose(factors.U, negated.U, atol=1e-6)
    assert torch.allclose(factors.Vh, -negated.Vh, atol=1e-6)
    peaks = factors.U.gather(0, factors.U.abs().argmax(0, keepdim=True))
    assert torch.all(peaks > 0)


@pytest.mark.parametrize("transposed", [False, True], ids=["tall", "wide"])
@pytest.mark.parametrize("smallest", [1e-3, 0.0], ids=["full rank", "deficient"])
def test_by_pieces_as_in_one(
    smallest: float, transposed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    left, right = torch.randn(203, 24), torch.linalg.qr(torch.randn(24, 24))[0]
    spectrum = torch.linspace(1, smallest, 24).square()  # to 1e-6, or exactly singular
    tall = torch.linalg.qr(left.double())[0] * spectrum @ right.double()
    matrix = tall.T if transposed else tall
    U, S, _ = np.linalg.svd(matrix.numpy(), full_matrices=False)
    monkeypatch.setattr("svdrift.spectra.decomposition.DOUBLE_UP_TO", 0)
    found = decompose(matrix)
    assert np.allclose(found.S, S, atol=1e-6)
    for basis in (found.U.T, found.Vh):
        gram = basis.double() @ basis.double().T
        assert torch.allclose(gram, torch.eye(24, dtype=torch.float64), atol=2e-6)
    for i in range(10):
        assert abs(found.U[:, i].double().numpy() @ U[:, i]) == pytest.approx(1, abs=1e-5)
    assert torch.allclose(found.U * found.S @ found.Vh, matrix.float(), atol=1e-6)
    ranks = torch.tensor([0, 1, 23])
    for some, of_all in zip(decompose(matrix, ranks=ranks), found.of(ranks), strict=True):
        assert torch.allclose(some, of_all, atol=1e-6)


def test_double_is_closer_to_the_true_subspace_than_rounding() -> None:
    torch.manual_seed(2)
    matrix = torch.randn(60, 40, dtype=torch.float64)
    true = torch.linalg.svd(matrix, full_matrices=False)[0]
    basis = decompose(matrix).double().U[:, :10]
    residual = basis - true[:, :10] @ (true[:, :10].T @ basis)
    assert residual.norm() < 1e-6


def test_store_reads_what_was_decomposed(tmp_path: Path) -> None:
    checkpoint = save(llama(0), tmp_path / "model")
    store = checkpoint.factors
    assert store.content_hash == weights_hash(tmp_path / "model")
    assert list(store.matrices.values()) == list(checkpoint.weights.matrices)
    tensors = load_file(store.path)
    for key, matrix in store.matrices.items():
        factors = store.read(key)
        assert torch.equal(factors.U, tensors[f"{matrix.name}.U"])
        assert torch.equal(factors.S, store.singular_values(key))
        rebuilt = factors.U * factors.S @ factors.Vh
        assert torch.allclose(rebuilt, checkpoint.weight(key), atol=1e-5)


def test_same_checkpoint_gives_the_same_bytes(tmp_path: Path) -> None:
    llama(0).save_pretrained(tmp_path)
    for name in ("a", "b"):
        decompose_checkpoint(tmp_path, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_names_the_tensor_that_is_not_finite(tmp_path: Path, bad: float) -> None:
    model = llama(0)
    with torch.no_grad():
        model.model.layers[2].mlp.up_proj.weight[3, 4] = bad
    model.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"layers\.2\.mlp\.up_proj\.weight holds NaN"):
        decompose_checkpoint(tmp_path, tmp_path / "factors")
    assert not (tmp_path / "factors").exists()


def test_refuses_what_is_no_file_of_factors(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "plain")
    (tmp_path / "garbage").write_text("nothing")
    for name in ("plain", "garbage", "missing"):
        with pytest.raises(UserError, match=r"(not a|no such) file of factors"):
            FactorStore(tmp_path / name)


def test_refuses_other_matrices(tmp_path: Path) -> None:
    untied, tied = save(llama(0), tmp_path / "a"), save(llama(0, tied=True), tmp_path / "b")
    with pytest.raises(UserError, match=r"b has no head of its own, .*a has"):
        require_same_matrices(untied, tied)
    with pytest.raises(UserError, match="other matrices"):
        Decomposed.open(tmp_path / "a", tmp_path / "b.factors")


def test_refuses_factors_of_other_weights(tmp_path: Path) -> None:
    save(llama(0), tmp_path / "a")
    save(llama(1), tmp_path / "b")
    with pytest.raises(UserError, match="other weights than those of"):
        Decomposed.open(tmp_path / "a", tmp_path / "b.factors")


MEMORY = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from svdrift.recovery.folder import write_folder
from svdrift.recovery.interventions import Intervention
from svdrift.spectra.decomposition import Decomposed, decompose, decompose_checkpoint
folder = Path(sys.argv[1])
decompose(torch.randn(64, 64))  # libraries and their pools
def peak():  # of this process since its peak was reset; ru_maxrss counts its parent's too
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])
Path("/proc/self/clear_refs").write_text("5")
before = peak()
decompose_checkpoint(folder / "model", folder / "factors")
one = Decomposed.open(folder / "model", folder / "factors")
write_folder(one, one, Intervention("directions", top=0.2), folder / "out")
print(peak() - before)
"""


def peak_of(layers: int, rows: int, columns: int, folder: Path) -> int:
    """Most memory, in KiB, that decomposing and repairing a checkpoint of `layers` matrices took.

    Runs in a process of its own.
    """
    (folder / "model").mkdir(parents=True)
    torch.manual_seed(0)
    tensors = {
        f"model.layers.{i}.self_attn.q_proj.weight": torch.randn(rows, columns)
        for i in range(layers)
    }
    tensors["model.embed_tokens.weight"] = torch.randn(16, 64)
    patterns = {"q": DEFAULT_PATTERNS["q"]}
    save_file(tensors, folder / "model" / "model.safetensors", {"format": "pt"})
    (folder / "model" / "config.json").write_text("{}")
    script = MEMORY.replace('"factors")\none', f'"factors", patterns={patterns!r})\none')
    run = [sys.executable, "-c", script, str(folder)]
    # A fixed threshold: what is freed goes back at once, so that fragments are not counted.
    malloc = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(run, check=True, capture_output=True, text=True, env=malloc)
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_within_a_few_times_the_largest_matrix(tmp_path: Path) -> None:
    rows, columns = 16384, 64
    largest = rows * columns * 4 // 1024  # 4 MiB; LAPACK's own buffers differ between machines
    few, many = (peak_of(n, rows, columns, tmp_path / str(n)) for n in (8, 40))
    assert many < few + 3 * largest  # though there are 32 matrices more, and their factors
    assert many < 20 * largest  # of 40 in the checkpoint and as many in its factors
