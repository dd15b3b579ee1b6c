#!/usr/bin/env python
"""Times routing beside faiss: both in one run, in turns, on the same keys and queries.

    .venv/bin/python bench/route_faiss.py [--build build/release] [--samples 25] [--latents 100000 1000000]

f32 keys race faiss.IndexFlatIP, int8 keys its 8-bit scalar quantizer. One JSON line a case: medians, their ratio
(above 1: we are faster), and the share of our top 16 that faiss finds too. faiss ranks latents for each query token; we
rank passages by their best latent and token, so its hits are folded the same way (outside the timed part).
On a busy machine only --threads 1 and `cpu_ratio`, CPU time against CPU time, say anything.
"""

import argparse
import collections
import json
import pathlib
import subprocess
import tempfile
import time

import faiss
import numpy as np

from paths import ROOT

K = 16
CHUNKS_PER_PASSAGE = 4  # as bench/route_bench.cc
EVICT_BYTES = 256 << 20


def unit_rows(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    x = rng.standard_normal((rows, dim), dtype=np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def make_index(dtype: str, keys: np.ndarray) -> faiss.Index:
    dim = keys.shape[1]
    if dtype == "f32":
        index = faiss.IndexFlatIP(dim)
    else:
        index = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
        index.train(keys[:100_000])
    index.add(keys)
    return index


class Peer:
    """Our benchmark program, asked for one sample at a time."""

    def __init__(self, build: pathlib.Path, files: tuple[str, str], dim: int, threads: int):
        program = [build / "bin/msa_route_bench", "--peer", "1", "--dim", str(dim), "--threads", str(threads)]
        program += ["--keys", files[0], "--queries", files[1], "--k", str(K)]
        self.process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def sample(self, dtype: str, latents: int, tokens: int) -> dict:
        self.process.stdin.write(f"{dtype} {latents} {tokens}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            raise RuntimeError("msa_route_bench failed")


def fold(scores: np.ndarray, latents: np.ndarray) -> list[int]:
    """Passages of faiss's hits, best first."""
    best = collections.defaultdict(lambda: -np.inf)
    for score, latent in zip(scores.ravel(), latents.ravel()):
        best[latent // CHUNKS_PER_PASSAGE] = max(best[latent // CHUNKS_PER_PASSAGE], score)
    return sorted(best, key=lambda passage: -best[passage])[:K]


def run_case(peer: Peer, index: faiss.Index, queries: np.ndarray, dtype: str, latents: int, samples: int) -> dict:
    tokens = len(queries)
    evict = np.ones(EVICT_BYTES // 8, np.int64)  # our program does the same before each of its samples
    ours, theirs, floors, our_cpu, their_cpu = [], [], [], [], []
    for i in range(samples + 2):
        answer = peer.sample(dtype, latents, tokens)
        evict.sum()
        start, cpu_start = time.perf_counter(), time.process_time()
        scores, found = index.search(queries, K)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        if i >= 2:  # the first ones touch pages
            ours.append(answer["seconds"])
            floors.append(answer["read_gb_s"])
            theirs.append(seconds)
            our_cpu.append(answer["cpu_seconds"])
            their_cpu.append(cpu_seconds)
    key_bytes = latents * queries.shape[1] * (4 if dtype == "f32" else 1)
    rate = key_bytes / np.median(ours) / 1e9
    return {
        "bench": "route_faiss", "isa": answer["isa"], "dtype": dtype, "latents": latents, "tokens": tokens,
        "samples": samples, "ours_ms": round(np.median(ours) * 1e3, 2), "faiss_ms": round(np.median(theirs) * 1e3, 2),
        "ratio": round(np.median(theirs) / np.median(ours), 2),
        "ratio_of_best": round(min(theirs) / min(ours), 2),
        "cpu_ratio": round(np.median(their_cpu) / np.median(our_cpu), 2),
        "cpu_ratio_of_best": round(min(their_cpu) / min(our_cpu), 2),
        "ours_cpu_ms": round(np.median(our_cpu) * 1e3, 2), "faiss_cpu_ms": round(np.median(their_cpu) * 1e3, 2),
        "ours_ms_p10_p90": [round(float(q) * 1e3, 2) for q in np.quantile(ours, [0.1, 0.9])],
        "faiss_ms_p10_p90": [round(float(q) * 1e3, 2) for q in np.quantile(theirs, [0.1, 0.9])],
        "gb_s": round(rate, 1), "read_gb_s": round(float(np.median(floors)), 1),
        "read_share": round(float(np.median(key_bytes / np.array(ours) / 1e9 / np.array(floors))), 2),
        "faiss_read_share": round(float(np.median(key_bytes / np.array(theirs) / 1e9 / np.array(floors))), 2),
        "overlap": len(set(answer["passages"]) & set(fold(scores, found))) / K,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--samples", type=int, default=25)
    parser.add_argument("--latents", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=192)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    faiss.omp_set_num_threads(args.threads)
    rng = np.random.default_rng(1)
    keys, queries = unit_rows(rng, max(args.latents), args.dim), unit_rows(rng, 32, args.dim)
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    print(json.dumps({"faiss": faiss.__version__, "faiss_options": faiss.get_compile_options().strip(),
                      "threads": args.threads, "commit": commit.stdout.strip()}), flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        files = (f"{folder}/keys.f32", f"{folder}/queries.f32")
        keys.tofile(files[0])
        queries.tofile(files[1])
        peer = Peer(args.build, files, args.dim, args.threads)
        for latents in args.latents:
            for dtype in ("f32", "i8"):
                index = make_index(dtype, keys[:latents])
                for tokens in (1, 32):
                    case = run_case(peer, index, queries[:tokens], dtype, latents, args.samples)
                    print(json.dumps(case), flush=True)
        peer.close()


if __name__ == "__main__":
    main()
