"""All benchmarks, or those named: `python -m benchmarks [constraint ...] [--out results/benchmarks.json]`.

Each writes its own part of the file, with commit, versions and machine, as soon as it is done; growth's
figures go to the folder beside the file that has its name, results/benchmarks by default.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import torch

from benchmarks.growth_figure import write_figures
from benchmarks.parts import put_part
from onelip.provenance import provenance

PARTS = ("startup", "constraint", "throughput", "growth", "scaling")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; by default all")
    parser.add_argument("--out", type=Path, default=Path("results/benchmarks.json"))
    arguments = parser.parse_args()
    unknown = [part for part in arguments.parts if part not in PARTS]
    if unknown:
        parser.error(f"part must be one of {', '.join(PARTS)}, got {unknown[0]}")
    torch.set_num_threads(1)
    for part in arguments.parts or PARTS:
        print(f"\n{part}", flush=True)
        origin = provenance()
        measured = importlib.import_module(f"benchmarks.{part}").measure(lambda line: print(line, flush=True))
        put_part(arguments.out, part, measured | {"provenance": origin})
        if part == "growth":
            write_figures(measured["laws"], arguments.out.with_suffix(""))


if __name__ == "__main__":
    main()
