"""Train the tiny base model from nothing on the skills of the game."""

import argparse
import time
from pathlib import Path

import torch

from svdrift.models.arguments import DTYPES, dtype_argument
from svdrift.models.loading import save_checkpoint
from svdrift.models.tiny import make_model, make_tokenizer
from svdrift.scripting import progress, run, settings_argument, write_provenance
from svdrift.settings.models import ArchitectureSettings
from svdrift.settings.task import SkillsSettings
from svdrift.settings.training import PretrainSettings
from svdrift.tasks import task_class
from svdrift.training.pretrain import pretrain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    settings_argument(parser, PretrainSettings)
    settings_argument(parser, SkillsSettings, "--skills")
    settings_argument(parser, ArchitectureSettings, "--architecture")
    parser.add_argument("--seed", type=int, default=0, help="of weights and data (default: 0)")
    parser.add_argument("--device", default="cpu", help="where to compute (default: cpu)")
    dtype_argument(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    parser.add_argument("--losses", type=Path, required=True, help="table of losses (parquet)")
    args = parser.parse_args()
    started = time.time()

    torch.manual_seed(args.seed)
    task = task_class(args.skills.name)
    tokenizer = make_tokenizer(task.words)
    model = make_model(len(tokenizer), args.architecture).to(args.device)
    conversations = task.pretraining_examples(
        args.skills, args.settings.steps * args.settings.batch_size, args.seed
    )
    losses = pretrain(model, tokenizer, conversations, args.settings, progress)
    save_checkpoint(model, tokenizer, args.out, DTYPES[args.dtype])
    losses.to_parquet(args.losses, index=False)
    write_provenance(
        args.out,
        inputs={},
        settings={
            "pretrain": args.settings,
            "architecture": args.architecture,
            "skills": args.skills,
        },
        seed=args.seed,
        started=started,
    )


if __name__ == "__main__":
    run(main)
