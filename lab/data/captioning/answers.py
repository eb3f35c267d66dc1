"""A store of captioners' answers, outside of any stage's output: no image is described twice.

An answer's key is the hash of all that it depends on, so that an entry is never wrong, and an edit of code or
parameters that leaves the question as it was asks nothing again.
"""

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

from huggingface_hub import constants

from lab.data.captioning.question import Answer, Answered, Question
from lab.errors import LabError

FOLDER = "TACA_ANSWERS"  # where the store lies, if not beside what the hub's client keeps
PATIENCE = 60.0  # seconds, while another process writes


def place() -> Path:
    """The store of this machine, for all copies of the repository."""
    return Path(os.environ.get(FOLDER) or Path(constants.HF_HOME) / "taca") / "answers.sqlite"


class AnswerStore:
    """Answers of one captioner in the SQLite database at `path`, from any number of threads and processes.

    Args:
        identity: of the captioner.

    Raises:
        LabError: the file is no such database, or there can be none.
    """

    def __init__(self, path: Path, identity: Mapping[str, object]):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=PATIENCE, check_same_thread=False)
        except (FileExistsError, NotADirectoryError, sqlite3.OperationalError):
            raise LabError(
                f"{path} cannot be a file: set {FOLDER} to a folder, in which captioners' answers stay."
            ) from None
        self._path = path
        self._identity = identity
        self._lock = threading.Lock()
        try:
            with self._connection as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT NOT NULL)")
        except sqlite3.DatabaseError as error:
            self.close()
            raise LabError(
                f"{path} does not hold captioners' answers ({error}): remove it, and what it held is asked again."
            ) from None

    def find(self, question: Question) -> Answer | None:
        """The answer that was given; None for a question that nobody has asked."""
        with (
            self._lock,
            closing(
                self._connection.execute("SELECT answer FROM answers WHERE key = ?", (self._key(question),))
            ) as rows,
        ):
            row = rows.fetchone()
        return None if row is None else Answer(**json.loads(row[0]))

    def put(self, answered: Answered) -> None:
        """Keeps all of these answers, or, when killed, none: the rest of a batch would be another batch.

        Where another process was first, its answer stays.

        Raises:
            LabError: the disk is full, or not to be written to.
        """
        rows = [(self._key(question), json.dumps(answer.as_dict())) for question, answer in answered]
        try:
            with self._lock, self._connection as connection:
                connection.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?)", rows)
        except sqlite3.OperationalError as error:
            raise LabError(
                f"{self._path} takes no more answers ({error}): free some space, or set {FOLDER} to a folder on a "
                "larger disk; what was answered before is kept there."
            ) from None

    def missing(self, questions: Iterable[Question]) -> list[Question]:
        """The questions that nobody has asked."""
        return [question for question in questions if self.find(question) is None]

    def close(self) -> None:
        """Nothing is asked of the store after this."""
        self._connection.close()

    def _key(self, question: Question) -> str:
        asked = [dict(self._identity), question.sha256, question.size, question.prompt, question.seed]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
