"""A stand-in for the calls of vLLM that we make: it generates with transformers, on the CPU.

As in vLLM, weights and cache are gone while the engine sleeps, a prefix cache outlives weights
unless it is reset, and a request with a seed has random numbers of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn

from svdrift.models.generation import sample_tokens
from svdrift.models.loading import load_model


@dataclass
class SamplingParams:
    temperature: float
    seed: int | None
    max_tokens: int
    stop_token_ids: list[int]
    ignore_eos: bool
    detokenize: bool


class Worker(nn.Module):
    """vLLM's own model: of the same weights under names of its own."""

    def __init__(self, folder: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.inner = load_model(Path(folder), dtype=dtype)
        self.awake = True

    def load_weights(self, weights) -> set[str]:
        assert self.awake, "weights are written where there is no memory"
        own, loaded = dict(self.named_parameters()), set()
        for name, tensor in weights:
            own[f"inner.{name}"].data.copy_(tensor)
            loaded.add(f"inner.{name}")
        return loaded


@dataclass
class LLM:
    model: str
    dtype: str
    load_format: str
    trust_remote_code: bool
    max_model_len: int
    gpu_memory_utilization: float
    enable_sleep_mode: bool
    awake: set[str] = field(default_factory=lambda: {"weights", "kv_cache"})
    remembered: dict[tuple[int, ...], torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.worker = Worker(self.model, getattr(torch, self.dtype))
        runner = SimpleNamespace(model_runner=SimpleNamespace(model=self.worker))
        self.llm_engine = SimpleNamespace(model_executor=SimpleNamespace(driver_worker=runner))

    def sleep(self, level: int) -> None:
        assert self.enable_sleep_mode
        assert level == 2
        self.awake.clear()
        self.worker.awake = False
        for parameter in self.worker.parameters():
            parameter.data.fill_(torch.nan)

    def wake_up(self, tags: list[str]) -> None:
        self.awake.update(tags)
        self.worker.awake = "weights" in self.awake

    def reset_prefix_cache(self) -> None:
        self.remembered.clear()

    def generate(self, prompts, sampling_params, use_tqdm: bool):
        assert self.awake == {"weights", "kv_cache"}
        assert len(prompts) == len(sampling_params)
        return [
            SimpleNamespace(outputs=[SimpleNamespace(token_ids=tuple(self._continue(p, s)))])
            for p, s in zip(prompts, sampling_params, strict=True)
        ]

    def _continue(self, prompt: dict[str, list[int]], params: SamplingParams) -> list[int]:
        tokens = list(prompt["prompt_token_ids"])
        assert len(tokens) + params.max_tokens <= self.max_model_len
        rng = None if params.seed is None else torch.Generator().manual_seed(params.seed)
        for _ in range(params.max_tokens):
            if tuple(tokens) not in self.remembered:
                with torch.no_grad():
                    logits = self.worker.inner(torch.tensor([tokens])).logits[:, -1]
                self.remembered[tuple(tokens)] = logits
            logits = self.remembered[tuple(tokens)]
            if params.temperature == 0:
                chosen = logits.argmax(dim=-1)
            else:
                chosen = sample_tokens(
                    logits, params.temperature, torch.rand(1, generator=rng, dtype=torch.float64)
                )
            tokens.append(int(chosen))
            if tokens[-1] in params.stop_token_ids:
                break
        return tokens[len(prompt["prompt_token_ids"]) :]
