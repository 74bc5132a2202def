"""What goes wrong with a request, in the shape in which OpenAI's clients expect it."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from colasearch.errors import ColasearchError, InputError, PrerequisiteError, ResourceError

KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
    503: "unavailable_error",
}


class ApiError(Exception):
    """A request that is refused or has failed.

    Attributes:
        status: Of HTTP.
        message: What is wrong, the rule, and what to do.
        code: A short name for programs, such as ``model_not_found``.
        param: The field of the request that is at fault.
        headers: Of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = headers or {}

    def body(self) -> dict[str, Any]:
        """The JSON object of the answer."""
        kind = KINDS.get(self.status, "server_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def bad(param: str, message: str, code: str | None = None) -> ApiError:
    """A 400 for one field of the request."""
    return ApiError(400, message, param=param, code=code)


def api_error(error: BaseException) -> ApiError:
    """Any error as one for the client: ours with their own words, others, which the log has, with their kind alone."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, InputError):
        context = "context of" in str(error) and "tokens" in str(error)
        return ApiError(
            400, str(error), code="context_length_exceeded" if context else None, param="messages" if context else None
        )
    if isinstance(error, PrerequisiteError | ResourceError):
        return ApiError(503, str(error))
    if isinstance(error, ColasearchError):
        return ApiError(500, str(error))
    traceback.print_exception(error, file=sys.stderr)
    return ApiError(500, f"the search failed ({type(error).__name__}); the server's log says more")
