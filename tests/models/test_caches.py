"""The cache goes in and comes out by the name that the installed transformers has for it."""

from types import SimpleNamespace

import torch

from svdrift.models.caches import cache_argument, cache_of
from svdrift.models.settings import ArchitectureSettings
from svdrift.models.tiny import make_model


def test_a_model_goes_on_from_its_own_cache():
    torch.manual_seed(0)
    model = make_model(20, ArchitectureSettings(hidden_size=16, heads=2, layers=2)).eval()
    tokens = torch.arange(6)[None]
    whole = model(tokens).logits[:, -1]
    first = model(tokens[:, :4], use_cache=True)
    cache = cache_of(first)
    assert cache.get_seq_length() == 4
    rest = model(tokens[:, 4:], **cache_argument(model, cache)).logits[:, -1]
    torch.testing.assert_close(rest, whole)
    assert cache_of(model(tokens, use_cache=False)) is None


def test_either_name_is_known():
    old = SimpleNamespace(forward=lambda input_ids, past_key_values=None: None)
    new = SimpleNamespace(forward=lambda input_ids, cache=None: None)
    assert cache_argument(old, None) == {"past_key_values": None}
    assert cache_argument(new, None) == {"cache": None}
    assert cache_of({"past_key_values": 1}) == cache_of({"cache": 1}) == 1
