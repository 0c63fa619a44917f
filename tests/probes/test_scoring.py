"""Scores against one forward pass at a time."""

import numpy as np
import pytest
import torch

from svdrift.models.losses import tokenise
from svdrift.probes.scoring import score
from tests.probes.conftest import random_model

PAIRS = [
    ("J= 10 Q= 10 K= 10 target 24 cards 3 J 5 A answer", "3 10 5 1 : ( ( 3 * 5 ) + 10 ) - 1"),
    ("J= 10 Q= 10 K= 10 target 24 cards 3 J 5 A answer", "3 10"),
    ("target 24", "3 10 5 1"),
]


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("batch_size", [1, 256])
def test_scores_are_those_of_one_pass_each(tokenizer, temperature, batch_size):
    model, examples = random_model(tokenizer, 0), tokenise(tokenizer, PAIRS)
    found = score(model, examples, temperature=temperature, batch_size=batch_size)
    for (tokens, start), own in zip(examples, found, strict=True):
        with torch.inference_mode():
            logits = model(torch.tensor([tokens])).logits[0] / temperature
        log_probs = torch.log_softmax(logits, dim=-1)
        expected = [float(log_probs[at - 1, tokens[at]]) for at in range(start, len(tokens))]
        spread = torch.distributions.Categorical(logits=logits).entropy()[start - 1 : -1]
        np.testing.assert_allclose(own.log_probs, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(own.entropies, spread.numpy(), rtol=1e-4, atol=1e-5)
