"""The tiny tokenizer renders conversations that a loss mask and a cache can rely on."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from svdrift.models.tiny import make_model, make_tokenizer

from .conftest import PICO, WORDS

TURN = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)


def _ids(tokenizer: PreTrainedTokenizerFast, turns: list[str], *, prompt: bool) -> list[int]:
    messages = [
        {"role": "assistant" if index % 2 else "user", "content": turn}
        for index, turn in enumerate(turns)
    ]
    rendered = tokenizer.apply_chat_template(
        messages, add_generation_prompt=prompt, return_dict=True
    )
    ids: list[int] = rendered["input_ids"]
    return ids


def test_each_word_is_one_token(tokenizer: PreTrainedTokenizerFast) -> None:
    text = "J= 11 ( J + 10 ) ="
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == text.split()
    assert tokenizer.decode(ids) == text
    assert len(tokenizer) == len(WORDS) + 5


def test_unknown_words_show(tokenizer: PreTrainedTokenizerFast) -> None:
    assert tokenizer("J 99 Q")["input_ids"].count(tokenizer.unk_token_id) == 1
    assert tokenizer.unk_token_id not in tokenizer(" ".join(WORDS))["input_ids"]


@given(turns=st.lists(TURN, min_size=2, max_size=6).filter(lambda turns: len(turns) % 2 == 0))
def test_prompt_is_a_prefix_of_the_conversation(turns: list[str]) -> None:
    tokenizer = make_tokenizer(WORDS)
    whole = _ids(tokenizer, turns, prompt=False)
    prompt = _ids(tokenizer, turns[:-1], prompt=True)
    assert whole[: len(prompt)] == prompt
    reply = tokenizer.convert_ids_to_tokens(whole[len(prompt) :])
    assert reply == [*turns[-1].split(), "<eos>"]


def test_rendering(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = _ids(tokenizer, ["J Q", "10", "K"], prompt=True)
    assert tokenizer.decode(ids) == "<user> J Q <reply> 10 <eos> <user> K <reply>"
    assert tokenizer.decode(ids, skip_special_tokens=True) == "J Q 10 K"


def test_assistant_mask_covers_replies_and_their_ends(tokenizer: PreTrainedTokenizerFast) -> None:
    messages = [
        {"role": "user", "content": "J Q"},
        {"role": "assistant", "content": "10 + 10"},
        {"role": "user", "content": "K"},
        {"role": "assistant", "content": " 11 "},
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": ""},
    ]
    rendered = tokenizer.apply_chat_template(
        messages, return_dict=True, return_assistant_tokens_mask=True
    )
    tokens = tokenizer.convert_ids_to_tokens(rendered["input_ids"])
    trained = [t for t, m in zip(tokens, rendered["assistant_masks"], strict=True) if m]
    assert trained == ["10", "+", "10", "<eos>", "11", "<eos>", "<eos>"]


def test_other_roles_are_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(Exception, match="role system is not known"):
        tokenizer.apply_chat_template([{"role": "system", "content": "J"}])


@pytest.mark.parametrize("words", [["J", "J"], ["<eos>"], ["J Q"], [""]])
def test_bad_words_are_refused(words: list[str]) -> None:
    with pytest.raises(ValueError, match="repeated, special"):
        make_tokenizer(words)


def test_model_follows_the_settings_and_the_seed(
    llama: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    config = llama.config
    assert (config.hidden_size, config.num_hidden_layers, config.vocab_size) == (16, 2, 15)
    assert config.max_position_embeddings == PICO.positions
    assert (config.eos_token_id, config.pad_token_id) == (
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    )
    assert llama.lm_head.weight is not llama.model.embed_tokens.weight
    torch.manual_seed(0)
    again = make_model(len(tokenizer), PICO)
    torch.testing.assert_close(again.state_dict(), llama.state_dict(), rtol=0, atol=0)
    torch.manual_seed(1)
    other = make_model(len(tokenizer), PICO)
    assert not torch.equal(other.lm_head.weight, llama.lm_head.weight)
