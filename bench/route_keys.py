#!/usr/bin/env python
"""Writes routing keys and queries of real text as raw f32, for msa_route_bench and msa_route_recall_bench.

    .venv/bin/python bench/route_keys.py DOCS.jsonl.zst QUERIES.jsonl.zst FOLDER [--tokens 200000] [--build build/release]

Encoded by msa_model_tool: the default model, its memory layers and router as `msa add` uses them.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import zstandard

from paths import ROOT

sys.path.insert(0, str(ROOT / "tests"))

import tokenizer_models  # noqa: E402
from model_process import ModelProcess  # noqa: E402


def read_lines(path: str):
    with open(path, "rb") as file:
        reader = zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(file)
        for line in reader.read().decode().splitlines():
            yield json.loads(line)


def read_passages(path: str, tokenizer, limit_tokens: int, passage_tokens: int) -> list[list[int]]:
    """Passages of consecutive documents, cut at the token count alone."""
    passages, total = [], 0
    for doc in read_lines(path):
        ids = tokenizer.encode(f"{doc.get('title', '')}\n{doc['text']}", add_special_tokens=False).ids
        passages += [ids[i : i + passage_tokens] for i in range(0, len(ids), passage_tokens)]
        total += len(ids)
        if total >= limit_tokens:
            break
    return passages


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("docs")
    parser.add_argument("queries")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--tokens", type=int, default=200_000)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--passage-tokens", type=int, default=256)
    parser.add_argument("--chunk-tokens", type=int, default=64)
    parser.add_argument("--routing-layers", type=int, nargs="*", default=[], help="default: the last one")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--batch", type=int, default=16)
    args = parser.parse_args()

    tokenizer = tokenizer_models.smollm2().hf
    passages = read_passages(args.docs, tokenizer, args.tokens, args.passage_tokens)
    memory = {"passage_tokens": args.passage_tokens, "chunk_tokens": args.chunk_tokens,
              "routing_layers": args.routing_layers}  # fmt: skip
    args.folder.mkdir(parents=True, exist_ok=True)
    with ModelProcess(args.build, tokenizer_models.SMOLLM2_GGUF, memory=memory, weights="auto") as model:
        rows = 0
        with open(args.folder / "keys.f32", "wb") as file:
            for i in range(0, len(passages), args.batch):
                keys = model("encode", passages=passages[i : i + args.batch])["keys"]
                keys.tofile(file)
                rows += len(keys)
                print(f"\r{i + args.batch} of {len(passages)} passages", end="", file=sys.stderr)
        questions = [row["query"] for row in read_lines(args.queries)][: args.questions]
        queries = np.stack([model("route", question=question)["query"] for question in questions])
    queries.tofile(args.folder / "queries.f32")
    print(json.dumps({"dim": int(queries.shape[1]), "latents": rows, "queries": len(queries)}))


if __name__ == "__main__":
    main()
