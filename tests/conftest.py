"""What the Python tests share: the programs under test, a tiny model, and a file of many documents."""

import json
import os
import pathlib
import random
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def build_dir():
    """Build folder under test: $MSA_BUILD_DIR, which ctest sets, else the release preset's."""
    return pathlib.Path(os.environ.get("MSA_BUILD_DIR", ROOT / "build" / "release"))


@pytest.fixture(scope="session")
def msa(build_dir):
    """The `msa` command."""
    program = build_dir / "bin" / "msa"
    assert program.is_file(), f"{program} is not built: scripts/setup, or cmake --build {build_dir}"
    return program


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A Hugging Face folder of a random two-layer Llama, where the model's own time must not count."""
    sys.path.insert(0, str(ROOT / "bench"))
    import tiny_model

    folder = tmp_path_factory.mktemp("tiny") / "model"
    tiny_model.save(folder)
    return folder


class ManyDocuments:
    """JSON lines of short random documents: enough for several commits of `msa add`."""

    def __init__(self, folder, count, seed):
        rng = random.Random(seed)
        words = ["".join(rng.choices("abcdefghijklmnoprstuvw", k=rng.randint(3, 9))) for _ in range(5000)]
        self.texts = {f"d{i:06}": " ".join(rng.choices(words, k=rng.randint(8, 40))) + "." for i in range(count)}
        self.file = folder / "many.jsonl"
        with open(self.file, "w") as out:
            for name, text in self.texts.items():
                out.write(json.dumps({"id": name, "text": text}) + "\n")

    def differences(self, command, bank, sample=20, seed=0):
        """What is wrong with a bank that should hold all of them."""
        wrong = self.damage(command, bank, sample, seed)
        absent = len(self.texts) - len(command.json("list", bank))
        return wrong + ([f"{absent} documents are missing"] if absent else [])

    def damage(self, command, bank, sample=20, seed=0):
        """What is wrong with a bank that should hold some of them: each whole, none twice."""
        listed = command.json("list", bank)
        names = [entry["document"] for entry in listed]
        wrong = [f"{name} is there twice" for name in {n for n in names if names.count(n) > 1}] if (
            len(set(names)) != len(names)
        ) else []
        for entry in listed:
            text = self.texts.get(entry["document"])
            if text is None or entry["text_bytes"] != len(text) or entry["passages"] < 1:
                wrong.append(f"{entry['document']} has {entry['text_bytes']} bytes of text")
        sampled = random.Random(seed).sample(names, min(sample, len(names)))
        shown = command.json("show", bank, *sampled) if sampled else []
        if [entry["document"] for entry in shown] != sampled:
            wrong.append(f"asked for {sampled}, shown {[entry['document'] for entry in shown]}")
        for entry in shown:
            if entry["text"] != self.texts.get(entry["document"]):
                wrong.append(f"{entry['document']} reads {entry['text'][:80]!r}")
        return wrong


@pytest.fixture(scope="session")
def many_documents(tmp_path_factory):
    return ManyDocuments(tmp_path_factory.mktemp("many"), count=12_000, seed=3)
