"""Listing and counting workflows: the part of `Client` that asks visibility."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from perdure.client import inputs
from perdure.client.executions import WorkflowExecutionAsyncIterator, WorkflowExecutionCount
from perdure.client.interceptor import OutboundInterceptor


class ListsWorkflows:
    """Lists and counts workflows through a chain of interceptors."""

    _outbound: OutboundInterceptor

    def list_workflows(
        self,
        query: str | None = None,
        *,
        limit: int | None = None,
        page_size: int = 1000,
        next_page_token: bytes | None = None,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowExecutionAsyncIterator:
        """The workflows that match, fetched as they are iterated over.

        Args:
            query: A list filter, ``"WorkflowType = 'Greeting'"``; all unless given.
            limit: Most entries in all.
            page_size: Most entries of a page.
            next_page_token: Where to begin.
            rpc_metadata: Headers of each call.
            rpc_timeout: For each call.
        """
        return self._outbound.list_workflows(
            inputs.ListWorkflowsInput(
                query=query,
                page_size=page_size,
                next_page_token=next_page_token,
                rpc_metadata=rpc_metadata or {},
                rpc_timeout=rpc_timeout,
                limit=limit,
            )
        )

    async def count_workflows(
        self,
        query: str | None = None,
        *,
        rpc_metadata: Mapping[str, str | bytes] | None = None,
        rpc_timeout: timedelta | None = None,
    ) -> WorkflowExecutionCount:
        """How many workflows match.

        Args:
            query: A list filter, possibly with ``GROUP BY``; all unless given.
            rpc_metadata: Headers of the call.
            rpc_timeout: For one try.
        """
        return await self._outbound.count_workflows(
            inputs.CountWorkflowsInput(
                query=query, rpc_metadata=rpc_metadata or {}, rpc_timeout=rpc_timeout
            )
        )
