"""`msa add` of many short documents, and `msa search` over them.

    .venv/bin/python bench/add_bench.py --documents 100000

Adds the documents in ten portions, so that the cost of the first and the last can be compared, with a tiny random
backbone, so that encoding does not hide the rest. Prints one JSON line a case.
"""

import argparse
import itertools
import json
import os
import pathlib
import random
import resource
import shutil
import statistics
import subprocess
import tempfile
import time

import tiny_model
from paths import ROOT

MSA = os.environ.get("MSA_BIN", ROOT / "build/release/bin") / pathlib.Path("msa")


def zipf_weights(words: list[str]) -> list[float]:
    """Cumulative, so that a draw costs a search and not a pass."""
    return list(itertools.accumulate(1 / (rank + 10) for rank in range(len(words))))


def vocabulary(rng: random.Random, size: int) -> list[str]:
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    return ["".join(rng.choices(syllables, k=rng.randint(2, 4))) for _ in range(size)]


def write_documents(folder: pathlib.Path, documents: int, portions: int, seed: int) -> list[str]:
    """Writes JSON lines of 40 to 120 Zipf-distributed words; returns the vocabulary."""
    rng = random.Random(seed)
    words = vocabulary(rng, 50_000)
    weights = zipf_weights(words)
    for portion in range(portions):
        with open(folder / f"{portion:03}.jsonl", "w") as out:
            for row in range(documents // portions):
                text = " ".join(rng.choices(words, cum_weights=weights, k=rng.randint(40, 120)))
                out.write(json.dumps({"id": f"d{portion}-{row}", "title": f"Note {row}", "text": text + "."}) + "\n")
    return words


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--portions", type=int, default=10)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--no-encode", action="store_true")
    args = parser.parse_args()

    work = pathlib.Path(tempfile.mkdtemp(prefix="msa-add-bench-"))
    try:
        tiny_model.save(work / "model")
        words = write_documents(work, args.documents, args.portions, seed=1)
        bank = work / "bank"
        seconds = []
        for portion in range(args.portions):
            command = [MSA, "add", bank, work / f"{portion:03}.jsonl", "--model", work / "model", "--json"]
            start = time.monotonic()
            subprocess.run(command + (["--no-encode"] if args.no_encode else []), check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.monotonic() - start)
        each = args.documents / args.portions
        print(json.dumps({
            "case": "msa add", "documents": args.documents, "encode": not args.no_encode,
            "documents_per_s": round(args.documents / sum(seconds)),
            "ms_per_document_first_portion": round(1000 * seconds[0] / each, 4),
            "ms_per_document_last_portion": round(1000 * seconds[-1] / each, 4),
            "last_over_first": round(seconds[-1] / seconds[0], 2),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
        }))

        rng = random.Random(2)
        weights = zipf_weights(words)
        questions = [" ".join(rng.choices(words, cum_weights=weights, k=rng.randint(3, 10))) for _ in range(args.questions)]
        for heads in ["lexical"] if args.no_encode else ["lexical", "latent"]:
            command = [MSA, "search", bank, "-", "--heads", heads, "--json", "--model", work / "model"]
            found = subprocess.run(command, input="\n".join(questions), text=True, check=True, capture_output=True)
            times = [sum(json.loads(line)["counters"]["seconds"].values()) for line in found.stdout.splitlines()]
            warm = times[1:]
            print(json.dumps({
                "case": "msa search", "heads": heads, "documents": args.documents, "questions": len(warm),
                "first_ms": round(1000 * times[0], 2), "p50_ms": round(1000 * statistics.median(warm), 2),
                "p99_ms": round(1000 * percentile(warm, 0.99), 2),
            }))
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
