"""Our tokenizers give Hugging Face's tokens, id for id, on more than 5 MB of mixed text."""

import pathlib
import random
import sysconfig
import unicodedata

import numpy as np
import pytest

import tokenizer_models as tm

SEED = 20250101
INSTALLED_BYTES = 2_500_000

SCRIPTS = {  # first and last code point of letters, marks and digits
    "latin": (0x41, 0x24F), "greek": (0x370, 0x3FF), "cyrillic": (0x400, 0x52F),
    "hebrew": (0x591, 0x5F4), "arabic": (0x600, 0x6FF), "devanagari": (0x900, 0x97F),
    "bengali": (0x980, 0x9FF), "tamil": (0xB80, 0xBFF), "thai": (0xE00, 0xE5B),
    "tibetan": (0xF00, 0xFDA), "myanmar": (0x1000, 0x109F), "georgian": (0x10A0, 0x10FF),
    "jamo": (0x1100, 0x11FF), "ethiopic": (0x1200, 0x139F), "khmer": (0x1780, 0x17F9),
    "mongolian": (0x1800, 0x18AA), "extended": (0x1E00, 0x1FFF), "kana": (0x3041, 0x30FF),
    "cjk": (0x4E00, 0x9FFF), "hangul": (0xAC00, 0xD7A3), "compatibility": (0xF900, 0xFAFF),
    "presentation": (0xFB00, 0xFDFF), "plane1": (0x10000, 0x1FFFF), "plane2": (0x20000, 0x2FFFF)}
SPACES = [" ", " ", " ", "  ", "\n", "\n\n", "\t", "\r\n", " \n ", "\u00a0", "\u2003", "\u3000",
          "\u0085", "\u2028", "\x0b", "\x1c", "\u180e", "\u200b", "   \n\n  \t", "\r"]
PIECES = ["'s", "'S", "'re", "'LL", "'ve", "n't", "'\u017f", "'M", "''d", "don\u2019t", "...",
          "->", "!=", " == ", "/*", "*/", "#", "\\n", "{}", "();", "http://a.b/c?d=1&e=2", "x86_64",
          "3.14159", "1,234,567", "0xDEADBEEF", "2025-01-01T00:00:00Z", "½", "Ⅷ", "①②", "٣٤٥",
          "१२३", "𝟘𝟙", "\U00011de0", "\U00016ff4", "e\u0301", "o\u0308\u0323", "\u0344", "\u212b",
          "\u1e9b\u0323", "한글", "\u1112\u1161\u11ab", "\ud55c\u11ab", "\u0958", "\ufb1d", "\u2adc",
          "\U00011938", "👍🏽", "👩‍👩‍👧‍👦", "🇩🇪", "❤️", "🏳️‍🌈", "\ufeff", "\x00", "\x04", "\x7f",
          "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|begin_of_text|>",
          "<|im_<|im_end|>", "<think>", "</think>\u0338", "<think", "<|", "|>", "<file_sep>"]


def installed_text():
    """Text that is on every machine that runs this: Python's own sources and Debian's notes."""
    stdlib = pathlib.Path(sysconfig.get_path("stdlib"))
    files = sorted(stdlib.glob("*.py")) + sorted(stdlib.glob("encodings/*.py"))
    files += sorted(pathlib.Path("/usr/share/doc").glob("*/copyright"))
    random.Random(SEED).shuffle(files)
    documents, total = [], 0
    for file in files:
        if total >= INSTALLED_BYTES:
            break
        documents.append(file.read_bytes()[:200_000])
        total += len(documents[-1])
    return documents


def random_words(rng, count):
    """Words of one script at a time with spaces, pieces and stray characters between."""
    parts = []
    while len(parts) < count:
        first, last = SCRIPTS[rng.choice(sorted(SCRIPTS))]
        for _ in range(rng.randrange(1, 12)):
            parts.append("".join(chr(rng.randint(first, last)) for _ in range(rng.randrange(1, 9))))
            parts.append(rng.choice(SPACES))
        parts.append(rng.choice(PIECES))
        if rng.random() < 0.3:
            parts.append(rng.choice(PIECES) * rng.randrange(1, 5) + rng.choice(SPACES) * 3)
    return "".join(parts).encode()


def broken(rng, data):
    """`data` with bytes changed, cut and inserted."""
    data = bytearray(data)
    for _ in range(max(1, len(data) // 40)):
        at = rng.randrange(len(data))
        data[at:at + rng.randrange(3)] = bytes(rng.randrange(256) for _ in range(rng.randrange(3)))
    return bytes(data)


def corpus():
    rng = random.Random(SEED)
    documents = installed_text()
    documents += [random_words(rng, 400) for _ in range(850)]
    documents += [broken(rng, random_words(rng, 200)) for _ in range(250)]
    documents += [broken(rng, d[:5000]) for d in documents[:60]]
    documents += [bytes(rng.randrange(256) for _ in range(2000)) for _ in range(60)]
    # Every code point, alone between letters and in a row.
    code_points = [c for c in range(0x30000) if not 0xD800 <= c < 0xE000]
    for begin in range(0, len(code_points), 2000):
        part = [chr(c) for c in code_points[begin:begin + 2000]]
        documents += ["".join(part).encode(), "a".join(part).encode()]
    documents += [b"", b" ", b"\n", b"'", b"\xff", b"\xf0\x9f", b"a" * 3000, b" " * 3000,
                  b"ab" * 2000 + b"\n" * 999, "é".encode() * 1500, b"7" * 1000]
    assert sum(map(len, documents)) > 5_000_000
    return documents


@pytest.fixture(scope="module")
def documents():
    return corpus()


@pytest.fixture(scope="module")
def models(tmp_path_factory, documents):
    folder = tmp_path_factory.mktemp("tokenizers")
    texts = [d.decode("utf-8", "replace") for d in documents[:120] + documents[-500:-300]]
    llama3 = tm.llama3(folder, texts)
    qwen3 = tm.qwen3(folder, texts)
    smollm2 = tm.smollm2()
    every = [smollm2, tm.as_json(smollm2, folder / "smollm2.json"), llama3, qwen3,
             tm.as_gguf(llama3, "llama-bpe", folder / "llama3.gguf"),
             tm.as_gguf(qwen3, "qwen2", folder / "qwen3.gguf")]
    return {model.name: model for model in every}


FAMILIES = ["smollm2", "llama3", "qwen3"]


def describe(model, text, expected, found):
    same = next((i for i, (a, b) in enumerate(zip(expected, found)) if a != b),
                min(len(expected), len(found)))
    show = lambda ids: [model.hf.id_to_token(i) for i in ids[max(0, same - 3):same + 5]]
    before = model.hf.decode(expected[max(0, same - 3):same + 5], skip_special_tokens=False)
    return (f"{model.name}, seed {SEED}: token {same} of a text of {len(text)} characters near "
            f"{before!r}: expected {show(expected)}, found {show(found)}")


@pytest.mark.parametrize("family", FAMILIES)
def test_pre_tokens_end_where_hugging_faces_do(build_dir, models, documents, family):
    """Ids alone would not show it where no merge crosses the place."""
    model = models[family + "-json"]
    texts = [d.decode("utf-8", "replace") for d in documents[::-1][:1200:2]]
    answers = tm.run_tool(build_dir, ["split", model.path], [t.encode() for t in texts])
    assert len(answers) == len(texts)
    for text, answer in zip(texts, answers):
        pieces = model.hf.pre_tokenizer.pre_tokenize_str(text)
        expected = [len(text[begin:end].encode()) for _, (begin, end) in pieces]
        found = np.frombuffer(answer, np.int64).tolist()
        assert sum(found) == len(text.encode())
        same = next((i for i, (a, b) in enumerate(zip(expected, found)) if a != b), None)
        assert found == expected, (f"{family}, seed {SEED}: pre-token {same} "
                                   f"{pieces[same][0]!r} has {found[same]} bytes")


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_ids_equal_hugging_face(build_dir, models, documents, family, special):
    mode = ["special"] if special else []
    texts = [d.decode("utf-8", "replace") for d in documents]
    expected_ids = models[family + "-json"].encode(texts, special)
    for model in (models[family + "-json"], models[family + "-gguf"]):
        answers = tm.run_tool(build_dir, ["encode", model.path, *mode], documents)
        assert len(answers) == len(documents)
        for text, answer, expected in zip(texts, answers, expected_ids):
            found = np.frombuffer(answer, np.int32).tolist()
            assert found == expected, describe(model, text, expected, found)


@pytest.mark.parametrize("family", FAMILIES)
def test_decode_equals_hugging_face(build_dir, models, documents, family):
    model = models[family + "-json"]
    ids = tm.run_tool(build_dir, ["encode", model.path, "special"], documents)
    for keep in ([], ["special"]):
        texts = tm.run_tool(build_dir, ["decode", model.path, *keep], ids)
        expected = model.hf.decode_batch([np.frombuffer(r, np.int32).tolist() for r in ids],
                                         skip_special_tokens=not keep)
        assert [t.decode("utf-8", "replace") for t in texts] == expected


@pytest.mark.parametrize("name", ["llama3-json", "qwen3-json"])
def test_offsets_cut_the_input_into_the_tokens_bytes(build_dir, models, documents, name):
    """Where nothing was replaced, token i is bytes begin[i] to begin[i + 1] of the input; where
    something was, offsets still ascend and end with it."""
    model = models[name]
    documents = documents[::5]
    answers = tm.run_tool(build_dir, ["offsets", model.path], documents)
    ids = tm.run_tool(build_dir, ["encode", model.path], documents)
    vocabulary = [np.int32(i).tobytes() for i in range(model.hf.get_vocab_size())]
    token_bytes = tm.run_tool(build_dir, ["decode", model.path, "special"], vocabulary)
    untouched = 0
    for document, found, offsets, expected in zip(documents, answers[::2], answers[1::2], ids):
        assert found == expected
        begin = np.frombuffer(offsets, np.int64)
        assert len(begin) == len(found) // 4 + 1
        assert begin[0] == 0 and begin[-1] == len(document) and (np.diff(begin) >= 0).all()
        text = document.decode("utf-8", "replace")
        if text.encode() != document or unicodedata.normalize("NFC", text) != text:
            continue
        untouched += 1
        for token, b, e in zip(np.frombuffer(found, np.int32).tolist(), begin, begin[1:]):
            assert document[b:e] == token_bytes[token]
    assert untouched > 20


def test_a_pre_token_of_megabytes_takes_no_quadratic_time(build_dir, models):
    """A quadratic merge of 4 MB would take hours, the test's time limit is minutes."""
    model = models["smollm2-gguf"]
    documents = [b"abcdefgh" * 500_000, b" " * 4_000_000, b"\xff" * 1_000_000]
    answers = tm.run_tool(build_dir, ["encode", model.path], documents)
    assert all(0 < len(a) // 4 <= 3 * len(d) for a, d in zip(answers, documents))
