"""Say what the store of finished artefacts holds, and remove what was not used for some days.

No study loses anything by it: what is in place stays, and what is missed is computed again.
"""

import argparse
import os
import shutil
import time
from pathlib import Path

from svdrift.scripting import run
from svdrift.store import entries


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--unused-days", type=float, help="remove what was last used longer ago; without, nothing"
    )
    args = parser.parse_args()

    store = Path(os.environ.get("SVDRIFT_STORE") or "results/.store")
    for entry in entries(store):
        days = (time.time() - entry.used) / 86400
        old = args.unused_days is not None and days > args.unused_days
        if old:
            shutil.rmtree(entry.folder)
        note = "  removed" if old else ""
        print(f"{entry.size / 1e6:10.2f} MB  {days:6.1f} days  {entry.made_as}{note}")


if __name__ == "__main__":
    run(main)
