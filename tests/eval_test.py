"""`msa eval` through the command line: its figures equal plain computations on a tiny random model."""

import json
import math
import random

import pytest
import torch
import zstandard

import model_files
import msa_reference
from msa_command import DONE, FAILED, PARTLY, USAGE, Command

torch.set_num_threads(1)  # models this small only lose by more

MEMORY_LAYERS, ROUTING_LAYERS, W = [1, 2], [2], 64


def shapes(passage_tokens=W, chunk_tokens=16, latent_dtype="f32"):
    return ["--weights", "f32", "--threads", 1, "--memory-layers", "1,2", "--routing-layers", "2",
            "--passage-tokens", passage_tokens, "--chunk-tokens", chunk_tokens, "--latent-dtype", latent_dtype, "-q"]


# f32 against f64; a wrong mask, offset or target is off by tenths.
TOLERANCE = 1e-4

TEXTS = [
    "The quick brown fox jumps over the lazy dog, 1234 times a day; isn't that odd? Nobody knows.",
    "Memory keeps what a reader forgets. A question finds it again, and Fox keeps the answer ready.",
    "def pool(x, n): return [sum(x[i:i + n]) / n for i in range(0, len(x), n)] and that is all of it.",
]


@pytest.fixture(scope="module")
def command(msa):
    return Command(msa)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return model_files.Tiny(tmp_path_factory.mktemp("tiny") / "model", "llama", seed=11)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "texts.jsonl.zst"
    rows = "".join(json.dumps({"id": f"t{i}", "text": text}) + "\n" for i, text in enumerate(TEXTS))
    path.write_bytes(zstandard.ZstdCompressor().compress(rows.encode()))
    return path


def reference(tiny, chunk_tokens):
    return msa_reference.Reference(
        tiny.model, msa_reference.Memory(MEMORY_LAYERS, ROUTING_LAYERS, chunk_tokens))


def passages(tiny):
    """The texts as tokens: each fits into one passage."""
    tokens = [tiny.tokenizer.hf.encode(text, add_special_tokens=False).ids for text in TEXTS]
    assert all(16 <= len(t) <= W for t in tokens)
    return tokens


def nats(logits, tokens):
    """Of every token but the first."""
    logs = torch.log_softmax(logits.double(), -1)
    return [-float(logs[i, token]) for i, token in enumerate(tokens[1:])]


def plain_nats(tiny, tokens):
    with torch.no_grad():
        return nats(tiny.model(torch.tensor([tokens])).logits[0], tokens)


def read_nats(model, tokens, latents):
    return nats(model.forward(tokens, latents, torch.zeros(len(latents))), tokens)


def test_language_equals_the_plain_computation(command, tiny, corpus):
    report, = command.json("eval", "language", corpus, "--model", tiny.folder, *shapes())
    texts, model = passages(tiny), reference(tiny, 16)
    without = [plain_nats(tiny, t) for t in texts]
    # The stranger of each: half of the sample away.
    strangers = [model.encode(texts[(i + len(texts) // 2) % len(texts)])[1] for i in range(len(texts))]
    with_stranger = [read_nats(model, t, s) for t, s in zip(texts, strangers)]

    count = sum(map(len, without))
    assert (report["passages"], report["tokens"]) == (len(texts), count)
    assert report["plain"]["mean"] == pytest.approx(sum(map(sum, without)) / count, abs=TOLERANCE)
    assert report["stranger"]["mean"] == pytest.approx(sum(map(sum, with_stranger)) / count, abs=TOLERANCE)
    difference = (sum(map(sum, with_stranger)) - sum(map(sum, without))) / count
    assert abs(difference) > 10 * TOLERANCE  # the memory is there at all
    assert report["difference"]["mean"] == pytest.approx(difference, abs=TOLERANCE)
    residuals = [sum(s) - sum(p) - difference * len(p) for s, p in zip(with_stranger, without)]
    error = math.sqrt(3 / 2 * sum(r * r for r in residuals)) / count
    assert report["difference"]["standard_error"] == pytest.approx(error, abs=TOLERANCE)


def test_kept_equals_the_plain_computation_at_each_rate(command, tiny, corpus, tmp_path):
    plot = tmp_path / "curve.svg"
    report, = command.json("eval", "kept", corpus, "--model", tiny.folder, "--plot", plot,
                           *shapes(chunk_tokens="4,16"))
    texts = passages(tiny)
    without = sum(sum(plain_nats(tiny, t)) for t in texts)
    assert [rate["chunk_tokens"] for rate in report["rates"]] == [4, 16]
    for rate in report["rates"]:
        model = reference(tiny, rate["chunk_tokens"])
        left = [read_nats(model, t, model.encode(t)[1]) for t in texts]
        total = sum(map(sum, left))
        assert rate["plain_nats"] == pytest.approx(without, rel=TOLERANCE)
        assert rate["latent_nats"] == pytest.approx(total, rel=TOLERANCE)
        assert rate["kept"] == pytest.approx(1 - total / without, abs=TOLERANCE)
        assert rate["worst"][0]["latent_nats"] == pytest.approx(max(map(max, left)), abs=10 * TOLERANCE)
        kinds = rate["by_kind"].values()
        assert sum(kind["tokens"] for kind in kinds) == rate["tokens"] == sum(map(len, left))
        assert sum(kind["latent_nats"] for kind in kinds) == pytest.approx(total, rel=TOLERANCE)
    assert report["rates"][0]["by_kind"]["numbers"]["tokens"] > 0
    assert plot.read_text().startswith("<svg") and "all tokens" in plot.read_text()


def test_kept_in_eight_bits_is_close(command, tiny, corpus):
    """As a bank stores latents."""
    options = ["eval", "kept", corpus, "--model", tiny.folder]
    exact, = command.json(*options, *shapes())
    rounded, = command.json(*options, *shapes(latent_dtype="i8"))
    a, b = exact["rates"][0]["latent_nats"], rounded["rates"][0]["latent_nats"]
    assert a != b and a == pytest.approx(b, rel=0.02)


def write_rows(folder, **files):
    """A set's files, each its rows."""
    folder.mkdir()
    for name, rows in files.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_set(folder, documents=40, questions=15):
    """Documents of random words; a question is three words of its document."""
    rng = random.Random(4)
    words = ["".join(rng.choices("abdeghiklmnoprstu", k=6)) for _ in range(300)]
    texts = {f"d{i}": rng.sample(words, 12) for i in range(documents)}
    asked = [(f"q{i}", f"d{i}", " ".join(texts[f"d{i}"][2:5])) for i in range(questions)]
    write_rows(folder, docs=[{"id": d, "title": "Doc", "text": " ".join(t) + "."} for d, t in texts.items()],
               queries=[{"id": q, "query": text, "answers": [texts[d][0]]} for q, d, text in asked],
               qrels=[{"qid": q, "docid": d, "rel": 1} for q, d, _ in asked])
    return texts, asked


def test_retrieval_equals_what_search_finds(command, tiny, tmp_path):
    texts, asked = write_set(tmp_path / "set")
    options = ["--model", tiny.folder, *shapes(passage_tokens=160)]
    report, = command.json("eval", "retrieval", tmp_path / "set", "--latent-weight", 0.5, "--sweep", *options)
    assert (report["documents"], report["passages"], report["questions"]) == (40, 40, 15)

    bank, stdin = tmp_path / "bank", "".join(json.dumps({"id": q, "query": text}) + "\n" for q, _, text in asked)
    command("add", bank, tmp_path / "set" / "docs.jsonl", *options)
    for head in ("lexical", "latent"):
        found = command.json("search", bank, "-", "--heads", head, "-k", 40, "--model", tiny.folder, "--weights", "f32",
                             stdin=stdin)
        rankings = {row["id"]: [r["document"] for r in row["results"]] for row in found}
        ranks = [rankings[q].index(d) if d in rankings[q] else 1000 for q, d, _ in asked]
        got = report["heads"][head]
        assert got["ndcg@10"] == pytest.approx(sum(1 / math.log2(r + 2) for r in ranks if r < 10) / 15)
        assert got["recall@1"] == pytest.approx(sum(r == 0 for r in ranks) / 15)
        assert got["mrr"] == pytest.approx(sum(1 / (r + 1) for r in ranks if r < 1000) / 15)
        first = [r[0] for r in rankings.values()]
        assert got["hub"]["share"] == pytest.approx(max(map(first.count, first)) / 15)
    sweep = {row["latent_weight"]: row["ndcg@10"] for row in report["sweep"]}
    assert sweep[0] == report["heads"]["lexical"]["ndcg@10"]
    assert sweep[0.5] == report["heads"]["fused"]["ndcg@10"]


def test_means_over_sets_and_what_is_wrong(command, tiny, tmp_path):
    write_set(tmp_path / "one")
    write_set(tmp_path / "two", documents=8, questions=8)
    lines = command.json("eval", "retrieval", tmp_path / "one", tmp_path / "two", "--heads", "lexical", "--model",
                         tiny.folder, *shapes())
    assert [line["set"] for line in lines] == ["one", "two", "mean"]
    values = [line["heads"]["lexical"]["recall@10"] for line in lines]
    assert values[2] == pytest.approx((values[0] + values[1]) / 2)

    error = command("eval", "retrieval", tmp_path / "absent", "--model", tiny.folder, status=FAILED)
    assert "absent" in error.stderr
    command("eval", status=USAGE)
    one = tmp_path / "one.jsonl"
    one.write_text(json.dumps({"text": TEXTS[0]}) + "\n")
    error = command("eval", "language", one, "--model", tiny.folder, *shapes(), status=FAILED)
    assert "stranger" in error.stderr


def llama3_prompt(tiny, user):
    """The prompt of `msa ask`, in Llama 3's template."""
    turns = [("system", "You are a helpful assistant."), ("user", user)]
    rendered = "".join(f"<|start_header_id|>{role}<|end_header_id|>\n\n{text}<|eot_id|>" for role, text in turns)
    text = "<|begin_of_text|>" + rendered + "<|start_header_id|>assistant<|end_header_id|>\n\n"
    return tiny.tokenizer.encode([text], special=True)[0]


def test_reading_equals_the_plain_computation(command, tiny, tmp_path):
    pairs = [{"query": f"Which word is number {i}?", "positive": text, "answer": answer, "title": f"Doc {i}"}
             for i, (text, answer) in enumerate(zip(TEXTS, ["1234 times", "Fox", "sum"]))]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    options = ["--model", tiny.folder, "--chat-template", "llama3"]
    report, = command.json("eval", "reading", path, "--generate", "--max-tokens", 4, *options,
                           *shapes(passage_tokens=128, chunk_tokens=8))

    def tokens(text):
        return tiny.tokenizer.encode([text])[0]

    model = reference(tiny, 8)
    latents = [model.encode(tokens(f"{p['title']}\n{p['positive']}"))[1] for p in pairs]
    totals, count, exact = {}, 0, 0
    for i, pair in enumerate(pairs):
        answer = tokens(pair["answer"])
        count += len(answer)
        bare = llama3_prompt(tiny, pair["query"])
        text = llama3_prompt(tiny, f"Context:\n{pair['title']}: {pair['positive']}\n\nQuestion: {pair['query']}\n"
                                   "Answer with a short phrase from the context.")
        stranger = latents[(i + len(pairs) // 2) % len(pairs)]
        given = {"nothing": (bare, None), "stranger's latents": (bare, stranger), "latents": (bare, latents[i]),
                 "text": (text, None), "text and latents": (text, latents[i])}
        for name, (prompt, memory) in given.items():
            fed = prompt + answer
            lost = plain_nats(tiny, fed) if memory is None else read_nats(model, fed, memory)
            totals[name] = totals.get(name, 0) + sum(lost[-len(answer):])
        fed = list(bare)
        for _ in range(4):
            with torch.no_grad():
                fed.append(int(tiny.model(torch.tensor([fed])).logits[0, -1].argmax()))
        exact += tiny.tokenizer.hf.decode(fed[len(bare):]).strip() == pair["answer"]
    assert (report["questions"], report["answer_tokens"]) == (len(pairs), count)
    for name, total in totals.items():
        assert report["given"][name]["nats"]["mean"] == pytest.approx(total / count, abs=TOLERANCE), name
    gain = (totals["stranger's latents"] - totals["latents"]) / count
    assert abs(gain) > 10 * TOLERANCE
    assert report["latents_gain"]["mean"] == pytest.approx(gain, abs=TOLERANCE)
    assert report["given"]["nothing"]["exact_match"] == pytest.approx(exact / len(pairs))


def test_reading_takes_what_is_found(command, tiny, tmp_path):
    """Of each question's passages, k are given: those that a head finds, or those of a file's documents in the order
    of their scores. A question asks with its passage's first words, so the lexical head finds that first."""
    words = [" ".join(text.split()[:4]) for text in TEXTS]
    pairs = [{"query": words[i], "positive": text, "answer": "ready", "title": "A"} for i, text in enumerate(TEXTS)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    ranking = tmp_path / "found.jsonl"

    def read(*options):
        report, = command.json("eval", "reading", path, "--model", tiny.folder, "--chat-template", "llama3", *options,
                               *shapes(passage_tokens=128, chunk_tokens=8))
        return {name: figures["nats"]["mean"] for name, figures in report["given"].items()}

    def rank(documents_of):
        rows = [{"qid": str(i), "docid": str(d), "score": -at} for i in range(3) for at, d in enumerate(documents_of(i))]
        ranking.write_text("".join(json.dumps(row) + "\n" for row in reversed(rows)))

    relevant = read()
    assert read("--passages", "lexical", "-k", 1) == relevant
    rank(lambda i: [i, (i + 1) % 3])
    assert read("--ranking", ranking, "-k", 1) == relevant
    both = read("--ranking", ranking)
    rank(lambda i: [(i + 1) % 3])
    wrong = read("--ranking", ranking)
    for given in ("latents", "text"):
        assert len({both[given], wrong[given], relevant[given]}) == 3
    assert wrong["nothing"] == relevant["nothing"]
    command("eval", "reading", path, "--ranking", ranking, "--passages", "latent", status=USAGE)
    ranking.write_text(json.dumps({"qid": "0", "docid": "0"}) + "\n")
    error = command("eval", "reading", path, "--model", tiny.folder, "--chat-template", "llama3", "--ranking", ranking,
                    *shapes(), status=FAILED)
    assert "score" in error.stderr


def test_hops_find_what_a_question_does_not_name(command, tiny, tmp_path):
    """No word of the question stands in the passage that answers, but its title does in the one that is found."""
    folder = tmp_path / "set"
    rows = {"docs": [{"id": "film", "title": "Big Eyes", "text": "Big Eyes is a film of Tim Burton."},
                     {"id": "man", "title": "Tim Burton", "text": "He loves Lena Gieseke."},
                     {"id": "mill", "title": "Mill", "text": "It grinds rye."}],
            "queries": [{"id": "q", "query": "Who directed Big Eyes, and whom does that man like?", "answers": ["Lena"]},
                        {"id": "r", "query": "What grinds rye?", "answers": ["Mill"]}],
            "qrels": [{"qid": "q", "docid": "man", "rel": 1}, {"qid": "r", "docid": "mill", "rel": 1}]}  # fmt: skip
    write_rows(folder, **rows)
    options = ["--model", tiny.folder, *shapes()]

    def retrieval(*hops):
        report, = command.json("eval", "retrieval", folder, "--latent-weight", 0, *hops, *options)
        return report["heads"]["fused"]["recall@10"]

    assert retrieval() == 0.5
    assert retrieval("--hops", 2) == 1

    def read(*chosen):
        report, = command.json("eval", "reading", folder, "--chat-template", "llama3", "-k", 2, *chosen, *options)
        return report["given"]["text"]["nats"]["mean"]

    ranking = tmp_path / "found.jsonl"
    found = [("q", "film", 2), ("q", "man", 1), ("r", "mill", 1)]
    ranking.write_text("".join(json.dumps({"qid": q, "docid": d, "score": s}) + "\n" for q, d, s in found))
    assert read("--passages", "lexical", "--hops", 2) == read("--ranking", ranking)
    assert read("--passages", "lexical") != read("--ranking", ranking)

    bank, question = tmp_path / "bank", rows["queries"][0]["query"]
    command("add", bank, folder / "docs.jsonl", *options)
    for command_name, results in (("search", "results"), ("ask", "retrieved")):
        more = [] if command_name == "search" else ["--chat-template", "llama3", "--max-tokens", 2]
        reply, = command.json(command_name, bank, question, "--hops", 2, "-k", 2, "--model", tiny.folder, *more,
                              status=(DONE, PARTLY))
        assert [(r["document"], "named" in r["heads"]) for r in reply[results]] == [("film", False), ("man", True)]
    command("search", bank, question, "--hops", 0, status=USAGE)


def test_needles_are_found_by_their_words(command, tiny, tmp_path):
    """Random names are found by the lexical head wherever they stand, and nothing is found where k is too small for
    all values. Answers of a random model say nothing."""
    rng = random.Random(8)
    hay = tmp_path / "hay.jsonl"
    words = ["".join(rng.choices("abdeghiklmnoprstu", k=5)) for _ in range(500)]
    sentences = [" ".join(rng.choices(words, k=9)).capitalize() + "." for _ in range(800)]
    rows = [{"text": " ".join(sentences[i : i + 20])} for i in range(0, len(sentences), 20)]
    hay.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plot = tmp_path / "map.svg"
    options = ["eval", "needles", hay, "--model", tiny.folder, "--positions", 3, "--sample", 1, "--heads", "lexical",
               *shapes(passage_tokens=128)]
    report, = command.json(*options, "--lengths", "4K,20K", "--plot", plot)
    cells = report["cells"]
    assert len(cells) == 2 * 4 * 3
    assert {cell["length_tokens"] for cell in cells} == {4000, 20000}
    assert {cell["position"] for cell in cells} == {0, 0.5, 1}
    for kind in ("fact", "keys"):
        assert all(cell["found"] == cell["needles"] == 1 for cell in cells if cell["kind"] == kind)
    assert plot.read_text().count("<rect") == 1 + 2 * 3

    few, = command.json(*options, "--lengths", "20K", "--kinds", "values", "-k", 1)
    assert all(cell["found"] == 0 for cell in few["cells"])

    answered, = command.json(*options, "--lengths", "4K", "--kinds", "fact", "--answer", "--max-tokens", 3,
                             "--chat-template", "llama3", "--read", "latents")
    assert all(cell["found"] == 1 and cell["answered"] == 0 for cell in answered["cells"])
    error = command(*options, "--lengths", "1M", status=FAILED)
    assert "too few" in error.stderr
