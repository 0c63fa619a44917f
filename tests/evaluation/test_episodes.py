"""Episodes of a scripted model: what is said, who plays on, and what is recorded."""

from dataclasses import dataclass

import pandas as pd
import pytest
import torch

from svdrift.evaluation import episodes as room
from svdrift.evaluation.episodes import reply_loss, run_episodes
from svdrift.evaluation.settings import EvaluationSettings
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.tasks.base import Verdict

WORDS = ["say", "wrong", "again", *map(str, range(10))]


@dataclass
class Echo:
    """A task that wants its number back."""

    faults: tuple[str, ...] = ("other",)

    def read(self, table):
        return list(table["number"])

    def first_turn(self, problem):
        return f"say {problem}"

    def verify(self, problem, reply):
        solved = reply == str(problem)
        return Verdict(
            solved=solved,
            reward=1.0 if solved else -1.0,
            fault="none" if solved else "other",
            feedback="" if solved else f"wrong {reply} again",
            translated=True,
        )


PROBLEMS = pd.DataFrame(
    {
        "problem": ["a", "b", "c"],
        "number": [1, 2, 3],
        "group": ["1", "2", "3"],
        "subsets": "seen",
    }
)


@pytest.fixture
def scripted():
    """Replies by prompt: 1 is solved at once, 2 at the second try, 3 never."""
    tokenizer = make_tokenizer(WORDS)
    model = make_model(
        len(tokenizer),
        ArchitectureSettings(hidden_size=8, layers=1, heads=1, intermediate_size=8),
    )
    prompts_seen = []

    def generate(model, prompts, **options):
        texts = tokenizer.batch_decode(prompts)
        prompts_seen.append(texts)
        answers = []
        for text in texts:
            again = "again" in text
            answer = "1" if "say 1" in text else "2" if "say 2" in text and again else "9"
            answers.append(tokenizer(f"{answer} <eos>")["input_ids"])
        return answers

    return model, tokenizer, prompts_seen, generate


def play(scripted, tries):
    model, tokenizer, _, generate = scripted
    return run_episodes(
        model,
        tokenizer,
        Echo(),
        PROBLEMS,
        tries=tries,
        max_new_tokens=4,
        settings=EvaluationSettings(),
        generate=generate,
    )


def test_solved_problems_play_no_further_and_others_get_feedback(scripted):
    table = play(scripted, tries=3)
    assert list(table["problem"]) == ["a", "b", "c", "b", "c", "c"]
    assert list(table["try_number"]) == [1, 1, 1, 2, 2, 3]
    assert list(table["solved"]) == [True, False, False, True, False, False]
    assert list(table["reply"]) == ["1", "9", "9", "2", "9", "9"]
    prompts = scripted[2]
    assert [len(batch) for batch in prompts] == [3, 2, 1]
    assert prompts[2] == [
        "<user> say 3 <reply> 9 <eos> <user> wrong 9 again <reply> "
        "9 <eos> <user> wrong 9 again <reply>"
    ]


def test_one_try_is_one_row_a_problem(scripted):
    table = play(scripted, tries=1)
    assert len(table) == len(PROBLEMS)
    assert set(room.LABELS) < set(table.columns)


def test_sampling_noise_belongs_to_the_problem():
    """More problems, or another try, leave a problem's noise as it is, or change it."""
    noise = room._uniforms(5, 18, (0, 1))
    assert torch.equal(noise[:3], room._uniforms(3, 18, (0, 1)))
    assert not torch.equal(noise, room._uniforms(5, 18, (0, 2)))
    assert not torch.equal(noise, room._uniforms(5, 18, (1, 1)))


def test_reply_loss_is_the_mean_over_reply_tokens_whatever_the_batch():
    torch.manual_seed(0)
    tokenizer = make_tokenizer(WORDS)
    shape = ArchitectureSettings(hidden_size=8, layers=1, heads=1, intermediate_size=8)
    model = make_model(len(tokenizer), shape).eval()
    pairs = [("say 1", "1"), ("say 2", "2 2 2"), ("again", "3 4")]
    losses = []
    for prompt, reply in pairs:
        start = tokenizer(f"<user> {prompt} <reply>", return_tensors="pt")["input_ids"]
        end = tokenizer(f"{reply} <eos>", return_tensors="pt")["input_ids"][0]
        logits = model(torch.cat([start, end[None]], dim=1)).logits[0, start.shape[1] - 1 : -1]
        losses += (-logits.log_softmax(-1)[range(len(end)), end]).tolist()
    wanted = sum(losses) / len(losses)
    for batch_size in (1, 2, 8):
        assert reply_loss(model, tokenizer, pairs, batch_size) == pytest.approx(wanted, rel=1e-5)
