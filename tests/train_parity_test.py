"""A training step in C++ against the plain reference: every part of the loss, every gradient."""

import json
import os
import subprocess

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import model_files
from train_reference import TrainReference

TEXT = [f"{name} was born in {place}. It was {year}. {name} built a {thing} there. The {thing} stands still. "
        f"Few in {place} forgot {name}. By {year + 40} there was a second {thing}. It fell."
        for name, place, year, thing in [
            ("Ada", "Turin", 1815, "mill"), ("Bela", "Riga", 1790, "bridge"), ("Cyrus", "Oslo", 1850, "tower"),
            ("Dora", "Lima", 1901, "garden"), ("Emil", "Bern", 1877, "clock"), ("Fanny", "Cork", 1833, "harbour")]]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    corpus, pairs = folder / "corpus.jsonl", folder / "pairs.jsonl"
    corpus.write_text("".join(json.dumps({"id": str(i), "title": t.split()[0], "text": t, "source": "made"}) + "\n"
                              for i, t in enumerate(TEXT)))
    pairs.write_text("".join(json.dumps({
        "query": f"Where was {t.split()[0]} born?", "positive": "It is told that " + t, "answer": t.split()[4],
        "source": "asked", "standalone": i % 3 > 0}) + "\n" for i, t in enumerate(TEXT)))
    return folder, corpus, pairs


TEACHER_WEIGHTS = {"corpus": 0.3}


def write_teacher(pack, path):
    """Unit rows for each question and passage of the pack, and how much each counts."""
    with safe_open(pack, "pt") as file:
        sources = {"questions": file.get_tensor("question_source"), "passages": file.get_tensor("passage_source")}
        names = [source["name"] for source in json.loads(file.metadata()["config"])["sources"]]
    torch.manual_seed(11)
    rows = {name: torch.nn.functional.normalize(torch.randn(len(of), 5), dim=1).half() for name, of in sources.items()}
    save_file(rows, path)
    weights = torch.tensor([TEACHER_WEIGHTS.get(name, 1) for name in names]).double()
    assert len(set(weights.tolist())) == 2, "one weight for all proves little"
    return {name: (tensor.double(), weights[sources[name]]) for name, tensor in rows.items()}


def write_pack(files, tiny, path, msa):
    _, corpus, pairs = files
    subprocess.run([msa, "train", "pack", "--out", path, "--model", tiny.folder, "--passage-tokens", "128",
                    "--corpus", corpus, "--pairs", pairs, "--cut", "1", "--quote", "1", "--blank", "1", "--quiet"],
                   check=True)
    return path


PHASE = {"steps": 4, "questions": 5, "cut_share": 0.4, "one_source": 0.5, "more_passages": 2, "attach": 3,
         "made_share": 0.4, "text_share": 0.3, "texts": 3, "absent_share": 0.2, "text_teacher": 0.6,
         "beside_text_teacher": 0.2, "stranger_teacher": 0.7,
         "span_share": 0.5, "beside": 2, "layer_weight": 0.5, "contrastive_weight": 1.5, "reading_weight": 0.7,
         "teacher_weight": 2.5, "teacher_temperature": 0.2, "tower_factor": 1}
TASKS = ["reconstruct", "stranger", "proceed", "answer"]


@pytest.mark.parametrize(("family", "task", "devices", "changed"), [
    *((family, task, "cpu", {}) for family in ("llama", "qwen3") for task in TASKS),
    ("llama", "reconstruct", "cpu,cpu", {}),
    ("qwen3", "proceed", "cpu,cpu,cpu", {}),
    ("llama", "reconstruct", "cpu", {"tower_factor": 0}),
    ("qwen3", "answer", "cpu", {"tower_factor": 0}),
    ("llama", "answer", "cpu", {"attach": 0, "text_share": 1}),
    ("qwen3", "answer", "cpu", {"text_reader_rank": 1}),
    ("llama", "answer", "cpu", {"text_reader_rank": 2, "text_share": 1, "absent_share": 0, "tower_factor": 0}),
])
def test_losses_and_gradients_equal_the_reference(files, tmp_path, build_dir, msa, family, task, devices, changed):
    changed = dict(changed)
    ranks = {"tower_rank": 3, "reader_rank": 2, "text_reader_rank": changed.pop("text_reader_rank", 0)}
    tiny = model_files.Tiny(tmp_path / "model", family, seed=3, initializer_range=0.1)  # well conditioned in f32
    pack = write_pack(files, tiny, tmp_path / "tiny.pack", msa)
    teacher = write_teacher(pack, tmp_path / "teacher.safetensors")
    phase = PHASE | {"name": "test", "reconstruct": 0, "stranger": 0, "proceed": 0, "answer": 0, task: 1} | changed
    addressing = task == "answer" and phase["attach"] > 0
    config = {"device": devices, "model": str(tiny.folder), "pack": str(pack), "output": str(tmp_path / "out"),
              "teacher": str(tmp_path / "teacher.safetensors"), "teacher_weights": TEACHER_WEIGHTS,
              "chat_template": {"llama": "llama3", "qwen3": "qwen3"}[family], "memory_layers": [1, 2, 3],
              "routing_layers": [2, 3], "chunk_tokens": 4, "chunk_shares": {"4": 1, "7": 1},
              "addressing": addressing, "micro_tokens": 60, "phases": [phase], **ranks}
    (tmp_path / "config.json").write_text(json.dumps(config))
    for step in range(2):
        out = tmp_path / f"step{step}.safetensors"
        subprocess.run([build_dir / "bin" / "msa_train_tool", tmp_path / "config.json", str(step), out], check=True,
                       env=os.environ | {"OMP_NUM_THREADS": "1"})
        with safe_open(out, "pt") as file:
            batch = json.loads(file.metadata()["step"])
            values = {name.removeprefix("value."): file.get_tensor(name).double().requires_grad_()
                      for name in file.keys() if name.startswith("value.")}
            gradients = {name.removeprefix("gradient."): file.get_tensor(name).double()
                         for name in file.keys() if name.startswith("gradient.")}
        reference = TrainReference(tiny.model, values, [1, 2, 3], [2, 3])
        parts, total = reference.step(batch, phase, addressing, teacher)
        total.backward()
        assert batch["rows"]["lengths"], "the step reads nothing"
        assert parts.keys() == batch["parts"].keys() - {"accuracy"}
        for name, value in parts.items():
            assert batch["parts"][name] == pytest.approx(value.item(), rel=1e-4), name
        for name, value in values.items():
            expected = torch.zeros_like(value) if value.grad is None else value.grad
            # f32 against f64 through four layers: rounding adds up over a tensor, so by its norm.
            assert (gradients[name] - expected).norm().item() <= 1e-4 * max(expected.norm().item(), 1e-2), (name, step)


def test_a_prompt_holds_the_texts_of_passages_that_are_attached(files, tmp_path, build_dir, msa):
    tiny = model_files.Tiny(tmp_path / "model", "llama", seed=3)
    pack = write_pack(files, tiny, tmp_path / "tiny.pack", msa)
    phase = PHASE | {"steps": 8, "reconstruct": 0, "stranger": 0, "proceed": 0, "answer": 1, "attach": 1,
                     "text_share": 1, "absent_share": 0, "texts": 3}
    config = {"model": str(tiny.folder), "pack": str(pack), "output": str(tmp_path / "out"), "chat_template": "llama3",
              "phases": [phase]}
    (tmp_path / "config.json").write_text(json.dumps(config))

    def decode(rows):
        tokens = iter(rows["tokens"])
        for length in rows["lengths"]:
            yield tiny.tokenizer.hf.decode([next(tokens) for _ in range(length)])

    def one_line(text):
        return " ".join(text.split())

    counts = set()
    for step in range(4):
        out = tmp_path / "step.safetensors"
        subprocess.run([build_dir / "bin" / "msa_train_tool", tmp_path / "config.json", str(step), out], check=True)
        with safe_open(out, "pt") as file:
            batch = json.loads(file.metadata()["step"])
        passages = [one_line(text.partition("\n")[2] or text) for text in decode(batch["passages"])]
        for row, prompt in zip(batch["answer_rows"], decode(batch["rows"]), strict=True):
            first = {passages[p] for p in row["first"]}
            assert all(text in one_line(prompt) for text in first)
            assert all(any(text in other for other in first) for text in passages if text in one_line(prompt))
            assert batch["asked"][row["question"]] in row["first"] and row["attach"] == len(row["first"])
            counts.add(len(row["first"]))
    assert counts == {1, 2, 3}
