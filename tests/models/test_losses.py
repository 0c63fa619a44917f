import pytest
import torch

from svdrift.models.losses import IGNORED, pad, summed_loss, tokenise
from svdrift.models.tiny import make_tokenizer

WORDS = [str(number) for number in range(10)]


def test_loss_is_on_the_last_reply_alone():
    """Spoilt first replies differ between the two; nothing else may."""
    batches = [
        [["1 2", spoilt, "3", "4 5"], ["1", "2"], ["2 2", "3 1"]] for spoilt in ("7 7", "8 8")
    ]
    tokenizer = make_tokenizer(WORDS)
    for batch in batches:
        _, labels = pad(tokenise(tokenizer, batch))
        learned = [row[row != IGNORED].tolist() for row in labels]
        replies = [tokenizer(f"{turns[-1]} <eos>")["input_ids"] for turns in batch]
        assert learned == replies


def test_loss_is_the_sum_of_log_probabilities_of_the_labels():
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 5)
    labels = torch.tensor([[IGNORED, IGNORED, 3, 1], [IGNORED, 2, IGNORED, IGNORED]])
    log_probabilities = logits.log_softmax(-1)
    wanted = -(log_probabilities[0, 1, 3] + log_probabilities[0, 2, 1] + log_probabilities[1, 0, 2])
    assert summed_loss(logits, labels).item() == pytest.approx(wanted.item())
