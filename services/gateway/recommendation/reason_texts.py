"""The sentences of reasons, by language. Each says no more than what the reason goes by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from common.release.event_weights import EventKind

DEFAULT_LANGUAGE: Final = "en"  # and of languages without sentences


@dataclass(frozen=True)
class ReasonTexts:
    """The sentences of one language.

    Attributes:
        language: Its tag.
        fixed: By kind of reason, those without a blank.
        near: By plan and kind of reason, those of items near given items.
        query: The item's text is near the query; ``{query}``.
        interests: The item's text is near the history as a whole.
        words: The item's title has words of the query; ``{query}``.
        less_popular: The item replaced another for the long tail; ``{title}``.
        new_item: The item replaced another for new items; ``{title}``.
        history: What was done before; ``{events}``.
        done: What the user did, the strongest first; 0 is an event of unknown kind.
        event: One kind of event and how often; ``{done}``, ``{times}``.
        between: What stands between events.
        times: How often: once, twice, more; ``{count}``.
    """

    language: str
    fixed: dict[str, str]
    near: dict[tuple[str, str], str]
    query: str
    interests: str
    words: str
    less_popular: str
    new_item: str
    history: str
    done: dict[int, str]
    event: str
    between: str
    times: tuple[str, str, str]

    def done_before(self, counts: dict[int, int]) -> str:
        """Return what the user did with an item before, by kind of event and how often."""
        events = [
            self.event.format(done=done, times=self._times(counts[kind]))
            for kind, done in self.done.items()
            if counts.get(kind)
        ]
        return self.history.format(events=self.between.join(events))

    def _times(self, count: int) -> str:
        return self.times[min(count, 3) - 1].format(count=count)


ENGLISH: Final = ReasonTexts(
    language="en",
    fixed={
        "BEHAVIOUR": "users with a similar history chose it next",
        "SIMILAR": "similar to an item in the history",
        "POPULAR": "many users buy it",
        "TRENDING": "sells well recently",
        "EXPLORATION": "new, or known to few users",
        "PLACED": "placed by the shop",
    },
    near={
        ("similar_items", "SIMILAR"): "similar to the item",
        ("similar_items", "BEHAVIOUR"): "users who chose the item chose it next",
        ("related_to_cart", "BEHAVIOUR"): "often chosen with items of the cart",
        ("related_to_cart", "SIMILAR"): "similar to an item of the cart",
    },
    query="matches the query “{query}”",
    interests="matches the user's interests",
    words="has words of the query “{query}”",
    less_popular="chosen to include less popular items; it replaces “{title}”",
    new_item="chosen to include new items; it replaces “{title}”",
    history="{events} before",
    done={
        EventKind.PURCHASE: "bought",
        0: "bought or viewed",
        EventKind.RATING: "rated",
        EventKind.CART: "put into the cart",
        EventKind.FAVOURITE: "made a favourite",
        EventKind.VIEW: "viewed",
    },
    event="{done} {times}",
    between=", ",
    times=("once", "twice", "{count} times"),
)
_CHINESE: Final = ReasonTexts(
    language="zh",
    fixed={
        "BEHAVIOUR": "历史相似的用户接下来选择了它",
        "SIMILAR": "与历史中的一件商品相似",
        "POPULAR": "许多用户购买",
        "TRENDING": "近期热销",
        "EXPLORATION": "新品，或了解的用户不多",
        "PLACED": "由商家放置",
    },
    near={
        ("similar_items", "SIMILAR"): "与该商品相似",
        ("similar_items", "BEHAVIOUR"): "选择该商品的用户接下来选择了它",
        ("related_to_cart", "BEHAVIOUR"): "常与购物车中的商品一起选择",
        ("related_to_cart", "SIMILAR"): "与购物车中的一件商品相似",
    },
    query="与搜索“{query}”相符",
    interests="与用户的兴趣相符",
    words="标题中有搜索“{query}”的词",
    less_popular="为展示销量较低的商品而选择，替换了“{title}”",
    new_item="为展示新品而选择，替换了“{title}”",
    history="曾{events}",
    done={
        EventKind.PURCHASE: "购买",
        0: "购买或浏览",
        EventKind.RATING: "评分",
        EventKind.CART: "加入购物车",
        EventKind.FAVOURITE: "收藏",
        EventKind.VIEW: "浏览",
    },
    event="{done}{times}",
    between="、",
    times=("1次", "2次", "{count}次"),
)
LANGUAGES: Final = {texts.language: texts for texts in (ENGLISH, _CHINESE)}


def texts_of(language: str) -> ReasonTexts:
    """Return the sentences of a language by its tag, such as `zh-CN`; those in English if there are none."""
    return LANGUAGES.get(language.replace("_", "-").partition("-")[0].lower(), ENGLISH)
