#!/usr/bin/env python
"""A phase-1 training step in PyTorch, eager and compiled, to stand beside `msa train run` on the same GPU.

    bench/train_peer.py train.pack [--passages 256] [--tower-rank 60] [--reader-rank 44] [--steps 20]

What a practitioner would write: bf16 with f32 masters, scaled_dot_product_attention over padded rows, low-rank updates
folded into the weights once a step, fused AdamW, logits of a few thousand tokens at a time. Every step encodes
passages and questions, learns routing (InfoNCE both ways, fused and by layer, and a teacher's similarities) and reads
every passage back from its latents. Values are random, shapes and lengths those of SmolLM2-135M and of the pack:
neither decides how long a step takes. Prints a JSON object a way of running: document tokens a second, padding not
counted, and the share of the GPU's bf16 limit that its matrix products reach.
"""

import argparse
import json
import math
import statistics
import time

import numpy as np
import safetensors
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

HIDDEN, MIDDLE, LAYERS, HEADS, GROUPS, DIM, VOCAB = 576, 1536, 30, 9, 3, 64, 49152
MEMORY_LAYERS, ROUTING_LAYERS = range(15, 30), range(24, 30)
WIDTH, CHUNK, TEACHER = 256, 32, 384
KV = GROUPS * DIM
# query, key, value, output, gate, up, down: (outputs, inputs)
SHAPES = [(HIDDEN, HIDDEN), (KV, HIDDEN), (KV, HIDDEN), (HIDDEN, HIDDEN),
          (MIDDLE, HIDDEN), (MIDDLE, HIDDEN), (HIDDEN, MIDDLE)]
H100_BF16 = 989e12  # dense, by its data sheet


def rope(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def attend(q, k, v, mask):
    k, v = (t.repeat_interleave(HEADS // GROUPS, 2) for t in (k, v))
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
    return out.transpose(1, 2).flatten(2)


def project(weights, norms, hidden, cos, sin):
    """Of a layer over [rows, tokens, HIDDEN]: normalised x, and q, k, v by head."""
    x = F.rms_norm(hidden, (HIDDEN,), norms[0], 1e-5)
    q, k, v = (F.linear(x, w).unflatten(2, (-1, DIM)) for w in weights[:3])
    return x, rope(q, cos, sin), rope(k, cos, sin), v


def finish(weights, norms, hidden, q, k, v, mask=None):
    hidden = hidden + F.linear(attend(q, k, v, mask), weights[3])
    y = F.rms_norm(hidden, (HIDDEN,), norms[1], 1e-5)
    return hidden + F.linear(F.silu(F.linear(y, weights[4])) * F.linear(y, weights[5]), weights[6])


def token_loss(hidden, output, targets):
    return F.cross_entropy(F.linear(hidden, output).float(), targets, reduction="sum")


class Peer(torch.nn.Module):
    def __init__(self, tower_rank, reader_rank):
        super().__init__()
        self.plain = [torch.randn(LAYERS, *shape) / math.sqrt(shape[1]) for shape in SHAPES]
        self.embedding = torch.randn(VOCAB, HIDDEN).bfloat16() * 0.02
        self.norms = torch.ones(LAYERS, 2, HIDDEN).bfloat16()

        def parameter(*shape, scale=0.02):
            return torch.nn.Parameter(torch.randn(*shape) * scale)

        def updates(rank):
            return torch.nn.ParameterList([parameter(LAYERS, rank, i) for _, i in SHAPES] +
                                          [parameter(LAYERS, rank, o) for o, _ in SHAPES])

        self.tower, self.reader = updates(tower_rank), updates(reader_rank)
        self.pool = parameter(LAYERS, GROUPS, HIDDEN)
        self.position = parameter(LAYERS, CHUNK, GROUPS)
        self.residual = parameter(LAYERS, 2 * KV, HIDDEN)
        self.residual_position = parameter(LAYERS, CHUNK, 2 * KV)
        self.router_key = parameter(LAYERS, KV, HIDDEN)
        self.router_query = parameter(LAYERS, HIDDEN, HIDDEN)
        self.router_weights = parameter(len(ROUTING_LAYERS))
        self.log_scale = torch.nn.Parameter(torch.tensor(3.4))

    def folded(self, updates):
        a, b = updates[:7], updates[7:]
        return [torch.baddbmm(w, b[i].transpose(1, 2), a[i], alpha=2).bfloat16() for i, w in enumerate(self.plain)]

    def angles(self, ids, first):
        frequencies = 100000 ** (-torch.arange(0, DIM, 2, device=ids.device) / DIM)
        positions = torch.arange(first, first + ids.shape[1], device=ids.device)
        angles = (positions[:, None] * frequencies)[:, None]
        return angles.cos().bfloat16(), angles.sin().bfloat16()

    def encode(self, weights, ids, valid):
        """Passages [B, WIDTH]: keys [B, chunks, layers, GROUPS, DIM], and k and v [layers, B, chunks, GROUPS, DIM]."""
        cos, sin = self.angles(ids, 0)
        hidden = F.embedding(ids, self.embedding)
        chunked = (len(ids), -1, CHUNK)
        mask = valid.view(chunked)[..., None]
        share = mask / mask.sum(2, keepdim=True).clamp_min(1)
        keys, ks, vs = [], [], []
        for layer in range(LAYERS):
            own = [w[layer] for w in weights]
            x, q, k, v = project(own, self.norms[layer], hidden, cos, sin)
            if layer < LAYERS - 1:
                hidden = finish(own, self.norms[layer], hidden, q, k, v)
            if layer not in MEMORY_LAYERS:
                continue
            logits = F.linear(x, self.pool[layer].bfloat16()).float().view(*chunked, GROUPS) + self.position[layer]
            a = logits.masked_fill(~mask, -1e9).softmax(2).bfloat16()[..., None]
            residual = F.linear(x, self.residual[layer].bfloat16()).view(*chunked, 2 * KV)
            residual = (residual * (self.residual_position[layer] * share).bfloat16()).sum(2)
            residual = residual.view(*residual.shape[:2], 2, GROUPS, DIM)
            ks.append((k.view(*chunked, GROUPS, DIM) * a).sum(2) + residual[:, :, 0])
            vs.append((v.view(*chunked, GROUPS, DIM) * a).sum(2) + residual[:, :, 1])
            if layer in ROUTING_LAYERS:
                r = F.linear(x, self.router_key[layer].bfloat16()).view(*chunked, GROUPS, DIM)
                keys.append(F.normalize((r * a).sum(2).float(), dim=-1))
        return torch.stack(keys, 2), torch.stack(ks), torch.stack(vs)

    def queries(self, weights, ids, last):
        """Questions [Q, tokens]: [Q, layers, GROUPS, DIM]."""
        cos, sin = self.angles(ids, 0)
        hidden = F.embedding(ids, self.embedding)
        rows = torch.arange(len(ids), device=ids.device)
        out = []
        for layer in range(LAYERS):
            own = [w[layer] for w in weights]
            x, q, k, v = project(own, self.norms[layer], hidden, cos, sin)
            if layer < LAYERS - 1:
                hidden = finish(own, self.norms[layer], hidden, q, k, v)
            if layer in ROUTING_LAYERS:
                q = F.linear(x[rows, last], self.router_query[layer].bfloat16()).float()
                q = F.normalize(q.view(len(ids), GROUPS, HEADS // GROUPS, DIM), dim=-1)
                out.append(q.sum(2) / HEADS)
        return torch.stack(out, 1)

    def routing_loss(self, keys, queries, teacher_passages, teacher_questions):
        scale = self.log_scale.exp()
        target = torch.arange(len(queries), device=queries.device)

        def contrastive(scores):
            return (F.cross_entropy(scores * scale, target) + F.cross_entropy(scores.T * scale, target)) / 2

        by_layer = torch.einsum("qlgd,bclgd->lqbc", queries, keys)
        scores = torch.einsum("lqbc,l->qbc", by_layer, self.router_weights.softmax(0)).amax(2)
        soft = teacher_questions @ teacher_passages.T / 0.05
        teacher = (F.cross_entropy(scores * scale, soft.softmax(1)) +
                   F.cross_entropy(scores.T * scale, soft.T.softmax(1))) / 2
        alone = torch.stack([contrastive(layer.amax(2)) for layer in by_layer]).mean()
        return contrastive(scores) + 0.25 * alone + 3 * teacher

    def read(self, weights, ids, mask, k, v):
        cos, sin = self.angles(ids, 16)
        hidden = F.embedding(ids, self.embedding)
        for layer in range(LAYERS):
            own = [w[layer] for w in weights]
            _, q, keys, values = project(own, self.norms[layer], hidden, cos, sin)
            if layer in MEMORY_LAYERS:
                m = MEMORY_LAYERS.index(layer)
                keys, values = torch.cat([k[m], keys], 1), torch.cat([v[m], values], 1)
            hidden = finish(own, self.norms[layer], hidden, q, keys, values, mask if layer in MEMORY_LAYERS else None)
        return F.rms_norm(hidden, (HIDDEN,), None, 1e-5)


def reading_mask(valid):
    """[B, 1, WIDTH, chunks + WIDTH]: the passage's own latents, and its tokens so far."""
    rows, tokens = valid.shape
    latents = valid.view(rows, -1, CHUNK).any(2)
    causal = torch.ones(tokens, tokens, dtype=torch.bool).tril()
    return torch.cat([latents[:, None].expand(-1, tokens, -1), causal.expand(rows, -1, -1)], 2)[:, None]


class Batches:
    """Passages and questions of the pack's lengths, tokens drawn at random."""

    def __init__(self, path, count):
        with safetensors.safe_open(path, "np") as pack:
            self.passages = np.diff(pack.get_tensor("passage_begin"))
            self.questions = np.diff(pack.get_tensor("question_begin"))
        self.count, self.random = count, np.random.default_rng(1)
        self.longest_question = int(np.quantile(self.questions, 0.99)) + 5  # the template's tokens

    def draw(self):
        lengths = torch.from_numpy(self.random.choice(self.passages, self.count)).to(torch.get_default_device())
        asked = torch.from_numpy(self.random.choice(self.questions, self.count)).to(torch.get_default_device()) + 5
        passages = torch.randint(VOCAB, (self.count, WIDTH))
        questions = torch.randint(VOCAB, (self.count, self.longest_question))
        return passages, lengths, questions, asked.clamp(max=self.longest_question)


def step(peer, run, optimizer, batch, rows_at_once, loss_tokens):
    passages, lengths, questions, asked = batch
    valid = torch.arange(WIDTH) < lengths[:, None]
    tower, reader = peer.folded(peer.tower), peer.folded(peer.reader)
    keys, k, v = run["encode"](tower, passages, valid)
    queries = run["queries"](tower, questions, asked - 1)
    teacher = F.normalize(torch.randn(2, len(passages), TEACHER), dim=-1)
    routing = peer.routing_loss(keys, queries, *teacher)
    # Reading is differentiated some rows at a time; what reaches latents and weights adds up.
    inputs = [t.detach().requires_grad_() for t in (k, v, *reader)]
    tokens = lengths.sum()
    for begin in range(0, len(passages), rows_at_once):
        part = slice(begin, begin + rows_at_once)
        hidden = run["read"](inputs[2:], passages[part], reading_mask(valid[part]), inputs[0][:, part], inputs[1][:, part])
        kept = valid[part, 1:]
        hidden, targets = hidden[:, :-1][kept], passages[part, 1:][kept]
        loss = sum(checkpoint(token_loss, h, peer.embedding, t, use_reentrant=False)
                   for h, t in zip(hidden.split(loss_tokens), targets.split(loss_tokens)))
        (loss / tokens).backward()
    torch.autograd.backward([routing, k, v, *reader], [None] + [t.grad for t in inputs])
    torch.nn.utils.clip_grad_norm_(peer.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def products(lengths, asked):
    """Floating-point operations of a step's matrix products with weights: forward, and twice that backward. The
    frozen output matrix takes no gradient, its logits are computed twice."""
    layers = 2 * LAYERS * sum(o * i for o, i in SHAPES)
    tokens, questions = int(lengths.sum()), int(asked.sum())
    return 3 * layers * (2 * tokens + questions) + 3 * 2 * HIDDEN * VOCAB * tokens


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack")
    parser.add_argument("--passages", type=int, default=256, help="of a step, each with a question")
    parser.add_argument("--tower-rank", type=int, default=60)
    parser.add_argument("--reader-rank", type=int, default=44)
    parser.add_argument("--steps", type=int, default=20, help="timed, after five others")
    parser.add_argument("--rows-at-once", type=int, default=128, help="rows of the reader differentiated together")
    parser.add_argument("--loss-tokens", type=int, default=8192, help="tokens whose logits are held together")
    parser.add_argument("--ways", nargs="*", default=["eager", "compiled"])
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    torch.set_default_device(args.device)
    synchronize = torch.cuda.synchronize if args.device != "cpu" else lambda: None
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high")
    for way in args.ways:
        peer = Peer(args.tower_rank, args.reader_rank)
        compiled = torch.compile if way == "compiled" else lambda f, **_: f
        run = {name: compiled(getattr(peer, name), dynamic=False) for name in ("encode", "queries", "read")}
        optimizer = torch.optim.AdamW(peer.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0, fused=True)
        batches = Batches(args.pack, args.passages)
        speeds, shares = [], []
        for i in range(args.steps + 5):
            batch = batches.draw()
            synchronize()
            start = time.perf_counter()
            step(peer, run, optimizer, batch, args.rows_at_once, args.loss_tokens)
            synchronize()
            seconds = time.perf_counter() - start
            if i >= 5:
                speeds.append(int(batch[1].sum()) / seconds)
                shares.append(products(batch[1], batch[3]) / seconds / H100_BF16)
        print(json.dumps({"way": way, "document_tokens_per_second": round(statistics.median(speeds)),
                          "share_of_bf16_limit": round(statistics.median(shares), 4),
                          "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1)}), flush=True)
        del peer, run, optimizer
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


if __name__ == "__main__":
    main()
