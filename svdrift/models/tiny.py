"""The tiny Llama that a study trains from nothing, and its one-token-a-word tokenizer."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from svdrift.models.settings import ArchitectureSettings

PAD, UNKNOWN, USER, REPLY, END = SPECIAL_TOKENS = ("<pad>", "<unk>", "<user>", "<reply>", "<eos>")

# The prompt's rendering is a prefix of the conversation's, in text and in tokens, so that a
# loss mask or a cache made for the prompt also fits the conversation. The `generation` block
# marks what a model is trained to write; transformers finds its tokens by its first and last
# character, so it must not begin or end with a space.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if message.role == 'user' -%}
{{ '<user> ' + message.content + ' ' }}
{%- elif message.role == 'assistant' -%}
{{ '<reply> ' }}
{%- generation -%}{{ (message.content + ' <eos>') | trim }}{%- endgeneration -%}
{{ ' ' }}
{%- else -%}
{{ raise_exception('role ' + message.role + ' is not known (allowed: user, assistant)') }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<reply> ' }}{%- endif -%}
"""


def make_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """Build a tokenizer with one token for each of `words`, split at white space.

    Ids 0 to 4 are `<pad> <unk> <user> <reply> <eos>`; the words follow in the given order, so
    the same words always give the same ids. A word that is not in the vocabulary becomes
    `unk_token_id`. Conversations are rendered as `<user> ... <reply> ... <eos>`.

    Raises:
        ValueError: a word is repeated, empty, special or contains white space.
    """
    vocabulary = {token: index for index, token in enumerate(SPECIAL_TOKENS)}
    for word in words:
        if word in vocabulary or word.split() != [word]:
            raise ValueError(f"word {word!r} is repeated, special, empty or holds white space")
        vocabulary[word] = len(vocabulary)
    backend = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    backend.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        extra_special_tokens=[USER, REPLY],
        padding_side="left",
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def make_model(vocab_size: int, settings: ArchitectureSettings) -> LlamaForCausalLM:
    """Build a randomly initialised Llama in float32, with separate embedding and head.

    Call `torch.manual_seed` first: the weights come from torch's global generator.

    Args:
        vocab_size: `len(tokenizer)` of a tokenizer made by `make_tokenizer`.
        settings: the shape.
    """
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=settings.hidden_size,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            intermediate_size=settings.intermediate_size,
            max_position_embeddings=settings.positions,
            tie_word_embeddings=False,
            pad_token_id=SPECIAL_TOKENS.index(PAD),
            bos_token_id=None,
            eos_token_id=SPECIAL_TOKENS.index(END),
        )
    )
