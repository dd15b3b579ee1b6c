"""Retrieval quality through the front door: nDCG@10 and recall over {docs, queries, qrels} sets.

    .venv/bin/python eval/retrieval.py DATA [--heads lexical latent fused] [--sets clapnq_dev …] [--weights f32 i8]

DATA is a folder of sets, each with docs, queries and qrels as .jsonl or .jsonl.zst: {"id", "title"?, "text"},
{"id", "query"}, {"qid", "docid", "rel"}. A document scores as its best passage. One JSON line a result.
"""

import argparse
import json
import math
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
MSA = os.environ.get("MSA_BIN", ROOT / "build/release/bin") / pathlib.Path("msa")


def read_rows(folder: pathlib.Path, name: str) -> list[dict]:
    packed = folder / f"{name}.jsonl.zst"
    if packed.exists():
        import zstandard

        text = zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(open(packed, "rb")).read().decode()
    else:
        text = (folder / f"{name}.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def rank_documents(response: dict) -> list[str]:
    """Documents in the order of their best passages."""
    return list(dict.fromkeys(result["document"] for result in response["results"]))


def ndcg(ranking: list[str], relevant: dict[str, float], depth: int) -> float:
    gain = sum(relevant.get(doc, 0) / math.log2(rank + 2) for rank, doc in enumerate(ranking[:depth]))
    ideal = sum(rel / math.log2(rank + 2) for rank, rel in enumerate(sorted(relevant.values(), reverse=True)[:depth]))
    return gain / ideal


def recall(ranking: list[str], relevant: dict[str, float], depth: int) -> float:
    return len(relevant.keys() & set(ranking[:depth])) / len(relevant)


def run(*arguments: str, stdin: str | None = None) -> list[dict]:
    done = subprocess.run([MSA, *arguments], input=stdin, text=True, capture_output=True)
    if done.returncode != 0:
        raise SystemExit(f"msa {' '.join(map(str, arguments))}: exit status {done.returncode}\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def evaluate(folder: pathlib.Path, args: argparse.Namespace, work: pathlib.Path) -> list[dict]:
    queries = read_rows(folder, "queries")
    relevant: dict[str, dict[str, float]] = {}
    for row in read_rows(folder, "qrels"):
        if row["rel"] > 0:
            relevant.setdefault(str(row["qid"]), {})[str(row["docid"])] = row["rel"]
    documents = work / "docs.jsonl"
    with open(documents, "w") as out:
        for row in read_rows(folder, "docs"):
            fields = {"id": str(row["id"]), "text": row["text"]} | ({"title": row["title"]} if row.get("title") else {})
            out.write(json.dumps(fields) + "\n")
    questions = "".join(json.dumps({"id": str(q["id"]), "query": q["query"]}) + "\n" for q in queries)

    results = []
    for weights in args.weights:
        bank = work / f"bank-{weights}"
        model = ["--weights", weights, *args.model]
        added = run("add", bank, documents, "--json", *model, *([] if "latent" in args.heads else ["--no-encode"]))[0]
        for heads in args.heads:
            found = run("search", bank, "-", "--heads", heads, "-k", "100", "--json", *model, stdin=questions)
            rankings = {row["id"]: rank_documents(row) for row in found}
            judged = [qid for qid in relevant if qid in rankings]
            results.append({
                "set": folder.name, "heads": heads, "weights": weights, "documents": added["added"],
                "passages": added["passages"], "questions": len(judged),
                "ndcg@10": round(statistics.mean(ndcg(rankings[q], relevant[q], 10) for q in judged), 4),
                "recall@16": round(statistics.mean(recall(rankings[q], relevant[q], 16) for q in judged), 4),
            })
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--sets", nargs="*", default=[])
    parser.add_argument("--heads", nargs="+", default=["lexical"])
    parser.add_argument("--weights", nargs="+", default=["auto"])
    parser.add_argument("--model", nargs=argparse.REMAINDER, default=[], help="further options of msa, last")
    args = parser.parse_args()
    sets = args.sets or sorted(p.name for p in args.data.iterdir() if p.is_dir())
    for name in sets:
        work = pathlib.Path(tempfile.mkdtemp(prefix="msa-eval-"))
        try:
            for result in evaluate(args.data / name, args, work):
                print(json.dumps(result), flush=True)
        finally:
            shutil.rmtree(work)


if __name__ == "__main__":
    main()
