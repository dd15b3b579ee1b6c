"""`msa train pack` as a person calls it, and its file as Python reads it (docs/pack-format.md)."""

import hashlib
import importlib.util
import json
import pathlib

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import tokenizers
import torch
import transformers
import zstandard
from msa_command import DONE, FAILED, USAGE, Command

ROOT = pathlib.Path(__file__).resolve().parent.parent
STORY = " ".join(f"In {1900 + i} the boat number {i} of Captain Moberg sailed slowly to Berg{i}a." for i in range(40))
SECRET = "these thirteen words stand in the evaluation set and in no pack ever"


@pytest.fixture(scope="module")
def command(msa):
    return Command(msa)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    corpus = [{"title": "Boats", "text": STORY}, {"text": "Said once. " + SECRET}, {"text": STORY.upper()}]
    lines = "".join(json.dumps(row) + "\n" for row in corpus).encode()
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27, enable_ldm=True)
    (folder / "boats.jsonl.zst").write_bytes(zstandard.ZstdCompressor(compression_params=parameters).compress(lines))
    pairs = [
        {"query": "Who sailed?", "positive": STORY, "answer": "Captain Moberg", "standalone": True, "source": "x"},
        {"query": "Où est le café?", "positive": "Le café est là.", "title": "Ville", "standalone": False},
    ]
    (folder / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    (folder / "eval").mkdir()
    (folder / "eval" / "docs.jsonl").write_text(json.dumps({"id": "e", "text": SECRET}) + "\n")
    return folder


@pytest.fixture(scope="module")
def packed(command, inputs):
    arguments = [
        "train", "pack", "--out", inputs / "out.pack", "--corpus", inputs / "boats.jsonl.zst",
        "--pairs", inputs / "asked.jsonl", "--eval", inputs / "eval", "--vocab-out", inputs / "vocab.json",
        "--cut", 1, "--quote", 1, "--blank", 1, "--mention", 1, "--seed", 5,
    ]  # fmt: skip
    return inputs, command.json(*arguments)[0]


def test_report_counts_what_was_kept_and_dropped(packed):
    inputs, report = packed
    boats, asked = report["sources"]
    assert (boats["name"], boats["kind"], boats["rows"]) == ("boats", "corpus", 3)
    assert (boats["dropped_duplicates"], boats["dropped_overlap"]) == (1, 1)
    assert boats["sha256"] == hashlib.sha256((inputs / "boats.jsonl.zst").read_bytes()).hexdigest()
    # The first pair's text is the corpus's.
    assert (asked["rows"], asked["questions"], asked["passages"]) == (2, 2, 1)
    assert report["questions_by_kind"]["standalone"] == report["questions_by_kind"]["in_context"] == 1
    assert min(report["questions_by_kind"][kind] for kind in ("cut", "quotation", "blank", "mention")) > 0


def test_file_is_safetensors_with_the_promised_config(packed):
    inputs, report = packed
    with safetensors.safe_open(inputs / "out.pack", "np") as pack:
        assert pack.metadata()["format"] == "msa-pack" and pack.metadata()["format_version"] == "1"
        config = json.loads(pack.metadata()["config"])
        tensors = {name: pack.get_tensor(name) for name in pack.keys()}
    assert config["sources"] == report["sources"] and config["passage_tokens"] == 256
    assert tensors["tokens"].dtype == np.uint16 and len(tensors["tokens"]) == report["tokens"]
    assert len(tensors["passage_begin"]) == report["passages"] + 1
    vocabulary = teacher().Vocabulary(inputs / "vocab.json")
    assert vocabulary.fingerprint == config["tokenizer"]
    begin = tensors["passage_begin"]
    texts = vocabulary.decode([tensors["tokens"][begin[p] : begin[p + 1]] for p in range(report["passages"])])
    assert texts[0].startswith("Boats\nIn 1900 the boat") and texts[-1] == "Ville\nLe café est là."
    assert not any(SECRET in text for text in texts)
    begin = tensors["question_begin"]
    asked = vocabulary.decode([tensors["question_tokens"][begin[-3] : begin[-2]], tensors["question_tokens"][begin[-2] :]])
    assert asked == ["Who sailed?", "Où est le café?"]


def test_wrong_use_is_explained(command, inputs, tmp_path):
    out = ("--out", tmp_path / "p")
    command("train", status=USAGE)
    command("train", "pack", "--corpus", inputs / "boats.jsonl.zst", status=USAGE)
    command("train", "pack", *out, "--corpus", inputs / "boats.jsonl.zst", "--cut", 2, status=USAGE)
    assert "nothing to pack" in command("train", "pack", *out, status=FAILED).stderr
    run = command("train", "pack", *out, "--pairs", inputs / "boats.jsonl.zst", status=FAILED)
    assert 'boats.jsonl.zst, line 1: no string "query"' in run.stderr and not (tmp_path / "p").exists()
    run = command("train", "pack", *out, "--pairs", inputs / "asked.jsonl", "--limit-tokens", "asked", status=FAILED)
    assert "NAME=N" in run.stderr
    assert "--corpus" in command("train", "pack", "--help", status=DONE).stdout


# --- scripts/teacher.py ---


def teacher():
    spec = importlib.util.spec_from_file_location("teacher", ROOT / "scripts" / "teacher.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tiny_encoder(folder):
    """A random BERT over words of the story."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted(set(STORY.lower().replace(".", " .").split()))]
    vocab = {word: i for i, word in enumerate(words)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    torch.manual_seed(0)
    model = transformers.BertModel(
        transformers.BertConfig(
            vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
            initializer_range=0.5,
        )
    ).eval()  # fmt: skip
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer, model


def test_teacher_embeds_as_transformers_does(packed, tmp_path, monkeypatch):
    inputs, report = packed
    module = teacher()
    folder, small, out = tmp_path / "encoder", tmp_path / "small", tmp_path / "teacher.safetensors"
    folder.mkdir()
    tokenizer, model = tiny_encoder(folder)
    pack, vocab = str(inputs / "out.pack"), str(inputs / "vocab.json")

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["teacher.py", *map(str, arguments)])
        module.main()

    call(pack, "--minilm", folder, "--vocab", vocab, "--out", out, "--device", "cpu", "--batch", 2)
    with safetensors.safe_open(out, "pt") as file:
        metadata = file.metadata()
        vectors = {name: file.get_tensor(name).float() for name in file.keys()}
    assert metadata["pack_sha256"] == hashlib.sha256((inputs / "out.pack").read_bytes()).hexdigest()
    assert metadata["passages"] == str(report["passages"]) and metadata["questions"] == str(report["questions"])
    tensors = safetensors.numpy.load_file(pack)
    vocabulary = module.Vocabulary(vocab)
    for name, tokens, begin in (
        ("passages", tensors["tokens"], tensors["passage_begin"]),
        ("questions", tensors["question_tokens"], tensors["question_begin"]),
    ):
        assert vectors[name].shape == (len(begin) - 1, 32)
        for i, vector in enumerate(vectors[name]):
            ids = tokenizer.encode(vocabulary.decode([tokens[begin[i] : begin[i + 1]]])[0]).ids[:256]
            with torch.no_grad():
                mean = model(torch.tensor([ids])).last_hidden_state[0].mean(0)
            # f16 keeps 11 bits: half a unit in the last place of a component of at most 1.
            assert torch.allclose(vector, mean / mean.norm(), atol=2**-11)

    call("--minilm", folder, "--shrink", small)
    halves = safetensors.torch.load_file(small / "model.safetensors")
    assert all(t.dtype == torch.float16 for t in halves.values() if t.is_floating_point())
    call(pack, "--minilm", small, "--vocab", vocab, "--out", out, "--device", "cpu")
    again = safetensors.torch.load_file(out)["passages"].float()
    assert torch.nn.functional.cosine_similarity(again, vectors["passages"]).min() > 0.999


def test_teacher_refuses_another_vocabulary(packed, tmp_path, monkeypatch):
    inputs, _ = packed
    vocab = tmp_path / "vocab.json"
    vocab.write_text(json.dumps({"tokenizer": "another", "tokens": ["a"]}))
    arguments = [inputs / "out.pack", "--minilm", tmp_path, "--vocab", vocab, "--out", tmp_path / "t"]
    monkeypatch.setattr("sys.argv", ["teacher.py", *map(str, arguments)])
    with pytest.raises(SystemExit, match="another"):
        teacher().main()
