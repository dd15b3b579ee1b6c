#!/usr/bin/env python3
"""Asks a bank the questions of a set, and scores what `msa ask` answers and cites.

    scripts/msa add BANK SET/docs.jsonl
    eval/answers.py BANK SET --sample 200 --option=--read=both

SET is a folder with docs, queries and qrels (docs/evaluation.md). F1 is that of the words without case, punctuation
(which parts words here, unlike SQuAD's) and articles, the best over a question's answers. "holds" are questions of which an answer of at most eight
words stands in what was said. A citation is right if its document is relevant.
"""

import argparse
import collections
import pathlib
import random
import string

from quality import ROOT, Bank
from sets import rows

SHORT_ANSWER_WORDS = 8


def words(text):
    text = "".join(" " if c in string.punctuation else c for c in text.lower())
    return [w for w in text.split() if w not in ("a", "an", "the")]


def f1(said, answer):
    said, answer = words(said), words(answer)
    common = sum((collections.Counter(said) & collections.Counter(answer)).values())
    return 2 * common / (len(said) + len(answer)) if common else 0.0


def holds(said, answer):
    answer = words(answer)
    return 0 < len(answer) <= SHORT_ANSWER_WORDS and f" {' '.join(answer)} " in f" {' '.join(words(said))} "


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bank")
    parser.add_argument("set", type=pathlib.Path)
    parser.add_argument("--sample", type=int, help="as many questions, drawn by --seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--program", default=str(ROOT / "scripts" / "msa"))
    parser.add_argument("--option", action="append", default=[], help="passed on to msa ask, for example --option=-k8")
    arguments = parser.parse_args()

    relevant = collections.defaultdict(set)
    for row in rows(arguments.set, "qrels"):
        if row["rel"] > 0:
            relevant[str(row["qid"])].add(str(row["docid"]))
    questions = [q for q in rows(arguments.set, "queries") if q.get("answers")]
    if arguments.sample and arguments.sample < len(questions):
        questions = random.Random(arguments.seed).sample(questions, arguments.sample)

    sums = collections.Counter()
    for question, reply in Bank(arguments.program, arguments.bank, arguments.option).ask(questions):
        said, answers = reply["answer"], question["answers"]
        cited = [c["document"].rsplit("#", 1)[-1] for c in reply["citations"]]
        sums["F1"] += max(f1(said, answer) for answer in answers)
        sums["holds"] += any(holds(said, answer) for answer in answers)
        sums["answered"] += bool(cited)
        sums["citations"] += len(cited)
        sums["cited right"] += any(d in relevant[str(question["id"])] for d in cited)
        sums["words"] += len(words(said))
        for step in ("prefill", "generate"):
            sums[f"{step} s"] += reply["counters"]["seconds"].get(step, 0)
    n = len(questions)
    print(f"{arguments.set.name}: {n} questions; " + ", ".join(f"{k} {v / n:.3f}" for k, v in sums.items()))


if __name__ == "__main__":
    main()
