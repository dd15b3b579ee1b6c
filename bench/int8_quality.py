"""Do 8-bit products change what is found? Latents and rankings of retrieval sets, f32 beside int8.

    .venv/bin/python bench/int8_quality.py ../shared/data/eval/clapnq_dev ../shared/data/eval/policyqa_test

A set is a folder with docs, queries and qrels (.jsonl.zst). One JSON line a set; exit status 1 if a mean cosine is
below 0.995 or a ranking measure falls by more than 0.5 points.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import zstandard

from paths import ROOT, default_model

LEAST_COSINE = 0.995
MOST_POINTS_LOST = 0.5


def holds(result: dict, weights: str) -> bool:
    cosines = all(result["cosine"][name]["mean"] >= LEAST_COSINE for name in "kvr")
    return cosines and all(100 * (result["f32"][name] - result[weights][name]) <= MOST_POINTS_LOST
                           for name in ("ndcg@10", "recall@16"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", type=pathlib.Path)
    parser.add_argument("--program", default=str(ROOT / "build/bench/bin/msa_int8_quality_bench"))
    parser.add_argument("--model", default=str(default_model()))
    parser.add_argument("--weights", default="i8")
    parser.add_argument("--questions", type=int, default=300)
    args = parser.parse_args()
    ok = True
    for folder in args.sets:
        with tempfile.TemporaryDirectory() as temporary:
            files = []
            for name in ("docs", "queries", "qrels"):
                files.append(pathlib.Path(temporary) / f"{name}.jsonl")
                with open(folder / f"{name}.jsonl.zst", "rb") as packed, open(files[-1], "wb") as plain:
                    zstandard.ZstdDecompressor(max_window_size=2**27).copy_stream(packed, plain)
            line = subprocess.run([args.program, args.model, args.weights, *map(str, files), str(args.questions)],
                                  check=True, stdout=subprocess.PIPE, text=True).stdout
        result = json.loads(line)
        result = {"set": folder.name, "holds": holds(result, args.weights), **result}
        ok = ok and result["holds"]
        print(json.dumps(result), flush=True)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
