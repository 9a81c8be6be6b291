"""CSV-Matching: `label video video ...`, one question a line, the candidates as label/video.

The published answer is the procedure's number minus one, since the candidates are the procedures 1 to 5 of a task in
this order. Read here is what this rests on: the place of the one candidate whose folder is the label.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .collection import Question
from .findings import Findings
from .published import Layout, compare_count, last_parts, rows_of

__all__ = ["MATCHING_FILES", "NUM_CANDIDATES", "read_csv_matching"]

MATCHING_FILES = ("splits/text_matching.txt", "splits/text_retrieval.txt")
"""The 800 questions of the paper, and the first 125 of them, which the published settings point to; the first file
that is there is read."""

NUM_CANDIDATES = 5


def read_csv_matching(
    path: Path,
    layout: Layout,
    findings: Findings,
    *,
    where: str,
    bank: Mapping[str, tuple[str, ...]],
    known: frozenset[str] | None,
) -> tuple[Question, ...]:
    """The questions, in the order of the file. Repeated ones are kept, since published results count them.

    Args:
        path: the file.
        layout: of the dataset.
        findings: takes what is skipped.
        where: the file's name in findings.
        bank: steps by label.
        known: names of the test split's videos; None where its file is absent, then they are not looked up.

    Raises:
        DataError: if the file cannot be read.
    """
    questions: list[Question] = []
    seen: set[Question] = set()
    for place, (label, *fields) in rows_of(path, 1 + NUM_CANDIDATES, findings, where=where):
        names = tuple("/".join(last_parts(field, 2)) for field in fields)
        answers = [index for index, name in enumerate(names) if name.rpartition("/")[0] == label]
        if label not in bank:
            findings.add("label-unknown", where, place)
        elif len(answers) != 1 or len(set(names)) < len(names):
            findings.add("answer-unknown", where, place)
        elif known is not None and not known.issuperset(names):
            findings.add("video-not-in-split", where, place)
        else:
            question = Question(steps=bank[label], names=names, answer=answers[0])
            if question in seen:
                findings.add("question-repeated", where, place)
            seen.add(question)
            questions.append(question)
    compare_count(len(questions), layout, findings, where=where)
    return tuple(questions)
