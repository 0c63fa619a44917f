"""Hold the tables of a study against the claims: findings with verdicts."""

import argparse
from pathlib import Path

from svdrift.findings import claims
from svdrift.findings.finding import findings_table
from svdrift.findings.rotation import rotation
from svdrift.scripting import read_table, run
from svdrift.story import Story


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contrasts", type=Path, required=True, help="of measure_contrasts.py")
    parser.add_argument("--accuracy", type=Path, required=True, help="of all checkpoints")
    parser.add_argument("--comparisons", type=Path, help="of compare_checkpoints.py")
    parser.add_argument("--drift", type=Path, help="of measure_drift.py")
    parser.add_argument("--nulls", type=Path, help="of the same, with --drift")
    parser.add_argument("--signals", type=Path, help="of measure_signals.py")
    parser.add_argument("--recovery-effect", type=Path, help="of measure_recovery.py")
    parser.add_argument(
        "--story", type=Story.model_validate_json, required=True, help="the study's story (JSON)"
    )
    parser.add_argument("--out", type=Path, required=True, help="one row a finding (csv)")
    args = parser.parse_args()

    story: Story = args.story
    contrasts, accuracy = read_table(args.contrasts), read_table(args.accuracy)
    found = claims.forgetting(contrasts, story)
    comparisons = read_table(args.comparisons) if args.comparisons else None
    signals = read_table(args.signals) if args.signals else None
    found += claims.rl_effect(comparisons, contrasts, story, signals)
    if args.drift:
        found += rotation(read_table(args.drift), read_table(args.nulls))
    if args.recovery_effect:
        found += claims.recovery(read_table(args.recovery_effect), contrasts, story, signals)
    found += claims.strength(accuracy, comparisons, story, signals)
    findings_table(found).to_csv(args.out, index=False, lineterminator="\n")


if __name__ == "__main__":
    run(main)
