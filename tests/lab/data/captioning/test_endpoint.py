"""Captions by an endpoint that answers well, badly, slowly or not at all; nobody is asked twice."""

import re

import numpy as np
import pytest
from PIL import Image

from lab.data.captioning.answers import AnswerStore
from lab.data.captioning.endpoint import KEY, Endpoint
from lab.data.captioning.refine import metrics_of, questions_of, refine
from lab.data.crops import Size
from lab.errors import LabError
from tests.chat_server import MODEL, ChatServer, image_of, slow

COUNT = 12
SIZES = [Size(32, 32)]


@pytest.fixture
def server():
    server = ChatServer()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Waits between attempts are short."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.02)
    monkeypatch.delenv(KEY, raising=False)


@pytest.fixture
def rows(tmp_path):
    """Twelve images in the sample's folder; the last one is the first one again."""
    (tmp_path / "images").mkdir()
    rows = []
    for number in range(COUNT):
        pixels = np.random.default_rng(number % (COUNT - 1)).integers(0, 256, (20, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"images/{number}.png")
        rows.append({"id": number, "path": f"images/{number}.png", "caption": f"alt {number % 11}", "source": "x"})
    return [row | {"width": 40, "height": 20} for row in rows]


def endpoint(server, **changes):
    settings = {
        "base_url": server.base_url,
        "model": MODEL,
        "concurrency": 4,
        "timeout": 5.0,
        "retries": 2,
        "max_tokens": 50,
        "temperature": 0.7,
    }
    return Endpoint(**settings | changes)


def described(captioner, folder, rows, prompt="Describe it.", store="answers.sqlite", seed=5):
    answers = AnswerStore(folder / store, captioner.identity)
    try:
        return refine("endpoint", captioner, answers, questions_of(folder, rows, prompt, SIZES), rows, seed)
    finally:
        answers.close()


def named(server, rows, folder):
    """What the server calls the image of each row but the last, in their order."""
    described(endpoint(server, concurrency=1), folder, rows, store="other.sqlite")
    names = [image_of(asked) for asked in server.asked]
    server.asked.clear()
    server._seen.clear()
    return names


def test_every_image_gets_its_own_caption_beside_the_words_it_came_with(server, tmp_path, rows):
    captions = described(endpoint(server), tmp_path, rows)
    assert [row["id"] for row in captions] == list(range(COUNT))
    assert [row["alt"] for row in captions] == [row["caption"] for row in rows]
    assert len({row["caption"] for row in captions}) == COUNT - 1
    assert {(row["answer"], row["fault"], row["model"]) for row in captions} == {("first", None, MODEL)}
    assert {(asked["temperature"], asked["max_tokens"]) for asked in server.asked} == {(0.0, 50)}


def test_equal_images_are_described_once_and_a_second_run_asks_nobody(server, tmp_path, rows):
    """With the server gone, too; an image that is new is the only one that is asked."""
    captions = described(endpoint(server), tmp_path, rows[:9] + rows[11:])
    assert len(server.asked) == 9
    again = described(endpoint(server), tmp_path, rows)
    assert len(server.asked) == 11
    server.close()
    assert described(endpoint(server), tmp_path, rows) == again
    assert again[:9] == captions[:9]


@pytest.mark.parametrize("changes", [{"model": "other"}, {"max_tokens": 51}])
def test_another_model_or_setting_is_another_answer(server, tmp_path, rows, changes):
    described(endpoint(server), tmp_path, rows)
    described(endpoint(server, **changes), tmp_path, rows)
    assert len(server.asked) == 22


@pytest.mark.parametrize("changes", [{"concurrency": 1}, {"timeout": 9.0}, {"retries": 7}])
def test_how_a_server_is_asked_changes_no_answer(server, tmp_path, rows, changes):
    described(endpoint(server), tmp_path, rows)
    described(endpoint(server, **changes), tmp_path, rows)
    assert len(server.asked) == 11


@pytest.mark.long
def test_concurrency_changes_no_byte(server, tmp_path, rows):
    """Answers come out of order, and the rows do not."""
    delays = iter([0.05, 0.0] * 50)
    server.behave = lambda asked, before: slow(next(delays))(asked, before)
    alone = described(endpoint(server, concurrency=1), tmp_path, rows, store="a")
    assert server.most == 1
    together = described(endpoint(server, concurrency=8), tmp_path, rows, store="b")
    assert 1 < server.most <= 8
    assert together == alone


def test_the_alt_text_goes_into_the_prompt(server, tmp_path, rows):
    rows[0]["caption"] = "first\nline  {alt} " + "x" * 5000
    described(endpoint(server), tmp_path, rows[:2], prompt="It came with '{alt}'. Refine.")
    texts = sorted(part["text"] for asked in server.asked for part in asked["messages"][0]["content"] if "text" in part)
    assert texts[0] == "It came with 'alt 1'. Refine."
    assert texts[1].startswith("It came with 'first line {alt} xxx")
    assert len(texts[1]) < 1100


@pytest.mark.parametrize("status", [429, 500, 503, 408])
def test_an_answer_that_passes_is_waited_for(server, tmp_path, rows, status):
    server.behave = lambda asked, before: status if before == 0 else None
    assert {row["answer"] for row in described(endpoint(server), tmp_path, rows)} == {"first"}
    assert len(server.asked) == 22


@pytest.mark.parametrize("status", [429, 500])
def test_a_server_that_stays_so_is_a_passing_fault_and_what_it_said_is_kept(server, tmp_path, rows, status):
    server.behave = lambda asked, before: status if len(server.asked) > 5 else None
    with pytest.raises(ConnectionError, match=rf"answers with status {status} .* 3 times: lower `caption.concurrency`"):
        described(endpoint(server, concurrency=1), tmp_path, rows)
    server.behave = lambda asked, before: None
    server.asked.clear()
    described(endpoint(server), tmp_path, rows)
    assert len(server.asked) == 6


def test_a_server_that_is_too_slow_is_a_passing_fault(server, tmp_path, rows):
    server.behave = slow(0.5)
    with pytest.raises(TimeoutError, match=r"did not answer within 0.1 s, 2 times: raise `caption.timeout`"):
        described(endpoint(server, timeout=0.1, retries=1, concurrency=2), tmp_path, rows[:2])


def test_a_server_that_is_gone_is_a_passing_fault(server, tmp_path, rows):
    server.close()
    with pytest.raises(ConnectionError, match="cannot be reached"):
        described(endpoint(server, retries=0), tmp_path, rows[:1])


NO_ANSWERS = [b"{", b"<html>busy</html>", b"[]", b"null", b"{}", b'{"choices": []}', b'{"choices": [{}]}', b'"text"']
NO_ANSWERS += [b'{"choices": "caf\xe9"}']


def test_what_is_no_answer_is_asked_again_and_then_said(server, tmp_path, rows):
    captioner = endpoint(server, retries=1)
    for number, said in enumerate(NO_ANSWERS):
        row = rows[number : number + 1]
        server.behave = lambda asked, before, said=said: said if before == 0 else None
        assert described(captioner, tmp_path, row)[0]["answer"] == "first"
        server.behave = lambda asked, before, said=said: said
        with pytest.raises(LabError, match=r"answers 2 times with no chat completion .* usually ends in /v1"):
            described(captioner, tmp_path, row, prompt="Again.")


def test_a_model_that_is_not_there_is_said_with_those_that_are(server, tmp_path, rows):
    server.behave = lambda asked, before: 404
    with pytest.raises(LabError, match=rf"has no model 'lava' .*, but has {re.escape(MODEL)}: correct `caption.model`"):
        described(endpoint(server, model="lava"), tmp_path, rows)


def test_the_model_that_answers_is_recorded(server, tmp_path, rows):
    server.behave = lambda asked, before: {"model": "stub/llava-2026"}
    captions = described(endpoint(server), tmp_path, rows)
    assert {row["model"] for row in captions} == {"stub/llava-2026"}
    assert metrics_of(captions)["captions/models"] == 1


def test_a_question_that_is_refused_is_said(server, tmp_path, rows):
    server.behave = lambda asked, before: 400
    with pytest.raises(LabError, match=r"refuses the question \(400: .*\): see whether the model takes images"):
        described(endpoint(server), tmp_path, rows)


@pytest.mark.parametrize(
    ("told", "caption"),
    [
        ({"content": [{"type": "text", "text": "A cat"}, {"type": "text", "text": " sits."}]}, "A cat sits."),
        ({"content": "<think>They want\nwords.</think>\nA cat."}, "A cat."),
        ({"content": " A cat.\r\nIt sits. "}, "A cat.\r\nIt sits."),
        ({"content": "A \ud83d cat."}, "A ? cat."),
        ({"model": None}, None),
        (b'{"choices": [{"message": {"content": "Bare."}}]}', "Bare."),
    ],
)
def test_answers_are_read_however_servers_give_them(server, tmp_path, rows, told, caption):
    """In parts, behind a model's thoughts, with half a character, without the model's name or the reason to stop."""
    server.behave = lambda asked, before: told
    (row,) = described(endpoint(server), tmp_path, rows[:1])
    assert row["caption"] == caption or caption is None
    assert (row["answer"], row["model"]) == ("first", MODEL)


@pytest.mark.parametrize("more", ["/v1", "/v1/", ""])
def test_an_address_may_end_as_it_likes_where_the_server_is(server, tmp_path, rows, more):
    """Below /v1 is what most serve; without it the sentence names it."""
    server.base = "/v1/"
    captioner = endpoint(server, base_url=f"{server.url}{more}")
    if more:
        assert described(captioner, tmp_path, rows[:1])[0]["answer"] == "first"
    else:
        with pytest.raises(LabError, match=r"or `caption.base_url`, which usually ends in /v1"):
            described(captioner, tmp_path, rows[:1])


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:abc/v1", r"nobody can be asked there \(Port could not"),
        ("http://[::1/v1", "nobody can be asked there"),
        ("http://127.0.0.1:9/v1", r"cannot be reached \(.*refused\)"),
        ("http://nowhere.invalid/v1", "cannot be reached"),
    ],
)
def test_an_address_where_nobody_can_be_asked_is_said(server, tmp_path, rows, address, said):
    with pytest.raises((LabError, ConnectionError), match=said):
        described(endpoint(server, base_url=address, retries=0), tmp_path, rows[:1])


@pytest.mark.parametrize("told", [b'{"error": {"message": "no memory"}}', (200, {"error": {"message": "no memory"}})])
def test_a_fault_told_as_an_answer_is_quoted(server, tmp_path, rows, told):
    server.behave = lambda asked, before: told
    with pytest.raises(LabError, match=r"no chat completion \(.*no memory"):
        described(endpoint(server, retries=0), tmp_path, rows[:1])


BAD = {
    "refusal in words": ({"content": "I'm sorry, but I can't help with that."}, "refusal"),
    "refusal in its field": ({"content": None, "refusal": "No."}, "refusal"),
    "filtered": ({"content": "", "finish_reason": "content_filter"}, "refusal"),
    "filtered question": ((400, {"error": {"message": "no", "code": "content_policy_violation"}}), "refusal"),
    "empty": ({"content": " \n\u200b"}, "empty"),
    "nothing": ({"content": None}, "empty"),
    "cut off": ({"content": "A picture of a", "finish_reason": "length"}, "cut off"),
}


def test_a_bad_answer_is_sampled_once_more(server, tmp_path, rows):
    """With a seed that is recorded."""
    names = named(server, rows, tmp_path)
    bad = {name: told for name, (told, _) in zip(names, BAD.values(), strict=False)}
    server.behave = lambda asked, before: None if "seed" in asked else bad.get(image_of(asked))
    captions = described(endpoint(server), tmp_path, rows)
    faults = [fault for _, fault in BAD.values()]
    assert [row["fault"] for row in captions] == [*faults, *[None] * (11 - len(bad)), faults[0]]
    assert [row["answer"] for row in captions] == [*["sampled"] * len(bad), *["first"] * (11 - len(bad)), "sampled"]
    again = {image_of(asked): asked for asked in server.asked if "seed" in asked}
    assert [again[name]["seed"] for name in bad] == [row["seed"] for row in captions[: len(bad)]]
    assert {asked["temperature"] for asked in again.values()} == {0.7}
    assert [row["caption"] for row in captions] == [f"A picture of {name}." for name in (*names, names[0])]
    assert len(server.asked) == 11 + len(bad)


def test_after_two_bad_answers_the_alt_text_stands_marked_and_counted(server, tmp_path, rows):
    bad = {name: told for name, (told, _) in zip(named(server, rows, tmp_path), BAD.values(), strict=False)}
    server.behave = lambda asked, before: bad.get(image_of(asked))
    captions = described(endpoint(server), tmp_path, rows)
    faults = [fault for _, fault in BAD.values()]
    stand = [(row["caption"], row["answer"], row["fault"]) for row in (*captions[: len(bad)], captions[11])]
    assert stand == [(f"alt {number}", "alt", fault) for number, fault in enumerate(faults)] + [
        ("alt 0", "alt", faults[0])
    ]
    metrics = metrics_of(captions)
    assert (metrics["captions/alt"], metrics["captions/blank"]) == (len(bad) + 1, 0)
    assert sum(metrics[f"first_answers/{fault.replace(' ', '_')}"] for fault in set(faults)) == len(bad) + 1
    server.close()
    assert described(endpoint(server), tmp_path, rows) == captions


def test_the_key_is_sent_and_told_to_nobody(server, tmp_path, rows, monkeypatch, capfd):
    """Not even where the server repeats it; and the key of another service stays here."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-service")
    described(endpoint(server), tmp_path, rows[:1])
    monkeypatch.setenv(KEY, "sk-secret")
    described(endpoint(server), tmp_path, rows[1:2])
    assert server.keys == ["Bearer none", "Bearer sk-secret"]
    server.behave = lambda asked, before: (401, {"error": {"message": "Incorrect API key provided: sk-secret"}})
    with pytest.raises(LabError, match=rf"refuses the key \(401: .*\): set {KEY} to one") as caught:
        described(endpoint(server), tmp_path, rows)
    assert "sk-" not in str(caught.value)
    assert "sk-" not in "".join(capfd.readouterr())
    assert b"sk-" not in (tmp_path / "answers.sqlite").read_bytes()


@pytest.mark.parametrize("key", [" sk-1\n", "sk\n1", "sch\u00fcssel"])
def test_a_key_is_taken_without_its_line_end_and_none_is_told(server, tmp_path, rows, monkeypatch, key):
    monkeypatch.setenv(KEY, key)
    if key.strip().isprintable() and key.isascii():
        described(endpoint(server), tmp_path, rows[:1])
        assert server.keys == ["Bearer sk-1"]
    else:
        with pytest.raises(LabError, match=rf"{KEY} holds .* set it to the key alone") as caught:
            described(endpoint(server), tmp_path, rows[:1])
        assert key not in str(caught.value)


def test_a_store_that_is_none_is_said(server, tmp_path, rows):
    (tmp_path / "answers.sqlite").write_text("what somebody left here " * 100)
    with pytest.raises(LabError, match=r"answers.sqlite does not hold captioners' answers .*: remove it"):
        described(endpoint(server), tmp_path, rows)


def test_a_store_in_a_file_is_said(server, tmp_path, rows):
    (tmp_path / "mine").write_text("no folder")
    (tmp_path / "folder").mkdir()
    for store in ("mine/answers.sqlite", "folder"):
        with pytest.raises(LabError, match=rf"{store} cannot be a file: set TACA_ANSWERS to a folder"):
            described(endpoint(server), tmp_path, rows, store=store)


def test_a_full_disk_is_said_and_what_was_answered_is_kept(server, tmp_path, rows):
    captioner = endpoint(server, concurrency=1)
    described(captioner, tmp_path, rows[:3])
    answers = AnswerStore(tmp_path / "answers.sqlite", captioner.identity)
    answers._connection.execute("PRAGMA max_page_count = 1")  # as many as there are: what SQLite says of a full disk
    long = "x" * 10_000
    server.behave = lambda asked, before: {"content": long}
    with pytest.raises(
        LabError, match=r"answers.sqlite takes no more answers \(.*full\): free some space, or set TACA_"
    ):
        refine("endpoint", captioner, answers, questions_of(tmp_path, rows, "Describe it.", SIZES), rows, 5)
    answers.close()
    server.asked.clear()
    described(captioner, tmp_path, rows[:3])
    assert server.asked == []
