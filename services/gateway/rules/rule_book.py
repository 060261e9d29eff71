"""The rules that this gateway applies: those of the store, which all gateways share, followed as they change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, Protocol

import structlog

from common.errors import InvalidRequest, NotReady, ShortlistError
from common.process.endless_loop import repeat
from services.gateway.profiles.profile_store import Document
from services.gateway.rules.rule import Rule
from services.gateway.rules.rule_set import RuleSet
from services.gateway.rules.validation import check_rules

RULES_NOT_READ: Final = "the rules could not be read yet"
_NAME: Final = "rules"
_TRIES: Final = 5
_log = structlog.get_logger()


class RulesChanged(ShortlistError):  # noqa: N818 - named for what it is, like the errors of common.errors
    """The rules have another version than the caller expected; nothing was written."""

    status = "FAILED_PRECONDITION"


class DocumentStore(Protocol):
    """Where the rules are stored; a part of ProfileStore."""

    async def read_document(self, name: str, known_version: int = -1) -> Document | None:
        """See ProfileStore."""
        ...

    async def write_document(self, name: str, content: bytes, expected_version: int) -> int | None:
        """See ProfileStore."""
        ...


class RuleBook:
    """Reads, follows and changes the rules; for use on one event loop.

    Args:
        store: Where they are stored.
        encode: Writes rules as bytes.
        decode: Reads them; raises ValueError.

    Attributes:
        current: The rules as they are now.
        is_read: Whether the rules were read at least once.
    """

    def __init__(
        self,
        store: DocumentStore,
        encode: Callable[[Sequence[Rule]], bytes],
        decode: Callable[[bytes], Sequence[Rule]],
    ) -> None:
        self._store = store
        self._encode = encode
        self._decode = decode
        self.current = RuleSet()
        self.is_read = False
        self._is_failing = False

    async def refresh(self) -> bool:
        """Read the rules if they have changed; keeps the earlier ones and returns False if they cannot be read."""
        try:
            known = self.current.version if self.is_read else -1
            document = await self._store.read_document(_NAME, known)
            if document is not None:
                self.current = RuleSet(document.version, self._decode(document.content))
        except (ShortlistError, ValueError) as error:
            if not self._is_failing:  # and not at every try
                _log.warning("the rules cannot be read", reason=str(error), version=self.current.version)
            self._is_failing = True
            return False
        self.is_read, self._is_failing = True, False
        return True

    async def read_once(self, timeout_s: float) -> bool:
        """Return whether the rules were read at least once; if not, try to read them within ``timeout_s``."""
        if not self.is_read:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.refresh(), timeout_s)
        return self.is_read

    async def follow(self, interval_s: float) -> None:
        """Refresh the rules for ever."""

        async def refresh_later() -> None:
            await asyncio.sleep(interval_s)
            await self.refresh()

        await repeat("rules", refresh_later, retry_s=interval_s)

    async def put(self, rules: Sequence[Rule], if_version: int | None = None) -> RuleSet:
        """Add rules, or replace those of the same ids; all of them or none.

        Args:
            rules: The rules.
            if_version: The version that the rules must have; None for any.

        Raises:
            InvalidRequest: The rules would be invalid.
            RulesChanged: They have another version.
            NotReady: The store does not answer.
        """
        if not rules:
            raise InvalidRequest("rules: none given")
        by_id = {rule.rule_id: rule for rule in rules}
        if len(by_id) < len(rules):
            raise InvalidRequest("rules: two of them have the same rule_id")
        return await self._change(lambda now: with_rules(now, rules, ()), if_version)

    async def delete(self, rule_ids: Collection[str], if_version: int | None = None) -> RuleSet:
        """Delete rules; unknown ids change nothing. Raises as `put` does."""
        return await self._change(lambda now: with_rules(now, (), rule_ids), if_version)

    async def _change(self, change: Callable[[RuleSet], RuleSet], if_version: int | None) -> RuleSet:
        """Change the rules that the store has; again if another gateway changed them meanwhile and it may be so."""
        for _ in range(_TRIES):
            if not await self.refresh():
                raise NotReady("the rules cannot be read; see the gateway's log")
            if if_version is not None and if_version != self.current.version:
                raise RulesChanged(
                    f"if_version: the rules have version {self.current.version}, not {if_version}; list them again"
                )
            changed = change(self.current)
            if changed is self.current:
                return changed
            content = self._encode(list(changed.rules.values()))
            if await self._store.write_document(_NAME, content, self.current.version) is not None:
                self.current = changed
                return changed
        raise RulesChanged("the rules were changed by others at each try; try again")


def with_rules(rule_set: RuleSet, put: Sequence[Rule], deleted: Collection[str]) -> RuleSet:
    """Return rules with some put and some deleted, of the next version; raises InvalidRequest if they are invalid."""
    kept = {rule_id: rule for rule_id, rule in rule_set.rules.items() if rule_id not in deleted}
    if not put and len(kept) == len(rule_set.rules):
        return rule_set
    version = rule_set.version + 1
    kept.update({rule.rule_id: replace(rule, version=version) for rule in put})
    check_rules(list(kept.values()))
    return RuleSet(version, kept.values())
