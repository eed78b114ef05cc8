"""Back-ends that write answers to prompts: an OpenAI-compatible endpoint, or a function in this process.

Each has `ask(prompts, schema, checks) -> list[Answer]`, in the order of the prompts. `Local(learner.generate, name)` is
the 4-bit model, `Local(embedded_writer.write)` the embedded generator, which needs nothing installed.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import openai

from helpers import env
from helpers.env import UserError
from helpers.files import digest
from helpers.masking import MASK, make_mask, without_secrets
from helpers.progress import Bar
from helpers.synthesis import answers, connection
from helpers.synthesis.answers import Answer, Check, Reply, add_schema, add_usage, assess, repair_prompt
from helpers.synthesis.budget import Budget, NotAnswered
from helpers.synthesis.connection import httpx
from helpers.text import clean

GARBLED = 599  # unassigned HTTP status, given to a body that is not a chat completion so that the client retries it
INTERRUPTED = "the work was interrupted"
BYTES_PER_TOKEN = 16  # no vocabulary writes natural text in longer tokens on average; four bytes are usual
LONGEST_TOKEN = 128  # bytes of the longest tokens of known vocabularies, runs of blanks
SENT = ("host", "connection", "accept", "content-type", "content-length", "user-agent")  # headers of a request
LIBRARYS_OWN = "x-stainless-"  # headers by which the library knows its requests
PASSED_ON = ("retry-after", "retry-after-ms", "location")  # headers of the server that anyone reads
MOST_TOKENS = 10**7  # of one request: no context window is longer


def check_teacher(teacher: str) -> None:
    """Raise UserError on a teacher that is not on offer."""
    if teacher not in ("", "embedded", "endpoint", "local"):
        raise UserError(f"Parameter teacher={teacher!r} must be embedded, endpoint, local, or '' for none.")


# --- an endpoint -----------------------------------------------------------------------------------------------------


@dataclass
class Endpoint:
    """An OpenAI-compatible chat endpoint: vLLM, Ollama, llama.cpp, `transformers serve`, a hosted API.

    The environment names it: NAME_BASE_URL, NAME_MODEL and NAME_API_KEY. A server on one's own machine needs no key.
    """

    name: str = "TEACHER"
    store: Path | None = None  # keeps the replies, so that asking again is free, even of a server that has moved
    budget: Budget = field(default_factory=Budget)  # replies from the store count too: a new start gets no fresh budget
    max_tokens: int = 512
    options: dict[str, Any] = field(default_factory=dict)  # temperature, top_p, seed: plus k for a prompt's k-th draw
    concurrency: int = 8
    timeout: float = 120.0  # seconds for one attempt, from the connection to the last byte
    retries: int = 5  # made by the `openai` client, with exponential back-off and Retry-After

    def __post_init__(self):
        parts = ("BASE_URL", "MODEL", "API_KEY")
        address, self.model, key = (env.secret(f"{self.name}_{part}") for part in parts)
        for part, value in (("BASE_URL", address), ("MODEL", self.model)):
            if not value:
                raise UserError(f"{self.name}_{part} is not set: put it into the environment (on Colab: its secrets).")
        url = connection.check_address(address, f"{self.name}_BASE_URL")
        if not re.fullmatch("[!-~]*", key):
            raise UserError(f"{self.name}_API_KEY contains characters that no key has: copy it again.")
        self.host = url.netloc.decode("ascii")  # without the user and the password that an address may have
        self._mask = make_mask(secrets_of(url, key))
        self.requests, self.from_store = 0, 0
        self._store, self._lock = answers.Store(self.store), threading.Lock()
        self._counted_keys: set[str] = set()
        self._hosts: set[str] = set()  # that wrote the replies; one from the store may be of a server that has moved
        self._said: set[str] = set()  # hosts of stored replies that a sentence has named
        self._length_option, self._constrains = "max_tokens", True
        self._end, self._failed_in_a_row = "", 0  # why no further attempt is sent; prompts that failed since a reply
        try:
            self._client = self._metered_client(url, key)
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            reason = without_secrets((str(error).splitlines() or [type(error).__name__])[0])[:160]
            remedy = "give it an address such as http://127.0.0.1:3128, or unset it"
            raise UserError(f"HTTP_PROXY, HTTPS_PROXY or ALL_PROXY is of no use ({reason}): {remedy}.") from error

    def ask(self, prompts: Sequence[str], schema: Any = None, checks: Sequence[Check] = ()) -> list[Answer]:
        """Have every prompt answered; an answer that fails a check gets one repair attempt.

        An answer is `failed` where there is no reply, as are all that a used-up budget leaves out. Raises UserError
        where the endpoint is down, rejects the key or has no such model: answers so far are in the store, and asking
        again resumes there.
        """
        self._end, self._failed_in_a_row = "", 0
        draws = answers.number_draws(prompts)
        # Replies in the store count before the first request is sent, or a full budget would let requests pass.
        results = [self._answer(prompt, draw, schema, checks, online=False) for prompt, draw in draws]
        open_draws = [i for i, answer in enumerate(results) if answer.status == "failed"]
        with ThreadPoolExecutor(self.concurrency) as pool, Bar(len(open_draws), "asking", "prompt") as bar:
            jobs = [pool.submit(self._answer, *draws[i], schema, checks) for i in open_draws]
            try:
                for i, job in zip(open_draws, jobs, strict=True):
                    results[i] = job.result()
                    bar.update()
            except BaseException:
                self._end = self._end or INTERRUPTED
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        if others := sorted(self._hosts - {self.host, "unknown"} - self._said):
            self._said.update(others)
            kept = f"{self.model} has answered some of these prompts before, at {', '.join(others)}"
            print(f"{kept}: these answers are used, and {self.host} is asked for the rest.")
            print(f"To have it asked for all, move {env.short_path(self.store)} away.")
        reasons = [answer.reason for answer in results if answer.status == "failed"]
        only_budget = all(reason.startswith("the budget") for reason in reasons)
        if self._end or (not only_budget and len(reasons) == len(results)):
            state = "answered and kept" if self.store else "answered"
            count = f"{len(results) - len(reasons)} of {len(results)} prompts are {state}"
            raise UserError(f"{self._end or reasons[0]}; {count}: run again to go on.")
        return results

    @property
    def who(self) -> str:
        """Who answers: the model, wherever it is served (see `helpers.servers`)."""
        return self.model

    def facts(self) -> dict[str, Any]:
        """The endpoint in a manifest; the key is not part of it."""
        tokens = {"prompt_tokens": self.budget.spent_prompt, "completion_tokens": self.budget.spent_completion}
        counts = {"requests": self.requests, "from_store": self.from_store, "answered_at": sorted(self._hosts)}
        return {"model": self.model, "host": self.host, "options": self.options} | tokens | counts

    def _answer(self, prompt: str, draw: int, schema: Any, checks: Sequence[Check], online: bool = True) -> Answer:
        """The checked answer to one prompt, after one repair attempt at most."""
        full_prompt = add_schema(prompt, schema)
        try:
            answer = assess(prompt, self._reply(full_prompt, draw, schema, online), schema, checks)
            if answer.status == "invalid":
                second = self._reply(repair_prompt(full_prompt, answer), draw, schema, online)
                answer = add_usage(assess(prompt, second, schema, checks), answer)
        except NotAnswered as error:
            return Answer("failed", reason=str(error))
        except BaseException:  # a disk without room for the reply, an error in a check: pay for nothing more
            self._end = self._end or INTERRUPTED
            raise
        return answer

    def _reply(self, text: str, draw: int, schema: Any, online: bool) -> Reply:
        """The reply to one request, from the store or, if `online`, from the server."""
        options = self.options | ({"seed": self.options["seed"] + draw} if "seed" in self.options else {})
        request = {
            "model": self.model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": self.max_tokens,
            "options": options,
            "schema": schema.model_json_schema() if schema is not None else None,
        }
        key = digest(request | {"draw": draw})
        reply = self._store.get(key)
        if reply is None:
            if not online:
                raise NotAnswered("not in the store")
            reply = replace(self._send(request), host=self.host)
            self._store.put(key, reply)
            self.budget.note_stored(key)
        elif key not in self._counted_keys:
            self.budget.count_stored(key, (reply.prompt_tokens, reply.completion_tokens))
            self.from_store += 1
        self._counted_keys.add(key)
        self._hosts.add(reply.host or "unknown")
        return reply

    def _send(self, request: dict[str, Any]) -> Reply:
        """The server's reply after the client's retries; raises NotAnswered without one."""
        try:
            reply = self._complete(request)
        except openai.APIError as error:
            reason, is_final = self._explain(error)
        else:
            self._failed_in_a_row = 0
            return reply
        with self._lock:
            self._failed_in_a_row += 1
            many = self._failed_in_a_row >= max(3, self.concurrency)
        if is_final or many:
            self._end = self._end or (reason if is_final else f"{reason}, {self._failed_in_a_row} prompts in a row")
        raise NotAnswered(reason)

    def _metered_client(self, url: Any, key: str) -> openai.OpenAI:
        """An `openai` client; its HTTP client passes every attempt, retries included, through `_attempt`."""
        endpoint = self
        authorization = f"Bearer {key or 'none'}"
        if url.userinfo:  # sent as a header, for the HTTP library writes addresses into its log
            authorization = f"Basic {base64.b64encode(f'{url.username}:{url.password}'.encode()).decode()}"

        class MeteredClient(openai.DefaultHttpxClient):
            def send(self, request, **options):
                # The library adds headers of the environment, which may hold the keys of another provider.
                names = [name for name in request.headers if name in SENT or name.startswith(LIBRARYS_OWN)]
                own = {name: request.headers[name] for name in names}
                request.headers = httpx.Headers(own | {"Accept-Encoding": "identity", "Authorization": authorization})
                return endpoint._attempt(request, partial(super().send, request, **options))

        # Each attempt has a connection of its own, which ends with the attempt's time.
        http_client = MeteredClient(limits=httpx.Limits(max_keepalive_connections=0))
        return openai.OpenAI(
            base_url=str(url.copy_with(userinfo=b"")),
            api_key=key or "none",
            timeout=self.timeout,
            max_retries=self.retries,
            http_client=http_client,
        )

    def _attempt(self, request: Any, send: Callable[..., Any]) -> Any:
        """Send one HTTP request within the budget; the Reply travels in the extensions of the
        response.

        The client retries out of sight, and a server may bill an attempt whose reply got lost. So
        the budget is reserved and settled here, for each attempt: at the tokens that the reply
        credibly reports; at zero where the server answers with an error or was never reached; and
        at the upper bound where a reply was lost or reports no such tokens. Of what the server
        sent, the response has the Reply or the error, without secrets, and nothing else.
        """
        # A token has at least one byte; the JSON around the prompt leaves room for what a chat template adds to it.
        bound = (len(request.content), self.max_tokens)
        self.budget.reserve(bound)
        used = (0, 0)
        try:
            if self._end:  # not even a retry is sent for which the client was waiting
                raise NotAnswered(self._end)
            with self._lock:
                self.requests += 1
            used = bound
            status, headers, body = connection.fetch(request, send, self.timeout)
            headers = {name: self._header(headers[name]) for name in PASSED_ON if name in headers}
            text, extensions = "", {}
            if not 200 <= status < 300:
                used = (0, 0)
                body = body or b""
                text = self._mask(body.decode(json.detect_encoding(body), "replace"))
                if status == 429 and "insufficient_quota" in text:
                    headers["x-should-retry"] = "false"  # the client would retry any other 429
            elif reply := read_reply(body or b"", request.content, bound, self._mask):
                used = (reply.prompt_tokens, reply.completion_tokens)
                extensions["reply"] = reply
            else:
                status = GARBLED
            content = text.encode("utf-8", "replace")
            return httpx.Response(status, headers=headers, content=content, request=request, extensions=extensions)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            used = (0, 0)
            raise
        finally:
            self.budget.settle(bound, used)

    def _header(self, value: str) -> str:
        """A header of the server in at most 100 printable characters, without secrets."""
        masked = self._mask(re.sub("[^ -~]", "", value))
        return masked.replace(MASK, "")[:100]  # a header is ASCII

    def _complete(self, request: dict[str, Any]) -> Reply:
        """Request a chat completion; a server that does not know an option is asked again without it."""
        length_option = self._length_option
        constrains = self._constrains and request["schema"] is not None
        body = request["options"] | {length_option: request["max_tokens"]}
        if constrains:
            schema = {"name": "answer", "schema": request["schema"]}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        create = self._client.chat.completions.with_raw_response.create
        try:
            raw = create(model=request["model"], messages=request["messages"], extra_body=body)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if length_option == "max_tokens" and "max_completion_tokens" in str(error):
                self._length_option = "max_completion_tokens"  # reasoning models of hosted APIs
            elif constrains and "response_format" in str(error):
                self._constrains = False  # the schema is in the prompt too
            elif "content_filter" in str(error.body) or "content_policy" in str(error.body):
                return Reply(self._detail(error), refused=True)
            else:
                raise
            return self._complete(request)
        return raw.http_response.extensions["reply"]

    def _explain(self, error: openai.APIError) -> tuple[str, bool]:
        """Why a request has no reply, and whether all later ones must fail too."""
        endpoint = f"the endpoint {self.host}"
        if not isinstance(error, openai.APIStatusError):
            if type(error.__cause__).__name__.startswith("Connect"):
                return f"{endpoint} cannot be reached: start it, or correct {self.name}_BASE_URL", False
            if isinstance(error, openai.APITimeoutError):
                return f"{endpoint} did not answer within {self.timeout:g} s", False
            return f"{endpoint} dropped the connection", False
        status = error.status_code
        if 300 <= status < 400:
            place = error.response.headers.get("location", "elsewhere")
            remedy = f"set {self.name}_BASE_URL to the address that answers"
            return f"{endpoint} redirects to {place} ({status}), where the key is not sent: {remedy}", True
        if status in (401, 403):
            return f"{endpoint} rejects the key ({status}): set {self.name}_API_KEY to a valid one", True
        if status == 402 or error.code == "insufficient_quota":
            return f"the account at {self.host} has no credit left ({status})", True
        if status == 404:
            remedy = f"check {self.name}_BASE_URL (it mostly ends in /v1) and {self.name}_MODEL"
            return f"{endpoint} has no model {self.model!r} or no such page (404): {remedy}", True
        if status == GARBLED:
            return f"{endpoint} sent something that is no chat completion", False
        if status in (408, 409, 429) or status >= 500:
            pause = error.response.headers.get("retry-after")
            attempt = int(error.response.request.headers["x-stainless-retry-count"])
            if pause and attempt < self.retries:  # the client declines pauses of more than two minutes
                return f"{endpoint} asks for a pause (status {status}, Retry-After: {pause})", True
            return f"{endpoint} answers with error {status}", False
        return f"{endpoint} rejects the request ({status}): {self._detail(error)}", False

    def _detail(self, error: openai.APIError) -> str:
        """The server's own words in at most 200 printable characters, without secrets."""
        # What does not print goes first: between its characters it would hide a secret from the mask.
        words = "".join(c for c in error.message if c.isprintable() or c.isspace())
        return self._mask(" ".join(words.split()))[:200]


def secrets_of(url: Any, key: str) -> list[str]:
    """What nobody may see of an address and a key."""
    is_placeholder = len(key) < 8 and key.isalpha()  # EMPTY, none, ollama: words that an answer may contain
    secrets = [] if is_placeholder else [key]
    if url.userinfo:
        secrets += [url.password or url.username, f"{url.username}:{url.password}"]
    return secrets


def read_reply(body: bytes, request: bytes, bound: tuple[int, int], mask: Callable[[str], str]) -> Reply | None:
    """The Reply in the body of an HTTP response, without secrets; None if it is not a chat
    completion.

    `bound` stands for the (prompt, completion) tokens where the server reports none that are
    credible: whole numbers, of the prompt at least one token for each 128 bytes, of the completion
    at least one for each 16 bytes of the text, and neither beyond any context window.
    """
    try:
        content = json.loads(body)
        choice, usage = content["choices"][0], content.get("usage")
        message, finish = choice["message"], choice.get("finish_reason")
        refusal = message.get("refusal")
        text = clean(refusal or join_parts(message.get("content")))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None
    prompt = json.loads(request)["messages"][-1]["content"]
    least = (max(1, len(prompt.encode()) // LONGEST_TOKEN), -(-len(text.encode()) // BYTES_PER_TOKEN))
    names = ("prompt_tokens", "completion_tokens")
    tokens = tuple(usage.get(name) for name in names) if isinstance(usage, dict) else (None, None)
    if not all(type(n) is int and low <= n <= MOST_TOKENS for n, low in zip(tokens, least, strict=True)):
        tokens = (bound[0], max(bound[1], least[1]))
    return Reply(mask(text), *tokens, refused=bool(refusal) or finish == "content_filter", cut=finish == "length")


def join_parts(content: Any) -> str:
    """The text of a message: a text, None, or a list of parts of which those with a text count."""
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in content]
        return "".join(part for part in parts if isinstance(part, str))
    if content is None or isinstance(content, str):
        return content or ""
    raise TypeError("neither text nor parts")


# --- a function in this process --------------------------------------------------------------------------------------


@dataclass
class Local:
    """A function from prompts to texts as a back-end.

    It is `learner.generate`, which knows the chat template of its model, or `embedded_writer.write`. A store keeps the
    replies under `name`, which says what writes: a digest of the model, the sampling.
    """

    generate: Callable[[Sequence[str]], list[str]]
    name: str = ""
    store: Path | None = None
    batch: int = 64  # prompts a call of `generate`

    @property
    def who(self) -> str:
        """Who answers."""
        return self.name

    def ask(self, prompts: Sequence[str], schema: Any = None, checks: Sequence[Check] = ()) -> list[Answer]:
        """One Answer a prompt; an answer that fails a check gets one repair attempt."""
        full_prompts = [add_schema(prompt, schema) for prompt in prompts]
        replies = self._replies(full_prompts)
        results = [assess(p, reply, schema, checks) for p, reply in zip(prompts, replies, strict=True)]
        invalid = [i for i, answer in enumerate(results) if answer.status == "invalid"]
        repairs = self._replies([repair_prompt(full_prompts[i], results[i]) for i in invalid])
        for i, reply in zip(invalid, repairs, strict=True):
            results[i] = add_usage(assess(prompts[i], reply, schema, checks), results[i])
        return results

    def _replies(self, texts: list[str]) -> list[Reply]:
        """A reply to each text, from the store where it has one."""
        store, draws = answers.Store(self.store), answers.number_draws(texts)
        keys = [digest({"model": self.name, "text": text, "draw": draw}) for text, draw in draws]
        replies = {key: store.get(key) for key in keys}
        missing = [(key, text) for key, text in zip(keys, texts, strict=True) if replies[key] is None]
        for start in range(0, len(missing), self.batch):
            part = missing[start : start + self.batch]
            for (key, _), text in zip(part, self._generate([text for _, text in part]), strict=True):
                replies[key] = Reply(clean(text))
                store.put(key, replies[key])
        return [replies[key] for key in keys]

    def _generate(self, texts: list[str]) -> list[str]:
        """The function's texts; raises UserError where it does not return one for each prompt."""
        written = self.generate(texts)
        written = list(written) if isinstance(written, Iterable) and not isinstance(written, str) else [written]
        if len(written) != len(texts) or not all(isinstance(text, str) for text in written):
            count = f"{sum(isinstance(text, str) for text in written)} texts among {len(written)} values"
            who = f"The local back-end {self.name}".rstrip()
            raise UserError(f"{who} returned {count} for {len(texts)} prompts: it must return one text for each.")
        return written
