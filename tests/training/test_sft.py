import pytest
import torch
from transformers import AutoModelForCausalLM, TrainerCallback

from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.settings import ArchitectureSettings, SFTSettings
from svdrift.training.sft import train_sft

WORDS = [str(number) for number in range(10)]
PAIRS = [(f"{i % 10} {i * 3 % 10}", f"{i % 10}") for i in range(64)]
SETTINGS = SFTSettings(
    checkpoints=(2, 4, 6),
    steps=6,
    batch_size=8,
    micro_batch_size=8,
    learning_rate=1e-2,
    warmup_steps=0,
)


class Killed(Exception):
    """Stands in for a job that is cut off."""


def pico():
    torch.manual_seed(0)
    tokenizer = make_tokenizer(WORDS)
    architecture = ArchitectureSettings(hidden_size=16, layers=1, heads=2, intermediate_size=16)
    return make_model(len(tokenizer), architecture), tokenizer


def train(work, settings=SETTINGS):
    model, tokenizer = pico()
    held_out = {"id": PAIRS[:5], "ood": PAIRS[5:9]}
    losses = train_sft(
        model,
        tokenizer,
        PAIRS,
        held_out,
        settings,
        processes=1,
        seed=3,
        work=work,
        progress=lambda steps, total, description: steps,
    )
    return model, losses


def weights(folder):
    return AutoModelForCausalLM.from_pretrained(folder).state_dict()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    work = tmp_path_factory.mktemp("sft")
    return work, *train(work)


def test_checkpoints_are_kept_at_the_listed_steps(run):
    work, model, _ = run
    assert {folder.name for folder in work.glob("sft-*")} == {"sft-2", "sft-4", "sft-6"}
    last = weights(work / "sft-6")
    assert all(torch.equal(last[name], value) for name, value in model.state_dict().items())
    inner = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(weights(work / "sft-2")[inner], last[inner])


def test_losses_are_logged_along_the_way(run):
    _, _, losses = run
    steps = losses.groupby("measure")["step"].apply(list).to_dict()
    assert steps["id_loss"] == steps["ood_loss"] == [0, 2, 4, 6]
    held_out = losses[losses["measure"] == "id_loss"]["value"].to_numpy()
    assert held_out[0] == pytest.approx(2.7, abs=0.2)  # log of 15 tokens
    assert held_out[-1] < held_out[0]


def test_held_out_loss_is_that_of_the_reply(run):
    """Against a direct sum over the reply's log-probabilities."""
    work, _, losses = run
    _, tokenizer = pico()
    model = AutoModelForCausalLM.from_pretrained(work / "sft-6")
    total, count = 0.0, 0
    for prompt, reply in PAIRS[:5]:
        start = tokenizer(f"<user> {prompt} <reply>", return_tensors="pt")["input_ids"]
        end = tokenizer(f"{reply} <eos>", return_tensors="pt")["input_ids"]
        logits = model(torch.cat([start, end], dim=1)).logits[0, start.shape[1] - 1 : -1]
        total -= logits.log_softmax(-1).gather(1, end[0, :, None]).sum().item()
        count += end.shape[1]
    logged = losses.query("measure == 'id_loss' and step == 6")["value"].item()
    assert logged == pytest.approx(total / count, rel=1e-4)


def test_embeddings_stay_fixed_when_asked_and_only_then(run, tmp_path):
    start = pico()[0].state_dict()
    frozen = weights(run[0] / "sft-6")
    moved, _ = train(tmp_path, SETTINGS.model_copy(update={"freeze_embeddings": False}))
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert torch.equal(frozen[name], start[name])
        assert not torch.equal(moved.state_dict()[name], start[name])
    inner = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(frozen[inner], start[inner])


def test_a_cut_off_run_goes_on_and_ends_the_same(run, tmp_path, monkeypatch):
    whole, _, losses = run

    def die(self, args, state, control, **kwargs):
        if state.global_step == 5:
            raise Killed

    monkeypatch.setattr(TrainerCallback, "on_step_begin", die)
    with pytest.raises(Killed):
        train(tmp_path)
    monkeypatch.undo()
    _, resumed = train(tmp_path)
    for step in (2, 4, 6):
        a, b = weights(whole / f"sft-{step}"), weights(tmp_path / f"sft-{step}")
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert resumed.equals(losses)
