"""LoRA: what is trained, what is kept, that runs go on, and what is refused."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from transformers import TrainerCallback

from svdrift.errors import UserError
from svdrift.models.loading import load_model, save_checkpoint
from svdrift.training.lora import adapt, merged
from svdrift.training.method import LoRASettings
from svdrift.training.parameters import freeze
from svdrift.training.ppo.network import ActorCritic
from tests.published import LLAMA, pico_model
from tests.study.studies import study
from tests.training import test_foreign as foreign
from tests.training import test_grpo as grpo
from tests.training import test_ppo as ppo
from tests.training import test_sft as sft

LORA = LoRASettings(rank=2, alpha=5.0)
MATRICES = {
    f"model.layers.{layer}.{module}_proj.weight"
    for layer in range(2)
    for module in (
        *(f"self_attn.{part}" for part in "qkvo"),
        *(f"mlp.{part}" for part in ("gate", "up", "down")),
    )
}


@pytest.fixture(scope="module", autouse=True)
def on_cpu():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ACCELERATE_USE_CPU", "true")
        patch.setenv("ACCELERATE_MIXED_PRECISION", "no")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # more only get in each other's way in a model this small
        yield
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A model that every method can start from: with the words of all three tests."""
    folder = tmp_path_factory.mktemp("start") / "model"
    ppo.make_start(folder)
    return folder


def train_sft(start, work, lora=LORA, **options):
    """SFT's own test makes its model; this one is as large as that of the others."""
    settings = sft.SETTINGS.model_copy(update={"lora": lora})
    model, _ = sft.train(work, settings, **options)
    return SimpleNamespace(model=model, steps={step: work / f"step-{step}" for step in (2, 4, 6)})


def train_ppo(start, work, lora=LORA, **options):
    run = ppo.train(start, work, ppo.FEW | {"lora": lora}, **options)
    return SimpleNamespace(metrics=run.metrics, steps=run.checkpoints)


def train_grpo(start, work, lora=LORA, **options):
    run = grpo.train(start, work, grpo.FEW | {"lora": lora}, **options)
    return SimpleNamespace(metrics=run.metrics, steps=run.checkpoints)


TRAIN = {"sft": train_sft, "ppo": train_ppo, "grpo": train_grpo}


def start_of(method, start, tmp_path):
    if method != "sft":
        return start
    save_checkpoint(*sft.pico(), tmp_path / "sft-start")
    return tmp_path / "sft-start"


@pytest.fixture(scope="module", params=TRAIN)
def run(request, start, tmp_path_factory):
    work = tmp_path_factory.mktemp(request.param)
    made = TRAIN[request.param](start, work / "run")
    made.method, made.work = request.param, work / "run"
    made.start = start_of(request.param, start, work)
    return made


def tensors(folder):
    return load_file(folder / "model.safetensors")


def matrices(held):
    return MATRICES & held.keys()


# --------------------------------------------------------------------------------------
# What is kept


def test_each_adapted_matrix_moves_by_no_more_than_its_rank(run):
    before = tensors(run.start)
    for folder in run.steps.values():
        after = tensors(folder)
        for name in matrices(before):
            spectrum = np.linalg.svd((after[name] - before[name]).double().numpy())[1]
            assert spectrum[0] > 1e-4, name
            assert spectrum[LORA.rank] < 1e-4 * spectrum[0], name
            assert np.count_nonzero(spectrum > 1e-4 * spectrum[0]) <= LORA.rank


def test_training_the_weights_moves_them_by_more(tmp_path):
    """What the test above measures is not small by itself."""
    model, _ = sft.train(tmp_path)
    name = "model.layers.0.mlp.up_proj.weight"
    update = model.state_dict()[name] - sft.pico()[0].state_dict()[name]
    spectrum = np.linalg.svd(update.double().numpy())[1]
    assert spectrum[LORA.rank] > 0.05 * spectrum[0]


def test_all_else_is_the_start_to_the_bit(run):
    before = tensors(run.start)
    for folder in run.steps.values():
        after = tensors(folder)
        assert after.keys() == before.keys()
        still = before.keys() - matrices(before)
        assert {"model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"} <= still
        assert all(torch.equal(after[name], before[name]) for name in still)


def test_a_kept_checkpoint_is_the_folder_that_training_the_weights_leaves(run, start, tmp_path):
    plain = TRAIN[run.method](start, tmp_path, lora=None).steps
    assert plain.keys() == run.steps.keys()
    for step, folder in run.steps.items():
        load_model(folder)  # strictly
        assert {file.name for file in folder.iterdir()} == {f.name for f in plain[step].iterdir()}
        for file in plain[step].iterdir():
            same = (folder / file.name).read_bytes() == file.read_bytes()
            assert same == (file.name != "model.safetensors"), file.name


def test_the_update_is_scaled_by_alpha_over_rank(start, tmp_path):
    """From the adapters in the trainer's snapshot, by the formula of Hu et al. (2021)."""
    run = train_sft(start, tmp_path)
    held, kept = tensors(tmp_path / "checkpoint-6"), tensors(tmp_path / "step-6")
    before = sft.pico()[0].state_dict()
    for name in matrices(before):
        place = name.removesuffix(".weight")
        first, second = (held[f"{place}.lora_{part}.default.weight"] for part in "AB")
        assert first.shape == (2, before[name].shape[1])
        wanted = before[name] + 5.0 / 2 * second @ first
        torch.testing.assert_close(kept[name], wanted, rtol=1e-6, atol=1e-7)
    tokens = torch.arange(1, 11).unsqueeze(0)
    with torch.no_grad():
        trained = run.model.eval()(tokens).logits
        alone = load_model(tmp_path / "step-6")(tokens).logits
    torch.testing.assert_close(alone, trained, rtol=1e-5, atol=1e-6)
    assert (trained - sft.pico()[0](tokens).logits).abs().max() > 1e-2


def adapted(model, settings=LORA, seed=0):
    freeze(model, embeddings=True)
    adapt(model, settings, seed)
    return model


def test_training_begins_with_the_start_itself(start, tmp_path):
    model, tokenizer = sft.pico()
    save_checkpoint(model, tokenizer, tmp_path / "plain")
    save_checkpoint(merged(adapted(model)), tokenizer, tmp_path / "adapted")
    for file in (tmp_path / "plain").iterdir():
        assert file.read_bytes() == (tmp_path / "adapted" / file.name).read_bytes()


def test_adapters_are_drawn_from_the_seed_alone():
    one, same, other = (adapted(sft.pico()[0], seed=seed) for seed in (1, 1, 2))
    name = "model.layers.0.self_attn.q_proj.lora_A.default.weight"
    drawn = [model.state_dict()[name] for model in (one, same, other)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    model = sft.pico()[0]
    before = torch.get_rng_state()
    adapted(model)
    assert torch.equal(torch.get_rng_state(), before)


def test_only_the_chosen_modules_are_adapted(start, tmp_path):
    chosen = LoRASettings(rank=2, modules=("q_proj", "v_proj"))
    train_sft(start, tmp_path, chosen)
    before, after = sft.pico()[0].state_dict(), tensors(tmp_path / "step-6")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {f"model.layers.0.self_attn.{part}_proj.weight" for part in "qv"}


@pytest.mark.parametrize("family", ["GPT2", "GPTNeoX", "Qwen3", "Mixtral"])
def test_adapters_of_any_family_are_merged_into_what_they_compute(family, tmp_path):
    """GPT-2 holds its matrices transposed; GPT-NeoX and Qwen have modules of other names."""
    model = adapted(foreign.build(family).eval())
    parameters = [p for p in model.parameters() if p.requires_grad]
    assert parameters
    rng = torch.Generator().manual_seed(0)
    for parameter in parameters:
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=rng)
    save_checkpoint(merged(model), foreign.make_tokenizer(foreign.WORDS), tmp_path / "model")
    tokens = torch.arange(1, 11).unsqueeze(0)
    with torch.no_grad():
        wanted, found = model(tokens).logits, load_model(tmp_path / "model")(tokens).logits
        plain = foreign.build(family).eval()(tokens).logits
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert (wanted - plain).abs().max() > 1e-3


def test_what_text_never_passes_through_has_no_adapter():
    """In a model that also sees; data parallelism stops at a parameter without a gradient."""
    model = adapted(pico_model(LLAMA, 15, 4))
    model(input_ids=torch.arange(1, 11).unsqueeze(0)).logits.sum().backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora" in name and p.grad is not None for name, p in trained.items())


# --------------------------------------------------------------------------------------
# Going on


def stop(steps, *_):
    """As Slurm does, in the second update."""
    for step in steps:
        if step == 2:
            ppo.os.kill(ppo.os.getpid(), ppo.signal.SIGTERM)
        yield step


def test_a_run_that_was_stopped_ends_with_the_same_bytes(run, start, tmp_path, monkeypatch):
    again = TRAIN[run.method]
    if run.method == "sft":
        monkeypatch.setattr(TrainerCallback, "on_step_begin", sft.be_told_to_end_in_step_3)
        with pytest.raises(UserError, match="stopped by SIGTERM after step 3 of 6"):
            again(start, tmp_path)
        monkeypatch.undo()
        resumed = again(start, tmp_path)
    else:
        with pytest.raises(UserError, match="stopped by SIGTERM after"):
            again(start, tmp_path, progress=stop)
        left = []
        resumed = again(start, tmp_path, progress=lambda steps, *_: left.extend(steps) or steps)
        assert left
        assert left[0] > 1
        assert resumed.metrics.equals(run.metrics)
    for step, folder in run.steps.items():
        for file in folder.iterdir():
            assert (resumed.steps[step] / file.name).read_bytes() == file.read_bytes(), file


def test_two_processes_train_the_adapters_of_one(start, tmp_path, accelerate):
    """In smaller parts that recompute their activations, too."""
    done = accelerate("cpus", sft.__file__, tmp_path, "lora")
    assert done.returncode == 0, done.stderr
    sft.train(tmp_path / "one", sft.KINDS["lora"]["settings"])
    found, wanted = tensors(tmp_path / "step-6"), tensors(tmp_path / "one" / "step-6")
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)


# --------------------------------------------------------------------------------------
# RL


@pytest.mark.parametrize("value_model", ["shared", "separate"])
def test_the_critic_trains_all_of_its_weights(start, tmp_path, monkeypatch, value_model):
    made = []

    class Recorded(ActorCritic):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)
            self.first = copy.deepcopy(dict(self.named_parameters()))

    monkeypatch.setattr(ppo.ppo, "ActorCritic", Recorded)
    settings = ppo.FEW | {"value_model": value_model}
    for lora in (None, LORA):
        ppo.train(start, tmp_path / str(lora), settings | {"lora": lora})
    plain, ours = (
        {
            n: p
            for n, p in actor.named_parameters()
            if p.requires_grad and not n.startswith("policy")
        }
        for actor in made
    )
    assert ours.keys() == plain.keys()
    assert len(ours) == 6 if value_model == "shared" else len(ours) > 20
    assert all(not torch.equal(p, made[1].first[name]) for name, p in ours.items())
    policy = [name for name, p in made[1].policy.named_parameters() if p.requires_grad]
    assert policy
    assert all(".lora_" in name for name in policy)


def test_the_kl_is_to_the_start(run):
    if run.method == "sft":
        return
    assert run.metrics["kl_to_start"].iloc[0] == pytest.approx(0, abs=1e-9)
    assert (run.metrics["kl_to_start"].iloc[1:] > 1e-6).all()


def test_the_penalty_of_grpo_is_to_the_start(start, tmp_path, monkeypatch):
    """TRL has a reference of its own, beside the one by which we measure."""
    made = []

    class Recorded(grpo.grpo.GRPOTrainer):
        def __init__(self, **arguments):
            super().__init__(**arguments)
            made.append(self)

    monkeypatch.setattr(grpo.grpo, "GRPOTrainer", Recorded)
    grpo.train(start, tmp_path, grpo.FEW | {"lora": LORA, "kl_coefficient": 0.5})
    (trainer,) = made
    reference, before = trainer.ref_model.state_dict(), load_model(start).state_dict()
    assert reference.keys() == before.keys()
    assert all(torch.equal(reference[name], tensor) for name, tensor in before.items())


# --------------------------------------------------------------------------------------
# What follows from the setting, and what is refused


def test_a_matched_stage_trains_adapters_of_the_same_rank():
    changes = {
        "ppo": {"lora": {"rank": 4}},
        "grpo": {"method": "grpo", "from": "starts of ppo", "on": "practice", "matches": "ppo"},
    }
    stages = study({"stages": changes}).graph.stages
    for name in ("ppo", "continued", "wide", "grpo"):
        assert stages[name].settings.lora == LoRASettings(rank=4), name
    assert stages["sft"].settings.lora is None
    assert stages["continued"].settings.summary.endswith(" by LoRA of rank 4")
    with pytest.raises(UserError, match=r"stages\.wide\.lora: follows from matches: ppo"):
        study({"stages": {"wide": {"lora": {}}}})


GPUS = {"use_gpus": True, "gpus": 2, "processes": 2}
REFUSED = [
    ({"base": {"lora": {}}}, {}, "unknown key 'stages.base.lora'"),
    (
        {"other": {"method": "import_model", "source": "org/name", "lora": {}}},
        {},
        "unknown key 'stages.other.lora'",
    ),
    (
        {"sft": {"lora": {}, "freeze_embeddings": False}},
        {},
        "stages.sft.lora: adapts the layers alone, and freeze_embeddings is false (allowed: true)",
    ),
    (
        {"ppo": {"lora": {}, "preset": "paper"}},
        {},
        "stages.ppo.lora: adapts the layers alone, and freeze_embeddings is false (allowed: true)",
    ),
    (
        {"sft": {"lora": {"modules": ["q_prj"]}}},
        {},
        "stages.sft.lora.modules: 'q_prj' is no linear module of the tiny model's layers, did you "
        "mean 'q_proj'? (allowed: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj)",
    ),
    (
        {"sft": {"lora": {"modules": ["q_proj", "q_proj"]}}},
        {},
        "stages.sft.lora.modules: names one twice: ['q_proj', 'q_proj']",
    ),
    ({"sft": {"lora": {"rank": 0}}}, {}, "key 'stages.sft.lora.rank' must be above 0, not 0"),
    ({"sft": {"lora": {"dropout": 0.1}}}, {}, "unknown key 'stages.sft.lora.dropout'"),
    (
        {"sft": {"lora": {}}},
        {"compute": GPUS | {"sharding": "fsdp2"}},
        "stages.sft.lora: adapters cannot be sharded, and compute.sharding is 'fsdp2' (allowed: "
        "'none')",
    ),
    (
        {"ppo": {"lora": {}}},
        {"compute": {"use_gpus": True, "gpus": 1}, "generation": {"backend": "vllm"}},
        "stages.ppo.lora: generation.backend 'vllm' takes no adapters (allowed: 'batched')",
    ),
    (
        {"sft": {"lora": {}, "early_stopping": {"patience": 1}}},
        {"compute": {"use_gpus": True, "gpus": 1}, "generation": {"backend": "vllm"}},
        "stages.sft.lora: generation.backend 'vllm' takes no adapters (allowed: 'batched')",
    ),
]


@pytest.mark.parametrize(
    ("stages", "others", "line"), REFUSED, ids=[row[2][:40] for row in REFUSED]
)
def test_what_cannot_work_is_refused_before_any_job(stages, others, line):
    with pytest.raises(UserError) as caught:
        study({"stages": stages, **others})
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sft_with_adapters_may_run_where_vllm_writes_the_replies():
    compute = {"use_gpus": True, "gpus": 1}
    study(
        {
            "stages": {"sft": {"lora": {}}},
            "compute": compute,
            "generation": {"backend": "vllm"},
        }
    )


def test_a_module_that_an_imported_model_lacks_is_refused_by_its_job():
    with pytest.raises(UserError, match=r"lora\.modules: 'c_atn' is no linear module of .*c_attn"):
        adapted(foreign.build("GPT2"), LoRASettings(modules=("c_atn",)))


def test_adapters_of_sharded_models_are_refused_by_the_job(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(UserError, match=r"lora: adapters cannot be sharded \(allowed: compute"):
        adapted(sft.pico()[0])


def test_names_of_modules_are_checked():
    with pytest.raises(ValidationError, match=r"modules: 'q.proj' is no name of a module"):
        LoRASettings(modules=("q.proj",))
