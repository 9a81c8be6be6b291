"""Runs the project's commands, each in a forked process, so that many real runs cost one import of torch.

Reads one JSON object a line, {"command": ..., "arguments": [...], "stdout": file, "stderr": file}; answers with the
process's number when it has started and with its exit code when it has ended.
"""

from __future__ import annotations

import json
import os
import sys

from weaksvr.train import checkpoint, engine, evaluate, progress  # noqa: F401 - loaded before the forks
from weaksvr.train.commands import evaluate as evaluate_command
from weaksvr.train.commands import train as train_command

COMMANDS = {"weaksvr-train": train_command.main, "weaksvr-evaluate": evaluate_command.main}


def serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            for descriptor, name in ((0, os.devnull), (1, request["stdout"]), (2, request["stderr"])):
                flags = os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
                os.dup2(os.open(name, flags), descriptor)
            sys.argv = [request["command"], *request["arguments"]]
            try:
                COMMANDS[request["command"]]()
            except SystemExit as done:
                sys.stdout.flush()
                os._exit(int(done.code or 0))  # taking torch apart again takes longer than most of the runs
        answer(child)
        answer(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve()
