"""A few lines around a command line that cannot be changed: hand it the folder of links, and make its table the result.

dataprune study DATA --metric top1:higher:0:1 --out study \
    --trainer "python examples/trainers/train_yolo.py {folder} DATA/test {seed} {out} {result}"
"""

import csv
import json
import subprocess
import sys
from pathlib import Path

# With the real one: ["yolo", "classify", "train", "model=yolo11n-cls.pt", ...]
COMMAND = [sys.executable, str(Path(__file__).with_name("yolo_stand_in.py"))]


def main() -> None:
    """Train on a folder, test on another."""
    folder, test, seed, out, result = sys.argv[1:]
    subprocess.run([*COMMAND, f"data={folder}", f"val={test}", f"seed={seed}", f"project={out}/runs"], check=True)
    with Path(f"{out}/runs/results.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    Path(result).write_text(json.dumps({"top1": float(last["top1"])}))


if __name__ == "__main__":
    main()
