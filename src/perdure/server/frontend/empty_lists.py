"""Lists of things that do not exist here yet, such as schedules: they are empty.

Tools ask for these lists on pages about something else, and a page breaks when the answer is an error. Calls that would
make such a thing are not in the table of RPCs, and so answer UNIMPLEMENTED.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.server.frontend import checks
from perdure.wire.errors import InvalidArgument
from perdure.wire.seam import OPERATOR_SERVICE, WORKFLOW_SERVICE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from google.protobuf.message import Message

    from perdure.server.frontend.call import Call
    from perdure.server.frontend.services import Services
    from perdure.wire.seam import Method

EMPTY_LISTS: tuple[Method, ...] = (
    *(
        WORKFLOW_SERVICE[name]
        for name in (
            "ListBatchOperations",
            "ListSchedules",
            "CountSchedules",
            "ListWorkerDeployments",
            "ListWorkers",
            "CountWorkers",
            "ListActivityExecutions",
            "CountActivityExecutions",
        )
    ),
    OPERATOR_SERVICE["ListNexusEndpoints"],
)
_PAGE_SIZES = ("page_size", "maximum_page_size")


def answering_empty(method: Method) -> Callable[[Services, Call, Any], Awaitable[Message]]:
    """The handler of a method whose list is empty."""
    fields = method.request_type.DESCRIPTOR.fields_by_name

    async def answer(services: Services, call: Call, request: Any) -> Message:
        if "namespace" in fields:
            services.namespace(request.namespace)
        for name in _PAGE_SIZES:
            if name in fields:
                checks.page_size(getattr(request, name), 0, 0)
        if "next_page_token" in fields and request.next_page_token:
            raise InvalidArgument("Invalid NextPageToken.")  # no answer has had one
        return method.response_type()

    return answer
