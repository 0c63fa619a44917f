"""Compare the library's batched generation with `model.generate`, in one run.

python benchmarks/generation.py [--prompts 234] [--repeats 3] [--threads 1]

The model is the tiny Llama with random weights, so replies stop at random steps. All ways must
write the same tokens, up to ties within rounding; the table says what share of replies is equal.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence

import torch
from transformers import GenerationConfig, PreTrainedModel

from svdrift.models import generation
from svdrift.models.generation import generate
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model

VOCABULARY, NEW_TOKENS, PAD = 88, 32, 0
STOPS = [4, 5, 6, 7, 8, 9, 10, 11]  # many, so that random replies stop early
Replies = list[list[int]]


def transformers_generate(
    model: PreTrainedModel,
    prompts: Sequence[list[int]],
    batch_size: int,
    new_tokens: int = NEW_TOKENS,
    stops: Sequence[int] = tuple(STOPS),
    pad: int = PAD,
    temperature: float = 0.0,
) -> Replies:
    """Replies by `model.generate`, left-padded in the given order; greedy at temperature 0."""
    config = GenerationConfig(
        max_new_tokens=new_tokens,
        do_sample=temperature > 0,
        eos_token_id=list(stops),
        pad_token_id=pad,
        **({"temperature": temperature} if temperature > 0 else {}),
    )
    replies: Replies = []
    for start in range(0, len(prompts), batch_size):
        batch = prompts[start : start + batch_size]
        width = max(map(len, batch))
        tokens = torch.tensor([[pad] * (width - len(row)) + row for row in batch])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in batch])
        output = model.generate(
            tokens.to(model.device),
            attention_mask=mask.to(model.device),
            generation_config=config,
        )
        for row in output[:, width:].tolist():
            ends = [index for index, token in enumerate(row) if token in stops]
            replies.append(row[: ends[0] + 1] if ends else row)
    return replies


def library_generate(
    model: PreTrainedModel, prompts: Sequence[list[int]], *, shortest_prefix: int, drop: float
) -> Replies:
    """Greedy replies by the library, with its two savings switched on or off."""
    defaults = generation.SHORTEST_SHARED_PREFIX, generation.DROP_SHARE
    generation.SHORTEST_SHARED_PREFIX, generation.DROP_SHARE = shortest_prefix, drop
    try:
        return generate(model, prompts, max_new_tokens=NEW_TOKENS, stop_ids=STOPS, pad_id=PAD)
    finally:
        generation.SHORTEST_SHARED_PREFIX, generation.DROP_SHARE = defaults


def main() -> None:
    """Time every way on short prompts and on prompts with a long shared beginning."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=234)
    parser.add_argument("--repeats", type=int, default=3, help="the fastest run counts")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    model = make_model(VOCABULARY, ArchitectureSettings(positions=512)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4 if parameter.ndim == 2 else 1)  # clear differences between logits
    shared = torch.randint(12, VOCABULARY, (200,)).tolist()
    lengths = torch.randint(12, 18, (arguments.prompts,)).tolist()
    short = [torch.randint(12, VOCABULARY, (length,)).tolist() for length in lengths]
    prefix, drop, never = (
        generation.SHORTEST_SHARED_PREFIX,
        generation.DROP_SHARE,
        10**6,
    )
    ways: dict[str, Callable[[list[list[int]]], Replies]] = {
        "model.generate, one by one": lambda p: transformers_generate(model, p, 1),
        "model.generate, batched": lambda p: transformers_generate(model, p, 256),
        "library, neither saving": lambda p: library_generate(
            model, p, shortest_prefix=never, drop=1.0
        ),
        "library, stopped rows dropped": lambda p: library_generate(
            model, p, shortest_prefix=never, drop=drop
        ),
        "library, as used": lambda p: library_generate(model, p, shortest_prefix=prefix, drop=drop),
    }
    print(
        f"{arguments.prompts} prompts, {NEW_TOKENS} new tokens, {torch.get_num_threads()} threads"
    )
    for title, prompts in {
        "12 to 17 tokens": short,
        "200 shared tokens and 12 to 17 of its own": [shared + prompt for prompt in short],
    }.items():
        print(f"\nprompts of {title}\n{'way':32}{'seconds':>9}{'equal':>8}{'mean length':>13}")
        oracle: Replies = []
        for name, way in ways.items():
            seconds, replies = float("inf"), oracle
            for _ in range(1 if "one by one" in name else arguments.repeats):
                begin = time.perf_counter()
                replies = way(prompts)
                seconds = min(seconds, time.perf_counter() - begin)
            oracle = oracle or replies
            equal = sum(a == b for a, b in zip(replies, oracle, strict=True)) / len(oracle)
            length = sum(map(len, replies)) / len(replies)
            print(f"{name:32}{seconds:9.3f}{equal:8.1%}{length:13.1f}")


if __name__ == "__main__":
    main()
