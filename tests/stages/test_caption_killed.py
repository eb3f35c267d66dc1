"""SIGKILL at ten random moments of stage `caption`: nothing is described twice but what was on its way."""

import random
import shutil
from collections import Counter
from contextlib import closing
from hashlib import file_digest

import pytest

from tests.chat_server import MODEL, ChatServer, image_of, slow
from tests.hub_server import HubServer
from tests.small_copy import Copy
from tests.stages.test_kills_at_random import Program, kill
from tests.tiny_llava import save_tiny_llava

KILLS = 10
IMAGES = 120
AT_ONCE = 4  # questions on their way when a process is killed
PROMPT = "It came with '{alt}'. Describe it."

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Describing(Program):
    """Stage `caption` of drawings, with a store of its own."""

    def __init__(self, copy: Copy, settings: dict, environment: dict):
        super().__init__(copy, "caption")
        self.store = copy.root.parent / "answers"
        own = environment | {"TACA_ANSWERS": str(self.store)}
        copy.environment = lambda: Copy.environment(copy) | own
        copy.edit({"sample": {"size": IMAGES}})
        asked = {"table": "data/sample/index.parquet", "prompt": PROMPT, "temperature": 0.7, "seed": 3} | settings
        copy.write(copy.params() | {"caption": asked})
        for stage in ("check", "sample"):
            done = copy.run("python", "-m", f"stages.{stage}")
            assert done.returncode == 0, done.stderr

    def output(self) -> str:
        with (self.copy.root / "data/captions.parquet").open("rb") as file:
            return file_digest(file, "sha256").hexdigest()


def test_killed_at_ten_moments_an_endpoint_is_asked_nothing_twice(tmp_path):
    """But what was on its way; and the bytes are those of a run that nobody killed."""
    with closing(ChatServer(slow(0.1))) as server:
        settings = {"captioner": "endpoint", "base_url": server.base_url, "model": MODEL, "max_tokens": 50}
        settings |= {"concurrency": AT_ONCE, "timeout": 20.0, "retries": 2}
        program = Describing(Copy(tmp_path / "repository"), settings, {})
        life, moments, killed = program.finish(), random.Random(13), 0
        expected, whole = program.output(), len(server.asked)
        program.forget()
        shutil.rmtree(program.store)
        server.asked.clear()
        while killed < KILLS:
            # Most of a life is the start of a process and of its record.
            killed += kill(program.start(), moments.uniform(0.2, 0.9) * life, alone=moments.random() < 0.5) is None
            if not (tmp_path / "repository/data/captions.parquet").exists():
                continue
            program.forget()
        program.finish()
        assert program.output() == expected
        times = Counter(image_of(asked) for asked in server.asked)
        assert len(times) == whole
        assert whole <= times.total() <= whole + KILLS * AT_ONCE


def test_killed_at_ten_moments_llava_ends_with_the_same_bytes(tmp_path):
    """Batches are asked whole or not at all, so that none is cut otherwise than at first."""
    with closing(HubServer()) as hub:
        commit = hub.add("some/llava", save_tiny_llava(tmp_path / "llava")).commit
        settings = {"captioner": "llava", "repo": "some/llava", "revision": commit, "max_tokens": 12}
        settings |= {"dtype": "bfloat16", "batch_size": 8}
        own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
        program = Describing(Copy(tmp_path / "repository"), settings, own)
        program.finish()  # which fetches the model, as no later one does
        expected = program.output()
        program.forget()
        (program.store / "answers.sqlite").unlink()
        life, moments, killed = program.finish(), random.Random(17), 0
        assert program.output() == expected
        program.forget()
        (program.store / "answers.sqlite").unlink()
        while killed < KILLS:
            killed += kill(program.start(), moments.uniform(0.3, 0.9) * life, alone=moments.random() < 0.5) is None
            if (tmp_path / "repository/data/captions.parquet").exists():
                program.forget()
                (program.store / "answers.sqlite").unlink()
        program.finish()
        assert program.output() == expected
