"""Models that the parity tests compare: small random ones as files of every kind, and the default model's
GGUF as a transformers model."""

import gguf
import numpy as np
import torch
import transformers

import tokenizer_models

SMOLLM2_GGUF = tokenizer_models.SMOLLM2_GGUF

TENSOR_NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    """model.layers.3.mlp.up_proj.weight -> blk.3.ffn_up.weight"""
    whole = {"model.embed_tokens.weight": "token_embd.weight",
             "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
    if name in whole:
        return whole[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{TENSOR_NAMES[rest.removesuffix('.weight')]}.weight"


def permute(weight, heads):
    """llama.cpp's order of a Llama model's query and key rows."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def unpermute(weight, heads):
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def heads_of(config, name):
    """The heads whose rows GGUF permutes in this tensor; 0: none."""
    if config.model_type != "llama":
        return 0
    return {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(
        name.split(".")[-2], 0)


def load_gguf(path, config):
    """The transformers model with the weights of a GGUF file, expanded to f32 by the gguf package."""
    tensors = {t.name: t for t in gguf.GGUFReader(path).tensors}
    kind = {"llama": transformers.LlamaForCausalLM, "qwen3": transformers.Qwen3ForCausalLM}
    model = kind[config.model_type](config).eval()
    state = model.state_dict()
    for name in state:
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        tensor = tensors[gguf_name(name)]
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if heads := heads_of(config, name):
            values = unpermute(values, heads)
        state[name].copy_(torch.from_numpy(np.ascontiguousarray(values)))
    return model


def smollm2():
    config = transformers.LlamaConfig(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
        num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=8192,
        rms_norm_eps=1e-5, rope_theta=100000.0, tie_word_embeddings=True)
    return load_gguf(SMOLLM2_GGUF, config)


TEXTS = ["The quick brown fox jumps over the lazy dog, 1234 times a day; isn't that odd?",
         "Memory keeps what a reader forgets. A question finds it again.",
         "def pool(x, n): return [sum(x[i:i + n]) / n for i in range(0, len(x), n)]"] * 20


def config_of(family, **changes):
    settings = dict(
        vocab_size=0, hidden_size=64, intermediate_size=96, num_hidden_layers=4,
        num_attention_heads=4, num_key_value_heads=2, head_dim=32, max_position_embeddings=512,
        tie_word_embeddings=family == "qwen3", initializer_range=0.3)
    settings.update(changes)
    kind = {"llama": transformers.LlamaConfig, "qwen3": transformers.Qwen3Config}[family]
    return kind(**settings)


class Tiny:
    """A random model: `model` in transformers, `folder` on disk, `tokenizer` as tokenizer_models has it."""

    def __init__(self, folder, family, seed, max_shard_size="5GB", **changes):
        folder.mkdir(parents=True)
        self.family, self.folder = family, folder
        make = {"llama": tokenizer_models.llama3, "qwen3": tokenizer_models.qwen3}[family]
        self.tokenizer = make(folder, TEXTS)
        self.tokenizer.path.rename(folder / "tokenizer.json")
        changes.setdefault("vocab_size", self.tokenizer.hf.get_vocab_size() + 5)
        torch.manual_seed(seed)
        kind = {"llama": transformers.LlamaForCausalLM, "qwen3": transformers.Qwen3ForCausalLM}[family]
        self.model = kind(config_of(family, **changes)).eval()
        for name, parameter in self.model.named_parameters():
            if "norm" in name:  # all ones would hide a norm that is left out
                torch.nn.init.uniform_(parameter, 0.5, 1.5)
        self.model.save_pretrained(folder, max_shard_size=max_shard_size)

    def write_gguf(self, path, matrix_type):
        """The same model as GGUF, its matrices in `matrix_type` (a name of the gguf package)."""
        config = self.model.config
        writer = gguf.GGUFWriter(path, self.family)
        writer.add_name("tiny")
        writer.add_context_length(config.max_position_embeddings)
        writer.add_embedding_length(config.hidden_size)
        writer.add_feed_forward_length(config.intermediate_size)
        writer.add_block_count(config.num_hidden_layers)
        writer.add_head_count(config.num_attention_heads)
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_key_length(config.head_dim)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
        tokenizer_models.add_tokenizer(
            writer, self.tokenizer, {"llama": "llama-bpe", "qwen3": "qwen2"}[self.family])
        if config.rope_parameters["rope_type"] == "llama3":
            plain = config.rope_parameters["rope_theta"] ** (
                -np.arange(0, config.head_dim, 2, dtype=np.float32) / config.head_dim)
            scaled = self.model.model.rotary_emb.inv_freq.numpy()
            writer.add_tensor("rope_freqs.weight", (plain / scaled).astype(np.float32))
        kind = gguf.GGMLQuantizationType[matrix_type]
        for name, value in self.model.state_dict().items():
            if name == "lm_head.weight" and config.tie_word_embeddings:
                continue
            values = value.numpy()
            if heads := heads_of(config, name):
                values = permute(values, heads)
            tensor_kind = kind if values.ndim == 2 else gguf.GGMLQuantizationType.F32
            data = gguf.quants.quantize(np.ascontiguousarray(values), tensor_kind)
            writer.add_tensor(gguf_name(name), data, raw_dtype=tensor_kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path
