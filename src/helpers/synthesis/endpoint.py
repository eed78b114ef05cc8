"""Back-ends that write answers to prompts: any OpenAI-compatible endpoint, or a function in this process.

Each has `ask(prompts, schema, checks) -> list[Answer]`, in the order of the prompts. `Local(learner.generate, name)` is the
4-bit model, `Local(embedded.write)` the embedded generator that needs nothing installed.
"""

from __future__ import annotations

import email.utils
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from helpers import env
from helpers.env import UserError
from helpers.files import digest
from helpers.synthesis.answers import (
    Answer,
    Check,
    Reply,
    Store,
    assess,
    instruct,
    numbered,
    repair,
    whole,
    with_usage_of,
)
from helpers.synthesis.budget import Budget, NotAnswered

LONGEST_BACKOFF = 30.0  # seconds
LONGEST_RETRY_AFTER = 120.0  # seconds; a server that asks for more is left alone until the next run
FRAMING = 64  # tokens that a chat template may add to a prompt


# --- an endpoint -----------------------------------------------------------------------------------------------------


@dataclass
class Fault:
    """What an error of a request means for it and for the others."""

    reason: str
    retry: bool = False
    ends_all: bool = False  # no later request can fare better
    billed: bool = False  # the server may have written an answer that was lost
    wait: float | None = None  # seconds, as the server asks
    refused: bool = False


@dataclass
class Endpoint:
    """An OpenAI-compatible chat endpoint: vLLM, Ollama, llama.cpp, `transformers serve`, a hosted API.

    Address, model and key come from NAME_BASE_URL, NAME_MODEL and NAME_API_KEY in the environment (a server on one's own machine
    needs no key). `options` go into every request: temperature, top_p, seed. With a `seed` the k-th draw of a prompt gets
    seed + k. The store does not look at the address, so a server that moves keeps its replies.
    """

    name: str = "TEACHER"
    store: Path | None = None
    budget: Budget = field(default_factory=Budget)
    max_tokens: int = 512
    options: dict[str, Any] = field(default_factory=dict)
    concurrency: int = 8
    timeout: float = 120.0
    retries: int = 5
    backoff: float = 0.5  # seconds before the first retry, doubled every time

    def __post_init__(self):
        self.base_url, self.model, self._key = (
            env.secret(f"{self.name}_{part}") for part in ("BASE_URL", "MODEL", "API_KEY")
        )
        for part, value in (("BASE_URL", self.base_url), ("MODEL", self.model)):
            if not value:
                raise UserError(f"{self.name}_{part} is not set: put it into the environment (on Colab: its secrets).")
        address = urlsplit(self.base_url)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise UserError(f"{self.name}_BASE_URL is no address: it should look like http://127.0.0.1:8000/v1.")
        if not self._key.isascii():
            raise UserError(f"{self.name}_API_KEY holds characters that no key has: copy it again.")
        if self.max_tokens < 1 or self.concurrency < 1 or self.retries < 0 or self.timeout <= 0:
            raise UserError("max_tokens and concurrency must be at least 1, retries at least 0, timeout above 0.")
        self.host = address.netloc.rpartition("@")[2]  # an address may hold a password
        self.requests, self.from_store = 0, 0
        self._kept, self._lock = Store(self.store), threading.Lock()
        self._counted: set[str] = set()
        self._length_option, self._schema_option = "max_tokens", True
        self._begin()

    def _begin(self) -> None:
        self._end, self._failed_in_a_row, self._not_before = "", 0, 0.0
        self._stop = threading.Event()

    @cached_property
    def _client(self):
        import openai

        # max_retries=0: every attempt must pass through the budget.
        return openai.OpenAI(base_url=self.base_url, api_key=self._key or "none", timeout=self.timeout, max_retries=0)

    def ask(self, prompts: Sequence[str], schema: Any = None, checks: Sequence[Check] = ()) -> list[Answer]:
        """One Answer a prompt; `schema` is a pydantic model class, a failed check gets one repair attempt.

        An exhausted budget leaves the rest `failed`. Raises UserError when the endpoint is down, rejects the key or knows no such
        model; what was answered before is in the store, and asking again goes on from there.
        """
        self._begin()
        _ = self._client  # the import and its errors belong to this thread
        draws = numbered(prompts)
        # What the store holds is counted before anything is asked, or a full budget would let requests through.
        answers = [self._answer(p, k, schema, checks, online=False) for p, k in draws]
        missing = [i for i, answer in enumerate(answers) if answer.status == "failed"]
        with ThreadPoolExecutor(self.concurrency) as pool:
            jobs = [pool.submit(self._answer, *draws[i], schema, checks) for i in missing]
            try:
                for i, job in zip(missing, jobs, strict=True):
                    answers[i] = job.result()
            except BaseException:
                self._halt("the work was interrupted")
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        lost = [a for a in answers if a.status == "failed"]
        if self._end or (lost and len(lost) == len(answers) and not self._out_of_budget(lost)):
            kept = f" {len(answers) - len(lost)} of {len(answers)} prompts are answered"
            raise UserError(
                f"{self._end or lost[0].reason};{kept}{' and kept' if self.store else ''}: run again to go on."
            )
        return answers

    @staticmethod
    def _out_of_budget(lost: list[Answer]) -> bool:
        return all(a.reason.startswith("the budget") for a in lost)

    def facts(self) -> dict[str, Any]:
        """What a manifest says of the endpoint; the key is not among it."""
        spent = {"prompt_tokens": self.budget.spent_prompt, "completion_tokens": self.budget.spent_completion}
        counts = {"requests": self.requests, "from_store": self.from_store, "cost": round(self.budget.spent, 6)}
        return {"model": self.model, "host": self.host, "options": self.options} | spent | counts

    # one prompt ------------------------------------------------------------------------------------------------------

    def _answer(self, prompt: str, draw: int, schema: Any, checks: Sequence[Check], online: bool = True) -> Answer:
        asked = instruct(prompt, schema)
        try:
            answer = assess(prompt, self._reply(asked, draw, schema, online), schema, checks)
            if answer.status == "invalid":
                second = self._reply(repair(asked, answer), draw, schema, online)
                answer = with_usage_of(assess(prompt, second, schema, checks), answer)
        except NotAnswered as error:
            return Answer("failed", reason=str(error))
        except BaseException:  # no room for the reply, a check that fails: nothing more may be paid for
            self._halt("the work was interrupted")
            raise
        return answer

    def _reply(self, text: str, draw: int, schema: Any, online: bool) -> Reply:
        """The reply to one request, from the store or, online, from the server."""
        seed = {"seed": self.options["seed"] + draw} if "seed" in self.options else {}
        request = {
            "model": self.model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": self.max_tokens,
            "options": self.options | seed,
            "schema": schema.model_json_schema() if schema is not None else None,
        }
        key = digest(request | {"draw": draw})
        reply = self._kept.get(key)
        if reply is None:
            if not online:
                raise NotAnswered("not in the store")
            reply = self._send(request)
            self._kept.put(key, reply)
        elif key not in self._counted:
            self.budget.add((reply.prompt_tokens, reply.completion_tokens))
            self.from_store += 1
        self._counted.add(key)
        return reply

    def _send(self, request: dict[str, Any]) -> Reply:
        """The server's reply, after retries; NotAnswered without one."""
        most = (len(request["messages"][0]["content"].encode()) + FRAMING, self.max_tokens)
        fault = Fault("")
        for attempt in range(self.retries + 1):
            pause = min(LONGEST_BACKOFF, self.backoff * 2 ** (attempt - 1)) if attempt else 0.0
            self._rest(pause * random.uniform(0.5, 1.0))  # jitter, so that many clients do not come back as one
            self.budget.reserve(most)
            used = (0, 0)
            try:
                self._rest(0)
                reply = self._post(request, most)
                used = (reply.prompt_tokens, reply.completion_tokens)
                self._failed_in_a_row = 0
                return reply
            except NotAnswered:
                raise
            except Exception as error:
                fault = self._fault(error)
                used = most if fault.billed else used
            finally:
                self.budget.settle(most, used)
            if fault.refused:
                return Reply(fault.reason, refused=True)
            if fault.ends_all or not fault.retry:
                break
            self._not_before = max(self._not_before, time.monotonic() + (fault.wait or 0))
        raise NotAnswered(self._lost(fault))

    def _lost(self, fault: Fault) -> str:
        """Note a request without a reply; ends the work when there is no hope or too many were lost in a row."""
        with self._lock:
            self._failed_in_a_row += 1
            many = self._failed_in_a_row >= max(3, self.concurrency)
        if fault.ends_all or many:
            self._halt(fault.reason + ("" if fault.ends_all else f", {self._failed_in_a_row} prompts in a row"))
        return fault.reason

    def _halt(self, reason: str) -> None:
        self._end = self._end or reason
        self._stop.set()

    def _rest(self, seconds: float) -> None:
        """Sleep, and on until every pause that the server asked for is over; NotAnswered when the work has ended."""
        until = time.monotonic() + seconds
        while not self._stop.is_set() and (left := max(until, self._not_before) - time.monotonic()) > 0:
            self._stop.wait(left)
        if self._stop.is_set():
            raise NotAnswered(self._end)

    # one attempt -----------------------------------------------------------------------------------------------------

    def _post(self, request: dict[str, Any], most: tuple[int, int]) -> Reply:
        """One HTTP request; a server that does not know an option is asked again without it."""
        import openai

        length, constrained = self._length_option, self._schema_option and request["schema"] is not None
        extra = request["options"] | {length: request["max_tokens"]}
        if constrained:
            schema = {"name": "answer", "schema": request["schema"]}
            extra["response_format"] = {"type": "json_schema", "json_schema": schema}
        with self._lock:
            self.requests += 1
        try:
            completion = self._client.chat.completions.create(
                model=request["model"], messages=request["messages"], extra_body=extra
            )
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            text = str(error)
            if length == "max_tokens" and "max_completion_tokens" in text:
                self._length_option = "max_completion_tokens"  # reasoning models of hosted APIs
            elif constrained and "response_format" in text:
                self._schema_option = False  # the schema is in the prompt too
            else:
                raise
            return self._post(request, most)
        return read(completion, most)

    def _fault(self, error: Exception) -> Fault:
        import openai

        where = f"the endpoint {self.host}"
        if isinstance(error, openai.APIStatusError):
            return self._status_fault(error, where)
        if isinstance(error, openai.APIConnectionError):
            unsent = type(error.__cause__).__name__.startswith("Connect")
            if unsent:
                reason = f"{where} cannot be reached: start it, or correct {self.name}_BASE_URL"
            elif isinstance(error, openai.APITimeoutError):
                reason = f"{where} did not answer within {self.timeout:g} s"
            else:
                reason = f"{where} dropped the connection"
            return Fault(reason, retry=True, billed=not unsent)
        if isinstance(error, ValueError | openai.APIError):  # half a JSON body, a page of HTML
            return Fault(f"{where} sent something that is no chat completion", retry=True, billed=True)
        raise error

    def _status_fault(self, error: Any, where: str) -> Fault:
        status, wait = error.status_code, retry_after(error.response.headers)
        detail = str(error.message)
        detail = " ".join((detail.replace(self._key, "…") if self._key else detail).split())[:200]
        if status in (401, 403):
            return Fault(f"{where} rejects the key ({status}): set {self.name}_API_KEY to a valid one", ends_all=True)
        if status == 402 or error.code == "insufficient_quota":
            return Fault(f"the account at {self.host} has no credit left ({status})", ends_all=True)
        if status == 404:
            known = f"check {self.name}_BASE_URL (it mostly ends in /v1) and {self.name}_MODEL"
            return Fault(f"{where} knows no model {self.model!r} or no such page (404): {known}", ends_all=True)
        if status == 400 and ("content_filter" in str(error.body) or "content_policy" in str(error.body)):
            return Fault(detail, refused=True)
        if status in (408, 409, 425, 429) or status >= 500:
            if wait and wait > LONGEST_RETRY_AFTER:
                return Fault(f"{where} asks to wait {wait:.0f} s ({status})", ends_all=True)
            return Fault(f"{where} answers with error {status}", retry=True, wait=wait)
        return Fault(f"{where} rejects the request ({status}): {detail}")


def read(completion: Any, most: tuple[int, int]) -> Reply:
    """The Reply in a chat completion; `most` stands for the tokens where the server reports none. ValueError without one."""
    choices = getattr(completion, "choices", None)
    if not choices or choices[0].message is None:
        raise ValueError("no choices in the answer")
    message, finish, usage = choices[0].message, choices[0].finish_reason, completion.usage
    refusal = getattr(message, "refusal", None)
    return Reply(
        text=whole(refusal or message.content or ""),
        prompt_tokens=usage.prompt_tokens if usage and usage.prompt_tokens else most[0],
        completion_tokens=usage.completion_tokens if usage and usage.prompt_tokens else most[1],
        refused=bool(refusal) or finish == "content_filter",
        cut=finish == "length",
    )


def retry_after(headers: Any) -> float | None:
    """Seconds that a response asks to wait (RFC 9110, 10.2.3: a number or a date); None where it does not say."""
    value = headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        date = email.utils.parsedate_tz(value)
        return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else None


# --- a function in this process --------------------------------------------------------------------------------------


@dataclass
class Local:
    """A function from prompts to texts as a back-end: `learner.generate` (which knows its model's chat template), `embedded.write`.

    With a store, `name` must say what writes (model, revision, adapter, sampling): replies are kept under it, batch by batch.
    """

    generate: Callable[[Sequence[str]], list[str]]
    name: str = ""
    store: Path | None = None
    batch: int = 64

    def __post_init__(self):
        if self.store is not None and not self.name:
            raise UserError("A local model with a store needs a name that tells it from other models.")
        self._kept = Store(self.store)

    def ask(self, prompts: Sequence[str], schema: Any = None, checks: Sequence[Check] = ()) -> list[Answer]:
        """One Answer a prompt; a failed check gets one repair attempt."""
        asked = [instruct(p, schema) for p in prompts]
        answers = [assess(p, r, schema, checks) for p, r in zip(prompts, self._replies(asked), strict=True)]
        bad = [i for i, a in enumerate(answers) if a.status == "invalid"]
        for i, reply in zip(bad, self._replies([repair(asked[i], answers[i]) for i in bad]), strict=True):
            answers[i] = with_usage_of(assess(prompts[i], reply, schema, checks), answers[i])
        return answers

    def _replies(self, texts: list[str]) -> list[Reply]:
        keys = [digest({"model": self.name, "text": text, "draw": draw}) for text, draw in numbered(texts)]
        replies = {key: self._kept.get(key) for key in keys}
        todo = [(key, text) for key, text in zip(keys, texts, strict=True) if replies[key] is None]
        for start in range(0, len(todo), self.batch):
            part = todo[start : start + self.batch]
            for (key, _), text in zip(part, self.generate([text for _, text in part]), strict=True):
                replies[key] = Reply(whole(text))
                self._kept.put(key, replies[key])
        return [replies[key] for key in keys]
