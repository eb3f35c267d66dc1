"""A model behind an OpenAI-compatible endpoint, as vLLM, Ollama and others serve one."""

import base64
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import islice
from urllib.parse import urlsplit

import openai
from openai import OpenAI
from PIL import Image

from lab.data.captioning.question import Answer, Answered, Question
from lab.data.crops import crop
from lab.data.images import read_image
from lab.errors import LabError

KEY = "TACA_CAPTION_KEY"  # the endpoint's key, in the environment
QUALITY = 95  # of the JPEG that is sent
POLICY = ("content_filter", "content_policy_violation")  # codes of a request that is refused for what it shows
LATER = "run the command again, which asks only what nobody has answered"
_THOUGHTS = re.compile(r"^\s*<think>.*?</think>\s*", re.DOTALL)
GREY = Image.new("RGB", (336, 336), "grey")  # as large as LLaVA sees images


@dataclass(frozen=True)
class Endpoint:
    """A captioner that asks a server.

    Attributes:
        base_url: of the API, which usually ends in /v1.
        model: as the server knows it.
        max_tokens: of an answer.
        temperature: of second answers; first ones are the likeliest.
        concurrency: questions that are under way at once.
        timeout: seconds of one of them.
        retries: of one that is turned away, not answered, or answered with what is no answer.
    """

    base_url: str
    model: str
    max_tokens: int
    temperature: float
    concurrency: int
    timeout: float
    retries: int
    batch_size = 1

    @classmethod
    def of(cls, settings: Mapping[str, object]) -> "Endpoint":
        """The one that these settings of stage `caption` name, among others."""
        return cls(**{field.name: settings[field.name] for field in fields(cls)})

    @property
    def identity(self) -> dict[str, object]:
        """Of what changes an answer. Where a server stands does not."""
        sampling = {"max_tokens": self.max_tokens, "temperature": self.temperature, "quality": QUALITY}
        return {"captioner": "endpoint", "model": self.model, **sampling}

    @cached_property
    def client(self) -> OpenAI:
        """Given a key of its own, or none: by itself it would send the one of another service, in OPENAI_API_KEY.

        Raises:
            LabError: the address, or that of a proxy in the environment, is none; the key is none.
        """
        try:
            _ = urlsplit(self.base_url).port  # which is a number, or this raises
            return OpenAI(
                base_url=self.base_url,
                api_key=_key() or "none",
                timeout=self.timeout,
                max_retries=self.retries,
            )
        except (ValueError, ImportError) as error:
            raise LabError(
                f"`caption.base_url` is {self.base_url!r}, but nobody can be asked there ({error}): correct it, or the "
                "proxy in the environment."
            ) from None

    def look(self, prompt: str) -> None:
        """Asks about a grey square, once: not every server lists its models, nor does every key that may ask them.

        Raises:
            LabError, ConnectionError, TimeoutError: as `ask`.
        """
        self._complete(GREY, prompt, {"temperature": 0.0})

    def ask(self, batches: Iterable[Sequence[Question]]) -> Iterator[Answered]:
        """As `Captioner.ask`, in the order in which answers come; a fault is raised when all under way have.

        A question is asked when there is room for its answer, so that whoever keeps answers never has many to keep.
        """
        ahead, under_way, faults = iter(batches), {}, []
        with ThreadPoolExecutor(self.concurrency) as pool:
            while True:
                room = 0 if faults else self.concurrency - len(under_way)
                under_way |= {pool.submit(self._answer, question): question for (question,) in islice(ahead, room)}
                if not under_way:
                    break
                for done in wait(under_way, return_when=FIRST_COMPLETED).done:
                    question = under_way.pop(done)
                    if done.exception() is None:
                        yield [(question, done.result())]
                    else:
                        faults.append(done.exception())
        if faults:
            raise faults[0]

    def _answer(self, question: Question) -> Answer:
        sampled = {"temperature": self.temperature, "seed": question.seed}
        settings = {"temperature": 0.0} if question.seed is None else sampled
        return self._complete(crop(read_image(question.path), question.size), question.prompt, settings)

    def _complete(self, image: Image.Image, prompt: str, settings: Mapping[str, float]) -> Answer:
        said, client, content = None, self.client, _content(image, prompt)
        for _ in range(1 + self.retries):
            try:
                said = client.chat.completions.create(
                    model=self.model,
                    messages=[{"role": "user", "content": content}],
                    max_tokens=self.max_tokens,
                    **settings,
                )
            except ValueError as error:  # no JSON, or not in UTF-8
                said = error
                continue
            except openai.OpenAIError as error:
                return self._declined(error)
            answer = _read(said, self.model)
            if answer is not None:
                return answer
        said = _first_line(getattr(said, "error", None) or said)
        raise LabError(
            f"{self.base_url} answers {1 + self.retries} times with no chat completion ({said!r}): see that "
            "`caption.base_url` is that of an OpenAI-compatible API, which usually ends in /v1."
        )

    def _declined(self, error: openai.OpenAIError) -> Answer:
        """An answer, where this image is declined. Raises: what stops the stage."""
        if isinstance(error, openai.APITimeoutError):
            raise TimeoutError(
                f"{self.base_url} did not answer within {self.timeout:g} s, {1 + self.retries} times: raise "
                f"`caption.timeout` or lower `caption.concurrency`, and {LATER}."
            ) from None
        if not isinstance(error, openai.APIStatusError):
            raise ConnectionError(
                f"{self.base_url} cannot be reached ({_first_line(error.__cause__ or error)}): see that it runs, and "
                f"{LATER}."
            ) from None
        if error.code in POLICY:
            return Answer("", "refusal", self.model)
        raise self._fault(error) from None

    def _fault(self, error: openai.APIStatusError) -> Exception:
        status, said = error.status_code, _first_line(error)
        if status in (401, 403):
            return LabError(f"{self.base_url} refuses the key ({status}: {said}): set {KEY} to one that it takes.")
        if status == 404:
            return LabError(
                f"{self.base_url} has no model {self.model!r} ({said}), but has {self._models()}: correct "
                "`caption.model`, or `caption.base_url`, which usually ends in /v1."
            )
        if status in (408, 409, 429) or status >= 500:
            return ConnectionError(
                f"{self.base_url} answers with status {status} ({said}), {1 + self.retries} times: lower "
                f"`caption.concurrency` or raise `caption.retries`, and {LATER}."
            )
        return LabError(f"{self.base_url} refuses the question ({status}: {said}): see whether the model takes images.")

    def _models(self) -> str:
        try:
            return ", ".join(model.id for model in self.client.models.list()) or "none"
        except (openai.OpenAIError, ValueError, AttributeError, TypeError):
            return "no list of its models"


def _content(image: Image.Image, prompt: str) -> list[dict]:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=QUALITY, subsampling=0)
    url = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    return [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": prompt}]


def _read(said: object, asked: str) -> Answer | None:
    """None for what has no answer in it: the client checks nothing, and gives what is not JSON as it came.

    Args:
        asked: the model's name, for a server that does not say which one answered.
    """
    try:
        (choice, *_) = said.choices
        text, refusal = _text(choice.message.content), getattr(choice.message, "refusal", None)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    model, reason = getattr(said, "model", None), getattr(choice, "finish_reason", None)
    refused = bool(refusal) or reason == "content_filter"
    ended = "refusal" if refused else "length" if reason == "length" else "stop"
    return Answer(text, ended, model if isinstance(model, str) and model else asked)


def _text(content: object) -> str:
    """Of what an answer holds: nothing, a text, or a list of parts; without what a model thought before it.

    Halves of characters, which JSON can hold and no file, become question marks.

    Raises:
        KeyError, TypeError: it holds something else.
    """
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part["type"] == "text")
    if not isinstance(content, str | None):
        raise TypeError
    return _THOUGHTS.sub("", content or "").encode(errors="replace").decode()


def _key() -> str:
    """Without the line end that a file leaves. Raises: LabError for what no header can carry."""
    key = os.environ.get(KEY, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise LabError(f"{KEY} holds a line end or a character that no key has: set it to the key alone.")
    return key


def _first_line(error: object) -> str:
    """What a server says, without the key, which some repeat."""
    said = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return said.replace(_key() or "\0", "***")[:200]
