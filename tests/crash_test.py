"""`kill -9` at random moments of `msa add`: the bank opens, every committed document is whole, none is there twice.

MSA_CRASH_SEED repeats a run; MSA_CRASH_ROUNDS sets how many kills.
"""

import os
import random
import shutil
import signal
import subprocess
import time

from msa_command import DONE, Command

ROUNDS = int(os.environ.get("MSA_CRASH_ROUNDS", "50"))
SEED = int(os.environ.get("MSA_CRASH_SEED", "20"))
# Kills gather on one bank for some rounds, so that later ones meet what earlier ones left.
ROUNDS_A_BANK = 5


def test_kill_at_any_moment_of_add_leaves_a_whole_bank(msa, many_documents, tiny_model, tmp_path):
    command = Command(msa)
    rng = random.Random(SEED)
    bank = tmp_path / "bank"
    arguments = [str(msa), "add", str(bank), str(many_documents.file), "--model", str(tiny_model), "--quiet"]

    start = time.monotonic()
    subprocess.run(arguments, check=True, capture_output=True)
    whole_seconds = time.monotonic() - start

    killed = 0
    committed = 0
    left_seconds = 0.0
    for round_ in range(ROUNDS):
        if round_ % ROUNDS_A_BANK == 0 or left_seconds < whole_seconds / 10:
            shutil.rmtree(bank, ignore_errors=True)
            committed = 0
            left_seconds = whole_seconds
        moment = rng.uniform(0, left_seconds)
        start = time.monotonic()
        process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=moment)
            if committed == 0:  # the machine is less busy than it was
                whole_seconds = time.monotonic() - start
            left_seconds = 0.0
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
            left_seconds -= moment

        where = f"seed {SEED}, round {round_}, killed after {moment:.3f} s"
        info = subprocess.run([msa, "info", bank, "--json"], capture_output=True, text=True)
        if info.returncode != DONE:
            # Killed before there was a bank, which the next round's add must not mind.
            assert committed == 0 and "msa add" in info.stderr, f"{where}: {info.stderr}"
            continue
        damage = many_documents.damage(command, bank, seed=round_)
        assert damage == [], f"{where}: {damage[:5]}"
        audit = subprocess.run([msa, "audit", bank], capture_output=True, text=True)
        assert audit.returncode == DONE, f"{where}: {audit.stdout}{audit.stderr}"
        documents = len(command.json("list", bank))
        assert documents >= committed, f"{where}: {committed} documents were committed, {documents} are left"
        committed = documents

    assert killed >= ROUNDS // 2, f"only {killed} of {ROUNDS} runs were still going when killed"
    subprocess.run(arguments, check=True, capture_output=True)
    assert many_documents.differences(command, bank, sample=200) == []
    encoding = command.json("info", bank)[0]["encodings"][0]
    assert encoding["unencoded_passages"] == 0 and encoding["encoded_passages"] >= len(many_documents.texts)
