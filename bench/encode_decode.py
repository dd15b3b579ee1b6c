"""Encoding and decoding beside llama.cpp, on the same GGUF file and threads, in turn in the same run.

    cmake -S . -B build/bench -G Ninja -DCMAKE_BUILD_TYPE=Release -DMSA_BENCH=ON && ninja -C build/bench
    .venv/bin/python bench/encode_decode.py [--threads 2] [--weights i8] [--rounds 15]
    MSA_ISA=avx2 .venv/bin/python bench/encode_decode.py      # ours with AVX2 only

A round times llama.cpp and ours one right after the other, because a shared machine's speed changes from second to
second; a case reports medians over the rounds, and the median of the rounds' ratios. One JSON line a case.
"""

import argparse
import ctypes
import json
import os
import random
import statistics
import subprocess
import time

import llama_cpp
import numpy as np

from paths import ROOT, default_model


class Ours:
    def __init__(self, program: str, model: str, threads: int, weights: str):
        self.process = subprocess.Popen([program, model, str(threads), weights], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.description = json.loads(self.process.stdout.readline())

    def seconds(self, command: str) -> float:
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["seconds"]


class Llama:
    """llama.cpp through its C interface, so that the Python around it costs nothing."""

    def __init__(self, model: str, threads: int):
        self.llama = llama_cpp.Llama(model, n_ctx=2048, n_batch=512, n_threads=threads,
                                     n_threads_batch=threads, verbose=False)
        self.ctx = self.llama._ctx.ctx
        self.vocab = self.llama.n_vocab()
        rng = random.Random(1)
        self.tokens = [rng.randrange(self.vocab) for _ in range(2048)]

    def clear(self) -> None:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.ctx), True)

    def feed(self, tokens: list[int]) -> int:
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        assert llama_cpp.llama_decode(self.ctx, llama_cpp.llama_batch_get_one(array, len(tokens))) == 0
        logits = llama_cpp.llama_get_logits_ith(self.ctx, -1)
        return int(np.ctypeslib.as_array(ctypes.cast(logits, ctypes.POINTER(ctypes.c_float)), (self.vocab,)).argmax())

    def prefill_seconds(self, tokens: int) -> float:
        self.clear()
        start = time.perf_counter()
        self.feed(self.tokens[:tokens])
        return time.perf_counter() - start

    def decode_seconds(self, prompt: int, tokens: int) -> float:
        self.clear()
        token = self.feed(self.tokens[:prompt])
        start = time.perf_counter()
        for _ in range(tokens):
            token = self.feed([token])
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=str(ROOT / "build/bench/bin/msa_encode_decode_bench"))
    parser.add_argument("--model", default=str(default_model()))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--weights", default="i8")
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()

    ours = Ours(args.program, args.model, args.threads, args.weights)
    llama = Llama(args.model, args.threads)
    passages = 4 * args.threads
    # (name, target, tokens of ours, ours, tokens of llama.cpp, llama.cpp)
    cases = [
        ("encode, 256-token passages", 4.0, passages * 256, lambda: ours.seconds(f"encode {passages} 256"), 256,
         lambda: llama.prefill_seconds(256)),
        ("encode, 512-token passages", 4.0, passages * 512, lambda: ours.seconds(f"encode {passages} 512"), 512,
         lambda: llama.prefill_seconds(512)),
        ("prefill, 512 tokens", None, 512, lambda: ours.seconds("prefill 512"), 512, lambda: llama.prefill_seconds(512)),
        ("decode, 64 tokens after 64", 1.2, 64, lambda: ours.seconds("decode 64 64"), 64,
         lambda: llama.decode_seconds(64, 64)),
        ("decode, 64 tokens after 512", None, 64, lambda: ours.seconds("decode 512 64"), 64,
         lambda: llama.decode_seconds(512, 64)),
    ]
    for name, target, our_tokens, run_ours, their_tokens, run_theirs in cases:
        run_ours(), run_theirs()
        rates = []
        for _ in range(args.rounds):
            theirs = their_tokens / run_theirs()
            rates.append((our_tokens / run_ours(), theirs))
        ratios = sorted(a / b for a, b in rates)
        print(json.dumps({
            "case": name, "ours": round(statistics.median(a for a, _ in rates), 1),
            "llama.cpp": round(statistics.median(b for _, b in rates), 1), "unit": "tokens/s",
            "ratio": round(statistics.median(ratios), 2), "ratio_quartiles":
                [round(ratios[len(ratios) // 4], 2), round(ratios[-1 - len(ratios) // 4], 2)],
            "target": target, "compute": ours.description["compute"], "threads": args.threads,
            "rounds": args.rounds, "isa_override": os.environ.get("MSA_ISA", ""),
        }), flush=True)


if __name__ == "__main__":
    main()
