"""A method of one's own, in one file: random noise on every matrix, as a control of training."""

from __future__ import annotations

from pydantic import Field

from svdrift.training.method import Method, MethodSettings

METHOD = Method(label="noise", tables=("sizes",), learns_from="nothing", launched=False)


class Settings(MethodSettings):
    """How much noise."""

    scale: float = Field(0.01, gt=0, description="Standard deviation, relative to the matrix's.")
    steps: int = Field(1, gt=0, description="Draws that are added one after another.")

    @property
    def total(self) -> int:
        """Number of draws."""
        return self.steps


def train(run):
    """Add noise to the model in `run.start`, and keep it after the wanted draws."""
    import pandas as pd
    import torch

    from svdrift.models.loading import load_model, load_tokenizer, save_checkpoint
    from svdrift.training.run import Trained, folder

    model, tokenizer = load_model(run.start), load_tokenizer(run.start)
    generator = torch.Generator().manual_seed(run.seed)
    kept, rows = {}, []
    for step in run.progress(range(1, run.keep[-1] + 1), run.keep[-1], "noise"):
        size = 0.0
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 2:
                    noise = torch.randn(parameter.shape, generator=generator)
                    noise *= run.settings.scale * parameter.std()
                    parameter += noise
                    size += float(noise.square().sum())
        rows.append({"step": step, "size": size**0.5})
        if step in run.keep:
            kept[step] = folder(run.work, step)
            save_checkpoint(model, tokenizer, kept[step], run.dtype)
    return Trained(kept, {"sizes": pd.DataFrame(rows)})
