#!/usr/bin/env python3
"""Asks a bank questions whose answers are known, and scores answers, citations and refusals.

    eval/quality.py BANK                            the table of docs/quality.md
    eval/quality.py BANK --only ID ... --strict     print these answers; exit 1 unless all are right

A line of the question file is {"id", "query", "answer", "documents", "evidence"}: `answer` is a regular expression that
a right answer contains, null where the documents hold no answer; `documents` are the ends of the keys of documents that
may be cited; `evidence` is what a cited span must contain. A citation is judged by the bytes that `msa show` prints for
its span, not by the text the answer brings along.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def matches(pattern, text):
    return re.search(pattern, text, re.IGNORECASE | re.DOTALL) is not None


class Bank:
    def __init__(self, program, path, options):
        self.program, self.path, self.options = program, path, options

    def ask(self, questions):
        """Yields each question with its reply as it comes; the model is loaded once."""
        command = [self.program, "ask", self.path, "-", "--json", *self.options]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            process.stdin.write("".join(json.dumps({"id": q["id"], "query": q["query"]}) + "\n" for q in questions))
            process.stdin.close()
            answered = 0
            for question, line in zip(questions, process.stdout):
                reply = json.loads(line)
                if reply.get("id") != question["id"]:
                    sys.exit(f"msa ask: {reply}")
                answered += 1
                yield question, reply
        # 3: some question had no supported answer, which here may be right.
        if process.returncode not in (0, 3) or answered < len(questions):
            sys.exit(f"msa ask ended after {answered} of {len(questions)} questions with status {process.returncode}")

    def span(self, result):
        begin, end = map(str, result["span"])
        command = [self.program, "show", self.path, result["document"], "--span", begin, end]
        return subprocess.run(command, capture_output=True, check=True).stdout.decode()


def judge(bank, question, reply):
    """Which of the things asked of this reply are true; `right` is all of them together."""
    if question["answer"] is None:
        return {"refused": not reply["answered"], "right": not reply["answered"]}

    def holds_evidence(result):
        named = any(result["document"].endswith("/" + name) for name in question["documents"])
        return named and matches(question["evidence"], bank.span(result))

    verdict = {
        "retrieved": any(holds_evidence(result) for result in reply["retrieved"]),
        "answered": matches(question["answer"], reply["answer"]),
        "cited": any(holds_evidence(citation) for citation in reply["citations"]),
        "refused": not reply["answered"],
    }
    verdict["right"] = verdict["answered"] and verdict["cited"]
    return verdict


def describe(bank, question, reply, verdict):
    print(f"? {question['query']}\n  {reply['answer'].strip()}")
    if not reply["answered"]:
        print("  (msa: nothing in the bank supports this answer)")
    for citation in reply["citations"]:
        begin, end = citation["span"]
        page = f", page {citation['page']}" if "page" in citation else ""
        print(f"  cited: {citation['title']}{page}\n         {citation['document']} [{begin}-{end}]")
        print("         > " + " ".join(bank.span(citation).split())[:300])
    print("  expected:", question["answer"] or "no answer", "->", "right" if verdict["right"] else "WRONG", flush=True)


def table(questions, verdicts):
    def share(of, key):
        chosen = [verdicts[q["id"]] for q in questions if (q["answer"] is not None) == of]
        return f"{sum(v[key] for v in chosen)} of {len(chosen)}"

    rows = [
        ("passage with the answer among those retrieved", share(True, "retrieved")),
        ("right answer", share(True, "answered")),
        ("right citation (document, and span holds the evidence)", share(True, "cited")),
        ("right answer with right citation", share(True, "right")),
        ("refused though the answer is there", share(True, "refused")),
        ("rightly refused where the documents hold no answer", share(False, "refused")),
    ]
    return "| measure | result |\n| --- | --- |\n" + "".join(f"| {name} | {value} |\n" for name, value in rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bank")
    parser.add_argument("--questions", type=pathlib.Path, default=ROOT / "eval" / "demo_questions.jsonl")
    parser.add_argument("--only", nargs="+", metavar="ID", help="ask only these")
    parser.add_argument("--strict", action="store_true", help="exit 1 unless every reply is right")
    parser.add_argument("--program", default=str(ROOT / "scripts" / "msa"))
    parser.add_argument("--option", action="append", default=[], help="passed on to msa ask, for example --option=-k8")
    arguments = parser.parse_args()

    questions = [json.loads(line) for line in arguments.questions.read_text().splitlines()]
    if arguments.only:
        by_id = {q["id"]: q for q in questions}
        questions = [by_id[name] for name in arguments.only]
    bank = Bank(arguments.program, arguments.bank, arguments.option)
    verdicts = {}
    for question, reply in bank.ask(questions):
        verdicts[question["id"]] = judge(bank, question, reply)
        describe(bank, question, reply, verdicts[question["id"]])
    if not arguments.only:
        print("\n" + table(questions, verdicts))
    wrong = sum(not v["right"] for v in verdicts.values())
    print(f"{len(questions) - wrong} right, {wrong} wrong")
    sys.exit(1 if arguments.strict and wrong else 0)


if __name__ == "__main__":
    main()
