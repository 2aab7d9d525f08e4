"""All benchmarks, or those named: `python -m benchmarks [constraint ...] [--out results]`.

Each writes its own part of a file in that folder, with commit, versions and machine, as soon as it is done;
growth's figures go to the folder `benchmarks` there. Exit code 1 where the fuzz of a bound found it wrong.
"""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

import torch

from benchmarks.growth_figure import write_figures
from benchmarks.parts import put_part
from onelip.provenance import provenance

# The file of each part, and its key there where the file has several.
PARTS = {part: ("benchmarks", part) for part in ("startup", "constraint", "throughput", "growth", "scaling")}
PARTS |= {part: (part, None) for part in ("norms", "published_arithmetic")}
FUZZ = {f"soundness_{part}": ("soundness", part) for part in ("layers", "networks")}
PARTS |= FUZZ


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; by default all")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the files")
    parser.add_argument("--count", type=int, help="of a fuzz: how many cases")
    parser.add_argument("--seed", type=int, help="of a fuzz")
    arguments = parser.parse_args()
    parts, wrong = arguments.parts or list(PARTS), False
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        parser.error(f"part must be one of {', '.join(PARTS)}, got {unknown[0]}")
    asked = {name: value for name in ("count", "seed") if (value := getattr(arguments, name)) is not None}
    if asked and not set(parts) <= FUZZ.keys():
        parser.error(f"{' and '.join(asked)} must be left out but for {' and '.join(FUZZ)}")
    torch.set_num_threads(1)
    for part in parts:
        print(f"\n{part}", flush=True)
        origin, module = provenance(), importlib.import_module(f"benchmarks.{part}")
        measured = module.measure(lambda line: print(line, flush=True), **asked)
        file, key = PARTS[part]
        put_part(arguments.out / f"{file}.json", key, measured | {"provenance": origin})
        wrong |= bool(measured.get("violations") or measured.get("failures"))
        if part == "growth":
            write_figures(measured["laws"], arguments.out / "benchmarks")
    return int(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
