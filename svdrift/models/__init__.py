"""Models: the tiny architecture and tokenizer, strict loading and saving, batched generation.

Nothing is imported here, because transformers takes seconds to import:

- `svdrift.models.tiny`: `make_tokenizer`, `make_model`
- `svdrift.models.loading`: `load_model`, `load_tokenizer`, `save_checkpoint`
- `svdrift.models.folders`: `weight_files`, `file_faults`, `weights_hash`, without transformers
- `svdrift.models.checking`: `config_faults`, without reading weights
- `svdrift.models.generation`: `generate`
- `svdrift.models.backend`: `make_generate`, the generator that the settings choose
"""
