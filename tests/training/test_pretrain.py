from itertools import pairwise

import pandas as pd
import pytest
import torch

from svdrift.live import FILE, OFF, LiveMetrics
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.training.pretrain import train as room
from svdrift.training.pretrain.settings import Settings

PICO = ArchitectureSettings(hidden_size=16, layers=1, heads=2, intermediate_size=16)
WORDS = [str(number) for number in range(10)]


def no_progress(steps, total, description):
    return steps


def train(conversations, live=OFF, **settings):
    torch.manual_seed(0)
    tokenizer = make_tokenizer(WORDS)
    model = make_model(len(tokenizer), PICO)
    losses = room.pretrain(model, tokenizer, conversations, Settings(**settings), no_progress, live)
    return model, losses


def test_a_learnable_reply_is_learned(tmp_path):
    conversations = [[f"{i % 5} 1", f"{i % 5}"] for i in range(60 * 16)]
    model, losses = train(
        conversations,
        LiveMetrics(tmp_path),
        steps=60,
        batch_size=16,
        learning_rate=1e-2,
        warmup_steps=2,
    )
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / FILE), losses, check_exact=True)
    assert list(losses["step"]) == list(range(1, 61))
    assert losses["train_loss"].iloc[0] == pytest.approx(2.7, abs=0.2)  # log of 15 tokens
    assert losses["train_loss"].iloc[-1] < 0.2
    assert not model.training


def test_schedule_warms_up_then_falls_to_zero():
    shares = [room.cosine_with_warmup(step, 4, 100) for step in range(101)]
    assert shares[:4] == [0.25, 0.5, 0.75, 1.0]
    assert shares[4] == pytest.approx(1.0)
    assert shares[52] == pytest.approx(0.5)
    assert shares[100] == pytest.approx(0.0)
    assert all(b <= a for a, b in pairwise(shares[4:]))
