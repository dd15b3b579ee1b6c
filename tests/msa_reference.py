"""The mathematics of Memory Sparse Attention, written plainly: one token, one head, one chunk at a time.

Everything is f64 and nothing is batched, so that what the C++ computes can be compared with something
a reader can check against the formulas."""

import dataclasses
import math

import torch


@dataclasses.dataclass
class Memory:
    """Which layers keep memory, how they pool and how they route."""

    memory_layers: list
    routing_layers: list
    chunk_tokens: int
    query_offset: int = 16
    routing_weights: list = None  # w_l; None: uniform
    alpha: dict = dataclasses.field(default_factory=dict)  # by layer; absent: 0
    pool_score: dict = dataclasses.field(default_factory=dict)  # layer -> [G, hidden]
    pool_position: dict = dataclasses.field(default_factory=dict)  # layer -> [P, G]
    router_key: dict = dataclasses.field(default_factory=dict)  # layer -> [G D, hidden]
    router_query: dict = dataclasses.field(default_factory=dict)  # layer -> [H D, hidden]
    residual_key: dict = dataclasses.field(default_factory=dict)  # layer -> (U [G D, hidden], g [P, G D])
    residual_value: dict = dataclasses.field(default_factory=dict)
    tower: dict = dataclasses.field(default_factory=dict)  # (layer, projection) -> (a, b): W + b^T a
    reader: dict = dataclasses.field(default_factory=dict)


def rms_norm(x, weight, epsilon):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + epsilon) * weight


def normalise(x):
    return x / x.norm(dim=-1, keepdim=True)


class Reference:
    """A Llama or Qwen3 backbone with memory, from the weights of a transformers model."""

    def __init__(self, model, memory):
        c = model.config
        self.heads, self.groups = c.num_attention_heads, c.num_key_value_heads
        self.dim = getattr(c, "head_dim", None) or c.hidden_size // self.heads
        self.layers, self.epsilon = c.num_hidden_layers, c.rms_norm_eps
        self.weights = {k: v.detach().double() for k, v in model.state_dict().items()}
        self.frequencies = model.model.rotary_emb.inv_freq.double()
        self.memory = memory

    def weight(self, layer, name, updates=None):
        weight = self.weights.get(f"model.layers.{layer}.{name}.weight")
        a, b = (updates or {}).get((layer, name), (None, None))
        return weight if a is None else weight + b.double().T @ a.double()

    def rope(self, x, positions):
        """x [T, heads, D]: the two halves of a head are the parts of D / 2 complex numbers."""
        angles = positions.double()[:, None] * self.frequencies[None]
        cos, sin = torch.cos(angles)[:, None], torch.sin(angles)[:, None]
        a, b = x[..., : self.dim // 2], x[..., self.dim // 2 :]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def project(self, layer, x, positions, updates=None):
        """q [T, H, D], k and v [T, G, D] of a layer's normalised input."""
        q = (x @ self.weight(layer, "self_attn.q_proj", updates).T).view(-1, self.heads, self.dim)
        k = (x @ self.weight(layer, "self_attn.k_proj", updates).T).view(-1, self.groups, self.dim)
        v = (x @ self.weight(layer, "self_attn.v_proj", updates).T).view(-1, self.groups, self.dim)
        if self.weight(layer, "self_attn.q_norm") is not None:
            q = rms_norm(q, self.weight(layer, "self_attn.q_norm"), self.epsilon)
            k = rms_norm(k, self.weight(layer, "self_attn.k_norm"), self.epsilon)
        return self.rope(q, positions), self.rope(k, positions), v

    def attend(self, q, k, v, latent_k, latent_v, latent_bias):
        """Token t sees all latents and the local tokens up to itself, in one softmax."""
        out = torch.zeros_like(q)
        for t in range(q.shape[0]):
            for h in range(self.heads):
                g = h // (self.heads // self.groups)
                keys = torch.cat([latent_k[:, g], k[: t + 1, g]])
                values = torch.cat([latent_v[:, g], v[: t + 1, g]])
                logits = keys @ q[t, h] / math.sqrt(self.dim)
                logits[: len(latent_bias)] += latent_bias
                out[t, h] = torch.softmax(logits, 0) @ values
        return out

    def run(self, tokens, first_position=0, latents=None, scores=None, updates=None):
        """Yields (layer, normalised input, q, k, v) of each layer; the logits are self.logits after."""
        hidden = self.weights["model.embed_tokens.weight"][torch.tensor(tokens)]
        positions = torch.arange(first_position, first_position + len(tokens))
        for layer in range(self.layers):
            x = rms_norm(hidden, self.weight(layer, "input_layernorm"), self.epsilon)
            q, k, v = self.project(layer, x, positions, updates)
            yield layer, x, q, k, v
            latent_k = latent_v = torch.zeros(0, self.groups, self.dim, dtype=torch.float64)
            bias = torch.zeros(0, dtype=torch.float64)
            if latents is not None and layer in self.memory.memory_layers:
                index = self.memory.memory_layers.index(layer)
                latent_k, latent_v = latents[:, index, 0], latents[:, index, 1]
                bias = self.memory.alpha.get(layer, 0.0) * (scores - scores.max())
            attention = self.attend(q, k, v, latent_k, latent_v, bias).flatten(1)
            hidden = hidden + attention @ self.weight(layer, "self_attn.o_proj", updates).T
            x = rms_norm(hidden, self.weight(layer, "post_attention_layernorm"), self.epsilon)
            gate = torch.nn.functional.silu(x @ self.weight(layer, "mlp.gate_proj", updates).T)
            up = x @ self.weight(layer, "mlp.up_proj", updates).T
            hidden = hidden + (gate * up) @ self.weight(layer, "mlp.down_proj", updates).T
        hidden = rms_norm(hidden, self.weights["model.norm.weight"], self.epsilon)
        output = self.weights.get("lm_head.weight", self.weights["model.embed_tokens.weight"])
        self.logits = hidden @ output.T

    def forward(self, tokens, latents=None, scores=None):
        """Logits [T, vocab] with latents [N, layers, 2, G, D] and routing scores [N] attached."""
        attached = latents is not None
        offset, updates = (self.memory.query_offset, self.memory.reader) if attached else (0, None)
        for _ in self.run(tokens, offset, latents, scores, updates):
            pass
        return self.logits

    def pool_weights(self, layer, x):
        """a [tokens of one chunk, G]."""
        logits = torch.zeros(x.shape[0], self.groups, dtype=torch.float64)
        if layer in self.memory.pool_score:
            logits = logits + x @ self.memory.pool_score[layer].double().T
        if layer in self.memory.pool_position:
            logits = logits + self.memory.pool_position[layer].double()[: x.shape[0]]
        return torch.softmax(logits, 0)

    def residual(self, part, layer, x):
        """mean_i g_i * (U x_i) of one chunk's tokens, [G, D]."""
        if layer not in part:
            return 0.0
        matrix, position = (t.double() for t in part[layer])
        return torch.stack([position[i] * (matrix @ x[i]) for i in range(len(x))]).mean(0).view(
            self.groups, self.dim)

    def encode(self, passage):
        """Routing keys [chunks, E] and latents [chunks, layers, 2, G, D] of one passage."""
        size = self.memory.chunk_tokens
        chunks = [slice(i, min(i + size, len(passage))) for i in range(0, len(passage), size)]
        keys, latents = [[] for _ in chunks], [[] for _ in chunks]
        tower = self.memory.tower
        for layer, x, _, k, v in self.run(passage, updates=tower):
            if layer not in self.memory.memory_layers:
                continue
            router = self.memory.router_key.get(layer, self.weight(layer, "self_attn.k_proj", tower))
            r = (x @ router.double().T).view(-1, self.groups, self.dim)
            for c, tokens in enumerate(chunks):
                a = self.pool_weights(layer, x[tokens])[:, :, None]
                latents[c].append(torch.stack([
                    (a * k[tokens]).sum(0) + self.residual(self.memory.residual_key, layer, x[tokens]),
                    (a * v[tokens]).sum(0) + self.residual(self.memory.residual_value, layer, x[tokens])]))
                if layer in self.memory.routing_layers:
                    keys[c].append(normalise((a * r[tokens]).sum(0)))
        return (torch.stack([torch.cat(k).flatten() for k in keys]),
                torch.stack([torch.stack(l) for l in latents]))

    def head_queries(self, tokens):
        """q_h [routing layers, H, D] of the last token, each of unit length."""
        out = []
        tower = self.memory.tower
        for layer, x, *_ in self.run(tokens, updates=tower):
            if layer in self.memory.routing_layers:
                projection = self.memory.router_query.get(
                    layer, self.weight(layer, "self_attn.q_proj", tower))
                out.append(normalise((projection.double() @ x[-1]).view(self.heads, self.dim)))
        return torch.stack(out)

    def fold(self, queries):
        """One vector [E] whose product with a key is the score below."""
        weights = self.memory.routing_weights or [1 / len(queries)] * len(queries)
        group = self.heads // self.groups
        return torch.cat([
            (w / self.heads * q.view(self.groups, group, self.dim).sum(1)).flatten()
            for w, q in zip(weights, queries)
        ])

    def score(self, queries, key):
        """Unfolded: the mean over heads, then the weighted mean over layers, of q_h . r_g."""
        weights = self.memory.routing_weights or [1 / len(queries)] * len(queries)
        r = key.view(len(queries), self.groups, self.dim)
        group = self.heads // self.groups
        total = 0.0
        for layer, weight in enumerate(weights):
            for h in range(self.heads):
                total += weight / self.heads * float(queries[layer, h] @ r[layer, h // group])
        return total

    def route(self, queries, passages, top_k):
        """Indices of the best passages, each given by its keys: the maximum over its chunks."""
        scores = [max(self.score(queries, key) for key in keys) for keys in passages]
        return sorted(range(len(passages)), key=lambda p: (-scores[p], p))[:top_k]
