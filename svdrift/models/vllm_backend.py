"""Generation by vLLM, on the GPU of the process that holds the model.

Written against the calls that TRL 1.16 (`trl/generation/vllm_generation.py`, mode `colocate`) makes
of vLLM 0.22 to 0.31, and tested against a stand-in for them: it has never run with vLLM itself.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from svdrift.errors import UserError
from svdrift.models.folders import listed
from svdrift.models.generation import check_arguments
from svdrift.models.settings import GenerationSettings

DISCARD = 2  # vLLM's level of sleep that keeps neither weights nor cache on the GPU


class VLLM:
    """Replies as `svdrift.models.generation.generate` returns them, written by vLLM.

    Before each call's replies all weights of the model are copied to vLLM, so that these are the
    model's own whatever training or a repair has made of it; between calls vLLM leaves the GPU's
    memory to others.

    Sampling is vLLM's, with a seed for each request from the first of its uniforms: what a row
    becomes is repeatable, but is another draw than the batched backend's. Greedy replies are the
    same up to ties within rounding.

    Args:
        folder: model folder of the architecture, with safetensors, config and tokenizer.
        settings: what vLLM may take.

    Raises:
        UserError: PyTorch sees no GPU.
    """

    def __init__(self, folder: Path, settings: GenerationSettings) -> None:
        if not torch.cuda.is_available():
            raise UserError("generation.backend: 'vllm' needs a GPU (allowed without: 'batched')")
        self._folder, self._settings = folder, settings
        self._engine: Any = None

    def __call__(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop_ids: Collection[int],
        pad_id: int,
        temperature: float = 0.0,
        uniforms: Tensor | None = None,
        batch_size: int = 256,
    ) -> list[list[int]]:
        """Continue each prompt until a stop token or `max_new_tokens`.

        Args:
            model: whose weights count; whole, on this process's GPU.
            prompts: token ids, at least one each.
            max_new_tokens: most tokens to add.
            stop_ids: tokens that end a row.
            pad_id: not used, vLLM pads nothing.
            temperature: logits are divided by it; 0 takes the most probable token.
            uniforms: [len(prompts), >= max_new_tokens], needed when `temperature` is above 0.
            batch_size: not used, vLLM chooses its own.

        Returns:
            The new tokens of each prompt in the order of `prompts`, the stop token included.

        Raises:
            ValueError: arguments do not fit together.
            UserError: a row could outgrow `generation.max_length` or the model's positions, or
                vLLM has weights that the model does not give it.
        """
        rows = [list(prompt) for prompt in prompts]
        check_arguments(model, rows, max_new_tokens, temperature, uniforms, batch_size)
        longest = max(map(len, rows), default=0) + max_new_tokens
        if longest > self._settings.max_length:
            raise UserError(
                f"generation.max_length: {self._settings.max_length} tokens are too few; the "
                f"longest prompt and its reply may have {longest}"
            )
        if not rows:
            return []
        kind = model.device.type
        mixed = torch.is_autocast_enabled(kind)
        dtype = torch.get_autocast_dtype(kind) if mixed else model.dtype
        with torch.autocast(kind, enabled=False), torch.no_grad():
            engine = self._awake(model, dtype)
            outputs = engine.generate(
                [{"prompt_token_ids": row} for row in rows],
                sampling_params=[
                    importlib.import_module("vllm").SamplingParams(
                        temperature=temperature,
                        seed=seed,
                        max_tokens=max_new_tokens,
                        stop_token_ids=sorted(stop_ids),
                        ignore_eos=True,  # which `stop_ids` has, if it is to end rows
                        detokenize=False,
                    )
                    for seed in _seeds(uniforms, len(rows))
                ],
                use_tqdm=False,
            )
            engine.sleep(level=DISCARD)
        return [list(output.outputs[0].token_ids) for output in outputs]

    def _awake(self, model: PreTrainedModel, dtype: torch.dtype) -> Any:
        """The engine with the model's weights, ready to generate; it is made by the first call."""
        if self._engine is None:
            # Else the engine has a process of its own, where its weights cannot be reached.
            os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
            room = self._settings.max_length
            positions = getattr(model.config.get_text_config(), "max_position_embeddings", room)
            self._engine = importlib.import_module("vllm").LLM(
                model=str(self._folder),
                dtype=str(dtype).removeprefix("torch."),
                load_format="safetensors",
                trust_remote_code=False,
                max_model_len=min(
                    self._settings.max_length, positions or self._settings.max_length
                ),
                gpu_memory_utilization=self._settings.gpu_memory,
                enable_sleep_mode=True,
            )
            self._engine.sleep(level=DISCARD)
        torch.cuda.empty_cache()
        self._engine.wake_up(tags=["weights"])
        worker = self._engine.llm_engine.model_executor.driver_worker
        _copy_weights(model, worker.model_runner.model)
        self._engine.reset_prefix_cache()  # of other weights
        self._engine.wake_up(tags=["kv_cache"])
        return self._engine


def _copy_weights(model: PreTrainedModel, into: Any) -> None:
    """Copy all weights to vLLM's model, none of whose own may stay.

    Raises:
        UserError: one would stay, or vLLM does not tell.
    """
    loaded = into.load_weights(model.named_parameters())
    stale = [name for name, _ in into.named_parameters() if name not in (loaded or ())]
    if stale:
        faults = listed("weights that it would keep", stale)
        raise UserError(
            f"generation.backend: 'vllm' does not take all of {type(model).__name__}: {faults[0]} "
            "(allowed: 'batched')"
        )


def _seeds(uniforms: Tensor | None, rows: int) -> list[int | None]:
    """A seed for each row: all 53 bits of its first uniform number."""
    if uniforms is None:
        return [None] * rows
    return [int(number * 2**53) for number in uniforms[:, 0].double().tolist()]
