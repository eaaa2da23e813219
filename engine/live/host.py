"""The model host: probe, emphasise and unload over HTTP, for the live page of the dashboard.

Each request carries the bearer token. One question is answered at a time. What the user can mend
comes back as `{"error": one line}` with status 4xx; anything else is a bug, 500, and its traceback
goes to the host's own standard error.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import torch
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from engine.errors import is_for_the_user, one_line
from engine.inference.token_budget import DeviceMemoryError
from engine.live.emphasise import emphasise, strategies
from engine.live.probe import LoadedModel, ProbeResult, ask
from engine.live.residents import Residents
from engine.models import devices
from engine.recovery import placebos
from engine.text.words import bare_words

LOCAL_NAMES = ("127.0.0.1", "localhost")  # another Host header comes from a rebound name
LONGEST_BODY = 200_000  # bytes
BUSY_SECONDS = 60.0
Text = Annotated[str, Field(max_length=20_000)]
Document = dict[str, Any]
Answer = Callable[[Request], Awaitable[Response]]


class BusyError(RuntimeError):
    """Another question takes too long."""


class FullError(MemoryError):
    """The device has no room for these models or this prompt."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    models: list[str] = Field(min_length=1, max_length=3)  # run ids; KeyTokens are the first one's
    prompt: Text
    answer: Text | None = None


class ProbeBody(_Body):
    """What `unpact probe` asks."""

    attribution: str = "leave_one_out"


class EmphasiseBody(_Body):
    """Words to emphasise, and how."""

    words: list[str] = Field(max_length=500)
    strategy: str


class Host:
    """One question at a time to models that stay loaded."""

    def __init__(self, residents: Residents) -> None:
        """Nothing is loaded yet."""
        self._residents = residents
        self._one = threading.Lock()

    def health(self) -> Document:
        """What this host serves and how full it is; answers while a question is at work."""
        return {
            "database": str(self._residents.models.database),
            "loaded": len(self._residents),
            "device": self._device(),
        }

    def probe(self, body: ProbeBody) -> Document:
        """`probe.ask`; beside it what can be emphasised: words, by token too, and strategies.

        loading_seconds are not part of seconds.
        """
        with self._turn():
            start = time.perf_counter()
            models = self._residents.get(body.models)
            loaded = time.perf_counter()
            result = ask(models, body.prompt, body.answer, body.attribution)
            seconds = time.perf_counter() - loaded
        return {
            "result": result.as_document(),
            **_words(models[0], result),
            "strategies": strategies(),
            "seconds": seconds,
            "loading_seconds": loaded - start,
            "device": self._device(),
        }

    def emphasise(self, body: EmphasiseBody) -> Document:
        """`emphasise.emphasise`."""
        with self._turn():
            models = self._residents.get(body.models)
            start = time.perf_counter()
            result = emphasise(models, body.prompt, body.words, body.strategy, body.answer)
            seconds = time.perf_counter() - start
        return {"result": result.as_document(), "seconds": seconds, "device": self._device()}

    def unload(self) -> Document:
        """Give the models' memory back."""
        with self._turn():
            return {"unloaded": self._residents.unload(), "device": self._device()}

    def _device(self) -> Document:
        return asdict(devices.state(self._residents.models.device))

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._one.acquire(timeout=BUSY_SECONDS):
            raise BusyError("the model host is busy with another question; try again")
        try:
            yield
        except (torch.OutOfMemoryError, DeviceMemoryError) as error:
            self._residents.unload()
            raise FullError("the device's memory is full; the models were unloaded") from error
        finally:
            self._one.release()


def _words(first: LoadedModel, result: ProbeResult) -> Document:
    prompt = first.lm.encode_prompt(result.prompt)
    words = bare_words(result.prompt)
    distinct = placebos.distinct(words)
    first_spelling = {word.casefold(): word for word in distinct}
    return {
        "words": distinct,
        "token_words": [
            None if place is None else first_spelling[words[place].casefold()]
            for place in prompt.words
        ],
        "key_words": [
            first_spelling[word.casefold()] for word in placebos.key_words(prompt, result.is_key)
        ],
    }


def create_app(residents: Residents, token: str) -> FastAPI:
    """The routes, behind the token."""
    host = Host(residents)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.get("/health")(host.health)
    app.post("/probe")(host.probe)
    app.post("/emphasise")(host.emphasise)
    app.post("/unload")(host.unload)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_refused)

    @app.middleware("http")
    async def guard(request: Request, answer: Answer) -> Response:
        refusal = _refusal(request, token)
        if refusal is not None:
            return refusal
        try:
            return await answer(request)
        except Exception as error:
            if not is_for_the_user(error):
                raise
            return _error(one_line(error), 503 if isinstance(error, BusyError) else 400)

    return app


def _refusal(request: Request, token: str) -> JSONResponse | None:
    """Why a request is not looked at, before any of its body is read."""
    if (request.url.hostname or "") not in LOCAL_NAMES:
        return _error("the model host answers on this machine only", 403)
    given = request.headers.get("authorization", "").encode()
    if not secrets.compare_digest(given, f"Bearer {token}".encode()):
        return _error("the token is missing or wrong", 401)
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > LONGEST_BODY:
        return _error(f"a request has at most {LONGEST_BODY} bytes", 413)
    if "transfer-encoding" in request.headers:
        return _error("a request has to state its length", 411)
    return None


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # as registered
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return _error(f"{place}: {first['msg']}", 422)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # as registered
    return _error(str(error.detail), error.status_code)


def _error(line: str, status: int) -> JSONResponse:
    return JSONResponse({"error": line}, status)
