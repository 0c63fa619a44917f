"""Strict loading and atomic saving of Hugging Face model folders.

transformers initialises a missing tensor at random and only warns. Spectra of such weights look
like a finding, so here every tensor must come from the file, or loading fails.
"""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
from transformers.utils import logging

from svdrift.artefacts import require_unchanged
from svdrift.errors import UserError
from svdrift.models.finite import require_finite
from svdrift.models.folders import listed, one_line, require_config
from svdrift.models.sizes import require_memory, require_possible, shapes_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


UNLOADABLE = (
    OSError,
    ValueError,
    NotImplementedError,  # an architecture that GGUF does not know
    SafetensorError,
    StrictDataclassError,
)
DATE = '{%- set date_string = "26 Jul 2024" %}'  # what Llama 3's template falls back on


def auto_class(config: PretrainedConfig) -> type[AutoModelForCausalLM]:
    """The class that makes the whole model of a configuration.

    Of one that also sees (Mllama), `AutoModelForCausalLM` may make the language model alone, and
    the tensors of its vision tower would be left over.
    """
    if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return cast("type[AutoModelForCausalLM]", AutoModelForImageTextToText)
    return AutoModelForCausalLM


def load_model(folder: Path, *, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Load the language model in `folder`, on the CPU and in evaluation mode.

    One that also sees is loaded whole, so that it can be saved whole.

    Args:
        folder: a Hugging Face model folder with safetensors.
        dtype: floating type of the parameters, whatever the type in the files.

    Raises:
        UserError: the folder or its config is missing or unreadable, or there are no safetensors;
            files are not those that were written; a number in the config is impossible; the
            weights do not fit into memory; a tensor is missing, unexpected, of the wrong shape or
            not finite.
    """
    require_config(folder)
    require_unchanged(folder)
    require_possible(folder)
    require_memory(folder, sum(map(math.prod, shapes_of(folder))), dtype)
    return load_strictly(folder, folder, dtype=dtype, use_safetensors=True)


def load_config(said: Path, folder: Path, **arguments: Any) -> PretrainedConfig:
    """Read the configuration of a model, and nothing else of it.

    Args:
        said: what errors name.
        folder: where transformers looks.
        arguments: further ones for `from_pretrained`.

    Raises:
        UserError: there is none, or none that transformers knows.
    """
    try:
        with quiet_transformers():
            found: PretrainedConfig = AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, **arguments
            )
    except UNLOADABLE as error:
        raise UserError(f"{said}: cannot be loaded: {one_line(error)}") from error
    return found


def load_strictly(said: Path, folder: Path, **arguments: Any) -> PreTrainedModel:
    """Load a language model, and refuse it if a tensor did not come from its file.

    Args:
        said: what errors name.
        folder: where transformers looks.
        arguments: further ones for `from_pretrained`.

    Raises:
        UserError: it cannot be loaded, or a tensor is missing, unexpected, of the wrong shape or
            not finite.
    """
    config = load_config(
        said, folder, **{name: arguments[name] for name in ("gguf_file",) if name in arguments}
    )
    try:
        with quiet_transformers():
            loaded = auto_class(config).from_pretrained(
                folder,
                config=config,
                **arguments,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that they are reported, and refused below
            )
    except UNLOADABLE as error:
        raise UserError(f"{said}: cannot be loaded: {one_line(error)}") from error
    # transformers declares one return type, whether or not the loading info was asked for.
    model, info = cast("tuple[PreTrainedModel, dict[str, Any]]", loaded)
    faults = [
        *listed("missing", info["missing_keys"]),
        *listed("unexpected", info["unexpected_keys"]),
        *listed(
            "wrong shape",
            [
                f"{name} {tuple(found)} instead of {tuple(wanted)}"
                for name, found, wanted in info["mismatched_keys"]
            ],
        ),
        *listed("not converted", info["error_msgs"]),
    ]
    if faults:
        kind = type(model).__name__
        raise UserError(f"{said}: tensors do not fit {kind}: {'; '.join(faults)}")
    require_finite(said, named_tensors(model))
    return model


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer saved in a model folder.

    Raises:
        UserError: the folder or its tokenizer is missing or unreadable, or not as it was written.
    """
    require_unchanged(folder)
    if not (folder / "tokenizer_config.json").is_file():
        raise UserError(f"{folder}: no tokenizer_config.json, so this folder has no tokenizer")
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: tokenizer cannot be loaded: {one_line(error)}") from error
    _fix_date(tokenizer, folder)
    # How it was loaded would be saved with it, and would tell equal tokenizers apart.
    for argument in ("is_local", "local_files_only"):
        tokenizer.init_kwargs.pop(argument, None)
    return cast("PreTrainedTokenizerBase", tokenizer)


def _fix_date(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Give a chat template that would write today's date into each prompt its own default date.

    Llama 3's does, so that a checkpoint's prompts would differ from day to day.
    """
    template = tokenizer.chat_template
    if not isinstance(template, str) or "strftime_now" not in template or template.startswith(DATE):
        return
    if "date_string is defined" not in template:
        raise UserError(
            f"{folder}: its chat template writes today's date (strftime_now), so that prompts "
            "differ from day to day (allowed: a fixed date, or a template that takes date_string)"
        )
    tokenizer.chat_template = DATE + template


def save_checkpoint(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    dtype: torch.dtype | None = None,
) -> None:
    """Write model and tokenizer as a Hugging Face folder, replacing `folder` if it exists.

    The folder appears complete or not at all: it is written beside its place and then renamed.
    The same weights give the same bytes.

    Args:
        model: stays as it is.
        tokenizer: of the model.
        folder: where to.
        dtype: floating type in the file, to which weights are rounded (to nearest, ties to even);
            None for the model's own.

    Raises:
        UserError: a weight is not finite; nothing is written.
    """
    if dtype not in (None, model.dtype):
        model = with_weights(
            model,
            {
                name: (tensor.to(dtype) if tensor.is_floating_point() else tensor).cpu()
                for name, tensor in named_tensors(model)
            },
        )
    require_finite(folder, named_tensors(model))
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left over from a run that was killed
    partial.mkdir(parents=True)
    with quiet_transformers():
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)


def named_tensors(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Name and value of each parameter and buffer of a checkpoint; what is tied comes once."""
    saved = model.state_dict().keys()  # some buffers are not
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if name in saved:
            yield name, tensor.detach()


def with_weights(model: PreTrainedModel, weights: Mapping[str, Tensor]) -> PreTrainedModel:
    """A model like this one that holds other tensors, given by the names of `named_tensors`.

    What was tied is tied. Buffers that are no part of a checkpoint have no values, so it is to be
    saved, not run.
    """
    config = copy.deepcopy(model.config)  # saving writes the type into it
    with torch.device("meta"):
        other: PreTrainedModel = auto_class(config).from_config(config)
    # Not strictly: tied weights have one name here.
    lacking = set(other.load_state_dict(weights, strict=False, assign=True).missing_keys)
    other.tie_weights(missing_keys=lacking)  # a head of its own stays one, whatever config says
    other.generation_config = model.generation_config
    other.eval()
    return other


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence load reports and progress bars: what they would say is raised instead."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
