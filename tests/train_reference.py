"""What a training step computes, in plain PyTorch and f64: a row at a time, autograd does the rest."""

import math

import torch

from msa_reference import normalise, rms_norm

NAMES = ["query", "key", "value", "output", "gate", "up", "down"]
WEIGHTS = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
           "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]


def rows_of(rows):
    """The rows of {"tokens", "lengths"} as lists."""
    out, begin = [], 0
    for length in rows["lengths"]:
        out.append(rows["tokens"][begin:begin + length])
        begin += length
    return out


class TrainReference:
    """`values` are the trained parameters by name, f64 leaves."""

    def __init__(self, model, values, memory_layers, routing_layers, query_offset=16, scale=2.0):
        c = model.config
        self.heads, self.groups = c.num_attention_heads, c.num_key_value_heads
        self.dim = getattr(c, "head_dim", None) or c.hidden_size // self.heads
        self.layers, self.epsilon = c.num_hidden_layers, c.rms_norm_eps
        self.weights = {k: v.detach().double() for k, v in model.state_dict().items()}
        self.frequencies = model.model.rotary_emb.inv_freq.double()
        self.values, self.scale, self.query_offset = values, scale, query_offset
        self.memory_layers, self.routing_layers = memory_layers, routing_layers

    def weight(self, layer, name):
        return self.weights.get(f"model.layers.{layer}.{name}.weight")

    def plain(self, layer, name):
        return self.weight(layer, WEIGHTS[NAMES.index(name)])

    def updated(self, which):
        """matrix(layer, name): the backbone's, with one set of low-rank updates."""
        def matrix(layer, name):
            a = self.values[f"{which}.{name}.a"][layer]
            b = self.values[f"{which}.{name}.b"][layer]
            return self.plain(layer, name) + self.scale * b.T @ a
        return matrix

    def rope(self, x, positions):
        angles = positions.double()[:, None] * self.frequencies[None]
        cos, sin = torch.cos(angles)[:, None], torch.sin(angles)[:, None]
        a, b = x[..., : self.dim // 2], x[..., self.dim // 2 :]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def run(self, matrix, tokens, first_position, latents=None, bias=None):
        """Yields (layer, x, k, v); self.hidden is the last hidden state afterwards. `latents` by memory
        layer: (k, v) [N, G, D] that every token attends to; `bias` [memory layers, N]."""
        hidden = self.weights["model.embed_tokens.weight"][torch.tensor(tokens)]
        positions = torch.arange(first_position, first_position + len(tokens))
        for layer in range(self.layers):
            x = rms_norm(hidden, self.weight(layer, "input_layernorm"), self.epsilon)
            q = (x @ matrix(layer, "query").T).view(-1, self.heads, self.dim)
            k = (x @ matrix(layer, "key").T).view(-1, self.groups, self.dim)
            v = (x @ matrix(layer, "value").T).view(-1, self.groups, self.dim)
            if self.weight(layer, "self_attn.q_norm") is not None:
                q = rms_norm(q, self.weight(layer, "self_attn.q_norm"), self.epsilon)
                k = rms_norm(k, self.weight(layer, "self_attn.k_norm"), self.epsilon)
            q, k = self.rope(q, positions), self.rope(k, positions)
            yield layer, x, k, v
            keys, values, count = k, v, 0
            if latents is not None and layer in self.memory_layers:
                m = self.memory_layers.index(layer)
                keys, values = torch.cat([latents[m][0], k]), torch.cat([latents[m][1], v])
                count = len(latents[m][0])
            group = self.heads // self.groups
            logits = torch.einsum("thd,shd->hts", q, keys.repeat_interleave(group, 1)) / math.sqrt(self.dim)
            if bias is not None and layer in self.memory_layers:
                logits[:, :, :count] += bias[self.memory_layers.index(layer)]
            unseen = torch.ones(len(tokens), count + len(tokens), dtype=torch.bool).triu(count + 1)
            attention = torch.softmax(logits.masked_fill(unseen, -math.inf), -1)
            mixed = torch.einsum("hts,shd->thd", attention, values.repeat_interleave(group, 1)).flatten(1)
            hidden = hidden + mixed @ matrix(layer, "output").T
            x = rms_norm(hidden, self.weight(layer, "post_attention_layernorm"), self.epsilon)
            gated = torch.nn.functional.silu(x @ matrix(layer, "gate").T) * (x @ matrix(layer, "up").T)
            hidden = hidden + gated @ matrix(layer, "down").T
        self.hidden = hidden

    def encode(self, tokens, chunk_tokens, still):
        """`still`: only the residual is differentiated. (keys [chunks, E], [(k, v) [chunks, G, D] by memory layer])."""
        keys, latents = [], []
        width = self.groups * self.dim
        for layer, *projected in self.run(self.updated("tower"), tokens, 0):
            if layer not in self.memory_layers:
                continue
            x, k, v = (t.detach() if still else t for t in projected)
            m = self.memory_layers.index(layer)
            ks, vs, rs = [], [], []
            for begin in range(0, len(tokens), chunk_tokens):
                chunk = slice(begin, min(begin + chunk_tokens, len(tokens)))
                n = chunk.stop - chunk.start
                logits = x[chunk] @ self.values["pool.score"][m].T + self.values["pool.position"][m][:n]
                a = torch.softmax(logits.detach() if still else logits, 0)[:, :, None]
                residual = (x[chunk] @ self.values["residual"][m].T * self.values["residual.position"][m][:n]).mean(0)
                ks.append((a * k[chunk]).sum(0) + residual[:width].view(self.groups, self.dim))
                vs.append((a * v[chunk]).sum(0) + residual[width:].view(self.groups, self.dim))
                if layer in self.routing_layers:
                    r = self.routing_layers.index(layer)
                    routed = (x[chunk] @ self.values["router.key"][r].T).view(n, self.groups, self.dim)
                    rs.append(normalise((a * routed).sum(0)))
            latents.append((torch.stack(ks), torch.stack(vs)))
            if rs:
                keys.append(torch.stack(rs).flatten(1))
        return torch.cat(keys, 1), latents

    def queries(self, tokens):
        """Each routing layer's folded query, unweighted: [R, G D]."""
        out = []
        for layer, x, _, _ in self.run(self.updated("tower"), tokens, 0):
            if layer in self.routing_layers:
                q = self.values["router.query"][self.routing_layers.index(layer)] @ x[-1]
                q = normalise(q.view(self.groups, self.heads // self.groups, self.dim))
                out.append(q.sum(1).flatten() / self.heads)
        return torch.stack(out)

    def contrastive(self, scores, scale, target, excluded):
        logits = (scores * scale).masked_fill(excluded, -math.inf)
        forth = -torch.log_softmax(logits, 1)[range(len(target)), target].mean()
        back = []
        for i, passage in enumerate(target):
            column = logits[:, passage]
            others = [j for j in range(len(target)) if j == i or target[j] != passage]
            back.append(-torch.log_softmax(column[others], 0)[others.index(i)])
        return (forth + torch.stack(back).mean()) / 2

    def taught(self, scores, scale, batch, teacher, temperature):
        """`teacher`: of the pack's questions and of its passages, unit rows and weights."""
        questions, question_weights = (of[batch["question_ids"]] for of in teacher["questions"])
        passages, passage_weights = (of[batch["passage_ids"]] for of in teacher["passages"])
        similarity = questions @ passages.T / temperature
        means = []
        for dim, weights in ((1, question_weights), (0, passage_weights)):
            each = -(torch.softmax(similarity, dim) * torch.log_softmax(scores * scale, dim)).sum(dim)
            means.append((each * weights).sum() / weights.sum())
        return sum(means) / 2

    def step(self, batch, phase, addressing, teacher):
        """The parts of the loss by name, and the whole."""
        still = phase["tower_factor"] == 0
        passages = [self.encode(t, batch["chunk_tokens"], still) for t in rows_of(batch["passages"])]
        queries = [self.queries(t) for t in rows_of(batch["questions"])]
        width = self.groups * self.dim
        weights = torch.softmax(self.values["router.weights"], 0)

        def scores_of(weigh):
            return torch.stack([torch.stack([
                sum(w * (keys[:, r * width:(r + 1) * width] @ query[r]) for r, w in enumerate(weigh)).max()
                for keys, _ in passages]) for query in queries])

        scores = scores_of(weights)
        if still:
            scores = scores.detach()
        scale = self.values["router.scale"].clamp(max=math.log(100)).exp()
        routable = batch["routable"]
        target = [batch["target"][q] for q in routable]
        excluded = torch.tensor(batch["excluded"]).view(len(queries), len(passages)).bool()[routable]
        parts, total = {}, 0
        if routable and not still:
            parts["contrastive"] = self.contrastive(scores[routable], scale, target, excluded)
            total = total + phase["contrastive_weight"] * parts["contrastive"]
            count = len(self.routing_layers)
            for r in range(count):
                alone = scores_of([1.0 if i == r else 0.0 for i in range(count)])
                total = total + (phase["contrastive_weight"] * phase["layer_weight"] / count *
                                 self.contrastive(alone[routable], scale, target, excluded))
        if not still:
            parts["teacher"] = self.taught(scores, scale, batch, teacher, phase["teacher_temperature"])
            total = total + phase["teacher_weight"] * parts["teacher"]
        if batch["rows"]["lengths"]:
            loss = self.read(batch, passages, scores, addressing)
            parts[["reconstruct", "stranger", "proceed", "answer"][batch["task"]]] = loss
            total = total + phase["reading_weight"] * loss
        return parts, total

    def attach(self, batch, scores):
        if batch["task"] != 3:
            return batch["attached"]
        out = []
        for row in batch["answer_rows"]:
            count = min(row["attach"], scores.shape[1])
            chosen = [] if row["absent"] else row["first"][:count]
            for p in scores[row["question"]].argsort(descending=True).tolist():
                if len(chosen) < count and p not in row["first"]:
                    chosen = chosen + [p]
            out.append(sorted(chosen))
        return out

    def log_softmax(self, hidden, positions):
        output = self.weights.get("lm_head.weight", self.weights["model.embed_tokens.weight"])
        hidden = torch.cat(hidden)[positions]
        return torch.log_softmax(rms_norm(hidden, self.weights["model.norm.weight"], self.epsilon) @ output.T, -1)

    def read(self, batch, passages, scores, addressing):
        rows, attached = rows_of(batch["rows"]), self.attach(batch, scores)
        hidden = []
        for i, (tokens, chosen) in enumerate(zip(rows, attached)):
            nothing = torch.zeros(0, self.groups, self.dim).double()
            latents = [tuple(torch.cat([nothing, *(passages[p][1][m][part] for p in chosen)]) for part in (0, 1))
                       for m in range(len(self.memory_layers))]
            bias = None
            if addressing and batch["task"] == 3:
                s = scores[batch["answer_rows"][i]["question"]]
                best = s[chosen].max()
                spread = torch.cat([(s[p] - best).expand(len(passages[p][0])) for p in chosen])
                bias = torch.relu(self.values["alpha"])[:, None] * spread[None]
            own = batch["beside_text"][i] and "text_reader.query.a" in self.values
            reader = self.updated("text_reader" if own else "reader")
            for _ in self.run(reader, tokens, self.query_offset, latents, bias):
                pass
            hidden.append(self.hidden)
        log_p = self.log_softmax(hidden, batch["positions"])
        nll = -log_p[range(len(log_p)), batch["targets"]]
        if batch["taught"]:
            told = []
            for tokens in rows_of(batch["told"]):
                for _ in self.run(self.plain, tokens, 0):
                    pass
                told.append(self.hidden)
            share = torch.tensor(batch["taught"]).double()
            teacher = self.log_softmax(told, batch["told_positions"]).detach().exp()
            nll = (1 - share) * nll - share * (teacher * log_p).sum(1)
        weights = torch.tensor(batch["weights"]).double()
        return (nll * weights).sum() / weights.sum()
