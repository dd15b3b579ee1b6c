"""The model equals transformers on the same weights, and the memory equals tests/msa_reference.py."""

import json
import os
import random

import numpy as np
import pytest
import safetensors.torch
import torch

import model_files
import msa_reference
from model_process import ModelError, ModelProcess

torch.set_num_threads(1)  # models this small only lose by more

LOGIT_TOLERANCE = 1e-3
# f32 against f64 over a few layers of unit-sized values; ten times what was seen.
MEMORY_TOLERANCE = 2e-4

PROMPT = ("The old lighthouse keeper wrote in his log every evening. On the third of March he noted "
          "that the supply ship had not come for eleven days, and that")


def build(folder, kind):
    """A tiny model's folder or GGUF file, and the transformers model with the weights it holds."""
    family, storage, *scaled = kind.split("-")
    changes = {}
    if storage == "sharded":
        changes = {"max_shard_size": "100KB"}
    if scaled:
        changes = {"rope_parameters": {
            "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 64}}
    tiny = model_files.Tiny(folder / "model", family, seed=5, **changes)
    if storage == "sharded":
        assert len(list(tiny.folder.glob("*.safetensors"))) > 1
    if storage in ("plain", "sharded"):
        return tiny, tiny.folder, tiny.model
    path = tiny.write_gguf(folder / "model.gguf", storage)
    return tiny, path, model_files.load_gguf(path, tiny.model.config)


@pytest.fixture(scope="module")
def smollm2():
    return model_files.smollm2()


def encode_text(tokenizer, text, special=False):
    return tokenizer.encode([text], special)[0]


def random_tokens(count, vocab_size, seed):
    return random.Random(seed).choices(range(vocab_size), k=count)


def hf_logits(model, tokens):
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].numpy()


def hf_greedy(model, tokens, steps):
    """Not generate(), which takes some tokens for padding and stops at others."""
    out, fed, cache = [], torch.tensor([tokens]), None
    with torch.no_grad():
        for _ in range(steps):
            step = model(fed, past_key_values=cache, use_cache=True)
            fed, cache = step.logits[:, -1:].argmax(-1), step.past_key_values
            out.append(int(fed))
    return out


def check_backbone(process, model, tokens):
    got = process("logits", tokens=tokens, split=len(tokens) // 3)["logits"]
    assert np.abs(got - hf_logits(model, tokens)).max() < LOGIT_TOLERANCE
    prompt = tokens[: len(tokens) // 2]
    assert process("greedy", tokens=prompt, steps=64)["tokens"] == hf_greedy(model, prompt, 64)


@pytest.mark.parametrize("kind", [
    "llama-plain", "llama-sharded", "llama-plain-scaled", "llama-F32-scaled", "llama-F16", "llama-BF16", "llama-Q8_0",
    "llama-Q4_0", "llama-Q4_1", "qwen3-plain", "qwen3-sharded", "qwen3-F32", "qwen3-Q8_0"])
def test_tiny_backbones_equal_transformers(build_dir, tmp_path, kind):
    tiny, path, model = build(tmp_path, kind)
    tokens = random_tokens(150, tiny.model.config.vocab_size, seed=1)
    memory = {"passage_tokens": 128, "chunk_tokens": 16}
    with ModelProcess(build_dir, path, memory=memory) as process:
        check_backbone(process, model, tokens)


def test_smollm2_equals_transformers(build_dir, smollm2):
    tokens = encode_text(model_files.tokenizer_models.smollm2(), PROMPT)
    with ModelProcess(build_dir, model_files.SMOLLM2_GGUF) as process:
        check_backbone(process, smollm2, tokens)


def test_a_long_prompt_equals_its_tokens_one_by_one(build_dir, tmp_path):
    """Prefill goes in blocks; positions and masks must not notice."""
    tiny, path, model = build(tmp_path, "qwen3-plain")
    model.config.max_position_embeddings = 2048
    model.config.save_pretrained(path)
    tokens = random_tokens(1100, tiny.model.config.vocab_size, seed=2)
    with ModelProcess(build_dir, path) as process:
        got = process("logits", tokens=tokens)["logits"]
    assert np.abs(got - hf_logits(model, tokens)).max() < LOGIT_TOLERANCE


# ---- memory ----

MEMORY_LAYERS = [1, 2]
ROUTING_LAYERS = [1, 2]
CHUNK = 8
LENGTHS = [8, 1, 37, 5, 64, 16, 63]  # whole, one token, ragged, shorter than a chunk, all of W


def memory_options(**changes):
    return {"passage_tokens": 64, "chunk_tokens": CHUNK, "memory_layers": MEMORY_LAYERS,
            "routing_layers": ROUTING_LAYERS, "query_offset": 7, **changes}


MATRICES = {"query": "self_attn.q_proj", "key": "self_attn.k_proj", "value": "self_attn.v_proj",
            "output": "self_attn.o_proj", "gate": "mlp.gate_proj", "up": "mlp.up_proj",
            "down": "mlp.down_proj"}
MAX_CHUNK = CHUNK + 3  # more rows than positions in a chunk: the last are unused


def trained_memory(model, seed):
    """An adapter with everything in it; ranks differ, and some matrices have no update."""
    generator = torch.Generator().manual_seed(seed)
    c = model.config
    groups, hidden = c.num_key_value_heads, c.hidden_size
    kv = groups * c.head_dim

    def matrix(rows, columns, scale):
        return scale * torch.randn(rows, columns, generator=generator)

    def updates(layers, without):
        out = {}
        for l in layers:
            for i, (name, projection) in enumerate(MATRICES.items()):
                outputs, inputs = model.state_dict()[f"model.layers.{l}.{projection}.weight"].shape
                rank = 1 + (l + i) % 5
                if name != without:
                    out[l, projection] = matrix(rank, inputs, 0.2), matrix(rank, outputs, 0.3)
        return out

    def residual():
        return {l: (matrix(kv, hidden, 0.2), matrix(MAX_CHUNK, kv, 1.0)) for l in MEMORY_LAYERS}

    return msa_reference.Memory(
        MEMORY_LAYERS, ROUTING_LAYERS, CHUNK, query_offset=7, routing_weights=[0.25, 0.75],
        alpha={1: 4.0, 2: 10.0},
        pool_score={l: matrix(groups, hidden, 0.2) for l in MEMORY_LAYERS},
        pool_position={l: matrix(MAX_CHUNK, groups, 1.0) for l in MEMORY_LAYERS},
        router_key={l: matrix(kv, hidden, 0.2) for l in ROUTING_LAYERS},
        router_query={l: matrix(c.num_attention_heads * c.head_dim, hidden, 0.2)
                      for l in ROUTING_LAYERS},
        residual_key=residual(), residual_value=residual(),
        tower=updates([0, 1, 2], without="up"), reader=updates([1, 2, 3], without="value"))


def adapter_tensors(memory):
    """The tensors of an adapter by their names in the file."""
    tensors = {}
    for name, by_layer in (("pool.score", memory.pool_score),
                           ("pool.position", memory.pool_position),
                           ("router.key", memory.router_key),
                           ("router.query", memory.router_query)):
        tensors |= {f"layers.{l}.{name}": t for l, t in by_layer.items()}
    for part, by_layer in (("key", memory.residual_key), ("value", memory.residual_value)):
        for l, (matrix, position) in by_layer.items():
            tensors |= {f"layers.{l}.residual.{part}": matrix,
                        f"layers.{l}.residual.{part}_position": position}
    short = {projection: name for name, projection in MATRICES.items()}
    for part, updates in (("tower", memory.tower), ("reader", memory.reader)):
        for (l, projection), (a, b) in updates.items():
            tensors |= {f"{part}.{l}.{short[projection]}.a": a, f"{part}.{l}.{short[projection]}.b": b}
    return tensors


def save_adapter(path, model, memory, tensors=None, **changes):
    c = model.config
    config = {
        "backbone": {"hidden_size": c.hidden_size, "intermediate_size": c.intermediate_size,
                     "num_layers": c.num_hidden_layers, "num_heads": c.num_attention_heads,
                     "num_kv_heads": c.num_key_value_heads, "head_dim": c.head_dim},
        "chunk_tokens": CHUNK, "max_chunk_tokens": MAX_CHUNK, "memory_layers": memory.memory_layers,
        "routing_layers": memory.routing_layers, "routing_weights": memory.routing_weights,
        "alpha": [memory.alpha[l] for l in memory.memory_layers], "latent_weight": 0.4, **changes}
    safetensors.torch.save_file(tensors or adapter_tensors(memory), path, metadata={
        "format": "msa-adapter", "format_version": "1", "config": json.dumps(config)})
    return path


@pytest.fixture(params=["llama-plain", "qwen3-plain", "llama-plain-trained", "qwen3-plain-trained"])
def memory_case(request, build_dir, tmp_path):
    """(process, reference) of one backbone, untrained or with an adapter."""
    kind, _, trained = request.param.partition("-trained")
    trained = request.param.endswith("-trained")
    tiny, path, model = build(tmp_path, request.param.removesuffix("-trained"))
    options = {"memory": memory_options()}
    memory = msa_reference.Memory(MEMORY_LAYERS, ROUTING_LAYERS, CHUNK, query_offset=7)
    if trained:
        memory = trained_memory(model, seed=9)
        options["adapter"] = str(save_adapter(tmp_path / "adapter.safetensors", model, memory))
    with ModelProcess(build_dir, path, **options) as process:
        process.tiny = tiny
        yield process, msa_reference.Reference(model, memory)


def passages_of(tiny, lengths, seed=3):
    return [random_tokens(n, tiny.model.config.vocab_size, seed + i) for i, n in enumerate(lengths)]


def encode_reference(reference, passages):
    encoded = [reference.encode(p) for p in passages]
    return [k for k, _ in encoded], [l for _, l in encoded]


@pytest.mark.parametrize("lengths", [LENGTHS, [5], [64], [1]])
def test_encode_equals_the_reference(memory_case, lengths):
    process, reference = memory_case
    passages = passages_of(process.tiny, lengths)
    got = process("encode", passages=passages)
    keys, latents = encode_reference(reference, passages)
    assert got["chunks"] == [len(k) for k in keys]
    assert np.abs(got["keys"] - torch.cat(keys).numpy()).max() < MEMORY_TOLERANCE
    assert np.abs(got["latents"] - torch.cat(latents).numpy()).max() < MEMORY_TOLERANCE


def test_a_passage_encodes_alone_as_in_company(memory_case):
    process, _ = memory_case
    passages = passages_of(process.tiny, LENGTHS)
    together = process("encode", passages=passages)
    begin = 0
    for passage, chunks in zip(passages, together["chunks"]):
        alone = process("encode", passages=[passage])
        end = begin + chunks
        assert np.abs(alone["keys"] - together["keys"][begin:end]).max() < MEMORY_TOLERANCE
        assert np.abs(alone["latents"] - together["latents"][begin:end]).max() < MEMORY_TOLERANCE
        begin = end


def test_route_equals_the_reference(memory_case):
    """Without a chat template the question's own last token asks. Fewer passages than k: all come."""
    process, reference = memory_case
    question = "What did the reader forget, and 12 times?"
    tokens = encode_text(process.tiny.tokenizer, question)
    queries = reference.head_queries(tokens)
    folded = process("route", question=question)["query"]
    assert np.abs(folded - reference.fold(queries).numpy()).max() < MEMORY_TOLERANCE

    passages = passages_of(process.tiny, LENGTHS)
    keys, _ = encode_reference(reference, passages)
    for top_k in (3, 16):
        plain = reference.route(queries, keys, top_k)
        scores = [float((k.float().numpy() @ folded).max()) for k in keys]
        assert sorted(range(len(keys)), key=lambda p: -scores[p])[:top_k] == plain
        assert len(plain) == min(top_k, len(passages))


@pytest.mark.parametrize("lengths", [LENGTHS, [3]])
def test_attend_equals_the_reference(memory_case, lengths):
    process, reference = memory_case
    passages = passages_of(process.tiny, lengths)
    latents = torch.cat([reference.encode(p)[1] for p in passages])
    scores = torch.linspace(0.1, 0.9, len(latents), dtype=torch.float64)
    memory = {"latents": latents.flatten().tolist(), "scores": scores.tolist()}
    tokens = random_tokens(21, process.tiny.model.config.vocab_size, seed=4)
    expected = reference.forward(tokens, latents, scores).numpy()
    for split in (0, 1, 20):
        got = process("logits", tokens=tokens, split=split, memory=memory)["logits"]
        assert np.abs(got - expected).max() < LOGIT_TOLERANCE


def check_close(got, expected, mean_cosine=0.99):
    """Integer products round activations, and weights too unless the file holds the same blocks; a
    random model amplifies that. Any part of the formulas left out brings the mean below .975."""
    a, b = (np.asarray(x, dtype=np.float64).reshape(-1, np.shape(x)[-1]) for x in (got, expected))
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosines.mean() > mean_cosine
    ratio = np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert abs(np.median(ratio) - 1) < 0.02


@pytest.mark.parametrize("kind, weights, trained", [
    ("llama-plain", "i8", False), ("llama-plain", "i8", True), ("qwen3-plain", "i8", True),
    ("llama-Q8_0", "i8", False), ("llama-Q4_1", "i4", True), ("llama-Q4_0", "i4", False)])
def test_integer_products_stay_close_to_the_reference(build_dir, tmp_path, kind, weights, trained):
    tiny, path, model = build(tmp_path, kind)
    options = {"memory": memory_options(), "weights": weights}
    memory = msa_reference.Memory(MEMORY_LAYERS, ROUTING_LAYERS, CHUNK, query_offset=7)
    if trained:
        memory = trained_memory(model, seed=9)
        options["adapter"] = str(save_adapter(tmp_path / "adapter.safetensors", model, memory))
    reference = msa_reference.Reference(model, memory)
    passages = passages_of(tiny, LENGTHS)
    keys, latents = (torch.cat(part) for part in encode_reference(reference, passages))
    question = "What did the reader forget, and 12 times?"
    query = reference.fold(reference.head_queries(encode_text(tiny.tokenizer, question)))
    tokens = random_tokens(40, tiny.model.config.vocab_size, seed=4)
    scores = torch.linspace(0.1, 0.9, len(latents), dtype=torch.float64)
    attached = {"latents": latents.flatten().tolist(), "scores": scores.tolist()}
    with ModelProcess(build_dir, path, threads=2, **options) as process:
        got = process("encode", passages=passages)
        check_close(got["keys"], keys)
        check_close(got["latents"], latents)
        check_close([process("route", question=question)["query"]], query[None])
        whole = process("logits", tokens=tokens, memory=attached)["logits"]
        check_close(whole, reference.forward(tokens, latents, scores), 0.98)
        for split in (1, 39):  # one row shares its products between threads, many do not
            assert np.allclose(process("logits", tokens=tokens, split=split, memory=attached)["logits"],
                               whole, atol=1e-3)
        plain = process("logits", tokens=tokens)["logits"]
        check_close(plain, hf_logits(model, tokens), 0.98)


def test_smollm2_in_8_bits_keeps_its_latents(build_dir):
    """The project's bar for integer products: mean cosine of k, v and r at least .995."""
    passages = [encode_text(model_files.tokenizer_models.smollm2(), PROMPT)] * 2
    encoded = []
    for weights in ("f32", "i8"):
        with ModelProcess(build_dir, model_files.SMOLLM2_GGUF, weights=weights) as process:
            encoded.append(process("encode", passages=passages))
    for name in ("keys", "latents"):
        a, b = (e[name].reshape(-1, 64).astype(np.float64) for e in encoded)
        cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert cosines.mean() > 0.995


@pytest.mark.parametrize("weights", ["f32", "i8", "i4"])
def test_without_memory_an_adapter_changes_no_logit(build_dir, tmp_path, weights):
    if weights != "f32" and os.environ.get("MSA_TEST_DEVICE", "cpu") != "cpu":
        pytest.skip("integer weights run on the cpu")
    tiny, path, model = build(tmp_path, "llama-plain")
    adapter = save_adapter(tmp_path / "adapter.safetensors", model, trained_memory(model, seed=9))
    tokens = random_tokens(30, tiny.model.config.vocab_size, seed=6)
    options = {"memory": memory_options(), "weights": weights}
    with ModelProcess(build_dir, path, **options) as process:
        plain = process("logits", tokens=tokens)["logits"]
    with ModelProcess(build_dir, path, adapter=str(adapter), **options) as process:
        assert np.array_equal(process("logits", tokens=tokens)["logits"], plain)
        assert process("info")["latent_weight"] == 0.4


@pytest.mark.parametrize("chunk", [1, 5, MAX_CHUNK])
def test_one_adapter_serves_several_rates(build_dir, tmp_path, chunk):
    tiny, path, model = build(tmp_path, "llama-plain")
    memory = trained_memory(model, seed=9)
    adapter = save_adapter(tmp_path / "adapter.safetensors", model, memory)
    memory.chunk_tokens = chunk
    keys, latents = encode_reference(msa_reference.Reference(model, memory), passages_of(tiny, LENGTHS))
    with ModelProcess(build_dir, path, memory=memory_options(chunk_tokens=chunk),
                      adapter=str(adapter)) as process:
        got = process("encode", passages=passages_of(tiny, LENGTHS))
    assert np.abs(got["keys"] - torch.cat(keys).numpy()).max() < MEMORY_TOLERANCE
    assert np.abs(got["latents"] - torch.cat(latents).numpy()).max() < MEMORY_TOLERANCE


def test_the_adapter_says_how_long_chunks_are(build_dir, tmp_path):
    _, path, model = build(tmp_path, "llama-plain")
    adapter = save_adapter(tmp_path / "adapter.safetensors", model, trained_memory(model, seed=9))
    options = {"passage_tokens": 64, "query_offset": 7}
    with ModelProcess(build_dir, path, memory=options, adapter=str(adapter)) as process:
        memory = process("info")["memory"]
    assert memory["chunk_tokens"] == CHUNK and memory["memory_layers"] == MEMORY_LAYERS
    with pytest.raises(ModelError, match=f"at most {MAX_CHUNK} tokens"):
        ModelProcess(build_dir, path, memory={**options, "chunk_tokens": MAX_CHUNK + 1},
                     adapter=str(adapter))


def stored(tensor, dtype):
    """Tensors of a file that holds `tensor` in fewer bits, by what follows its name, and the values then."""
    if dtype != torch.int8:
        return {"": tensor.to(dtype)}, tensor.to(dtype).float()
    scale = tensor.abs().amax(1) / 127
    rows = (tensor / scale[:, None]).round().to(torch.int8)
    return {"": rows, ".scale": scale}, rows.float() * scale[:, None]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int8])
def test_an_adapter_may_be_stored_in_fewer_bits(build_dir, tmp_path, dtype):
    tiny, path, model = build(tmp_path, "llama-plain")
    memory = trained_memory(model, seed=9)
    tensors = {}
    for name, tensor in adapter_tensors(memory).items():
        held, values = stored(tensor, dtype)
        tensors |= {name + suffix: t for suffix, t in held.items()}
        tensor.copy_(values)  # what the reference reads
    adapter = save_adapter(tmp_path / "adapter.safetensors", model, memory, tensors)
    passages = passages_of(tiny, [37, 5])
    reference = msa_reference.Reference(model, memory)
    keys, latents = (torch.cat(part) for part in encode_reference(reference, passages))
    with ModelProcess(build_dir, path, memory=memory_options(), adapter=str(adapter)) as process:
        got = process("encode", passages=passages)
    assert np.abs(got["keys"] - keys.numpy()).max() < MEMORY_TOLERANCE
    assert np.abs(got["latents"] - latents.numpy()).max() < MEMORY_TOLERANCE


def test_a_question_is_routed_in_the_adapters_template(build_dir, tmp_path):
    """Special tokens count in the template and nowhere else."""
    tiny, path, model = build(tmp_path, "llama-plain")
    memory = trained_memory(model, seed=9)
    template = {"prefix": "<|begin_of_text|>question: ", "suffix": " answer:<|end_of_text|>"}
    question = "What did<|end_of_text|> the reader forget?"
    tokens = (encode_text(tiny.tokenizer, template["prefix"], special=True)
              + encode_text(tiny.tokenizer, question)
              + encode_text(tiny.tokenizer, template["suffix"], special=True))
    reference = msa_reference.Reference(model, memory)
    adapter = save_adapter(tmp_path / "adapter.safetensors", model, memory, question=template)
    with ModelProcess(build_dir, path, memory=memory_options(), adapter=str(adapter)) as process:
        got = process("route", question=question)["query"]
    assert np.abs(got - reference.fold(reference.head_queries(tokens)).numpy()).max() < MEMORY_TOLERANCE


def test_smollm2_routes_by_the_end_of_the_question(build_dir, smollm2):
    """In the model's chat template, at the token that ends the user's turn."""
    reference = msa_reference.Reference(smollm2, msa_reference.Memory([29], [29], 64))
    question = "Where is the ship?"
    text = ("<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
            f"<|im_end|>\n<|im_start|>user\n{question}<|im_end|>")
    tokens = encode_text(model_files.tokenizer_models.smollm2(), text, special=True)
    expected = reference.fold(reference.head_queries(tokens)).numpy()
    memory = {"memory_layers": [29], "routing_layers": [29]}
    with ModelProcess(build_dir, model_files.SMOLLM2_GGUF, memory=memory) as process:
        got = process("route", question=question)["query"]
    assert np.abs(got - expected).max() < MEMORY_TOLERANCE
