"""Faults of who describes images: tables of captions, and models that are served or downloaded."""

from collections.abc import Callable

from tests.chat_server import ChatServer, slow
from tests.faults.fault import Fault, Place, both, written

CAPTION = "python -m stages.caption"
SERVER = "http://127.0.0.1:9"  # where nobody listens
ASKED = {"table": "data/sample/index.parquet", "prompt": "Describe it.", "temperature": 0.7, "seed": 1}
ASKED |= {"max_tokens": 8}


def table(content: str, name: str = "captions.csv") -> Callable[[Place], None]:
    """A table of the user's own as the captioner."""

    def arrange(place: Place) -> None:
        place.write(f"mine/{name}", content)
        place.edit({"caption": {"captioner": "table", "table": f"mine/{name}"}})

    return arrange


def rows(number: int, text: str = "a circle") -> str:
    return "file_name,text\n" + "".join(f"images/{image:06d}.png,{text}\n" for image in range(number))


def endpoint(**changes: object) -> Callable[[Place], None]:
    """A server that nobody has started."""
    settings = {"captioner": "endpoint", "base_url": f"{SERVER}/v1", "model": "llava", **ASKED}
    settings |= {"concurrency": 2, "timeout": 5.0, "retries": 0}
    return lambda place: place.edit({"caption": settings | changes})


def served(told: object, **changes: object) -> Callable[[Place], None]:
    """A server that gives each question the same answer, as `ChatServer.behave` says, until the tests end."""

    def arrange(place: Place) -> None:
        server = ChatServer(told if callable(told) else lambda asked, before: told)
        endpoint(base_url=server.base_url, **changes)(place)

    return arrange


def llava(**changes: object) -> Callable[[Place], None]:
    settings = {"captioner": "llava", "repo": "llava-hf/llava-1.5-7b-hf", "revision": "b" * 40, **ASKED}
    settings |= {"dtype": "float16", "batch_size": 2}
    return lambda place: place.edit({"caption": settings | changes})


OF_CAPTIONERS = [
    Fault(
        "a table of captions for other images",
        CAPTION,
        (
            "caption: mine/captions.csv has no caption for 2 of 12 sampled images, first of all … (images/000010.png "
            "in data/sample); its first file_name are: images/000000.png, images/000001.png, images/000002.png. Name "
            "each image by one of these two, or sample the images that the table is for."
        ),
        table(rows(10)),
        recorded=True,
    ),
    Fault(
        "two captions of an image",
        CAPTION,
        "caption: mine/captions.csv has two rows for 'images/000003.png': keep one.",
        table(rows(12) + "images/000003.png,a square\n"),
        recorded=True,
    ),
    Fault(
        "a table of captions without words",
        CAPTION,
        (
            "caption: mine/captions.csv says nothing of 'images/000000.png' (row 1): write its caption, or remove the "
            "row."
        ),
        table(rows(12, "")),
        recorded=True,
    ),
    Fault(
        "a table of captions of another kind",
        CAPTION,
        (
            "caption: params.yaml: `caption.table` is 'mine/captions.txt', but must be a file that exists and ends in "
            ".csv, .jsonl, .parquet, since `caption.captioner` is table."
        ),
        table(rows(12), "captions.txt"),
    ),
    Fault(
        "an endpoint that nobody serves",
        CAPTION,
        (
            "caption: http://127.0.0.1:9/v1 cannot be reached ([Errno 111] Connection refused): see that it runs, and "
            "run the command again, which asks only what nobody has answered."
        ),
        endpoint(),
        recorded=True,
        environment={"TACA_ANSWERS": ".work/answers"},
    ),
    Fault(
        "an endpoint that nobody serves, before anything runs",
        "python -m lab.preflight caption",
        "- caption: http://127.0.0.1:9/v1 cannot be reached ([Errno 111] Connection refused): see that it runs, …",
        endpoint(),
        environment={"TACA_ANSWERS": ".work/answers"},
        among=True,
    ),
    Fault(
        "a key that an endpoint refuses",
        CAPTION,
        (
            "caption: http://127.0.0.1:…/v1 refuses the key (401: … no such key ***…): set TACA_CAPTION_KEY to one "
            "that it takes."
        ),
        served((401, {"error": {"message": "no such key sk-secret"}})),
        recorded=True,
        environment={"TACA_ANSWERS": ".work/answers", "TACA_CAPTION_KEY": "sk-secret"},
    ),
    Fault(
        "a key of two lines",
        CAPTION,
        "caption: TACA_CAPTION_KEY holds a line end or a character that no key has: set it to the key alone.",
        endpoint(),
        recorded=True,
        environment={"TACA_ANSWERS": ".work/answers", "TACA_CAPTION_KEY": "sk\nsecret"},
    ),
    Fault(
        "an endpoint that is busy for ever",
        CAPTION,
        (
            "caption: http://127.0.0.1:…/v1 answers with status 429 (…), 2 times: lower `caption.concurrency` or raise "
            "`caption.retries`, and run the command again, which asks only what nobody has answered."
        ),
        served(429, retries=1),
        recorded=True,
        environment={"TACA_ANSWERS": ".work/answers"},
    ),
    Fault(
        "an endpoint that is too slow",
        CAPTION,
        (
            "caption: http://127.0.0.1:…/v1 did not answer within 0.2 s, 1 times: raise `caption.timeout` or lower "
            "`caption.concurrency`, and run the command again, which asks only what nobody has answered."
        ),
        served(slow(2), timeout=0.2),
        recorded=True,
        environment={"TACA_ANSWERS": ".work/answers"},
    ),
    Fault(
        "an endpoint that answers with no JSON",
        CAPTION,
        (
            "caption: http://127.0.0.1:…/v1 answers 2 times with no chat completion (…): see that `caption.base_url` "
            "is that of an OpenAI-compatible API, which usually ends in /v1."
        ),
        served(b"<html>busy</html>", retries=1),
        recorded=True,
        environment={"TACA_ANSWERS": ".work/answers"},
    ),
    Fault(
        "a model that an endpoint has not",
        CAPTION,
        (
            "caption: http://127.0.0.1:…/v1 has no model 'llava' (…), but has stub/llava: correct `caption.model`, or "
            "`caption.base_url`, which usually ends in /v1."
        ),
        served(404),
        recorded=True,
        environment={"TACA_ANSWERS": ".work/answers"},
    ),
    Fault(
        "a store of answers that is none",
        CAPTION,
        (
            "caption: .work/answers/answers.sqlite does not hold captioners' answers (file is not a database): remove "
            "it, and what it held is asked again."
        ),
        both(endpoint(), written(".work/answers/answers.sqlite", "what somebody left here " * 100)),
        recorded=True,
        environment={"TACA_ANSWERS": ".work/answers"},
    ),
    Fault(
        "a key in an endpoint's address",
        "python -m stages.check",
        (
            "check: params.yaml: `caption.base_url` is 'https://me:key@example.org/v1', but must be an http(s) address "
            "without a user, such as one in /v1."
        ),
        endpoint(base_url="https://me:key@example.org/v1"),
    ),
    Fault(
        "a captioner of a branch",
        "python -m stages.check",
        "check: params.yaml: `caption.revision` is 'main', but must be a commit, 40 hex digits.",
        llava(revision="main"),
    ),
]
