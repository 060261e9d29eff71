"""The plans: a product page compares, a cart is completed."""

from __future__ import annotations

from services.gateway.candidates import Evidence
from services.gateway.related_items.plan import RELATED_TO_CART, SIMILAR_ITEMS
from services.gateway.related_items.rank_fusion import fused_order


def test_alternatives_fill_a_cart_only_after_complements():
    """With the cart's weights, the best alternative comes after the first 100 complements."""
    first, second = RELATED_TO_CART.lists
    assert first.evidence == (Evidence.BEHAVIOUR,)
    complements = [f"complement-{rank:03}" for rank in range(100)]
    order = [item for item, _ in fused_order([complements, ["alternative"]], [first.weight, second.weight])]
    assert order == [*complements, "alternative"]


def test_a_product_page_puts_alternatives_first():
    """Of items that only one list found, the text's comes before the behaviour's of the same rank."""
    text, behaviour = SIMILAR_ITEMS.lists
    assert Evidence.SIMILAR in text.evidence
    order = [item for item, _ in fused_order([["alike"], ["a-next"]], [text.weight, behaviour.weight])]
    assert order == ["alike", "a-next"]
